"""Workers are forked from a process that has imported TensorFlow, and look and end like processes of their own."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.pool import worker_processes
from cnn_sweep.execution.pool.pool import Pool
from cnn_sweep.execution.pool.worker_processes import START_METHOD, ForkServerError, WorkerStarter, log_file
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker import fork_server
from cnn_sweep.execution.worker.protocol import Ending, PoolWord, StopRequest, WorkerSettings
from cnn_sweep.execution.worker.worker import Worker
from cnn_sweep.journal.events import Epoch
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import decode
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.prepare import prepare

SWEEP = """
study: forked
data: {source: digits}
model: {layers: [conv2d: {filters: 2, kernel_size: 3}, flatten, dropout: 0.3, output: softmax]}
training: {epochs: 2, batch_size: 256}
"""
# The engine of the campaign of faults instead of TensorFlow.
STUB = Path(__file__).parents[1] / "faults" / "injected"
PATIENCE_S = 120


def until(condition):
    """Wait for something that comes soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def words_of(pid):
    """Return the command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")


def files_of(worker):
    """Return what a worker has open, by descriptor; it stands still meanwhile."""
    worker.send_signal(signal.SIGSTOP)
    until(lambda: "T (stopped)" in status_of(worker.pid)[2])
    found = {int(file.name): str(file.readlink()) for file in Path(f"/proc/{worker.pid}/fd").iterdir()}
    worker.send_signal(signal.SIGCONT)
    return found


def parent_of(pid):
    """Return the process ID of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def study_in(folder, text=SWEEP):
    """Return a study that no worker has begun, with its data."""
    folder.mkdir(exist_ok=True)
    study = StudyFolder.open_or_create(Sweep.parse(text, folder=folder), folder / "results")
    prepare(study.sweep.data, study.sweep.folder, study.data_root)
    return study


def said(study, worker):
    """Return the log of a worker."""
    return log_file(study.paths.logs, os.uname().nodename, worker.pid).read_text(encoding="utf-8")


def epochs_of(study):
    """Return the epochs in the journals of a study."""
    lines = (line for path in study.paths.folder.glob("journal/*") for line in path.read_bytes().splitlines())
    return [event for event in map(decode, lines) if isinstance(event, Epoch)]


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory):
    """A study that takes long, and what starts its workers, which need no TensorFlow."""
    study = study_in(tmp_path_factory.mktemp("stubbed"), SWEEP.replace("epochs: 2", "epochs: 100000"))
    word = PoolWord()
    settings = WorkerSettings(study.paths.results, study.name, 1, since=0.0, word=word.descriptor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STUB))
        patch.setenv("FAULTS_EPOCH_S", "0.1")
        starter = WorkerStarter(settings, study.paths.logs)
        until(starter.is_ready)
        yield SimpleNamespace(study=study, starter=starter, word=word)
    starter.close()
    assert starter.news() == []


@pytest.fixture
def start(stubbed):
    """Start workers in the study; they end with the test."""
    started = []

    def start(**how):
        until(stubbed.starter.is_ready)
        started.append(stubbed.starter.start(0, how.pop("gpu", None), alone=how.pop("alone", False)))
        return started[-1]

    yield start
    for worker in started:
        worker.send_signal(signal.SIGTERM)
        worker.wait()


def gpus_of(study):
    """Return the GPUs that each worker journaled, by process ID."""
    history = History(study.paths)
    history.refresh()
    workers = (one.worker for one in history.workers.values() if one.worker is not None)
    return {worker.identity.pid: worker.extra.get("gpus") for worker in workers}


