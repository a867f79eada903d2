"""``status --watch``: what it says at a moment, on a terminal and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cnn_sweep.cli import watching
from cnn_sweep.errors import InputError
from cnn_sweep.report.live import clock, line, moment, sparkline
from cnn_sweep.study import Study


def test_a_moment_of_a_running_study(written):
    """Rates, the best so far, who trains what, and the time left."""
    written.study(trials=20, states=("complete", "complete", "running", "failed"))
    study = Study.open(written.results, "digits")
    found = moment(written.results, "digits", now=1_100.0)
    assert [row["trial"] for row in found.running] == [2, 6, 10, 14, 18]
    assert {(row["host"], row["epoch"], row["epoch_seconds"]) for row in found.running} == {("node7", 3, 0.5)}
    assert found.best == sorted(found.best)
    assert found.best[-1] == study.best()["value"]
    assert found.left_s == pytest.approx(5 / (14 / (1_100 - 1_004)))
    assert found.epochs_per_s == pytest.approx(15 * 3 / 120)
    screen = io.StringIO()
    Console(file=screen, width=100).print(watching.page(study.status(), found))
    for words in (
        "digits: 15 of 20 trials, 0:00:34 left",
        "10 complete",
        "5 failed",
        "node7:7",
        "failed: 5 by exception",
    ):
        assert words in screen.getvalue()
    assert "0.375 epochs/s, best trial " in line(study.status(), found)


def test_lines_where_there_is_no_terminal(written, capsys):
    """A finished study is one line, and the command ends; without a name the only study is meant."""
    written.study(trials=4)
    watching.watch(written.results, None, 0.2)
    assert capsys.readouterr().out.startswith("digits: 4 complete of 4, 0 workers alive, 0 epochs/s, best trial ")
    written.study("other", trials=1)
    with pytest.raises(InputError, match="--watch shows one study; studies there: digits, other"):
        watching.watch(written.results, None, 0.2)


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
