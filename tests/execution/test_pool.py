"""A pool's workers are started and stopped by signals that may come at any moment."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.pool import pool as pools
from cnn_sweep.execution.pool.pool import Pool
from cnn_sweep.execution.pool.supervisor import PoolSupervisor
from cnn_sweep.execution.pool.worker_processes import WorkerStarter, log_file, signals_blocked
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.protocol import WorkerSettings
from cnn_sweep.journal.events import Checkpoint, Epoch, Start, Unsaved
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.sweep.sweep import Sweep

LISTENS = """
import sys
from cnn_sweep.execution.worker.protocol import StopRequest
stop = StopRequest()
print("born", flush=True)
sys.stdin.readline()
stop.listen()
print(bool(stop), flush=True)
"""


def start_by(monkeypatch, start):
    """Let pools start their workers by a function."""
    monkeypatch.setattr(WorkerStarter, "is_ready", lambda _: True)
    monkeypatch.setattr(WorkerStarter, "start", start)


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

    start_by(monkeypatch, start)
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
    with signals_blocked():
        worker = subprocess.Popen(
            [sys.executable, "-c", LISTENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
    worker.send_signal(number)
    worker.send_signal(signal.SIGINT)  # of the terminal, which tells the whole group
    assert worker.stdout.readline() == "born\n"
    said, _ = worker.communicate("go\n", timeout=60)
    assert (said, worker.returncode) == ("True\n", 0)


class Dead:
    """A worker that has ended."""

    pids = itertools.count(5_000_000)

    def __init__(self, returncode=1):
        self.pid, self.returncode = next(self.pids), returncode

    def poll(self):
        """Be dead."""
        return self.returncode

    def send_signal(self, _):
        """Hear nothing."""


class Alive(Dead):
    """A worker that runs."""

    def poll(self):
        """Be alive."""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A pool of two, the workers that it gets in turn (then such as die at once), and its clock."""
    made = SimpleNamespace(now=100.0, next=[], started=[], pool=None)

    def start(*_, **__):
        made.started.append((made.now, made.next.pop(0) if made.next else Dead()))
        return made.started[-1][1]

    monkeypatch.setattr(pools, "time", SimpleNamespace(monotonic=lambda: made.now))
    start_by(monkeypatch, start)
    made.pool = Pool(WorkerSettings(tmp_path, "s", threads=1, since=0.0), 2, tmp_path)
    return made


def watch(places, seconds, *, wanted):
    """Reap and refill as a supervisor does, and return how long each start was after the one before it."""
    end = places.now + seconds
    while places.now < end:
        if places.pool.reap() or places.pool.needs_refill:
            places.pool.fill(wanted)
        assert places.pool.running or places.pool.is_waiting or places.pool.needs_refill
        places.now += 0.25
    return [later[0] - earlier[0] for earlier, later in itertools.pairwise(places.started)]


def test_a_place_whose_workers_die_at_once_rests_longer_each_time(places):
    """The pauses double up to a minute, and no other place takes the work over meanwhile."""
    places.pool.fill(1)
    pauses = watch(places, 400, wanted=1)
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[-3:] == pytest.approx([60, 60, 60], abs=0.5)
    assert len(places.started) < 16


def test_a_worker_that_lived_longer_is_replaced_at_once(places):
    """One death an hour is nothing that repeats itself."""
    places.next[:] = [Alive(), Alive()]
    places.pool.fill(1)
    for _, worker in list(places.started):
        places.now += 3600
        worker.poll = lambda: 1
        places.pool.reap()
        assert not places.pool.is_waiting
    assert places.pool.needs_refill


def test_a_worker_that_ends_by_itself_is_no_false_start(places):
    """One that found nothing to do shows that workers can work, and its place need not rest."""
    places.next[:] = [Dead(), Dead(), Dead(), Dead(returncode=0), Dead()]
    for _ in range(5):
        places.now += 100
        places.pool.fill(1)
        assert places.pool.count_false_starts(places.pool.reap(), began=set()) == []
    assert [slot.false_starts for slot in places.pool._slots] == [1, 0]