def listens(worker):
    """Return whether a worker takes stop signals."""
    caught = next(line for line in status_of(worker.pid) if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1


def status_of(pid):
    """Return the lines of a process's status."""
    return Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()


def test_a_forked_worker_looks_like_a_process_that_the_pool_started(stubbed, start):
    """It is the pool's child, has a worker's command line and log, and keeps nothing of the fork server's open."""
    worker = start(alone=True)
    until(lambda: "worker.worker" in words_of(worker.pid)[3])
    log = log_file(stubbed.study.paths.logs, os.uname().nodename, worker.pid)
    until(lambda: log.exists() and listens(worker))
    assert parent_of(worker.pid) == os.getpid()
    settings = WorkerSettings.from_argument(words_of(worker.pid)[4])
    assert words_of(worker.pid)[:4] == [sys.executable, "-P", "-m", "cnn_sweep.execution.worker.worker"]
    assert settings == replace(stubbed.starter._settings, alone=True)
    files = files_of(worker)
    assert [files[number] for number in range(3)] == [os.devnull, str(log), str(log)]
    assert files[settings.word] == "/memfd:cnn-sweep-pool (deleted)"
    assert not [file for file in files.values() if file.startswith(("socket:", "pipe:"))]


def test_a_signal_that_kills_a_forked_worker_is_its_exit_code(start):
    """As of any child; other processes are told nothing once it has ended."""
    worker = start()
    assert worker.poll() is None
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    worker.send_signal(signal.SIGTERM)
    assert worker.poll() == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_stop_right_after_the_fork_reaches_the_worker(stubbed, start, number):
    """It begins no trial, and ends as one that was asked to."""
    worker = start()
    worker.send_signal(number)
    worker.send_signal(signal.SIGINT)  # of the terminal, which tells the whole group
    assert worker.wait() == 0
    assert "from epoch" not in said(stubbed.study, worker)


def test_forked_workers_hear_the_pools_word(stubbed, start):
    """The memory of the word is the same as in the pool."""
    stubbed.word.drain()
    try:
        assert (worker := start()).wait() == 0
        assert "from epoch" not in said(stubbed.study, worker)
    finally:
        os.ftruncate(stubbed.word.descriptor, 0)


def test_a_forked_worker_has_its_gpu(stubbed, start):
    """It journals the one that it may use."""
    pid = start(gpu="7").pid
    until(lambda: pid in gpus_of(stubbed.study))
    assert gpus_of(stubbed.study)[pid] == ["7"]


def test_signals_of_the_group_do_not_end_the_fork_server(stubbed, start):
    """Slurm and terminals send them to all processes of a job; it forks on, and ends when it is told to."""
    server = stubbed.starter._server._process
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        server.send_signal(number)
    assert start().poll() is None
    assert server.poll() is None


def test_the_death_of_the_fork_server_ends_no_worker_and_another_one_is_started(stubbed, start):
    """The pool learns the exit code of its worker as before."""
    worker, server = start(), stubbed.starter._server._process
    until(lambda: listens(worker))
    server.kill()
    server.wait()
    until(stubbed.starter.is_ready)
    assert stubbed.starter._server._process.pid != server.pid
    assert parent_of(worker.pid) == os.getpid()
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_the_fork_server_ends_with_its_pool(stubbed):
    """Nothing is left of a pool that was killed."""
    until(stubbed.starter.is_ready)
    stubbed.starter._server._channel.close()
    assert stubbed.starter._server._process.wait(PATIENCE_S) == 0


def test_a_worker_that_its_pool_does_not_know_does_nothing(stubbed, monkeypatch):
    """Where a process cannot adopt orphans, the worker that was forked ends."""
    unknown = []

    def no_child(_, pid, __):
        unknown.append(pid)
        raise ChildProcessError

    until(stubbed.starter.is_ready)
    monkeypatch.setattr(os, "waitid", no_child)
    with (
        Path(os.devnull).open("ab") as log,
        pytest.raises(ForkServerError, match="this system does not let a process adopt orphans"),
    ):
        stubbed.starter._server.fork(stubbed.starter._settings, None, log)
    assert os.waitpid(unknown[0], 0)[1] == 0
    assert unknown[0] not in gpus_of(stubbed.study)


@pytest.fixture
def starter(tmp_path, monkeypatch):
    """What starts workers in an empty folder, where TensorFlow cannot be imported."""
    (tmp_path / "tensorflow.py").write_text('raise ImportError("libm.so is missing")\n', encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    starter = WorkerStarter(WorkerSettings(tmp_path, "none", 1, since=0.0), tmp_path / "logs")
    yield starter
    starter.close()


def test_where_tensorflow_cannot_be_imported_workers_are_started_by_themselves(starter):
    """They say it with a traceback in their logs; the pool says why it does not fork."""
    until(starter.is_ready)
    (news,) = starter.news()
    assert news.endswith("memory: it cannot be imported: ImportError: libm.so is missing")
    worker = starter.start(0, None, alone=False)
    assert isinstance(worker, subprocess.Popen)
    worker.kill()
    worker.wait()
    assert starter.is_ready()
    assert starter.news() == []


def test_a_fork_server_that_ends_early_gives_its_last_words(starter, monkeypatch):
    """As of a Python that does not start."""
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    until(starter.is_ready)
    (news,) = starter.news()
    assert "its process has ended: " in news


def test_nothing_is_forked_if_the_import_started_tensorflow(monkeypatch):
    """A runtime has threads and locks that a fork does not copy."""
    monkeypatch.setitem(sys.modules, "cnn_sweep.execution.worker.study_trainer", SimpleNamespace())
    monkeypatch.setattr(fork_server, "import_tensorflow", lambda *_, **__: None)
    monkeypatch.setattr(fork_server.gc, "freeze", lambda: None)
    for started, problem in ((False, None), (True, "its runtime was started by the import")):
        monkeypatch.setattr(fork_server, "has_started", lambda started=started: started)
        assert fork_server._import(1, whole_keras=False) == problem


def test_a_machine_that_allows_no_further_process_says_so(monkeypatch):
    """The pool goes on with fewer workers, as where it starts them itself."""

    def full():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(fork_server, "_fork", full)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not fork_server._is_forked(theirs)
        assert json.loads(ours.recv(100)) == {"errno": errno.EAGAIN}


def test_forked_workers_do_not_draw_the_same_numbers(monkeypatch):
    """NumPy's random numbers would go on from the same state in each of them."""
    monkeypatch.setattr(fork_server.os, "dup2", lambda *_: None)
    monkeypatch.setattr(fork_server, "_show", lambda *_: None)
    monkeypatch.setattr(fork_server.worker, "main", np.random.random)
    monkeypatch.setattr(sys, "argv", ["fork_server"])
    state, drawn = np.random.get_state(), []  # noqa: NPY002
    for _ in range(2):
        np.random.set_state(state)  # noqa: NPY002
        ours, release = socket.socketpair()
        with release:
            release.send(b"go")
            log = os.open(os.devnull, os.O_WRONLY)
            drawn.append(fork_server._be_worker(fork_server.Request("{}", None, log, ours)))
    np.random.set_state(state)  # noqa: NPY002
    assert drawn[0] != drawn[1]


def test_the_start_method_can_be_chosen(tmp_path, monkeypatch):
    """`spawn` starts each worker as a process of its own; another word is refused with the valid ones."""
    settings = WorkerSettings(tmp_path, "none", 1, since=0.0)
    monkeypatch.setenv(START_METHOD, "spawn")
    assert WorkerStarter(settings, tmp_path).is_ready()
    monkeypatch.setenv(START_METHOD, "fork")
    with pytest.raises(EnvironmentFault, match="CNN_SWEEP_START_METHOD=fork: choose forkserver or spawn"):
        WorkerStarter(settings, tmp_path)


def test_workers_inherit_the_pools_word(tmp_path, monkeypatch):
    """A pool's word reaches the process that it starts itself, by the descriptor in the worker's settings."""
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

    monkeypatch.setenv(START_METHOD, "spawn")
    monkeypatch.setattr(worker_processes.subprocess, "Popen", start)
    started = Pool(WorkerSettings(tmp_path, "s", threads=1, since=0.0, word=word.descriptor), 1, tmp_path)
    started.fill(1)
    assert started._slots[0].process.wait() == 0
    assert heard.read_text(encoding="utf-8") == "True"


def test_a_worker_whose_log_cannot_be_named_is_ended(tmp_path, monkeypatch):
    """Nobody would watch it otherwise."""
    popen, started = subprocess.Popen, []

    def start(*_, **how):
        (tmp_path / "s").rename(tmp_path / "gone")
        started.append(popen(["sleep", "60"], **how))
        return started[-1]

    monkeypatch.setenv(START_METHOD, "spawn")
    monkeypatch.setattr(worker_processes.subprocess, "Popen", start)
    with pytest.raises(EnvironmentFault, match="No such file or directory"):
        Pool(WorkerSettings(tmp_path, "s", threads=1, since=0.0), 1, tmp_path / "s").fill(1)
    assert started[0].returncode == -signal.SIGKILL


def test_a_forked_worker_trains_as_one_that_imports_tensorflow_by_itself(tmp_path, monkeypatch):
    """Bit for bit; and the process that forks it has no thread of TensorFlow's, whose runtime does not run there."""
    monkeypatch.delenv("PYTHONPATH", raising=False)  # of the study without TensorFlow
    forked, alone = (study_in(tmp_path / name) for name in ("forked", "alone"))
    settings = WorkerSettings(forked.paths.results, forked.name, 1, since=0.0)
    starter = WorkerStarter(settings, forked.paths.logs)
    try:
        until(starter.is_ready)
        worker = starter.start(0, None, alone=False)
        threads = Path(f"/proc/{starter._server._process.pid}/task").iterdir()
        assert len([(thread / "comm").read_text(encoding="utf-8") for thread in threads]) == 1
        assert worker.wait() == 0, said(forked, worker)
        assert starter.news() == []
    finally:
        starter.close()
    assert Worker(alone, replace(settings, results=alone.paths.results), StopRequest()).run() is Ending.DONE
    assert [epoch.epoch for epoch in epochs_of(forked)] == [1, 2]
    assert [epoch.metrics for epoch in epochs_of(forked)] == [epoch.metrics for epoch in epochs_of(alone)]
