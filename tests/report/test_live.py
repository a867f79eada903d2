"""``status --watch``: its output at one moment, on a terminal and in a pipe."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
import time

import pytest
from helpers.typed import typed_here
from rich.console import Console

from cnn_sweep.cli.ui import watch
from cnn_sweep.errors import InputError
from cnn_sweep.execution.pool.progress import ProgressMeter, pace_of
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import Checkpoint, Unsaved
from cnn_sweep.journal.history import History
from cnn_sweep.messages import plural
from cnn_sweep.report.live import clock, line, moment, sparkline
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study


def test_a_moment_of_a_running_study(written):
    """Rates, the best so far, and who trains what; trials that fail at once take no time."""
    written.study(trials=20, states=("complete", "complete", "running", "failed"))
    study = Study.open(written.results, "digits")
    found = moment(StoreReader(written.results), "digits", now=1_100.0)
    assert [row["trial"] for row in found.running] == [2, 6, 10, 14, 18]
    assert {(row["host"], row["epoch"], row["epoch_seconds"]) for row in found.running} == {("node7", 3, 0.5)}
    assert found.best == sorted(found.best)
    assert found.best[-1] == study.best()["value"]
    assert found.pace.per_minute == pytest.approx(60 * 5 / 1.0)  # five run, and the mean of 15 is a second
    assert found.epochs_per_s == pytest.approx(15 * 3 / 99.5)  # the first of them began at 1,000.5
    screen = io.StringIO()
    Console(file=screen, width=100).print(watch.page(study.status(), found))
    for words in (
        "digits: 15 of 20 trials",
        "5 running, 10 complete, 5 failed",
        "0.452 epochs/s, 300 trials/min, 0:00:00 left",
        "5 failed",
        "node7:7",
        "failed: 5 by exception",
    ):
        assert words in screen.getvalue()
    assert "0.452 epochs/s, best trial " in line(study.status(), found)


def test_status_shows_the_epochs_of_running_trials(written):
    """A long trial shows how far it is; of many trials, only the first are listed."""
    written.study(trials=40, states=("complete", "running"))
    report = Study.open(written.results, "digits").status()
    planned = StudyFolder.open(written.results, "digits").sweep.epochs
    assert len(report["running"]) == 20
    first = report["running"][0]
    assert (first["trial"], first["epoch"], first["epochs"]) == (1, 3, planned)
    done = subprocess.run(
        [sys.executable, "-m", "cnn_sweep.cli.main", "status", "digits", "--results", str(written.results)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert f"  trial 1: epoch 3 of {planned}, val_accuracy {first['value']:.3g}" in done.stdout
    assert "and 12 more running trials (`cnn-sweep status digits --watch` shows all)" in done.stdout


def test_a_trial_whose_checkpoints_cannot_be_written_is_shown_until_they_can(written):
    """In `status` and on its page, with the file and the reason; afterwards nothing is said of it any more."""
    reason = "c/1.0.ckpt: No space left on device"
    full = [Checkpoint(1_006.0, 1, 0, 1, "c", 1), Unsaved(1_007.0, 1, 0, 2, reason), Unsaved(1_007.0, 3, 0, 2, "old")]
    written.study(trials=4, states=("complete", "running"), more=[*full, Checkpoint(1_008.0, 3, 0, 3, "c", 1)])
    report = Study.open(written.results, "digits").status()
    assert [(one["saved_epoch"], one["unsaved"]) for one in report["running"]] == [(1, reason), (3, None)]
    words = f"trial 1 has no checkpoint since epoch 1: {reason}; it is tried again"
    assert words in typed_here(("status", "--results", written.results), written.results, {}).stdout
    screen = io.StringIO()
    found = moment(StoreReader(written.results), "digits", now=1_100.0)
    Console(file=screen, width=100).print(watch.page(report, found))
    assert words in screen.getvalue()
    assert "trial 3 has" not in screen.getvalue()


def test_a_checkpoint_that_was_deleted_is_told(written):
    """`status` names trials that will train epochs again, and from where: an older checkpoint, or their beginning."""
    saved = [Checkpoint(1_008.0, trial, 0, 3, f"checkpoints/{trial}.0.ckpt", 1) for trial in range(3)]
    written.study(trials=4, states=("paused", "interrupted", "paused", "complete"), more=saved)
    study = Study.open(written.results, "digits")
    study.paths.checkpoint(2, 0).touch()
    expected = [{"trial": 0, "epoch": 3, "from_epoch": 0}, {"trial": 1, "epoch": 3, "from_epoch": 0}]
    assert study.status()["lost"] == expected
    words = "2 checkpoints are gone; trials that go on without one train again: 0 from epoch 1, 1 from epoch 1"
    assert words in typed_here(("status", "--results", written.results), written.results, {}).stdout


def test_the_rate_of_epochs_is_that_of_the_time_in_which_there_were_some(written):
    """A young study's epochs are divided by the seconds since the first began, an old one's by the last two minutes."""
    written.study(trials=1, epochs=12, states=("running",))  # an epoch ends each second from 1,001 on
    for now, rate in ((1_012.0, 12 / 11.5), (1_072.0, 12 / 71.5), (1_124.75, 8 / 120), (1_500.0, 0.0)):
        assert moment(StoreReader(written.results), "digits", now=now).epochs_per_s == pytest.approx(rate)


def test_run_and_watch_tell_the_same_time_left(written):
    """The live display of `run` reads journals, `status --watch` the store; both use one estimate."""
    written.study(trials=27, states=("complete", "waiting", "running"))
    frozen = StudyFolder.open(written.results, "digits")
    history = History(frozen.paths)
    history.refresh()
    progress = ProgressMeter(frozen, history, since=0.0).read(workers=9)
    found = moment(StoreReader(written.results), "digits", now=time.time())
    assert (found.pace.per_minute, found.pace.left_s) == (progress.pace.per_minute, progress.pace.left_s)
    assert found.pace.between_s == pytest.approx(progress.pace.between_s)  # they look at the clock one after another
    assert list(progress.epochs.items())[:2] == [(2, 3), (5, 3)]
    assert progress.pace.left_s == pytest.approx(9 * 1.5 / 9)


@pytest.mark.parametrize(
    ("took", "running", "to_come", "per_minute", "left_s"),
    [
        ([10.0] * 4, [0.0] * 4, 4, 24, 20),  # four workers in step: two more rounds
        ([10.0] * 4, [9.0] * 4, 4, 24, 11),
        ([10.0] * 4, [99.0], 0, 6, 0),
        ([1_000.0] * 50 + [10.0] * 50, [0.0], 1, 6, 20),  # the last fifty count
        ([], [3.0], 1, None, None),
        ([10.0], [], 5, None, None),
    ],
)
def test_the_time_left_is_that_of_trials_like_the_last_ones(took, running, to_come, per_minute, left_s):
    """Each trial takes as long as the last ones did, what runs has its share behind it, and the workers share."""
    found = pace_of(took, running, to_come)
    assert (found.per_minute, found.left_s) == (per_minute, left_s)


def _left(draw, duration, workers, trials, done):
    """Play a study of trials that workers share; return the pace after some trials, and the time really left."""
    free, times = [0.0] * workers, []
    for _ in range(trials):
        began = min(free)
        free[free.index(began)] = end = began + duration(draw)
        times.append((began, end))
    now = sorted(end for _, end in times)[done - 1]
    took = [end - began for began, end in sorted(times, key=lambda time: time[1])][:done]
    running = [now - began for began, end in times if began <= now < end]
    return pace_of(took, running, trials - done - len(running)), max(free) - now


@pytest.mark.parametrize(
    ("workers", "trials", "done"), [(1, 40, 10), (4, 100, 10), (4, 100, 60), (8, 200, 20), (4, 30, 25)]
)
def test_the_interval_of_the_time_left_holds_it(workers, trials, done):
    """In nine of ten studies or more, where durations vary by a sixth, and where half are six times as long."""
    for duration in (lambda draw: draw.gauss(60, 10), lambda draw: draw.choice([20, 120]) * draw.uniform(0.9, 1.1)):
        draw = random.Random(0)
        found = [_left(draw, duration, workers, trials, done) for _ in range(200)]
        assert sum(low <= left <= high for pace, left in found for low, high in [pace.between_s]) >= 180


def test_an_attempt_that_another_one_followed_does_not_run(written):
    """A worker that vanished is not shown beside the one that took its trial over."""
    written.study(trials=1, states=("running",), attempts=2)
    assert [row["attempt"] for row in moment(StoreReader(written.results), "digits", now=1_100.0).running] == [1]


def test_a_page_fits_on_the_screen(written):
    """Of more running trials than there are lines some are shown, and how many more there are."""
    written.study(trials=70, states=("running",))
    report, found = (
        Study.open(written.results, "digits").status(),
        moment(StoreReader(written.results), "digits", now=1_100.0),
    )
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    lines = console.render_lines(watch._screen(report, found, console))
    assert len(lines) <= 24
    assert re.search(r"and 5\d more running trials", "".join(part.text for line in lines for part in line))


def test_numbers_agree_with_their_nouns():
    """One is not "1 workers"."""
    assert [plural(count, "worker") for count in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]


def test_lines_where_there_is_no_terminal(written, capsys):
    """A finished study is one line, and the command ends; without a name the only study is meant."""
    written.study(trials=4)
    watch.follow(written.results, None, 0.2)
    assert capsys.readouterr().out.startswith("digits: 4 complete of 4, 0 workers alive, 0 epochs/s, best trial ")
    written.study("other", trials=1)
    with pytest.raises(InputError, match=r"--watch shows one study; studies in .*: digits, other"):
        watch.follow(written.results, None, 0.2)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([1.0], "█"), ([1, 1], "██"), ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), (list(range(1000)), "▁▃▅▆█")],
)
def test_sparklines(values, drawn):
    """The last bar is the last value, however many there are."""
    assert sparkline(values, 5 if len(values) > 8 else 8) == drawn


def test_durations():
    """Hours are not days."""
    assert [clock(seconds) for seconds in (0, 61.4, 90_000)] == ["0:00:00", "0:01:01", "25:00:00"]
