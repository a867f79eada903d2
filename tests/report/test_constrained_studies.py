"""Studies with constraints on what trials measure: every best is a feasible one, and every table says why."""

from __future__ import annotations

import csv
import sqlite3

import pytest
from helpers.written import SWEEP, Written
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.execution.models.model_files import best_trials
from cnn_sweep.execution.pool.progress import best_trial
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.retention import best_numbers
from cnn_sweep.report.document import answer
from cnn_sweep.report.document.summary import summary
from cnn_sweep.report.exports import export
from cnn_sweep.report.leaderboards.leaderboard import matching
from cnn_sweep.report.leaderboards.leaderboard import overview as overview_of
from cnn_sweep.report.methods import methods
from cnn_sweep.report.report_data import gather
from cnn_sweep.store.files import store_file
from cnn_sweep.store.overview import overview
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study

CONSTRAINTS = ("parameters <= 1000", "val_loss <= 0.4")
CONSTRAINED = SWEEP.replace(
    "training:", f"search: {{{{method: tpe, trials: 30, constraints: {list(CONSTRAINTS)}}}}}\ntraining:"
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of 30 trials, some with too many weights, and some with too large a loss."""
    results = tmp_path_factory.mktemp("results")
    return Written(results).study(sweep=CONSTRAINED, states=("complete", "complete", "complete", "failed"))


def expected(rows):
    """Rank rows by the definition: violations as fractions of the bounds, added up; then the value."""

    def violation(row):
        return max(row["parameters"] / 1000 - 1, 0) + max(row["val_loss"] / 0.4 - 1, 0)

    complete = [row for row in rows if row["state"] == "complete"]
    return sorted((violation(row), -row["value"], row["trial"]) for row in complete)


def test_every_best_is_feasible(study):
    """The leaderboard, its view, the summary, the models to keep, `finalize` and `status` agree with the definition."""
    board = Study.open(study.results, "digits").leaderboard_table()
    ranked = expected(board.rows)
    assert 0 < sum(violation == 0 for violation, *_ in ranked) < len(ranked)
    assert ranked[0][1] > min(ranked, key=lambda one: one[1])[1]  # the best of all is infeasible
    order = [trial for *_, trial in ranked]
    assert [row["trial"] for row in board.rows if row["rank"] is not None] == order
    assert [row["violation"] for row in board.rows[: len(order)]] == pytest.approx([one[0] for one in ranked])
    assert board.columns.index("violation") == board.columns.index("seconds") + 1
    with sqlite3.connect(store_file(study.results)) as database:
        view = database.execute("SELECT trial, violation FROM leaderboard_digits WHERE rank IS NOT NULL").fetchall()
    assert [trial for trial, _ in view] == order
    folder = StudyFolder.open(study.results, "digits")
    history = folder.history()
    assert best_numbers(history, folder.sweep, 30) == order
    assert best_trials(folder, history, 30) == order
    assert best_trial(folder, history)[0] == Study.open(study.results, "digits").best()["trial"] == order[0]
    (found,) = overview(StoreReader(study.results))
    assert found["best"] == board.rows[0]["value"]


def test_tables_and_texts_say_what_is_violated(study, tmp_path):
    """The leaderboard has a column and a note, the report a row, the methods a sentence, a CSV file the values."""
    opened = Study.open(study.results, "digits")
    table = opened.leaderboard_table()
    count = sum(violation > 0 for violation, *_ in expected(table.rows))
    assert len(matching(table, "violation > 0").rows) == count
    assert "violation" in overview_of(table, ()).columns
    (note,) = table.notes
    assert note.startswith("violation is that of parameters <= 1000 and val_loss <= 0.4, as fractions of the bounds; ")
    data = gather(opened.store, "digits", table)
    constraints = dict(summary(data))["constraints"]
    assert constraints == f"parameters <= 1000; val_loss <= 0.4; violated by {count} of 23 complete trials"
    text = methods(data, opened.sweep, None).text
    assert f"satisfy parameters <= 1000 and val_loss <= 0.4. The {count} of 23 that did not were ranked" in text
    export("csv", StoreReader(study.results), "digits", str(tmp_path / "csv"))
    with (tmp_path / "csv" / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["violation"] or 0) > 0 for row in rows) == count


def test_a_study_without_a_feasible_trial_says_so(written):
    """In ``status``, and first of all in the report's answer: its best is the one that violates least."""
    sweep = CONSTRAINED.replace("parameters <= 1000", "parameters <= 1")
    studied = written.study(sweep=sweep, states=("complete",))
    opened = Study.open(written.results, "digits")
    best = opened.status()["best"]
    assert best["violation"] > 0
    (first, *_) = answer.best(gather(opened.store, "digits", opened.leaderboard_table())).notes
    assert first.startswith("no complete trial satisfies the constraints; its violation is ")
    said = CliRunner().invoke(app, ["status", "digits", "--results", str(studied.results)]).output
    assert "; no complete trial satisfies the constraints" in said


def test_configurations_with_an_infeasible_trial_come_last(written):
    """With repeats, the mean violation ranks them; they are not compared with the best."""
    written.study(sweep=CONSTRAINED, configurations=6)
    board = Study.open(written.results, "digits").leaderboard_table("configuration")
    violations = [row["violation"] for row in board.rows]
    assert violations == sorted(violations)
    assert 0 < violations.count(0.0) < len(violations)
    assert all((row["tied"] is None) == bool(row["violation"]) for row in board.rows)