def test_a_resting_place_is_left_alone_when_its_work_is_done(places):
    """A pool ends as soon as nothing is wanted, and when it is stopped."""
    places.pool.fill(1)
    watch(places, 10, wanted=1)
    assert places.pool.is_waiting
    places.pool.fill(0)
    assert not places.pool.is_waiting
    assert not places.pool.needs_refill


def test_one_broken_place_is_closed_and_the_others_go_on(places):
    """As where one of several GPUs is broken: its workers die before they begin a trial, that of the other trains."""
    healthy = Alive()
    places.next[:] = [healthy]
    places.pool.fill(2)
    said = []
    while not said:
        assert len(places.started) < 9
        if deaths := places.pool.reap():
            said += places.pool.count_false_starts(deaths, began={healthy.pid})
        places.pool.fill(2)
        places.now += 1
    assert said[0].startswith("going on with a worker less: 4 workers died in a row before they began a trial")
    watch(places, 300, wanted=2)
    assert len(places.started) == 5
    assert places.pool.processes == {healthy.pid}
    places.started[0][1].poll = lambda: 1
    with pytest.raises(EnvironmentFault, match="5 workers died in a row"):
        places.pool.count_false_starts(places.pool.reap(), began=set())


def test_no_place_is_judged_before_each_has_had_a_worker_that_died(places):
    """While the first worker of another place still starts, it may yet work."""
    places.next[:] = [starting := Alive()]
    places.pool.fill(2)
    for _ in range(3):
        assert places.pool.count_false_starts(places.pool.reap(), began=set()) == []
        places.now += 100
        places.pool.fill(2)
    starting.poll = lambda: 1
    with pytest.raises(EnvironmentFault, match="5 workers died"):
        places.pool.count_false_starts(places.pool.reap(), began=set())


def test_a_pool_forks_no_more_if_two_forked_workers_in_a_row_begin_no_trial(places):
    """The import may have left something that a fork does not survive; a worker that began a trial speaks for forks."""
    for began in (False, True, False):
        places.pool.fill(1)
        deaths = places.pool.reap()
        places.pool.count_false_starts(deaths, began={deaths[0].pid} if began else set())
        places.now += 100
    assert places.pool.news() == ()
    places.pool.fill(1)
    places.pool.count_false_starts(places.pool.reap(), began=set())
    (news,) = places.pool.news()
    assert news.endswith("memory: two in a row died before they began a trial")


def test_a_pool_waits_for_the_import_and_then_wants_to_be_filled(places, monkeypatch):
    """Until then it has no workers, and does not end; if it is stopped meanwhile, it ends."""
    places.next[:] = [Alive(), Alive()]
    ready = []
    monkeypatch.setattr(WorkerStarter, "is_ready", lambda _: bool(ready))
    places.pool.fill(2)
    assert (places.pool.running, places.pool.is_waiting, places.pool.needs_refill) == (0, True, False)
    ready.append(True)
    assert places.pool.needs_refill
    places.pool.fill(2)
    assert (places.pool.running, places.pool.is_waiting, places.pool.needs_refill) == (2, False, False)
    places.pool.reap()
    ready.clear()
    places.pool.fill(2)
    assert not places.pool.is_waiting, "nothing is to be started"


def test_a_pool_that_is_stopped_does_not_wait_for_the_import(places, monkeypatch):
    """Ctrl-C while TensorFlow is imported ends it at once."""
    monkeypatch.setattr(WorkerStarter, "is_ready", lambda _: False)
    places.pool.fill(2)
    places.pool.stop()
    assert not places.pool.is_waiting
    places.pool.fill(2)
    assert (places.started, places.pool.is_waiting) == ([], False)


SWEEP = """
study: watched
data: {source: digits}
model: {layers: [flatten, output: softmax]}
training: {epochs: 1}
search: {repeats: 2}
"""


@pytest.fixture
def study(tmp_path):
    """A study of two trials."""
    return StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)


