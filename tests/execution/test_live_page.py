"""The pools of a study take turns at writing its live page."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.execution.pool import live_page
from cnn_sweep.execution.pool.live_page import LiveWriter
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.identity import current
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.slurm.profile import Profile


class Clock:
    """A clock that a test sets."""

    now = 1_000.0

    def monotonic(self):
        """Return its time."""
        return self.now


class Process:
    """A process that writes the page until it is told to stop."""

    def __init__(self, command, **_):
        self.command, self.told = command, []

    def poll(self):
        """Be alive until told to stop."""
        return 0 if self.told else None

    def send_signal(self, number):
        """Remember."""
        self.told.append(number)

    def wait(self, _):
        """End at once."""


@pytest.fixture
def clock(monkeypatch):
    """The clock of all writers."""
    clock = Clock()
    monkeypatch.setattr(live_page, "time", clock)
    return clock


@pytest.fixture
def started(monkeypatch):
    """The processes that were started, in order, and the last renewals."""
    started = []

    def popen(command, **how):
        started.append(Process(command, **how))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(subprocess, "run", lambda command, **how: started.append(("last", command)))
    return started


@pytest.fixture
def writers(tmp_path):
    """The writers of three pools."""
    paths = StudyPaths(tmp_path / "results", "digits")
    paths.create()
    paths.live.mkdir()
    return [LiveWriter(paths, Claims(paths, name, current()), 60.0) for name in ("one", "two", "three")]


def look(writers, clock, seconds):
    """Let some time pass, and all pools look."""
    clock.now += seconds
    for writer in writers:
        writer.look()


def renew(writers, clock):
    """Renew the page, as the process of the pool whose turn it is does."""
    os.utime(writers[0]._paths.live, (clock.now, clock.now))


def test_one_pool_writes_the_page(writers, clock, started):
    """The first to claim it, as long as the page is renewed, in a process of its own: the command that users type."""
    for _ in range(6):
        look(writers, clock, 60)
        renew(writers, clock)
    (process,) = started
    assert process.command[2:5] == ["-m", "cnn_sweep.cli.main", "report"]
    assert process.command[-6:-1] == ["--watch", "60", "--results", str(writers[0]._paths.results), "--output"]


def test_another_pool_takes_over_from_one_that_is_gone(writers, clock, started):
    """After three intervals without a renewal, exactly one other; the first stops if it was only suspended."""
    look(writers, clock, 0)
    for _ in range(4):
        look(writers[1:], clock, 61)
    assert len(started) == 2
    assert started[0].told == []
    look(writers, clock, 61)
    assert started[0].told == [signal.SIGINT]
    assert started[1].told == []


def test_a_writer_that_was_killed_is_started_again(writers, clock, started):
    """By its own pool, which still has its turn."""
    look(writers, clock, 0)
    started[0].told.append(signal.SIGKILL)
    look(writers, clock, 61)
    assert len(started) == 2


def test_a_pool_that_ends_hands_the_page_over_at_once(writers, clock, started):
    """The next one to look writes, without waiting for three intervals."""
    look(writers, clock, 0)
    writers[0].end(None)
    assert started[0].told == [signal.SIGINT]
    look(writers[1:], clock, 61)
    assert len(started) == 2


def test_the_last_renewal_says_that_the_study_is_finished(writers, clock, started):
    """The writer makes it, and one pool besides, because either may be the last that saw the study unfinished."""
    look(writers, clock, 0)
    for writer in (writers[1], writers[2], writers[0]):
        writer.end("1-12")
    assert [one[0] for one in started[1:]] == ["last", "last"]


def test_a_profile_asks_for_the_page():
    """Not more often than file servers tell of it."""
    assert Profile.parse("live = {}").live.every_s == 60
    assert Profile.parse("[live]\nevery_s = 600").live.every_s == 600
    assert Profile.parse("").live is None
    with pytest.raises(SweepFileError, match=r"live\.every_s"):
        Profile.parse("live = {every_s = 1}")
