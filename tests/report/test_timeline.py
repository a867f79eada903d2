"""The timeline of workers: lanes, bars, what they tell in figures, and how the page draws them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.browser import opened, until

from cnn_sweep.journal.events import End, Epoch, Lost, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.document.html import page
from cnn_sweep.report.document.markdown import markdown
from cnn_sweep.report.figures.plots import figures
from cnn_sweep.report.figures.timeline import lanes_of, shown_lanes
from cnn_sweep.report.report_data import gather
from cnn_sweep.report.worker_times import WorkerTime, worker_table, worker_times
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study


def gathered(written):
    """Read the data of a report."""
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    return gather(StoreReader(written.results), "digits", board)


def _epochs(at, trial, attempt, numbers):
    return [Epoch(at + 10 * n, trial, attempt, n, 10.0, {"val_accuracy": n / 10}) for n in numbers]


@pytest.fixture
def lost(written):
    """Two workers: one lost trial 0 after three epochs, the other trained two of them again, and trial 1 failed."""
    written.study(trials=0)
    params = {"filters": 4}
    journals = {
        "a": [
            Start(1_000, 0, 0, "c0", 0, 1, params),
            *_epochs(1_000, 0, 0, (1, 2, 3)),
            Lost(1_050, 0, 0, "killed", ""),
        ],
        "b": [
            Start(1_060, 0, 1, "c0", 0, 1, params, 1),
            *_epochs(1_050, 0, 1, (2, 3)),
            End(1_090, 0, 1, "complete", None, None, 3, 20.0),
            Start(1_100, 1, 0, "c1", 0, 1, params),
            End(1_110, 1, 0, "failed", "exception", "ValueError: no", 0, 0.0),
        ],
    }
    for pid, (writer, events) in enumerate(journals.items()):
        began = Worker(1_000.0, ProcessIdentity("node2", "boot", "pid:[1]", pid, 8), {}, 1)
        StudyPaths(written.results, "digits").journal(writer).write_bytes(b"".join(map(encode, [began, *events])))
    merge(written.results, wait_s=20)
    return written


def test_a_bar_is_an_attempt_of_a_worker(lost):
    """It has the worker's lane, the attempt's time, its end as colour, and trial, epochs and value to hover."""
    (figure,) = figures(gathered(lost), "timeline")
    bars = {
        (trace["name"], *bar)
        for trace in figure.data
        for bar in zip(*(trace[name] for name in ("customdata", "y", "base", "x", "text", "hovertext")), strict=True)
    }
    assert bars == {
        ("lost", 0, 0, 0.0, 30.0, "3 in 30 s", None),
        ("complete", 0, 1, 60.0, 30.0, "2 in 30 s (attempt 1)", 0.3),
        ("failed", 1, 1, 100.0, 10.0, "0 in 10 s", None),
    }
    assert figure.layout["yaxis"]["ticktext"] == ["node2:0", "node2:1"]
    assert "The first began on 1970-01-01 00:16:40 UTC" in figure.caption


def test_a_worker_is_busy_idle_or_trains_for_nothing(lost):
    """Failed attempts and epochs that were trained again are lost; the Markdown has the same table."""
    data = gathered(lost)
    rows = worker_table(worker_times(data.workers, data.attempts)).rows
    assert [tuple(row.values())[1:] for row in rows] == [
        (1, 0.014, "60%", "40%", "40%"),
        (2, 0.031, "36%", "64%", "9%"),
    ]
    assert "## Workers\n\n| worker | attempts | hours | busy | idle | lost |" in markdown(data)


def _worker(host, first, last, busy=1.0):
    attempt = {"started": first, "until": first + busy, "state": "complete", "repeated": 0.0}
    return WorkerTime(host, 1, first, last, (attempt,))


def test_many_workers_share_lanes_and_the_busiest_are_drawn():
    """More than sixty workers share the lanes of their node when one followed another; sixty lanes are left at most."""
    few = [_worker("a", place, place + 1) for place in range(60)]
    assert lanes_of(few) == [[one] for one in few]
    many = [_worker(f"n{node}", start, start + 10, busy=node) for node in range(50) for start in (0, 5, 10)]
    lanes = lanes_of(many)
    assert [[one.first for one in lane] for lane in lanes] == [[0, 10], [5]] * 50
    drawn = shown_lanes(lanes)
    assert len(drawn) == 60
    assert lanes[-1] in drawn
    assert lanes[0] not in drawn


def test_the_table_of_workers_is_short():
    """Those that are left over stand together in the last of twenty rows."""
    rows = worker_table([_worker(f"n{node}", 0, 3_600, busy=1_800) for node in range(50)]).rows
    assert len(rows) == 20
    assert rows[-1] == {
        "worker": "31 others",
        "attempts": 31,
        "hours": 31.0,
        "busy": "50%",
        "idle": "50%",
        "lost": "0%",
    }


@pytest.mark.parametrize(("trials", "paths"), [(30, 0), (600, 3)])
def test_the_page_shows_pale_what_the_filter_leaves_out(browser, written, trials, paths):
    """Few bars are bars, many are a path of those that the filter keeps and a pale path; a ticked trial has a ring."""
    written.study(trials=trials, states=("complete", "failed"))
    file = Path(written.results) / "digits.html"
    file.write_text(page(gathered(written)), encoding="utf-8")
    with opened(browser, file) as tab:
        tab.click("#rows tr:nth-child(1) input")
        tab.fill("#filter", "state == 'complete'")
        tab.evaluate("document.querySelector('#timeline').scrollIntoView()")
        until(tab, "keptTrials() && !queued()")
        drawn = "document.querySelector('#timeline .plot')"
        until(tab, f"{drawn}.dataset.drawn === 'yes' && {drawn}.data.some(({{ mode }}) => mode === 'markers')")
        opacities = tab.evaluate(f"{drawn}.layout.shapes.map(({{ opacity }}) => opacity)")
        kept = tab.evaluate(f"{drawn}.data.filter(({{ base }}) => base).map((one) => one.selectedpoints.length)")
        assert (opacities, kept) == (([], [15, 0]) if not paths else ([0.16, 1], []))
