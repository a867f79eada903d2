"""What the figures of a search say: its history over three axes, how rare a value is, and the middle of all trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.browser import opened

from cnn_sweep.errors import InputError
from cnn_sweep.journal.events import End, Epoch, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.document.html import page
from cnn_sweep.report.figures.learning_curves import deciles
from cnn_sweep.report.figures.plots import figures
from cnn_sweep.report.report_data import gather
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study


def gathered(written):
    """Read the data of a report."""
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    return gather(StoreReader(written.results), "digits", board)


@pytest.fixture
def values(written):
    """Two workers, of 2 and 4 threads, whose trials have given values; None fails after one epoch."""

    def make(found):
        written.study(trials=0)
        lines = {"a": (2, []), "b": (4, [])}
        for trial, value in enumerate(found):
            own = lines["ab"[trial % 2]][1]
            at = 1_000.0 + 100 * trial
            own.append(Start(at, trial, 0, f"c{trial}", 0, 1, {"filters": 4}))
            if value is None:
                own.append(End(at + 50, trial, 0, "failed", "exception", "ValueError: no", 0, 50.0))
                continue
            own.append(Epoch(at + 40, trial, 0, 1, 40.0, {"val_accuracy": value}))
            own.append(End(at + 50, trial, 0, "complete", None, None, 1, 50.0))
        for pid, (writer, (threads, events)) in enumerate(lines.items()):
            began = Worker(1_000.0, ProcessIdentity("node2", "boot", "pid:[1]", pid, 8), {}, threads)
            journal = StudyPaths(written.results, "digits").journal(writer)
            journal.write_bytes(b"".join(map(encode, [began, *events])))
        merge(written.results, wait_s=20)
        return gathered(written)

    return make


def traces_of(figure):
    """Return the traces of a figure by name."""
    return {trace["name"]: trace for trace in figure.data}


def test_the_history_is_over_trials_time_and_cores(values):
    """A failed trial has its place on each axis; time counts from the first start, cores with the threads of each."""
    data = values([0.5, None, 0.7, 0.6])
    over = {figure.name: figure for figure in figures(data, "history")}
    assert [one["x"] for one in (traces_of(figure)["complete"] for figure in over.values())] == [
        [1, 3, 4],
        pytest.approx([50 / 60, 250 / 60, 350 / 60], rel=1e-5),
        pytest.approx([100 / 60, 400 / 60, 600 / 60], rel=1e-5),
    ]
    assert [traces_of(figure)["failed"]["x"] for figure in over.values()] == [
        [2],
        pytest.approx([150 / 60], rel=1e-5),
        pytest.approx([300 / 60], rel=1e-5),
    ]
    assert traces_of(over["history"])["best so far"]["y"] == [0.5, 0.7, 0.7]
    assert data.cost["core_seconds"] == pytest.approx(600)
    assert over["history-time"].layout["xaxis"]["title"]["text"] == "minutes since the first trial began"
    assert over["history-cores"].layout["xaxis"]["title"]["text"] == "core minutes"


def test_the_history_leaves_out_what_is_far_from_the_others(values):
    """The axis holds the good ones; the caption says how many lie outside, and failed trials are on its edge."""
    data = values([0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.1, 0.2, None])
    figure = figures(data, "history")[0]
    low, high = figure.layout["yaxis"]["range"]
    assert 0.2 < low < 0.9
    assert 0.97 < high < 1
    assert "2 far from the others lie outside" in figure.caption
    assert traces_of(figure)["failed"]["y"] == [pytest.approx(low, abs=1e-5)]


def test_the_history_without_outliers_is_whole(values):
    """The axis is chosen by what is drawn, and the caption names nobody outside."""
    figure = figures(values([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97]), "history")[0]
    assert "range" not in figure.layout["yaxis"]
    assert "outside" not in figure.caption


def test_the_distribution_is_the_share_at_least_as_good(values):
    """Equal values have one share; failed trials have none."""
    figure = figures(values([0.5, 0.9, 0.7, 0.7, None]), "distribution")[0]
    line, points = figure.data
    assert (points["x"], points["y"]) == ([0.9, 0.7, 0.7, 0.5], [0.25, 0.75, 0.75, 1.0])
    assert line["y"] == points["y"]


def test_a_single_value_has_no_distribution(values):
    """Nor a figure of one."""
    assert not figures(values([0.5, None]), "distribution")


def test_the_middle_of_all_trials_is_behind_the_curves(written):
    """Deciles of all trials that reached an epoch equal NumPy's."""
    written.study(trials=60, epochs=4)
    data = gathered(written)
    found = deciles(data)
    assert found["epoch"] == [1, 2, 3, 4]
    for place, values in enumerate(data.by_epoch.values()):
        expected = np.quantile(values, [0.1, 0.5, 0.9])
        assert [found[name][place] for name in ("low", "middle", "high")] == pytest.approx(expected, rel=1e-5)
    assert "grey: the middle 80% of all trials" in figures(data, "curves")[0].caption


def test_a_slice_of_many_trials_has_a_line_of_medians(written):
    """Each of its points is the median of as many neighbours as the others."""
    written.study(trials=400)
    dots, line = next(figure for figure in figures(gathered(written), "slices") if "rate" in figure.name).data
    order = np.argsort(dots["x"])
    groups = np.array(dots["y"])[order].reshape(20, 20)
    assert line["y"] == pytest.approx(np.median(groups, axis=1), rel=1e-4)
    assert line["x"] == sorted(line["x"])


def test_the_page_draws_the_history_over_the_chosen_axis(written, browser, tmp_path):
    """One figure at a time; the distribution and the best trials are beside it."""
    written.study(trials=40, states=("complete", "complete", "pruned", "failed"))
    file = tmp_path / "page.html"
    file.write_text(page(gathered(written)), encoding="utf-8")
    with opened(browser, file) as tab:
        tab.wait_for_selector("html[data-figures]", state="attached")
        tab.select_option("#history select", "history-cores")
        shown = "[...document.querySelectorAll('#history .plot')].filter(isVisible).map((one) => one.dataset.figure)"
        assert tab.evaluate(shown) == ["history-cores", "best", "distribution"]
        tab.evaluate("drawAll()")
        title = "document.querySelector('[data-figure=history-cores]').layout.xaxis.title.text"
        assert tab.evaluate(title) == "core minutes"
        names = "document.querySelector('[data-curve=val_accuracy]')"
        tab.evaluate(f"draw({names})")
        assert tab.evaluate(f"{names}.data.slice(0, 3).map((trace) => trace.x)") == [[1, 2, 3]] * 3


def test_python_draws_the_history_over_an_axis(written):
    """An unknown axis is refused."""
    written.study(trials=12)
    plot = Study.open(written.results, "digits", merge=False).plot
    assert plot.history(over="time").layout.xaxis.title.text.endswith("since the first trial began")
    assert math.isclose(max(plot.distribution().data[1].y), 1.0)
    with pytest.raises(InputError):
        plot.history(over="space")
