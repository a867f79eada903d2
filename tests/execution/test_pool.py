"""A pool's workers are started and stopped by signals that may come at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from cnn_sweep.execution.pool import pool as pools
from cnn_sweep.execution.pool.pool import Pool
from cnn_sweep.execution.worker.protocol import PoolWord, WorkerSettings

LISTENS = """
import sys
from cnn_sweep.execution.worker.protocol import StopRequest
stop = StopRequest()
print("born", flush=True)
sys.stdin.readline()
stop.listen()
print(bool(stop), flush=True)
"""


class Process:
    """A worker that is told things."""

    def __init__(self) -> None:
        self.pid, self.returncode, self.told = 4711, None, []

    def send_signal(self, number: int) -> None:
        """Remember."""
        self.told.append(number)

    def poll(self) -> None:
        """Be alive."""


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A pool of three whose first worker is being started when SIGTERM comes."""
    started = []

    def start(*_, **__):
        if not started:
            os.kill(os.getpid(), signal.SIGTERM)
        started.append(Process())
        return started[-1]

    monkeypatch.setattr(pools.subprocess, "Popen", start)
    pool: Any = Pool(WorkerSettings(tmp_path, "s", threads=1, since=0.0), 3, tmp_path)
    pool.started = started
    before = signal.signal(signal.SIGTERM, lambda *_: pool.stop())
    yield pool
    signal.signal(signal.SIGTERM, before)


def test_a_stop_while_workers_are_started_reaches_those_that_are_and_starts_no_other(pool):
    """The worker that was just being started is told, and there is no second one."""
    pool.fill(3)
    assert [set(process.told) for process in pool.started] == [{signal.SIGTERM}]


def test_a_pool_that_was_stopped_starts_no_worker(pool):
    """A stop that comes before the first worker is not forgotten."""
    pool.stop()
    pool.fill(3)
    assert pool.started == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_stop_that_comes_before_a_worker_listens_waits_for_it(number):
    """Signals are held while Python starts: the worker neither dies of them nor misses them."""
    with pools._signals_blocked():
        worker = subprocess.Popen(
            [sys.executable, "-c", LISTENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
    worker.send_signal(number)
    worker.send_signal(signal.SIGINT)  # of the terminal, which tells the whole group
    assert worker.stdout.readline() == "born\n"
    said, _ = worker.communicate("go\n", timeout=60)
    assert (said, worker.returncode) == ("True\n", 0)


def test_workers_inherit_the_pools_word(tmp_path, monkeypatch):
    """A pool's word reaches the process that it starts, by the descriptor in the worker's settings."""
    word = PoolWord()
    word.drain()
    heard = tmp_path / "heard"
    listens = (
        "import sys; from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings; "
        f"open({str(heard)!r}, 'w').write(str(StopRequest(WorkerSettings.from_argument(sys.argv[1]).word).drains))"
    )
    popen = subprocess.Popen

    def start(command, **how):
        return popen([command[0], "-c", listens, command[-1]], **how)

    monkeypatch.setattr(pools.subprocess, "Popen", start)
    started = Pool(WorkerSettings(tmp_path, "s", threads=1, since=0.0, word=word.descriptor), 1, tmp_path)
    started.fill(1)
    assert started._slots[0].process.wait(60) == 0
    assert heard.read_text(encoding="utf-8") == "True"