def test_progress_elsewhere_does_not_keep_a_broken_pool_alive(study, monkeypatch):
    """Workers that die at once end their pool although a pool on another machine trains on."""
    started = []

    def start(*_, **__):
        started.append(Dead())
        return started[-1]

    start_by(monkeypatch, start)
    elsewhere = replace(current(), host="n9", boot_id="another")
    with JournalWriter(study.paths.journal(new_writer_name())) as journal:
        journal.append(replace(worker_event(threads=1), identity=elsewhere))
        journal.append(Start(1.0, 0, 0, "c", 0, 0, {}))
        epochs = itertools.count(1)

        def observe(_):
            journal.append(Epoch(1.0, 0, 0, next(epochs), 1.0, {}))
            assert len(started) < 9

        supervisor = PoolSupervisor(study, WorkerSettings(study.paths.results, "watched", 1, since=0.0), 1)
        with pytest.raises(EnvironmentFault, match="4 workers died in a row before they began a trial"):
            supervisor.run(observe)


SAVES = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).touch(), sys.exit(0)))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
signal.pause()
"""


def test_a_worker_that_cannot_work_stops_the_others_after_a_checkpoint(study, monkeypatch, tmp_path):
    """The pool ends with its words; none of the others is killed before it has saved what it trained."""
    saved = tmp_path / "saved"
    codes = [[SAVES, str(saved)], [f"raise SystemExit({EnvironmentFault.exit_code})"]]

    def start(_self, place, *_, **__):
        with signals_blocked():
            process = subprocess.Popen([sys.executable, "-c", *codes[place]])
        study.paths.logs.mkdir(exist_ok=True)
        log = log_file(study.paths.logs, os.uname().nodename, process.pid)
        log.write_text("cnn-sweep: the disk is full\n", encoding="utf-8")
        return process

    start_by(monkeypatch, start)
    supervisor = PoolSupervisor(study, WorkerSettings(study.paths.results, "watched", 1, since=0.0), 2)
    with pytest.raises(EnvironmentFault, match=r"a worker cannot work:\n *cnn-sweep: the disk is full"):
        supervisor.run(lambda _: None)
    assert saved.exists()


def test_a_pool_tells_once_of_trials_without_checkpoints(study):
    """And once more when they have one again; only of its own machine's."""
    supervisor = PoolSupervisor(study, WorkerSettings(study.paths.results, "watched", 1, since=0.0), 1)
    elsewhere = replace(current(), host="n9", boot_id="another")
    notes = []
    own, other = (JournalWriter(study.paths.journal(new_writer_name())) for _ in range(2))
    with own, other:
        own.append(worker_event(threads=1))
        other.append(replace(worker_event(threads=1), identity=elsewhere))
        for trial, journal in enumerate((own, other)):
            journal.append(Start(1.0, trial, 0, "c", 0, 0, {}))
            journal.append(Unsaved(2.0, trial, 0, 3, "f: No space left on device"))
        for event in (Epoch(3.0, 0, 0, 4, 1.0, {}), Checkpoint(4.0, 0, 0, 4, "f", 1), Epoch(5.0, 0, 0, 5, 1.0, {})):
            notes += supervisor._step([]).notes
            own.append(event)
        notes += supervisor._step([]).notes
    supervisor._journal.close()
    supervisor.kill()
    assert notes == [
        "trial 0 trains without a checkpoint of epoch 3: f: No space left on device",
        "trial 0 has a checkpoint again",
    ]


@pytest.fixture
def full(tmp_path, monkeypatch):
    """A pool of three on a machine that allows some number of processes, which a test sets."""
    started, allowed = [], []

    def start(*_, **__):
        if len(started) == allowed[0]:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(Process())
        return started[-1]

    start_by(monkeypatch, start)
    pool: Any = Pool(WorkerSettings(tmp_path, "s", threads=1, since=0.0), 3, tmp_path)
    pool.allowed = allowed
    return pool


def test_a_pool_goes_on_with_fewer_workers_if_the_machine_allows_no_more(full):
    """It says so once, with the cure; and it tries again when it is filled the next time."""
    full.allowed[:] = [2]
    full.fill(3)
    assert full.running == 2
    (news,) = full.news()
    assert "going on with 2 workers, as another cannot be started: Resource temporarily unavailable" in news
    assert "`ulimit -u`" in news
    assert full.news() == ()
    full.allowed[:] = [3]
    full.fill(3)
    assert full.running == 3


def test_a_pool_that_can_start_no_worker_ends_with_a_fault(full):
    """There is nothing to go on with."""
    full.allowed[:] = [0]
    with pytest.raises(EnvironmentFault, match=r"a worker cannot be started: Resource temporarily .*fewer workers"):
        full.fill(3)
