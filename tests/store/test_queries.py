from __future__ import annotations

import math
import sqlite3

import pytest

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.journal.events import End, Epoch, Finalize, Start
from cnn_sweep.store import queries
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader


@pytest.fixture
def board(study, results):
    """The leaderboard of the study, as columns and rows."""
    merge(results)
    return queries.leaderboard(StoreReader(results), "digits")


def test_the_columns_are_those_of_the_contract(board):
    """Fixed columns, metrics at the best epoch, the curve's numbers, hyperparameters in the order of the sweep file."""
    columns, rows = board
    assert columns == (
        *("rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"),
        *("loss", "val_loss", "val_accuracy", "learning_rate_at_best_epoch"),
        *("spread", "epochs_to_90", "gap", "slope", "final"),
        *("filters", "learning_rate", "optimizer"),
    )
    assert all(set(row) == {*columns, *queries.MORE} for row in rows)


def test_complete_trials_are_ranked_and_the_others_follow(board):
    """The best is first; trials that run or failed have no rank."""
    assert [(row["rank"], row["trial"], row["state"]) for row in board[1]] == [
        (1, 1, "complete"),
        (2, 0, "complete"),
        (None, 3, "running"),
        (None, 2, "failed"),
    ]
    best = board[1][0]
    assert (best["value"], best["best_epoch"], best["loss"], best["learning_rate"]) == (0.9, 2, 0.5, 0.1)
    assert (best["parameters"], best["epochs"], best["seconds"]) == (123, 2, 4.5)


def test_equal_trials_are_ranked_by_number(study, results):
    """Of trials with one value the first one is better."""
    for trial in (7, 5, 6):
        study.run("a", trial, [0.95])
    merge(results)
    assert [row["trial"] for row in queries.leaderboard(StoreReader(results), "digits")[1][:3]] == [5, 6, 7]


def test_what_is_minimised_is_ranked_from_below(results, new_study):
    """With direction minimize the lowest value is the best, within a trial and between trials."""
    study = new_study(results, metric="val_loss", direction="minimize")
    study.run("a", 0, [0.1, 0.1])
    study.run("a", 1, [0.1, 0.1, 0.1])
    merge(results)
    rows = queries.leaderboard(StoreReader(results), "digits")[1]
    assert [(row["trial"], row["best_epoch"]) for row in rows] == [(1, 3), (0, 2)]
    assert queries.study_summary(StoreReader(results), "digits")["best"]["trial"] == 1


def test_a_trial_without_a_value_is_not_ranked(study, results):
    """A complete trial whose metric never was a number stands below the ranked ones."""
    study.run("a", 5, [math.nan])
    merge(results)
    rows = queries.leaderboard(StoreReader(results), "digits")[1]
    assert [(row["rank"], row["trial"], row["value"]) for row in rows[:3]] == [
        (1, 1, 0.9),
        (2, 0, 0.7),
        (None, 5, None),
    ]


@pytest.mark.parametrize(("direction", "value"), [("minimize", -math.inf), ("maximize", math.inf)])
def test_an_infinite_value_is_not_ranked(new_study, results, direction, value):
    """No infinity wins a study, in the store's tables, views or summary; the best of the other epochs counts."""
    study = new_study(results, direction=direction)
    study.run("a", 0, [value, 0.25])
    study.run("a", 1, [value, value])
    study.run("a", 2, [0.5])
    merge(results)
    winner, loser = ((0, 0.25), (2, 0.5)) if direction == "minimize" else ((2, 0.5), (0, 0.25))
    rows = queries.leaderboard(StoreReader(results), "digits")[1]
    ranked = [(row["rank"], row["trial"], row["value"]) for row in rows]
    assert ranked == [(1, *winner), (2, *loser), (None, 1, None)]
    assert queries.study_summary(StoreReader(results), "digits")["best"] == dict(
        zip(("trial", "value"), winner, strict=True)
    )
    with sqlite3.connect(results / "sweeps.db") as store:
        assert store.execute("SELECT trial, value FROM leaderboard_digits WHERE rank = 1").fetchone() == winner
        assert store.execute("SELECT count(value) FROM epochs_digits").fetchone() == (2,)


def test_hyperparameters_keep_their_types(study, results):
    """Lists, truths, texts that look like numbers: all come back as they were given."""
    params = {"filters": [3, 3], "learning_rate": True, "optimizer": "nan"}
    study.run("a", 5, [0.99], params=params)
    merge(results)
    row = queries.leaderboard(StoreReader(results), "digits")[1][0]
    assert {name: row[name] for name in params} == params


def test_a_hyperparameter_with_a_name_that_is_taken_gets_another(study, results):
    """A hyperparameter called like a fixed column is shown beside it, and one like a metric keeps its name."""
    study.run("a", 5, [0.99], params={"epochs": 10, "loss": "hinge", "seed": "oak"})
    merge(results)
    columns, rows = queries.leaderboard(StoreReader(results), "digits")
    assert len(set(columns)) == len(columns)
    assert (rows[0]["params_seed"], type(rows[0]["seed"])) == ("oak", int)
    assert (rows[0]["params_epochs"], rows[0]["epochs"]) == (10, 1)
    assert (rows[0]["loss"], rows[0]["loss_at_best_epoch"]) == ("hinge", 1.0)


@pytest.mark.parametrize("study_name", ["digits", "a-b.c_d", "0"])
def test_the_views_show_what_the_leaderboard_shows(results, new_study, study_name):
    """People who open the file with another program see the same rows in the same order."""
    study = new_study(results, study_name)
    study.plan(8)
    study.run("a", 0, [0.5, 0.7])
    study.run("a", 1, [0.5, 0.9], params={"filters": 8, "it's": 'a "word"'})
    study.run("a", 2, [0.1], state="failed")
    merge(results)
    connection = sqlite3.connect(results / "sweeps.db")
    cursor = connection.execute(f'SELECT * FROM "leaderboard_{study_name}"')
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    columns, expected = queries.leaderboard(StoreReader(results), study_name)
    assert tuple(names) == columns
    assert rows == [{name: row[name] for name in columns} for row in expected]
    epochs = connection.execute(f'SELECT trial, epoch, val_accuracy FROM "epochs_{study_name}"').fetchall()
    assert epochs == [(0, 1, 0.5), (0, 2, 0.7), (1, 1, 0.5), (1, 2, 0.9), (2, 1, 0.1)]
    connection.close()


def test_a_leaderboard_reads_no_epochs(study, results):
    """What a leaderboard needs stands on the trials' rows."""
    merge(results)
    connection = sqlite3.connect(results / "sweeps.db")
    connection.execute("DROP VIEW epochs_digits")
    connection.execute("DELETE FROM epochs")
    connection.commit()
    connection.close()
    assert queries.leaderboard(StoreReader(results), "digits")[1][0]["value"] == 0.9


def test_a_summary_counts_all_states(study, results):
    """All states are there, waiting is what is planned and did not begin; causes of failures are counted."""
    study.tell("a", Start(1.0, 4, 0, "c", 0, 1, {}), End(2.0, 4, 0, "failed", "diverged", "NaN", 0, 1.0))
    merge(results)
    summary = queries.study_summary(StoreReader(results), "digits")
    assert summary["trials"] == {
        "waiting": 3,
        "running": 1,
        "complete": 2,
        "failed": 2,
        "pruned": 0,
        "paused": 0,
        "interrupted": 0,
    }
    assert summary["trials"] == queries.counts(StoreReader(results), "digits")
    assert summary["best"] == {"trial": 1, "value": 0.9}
    assert summary["causes"] == {"diverged": 1, "unknown": 1}
    assert (summary["planned"], summary["metric"], summary["method"]) == (8, "val_accuracy", "grid")
    assert summary["parameters"] == ["filters", "learning_rate", "optimizer"]


def test_workers_are_listed_with_their_processes(study, results):
    """Each journal's first line is there, and when it last was written to."""
    merge(results)
    (worker,) = queries.list_workers(StoreReader(results), "digits")
    assert (worker["writer"], worker["host"], worker["pid"], worker["last_event"]) == ("login", "host", 7, 2.0)
    assert worker["identity"]["boot_id"] == "boot"
    assert worker["versions"] == {"keras": "3"}


def test_a_trial_has_its_attempts_epochs_and_artifacts(study, results):
    """Everything about one trial comes in one answer, with metrics by name."""
    study.tell("a", Finalize(8.0, 0, {"test_accuracy": float("inf")}))
    merge(results)
    detail = queries.trial_detail(StoreReader(results), "digits", 0)
    assert detail["trial"]["params"] == {"filters": 4, "learning_rate": 0.1, "optimizer": "sgd"}
    assert detail["trial"]["test_metrics"] == {"test_accuracy": math.inf}
    assert [epoch["val_accuracy"] for epoch in detail["epochs"]] == [0.5, 0.7, 0.6]
    assert [attempt["state"] for attempt in detail["attempts"]] == ["complete"]
    assert detail["artifacts"] == []


def test_exports_hold_every_number_as_it_was(study, results):
    """Trials by number with all metrics and hyperparameters; epochs at full precision, only those that count."""
    value = 0.1 + 0.2
    study.tell("b", Epoch(1035.0, 3, 0, 3, 0.5, {"val_accuracy": value, "extra": math.nan}))
    study.run("c", 3, [0.6], attempt=1, after=1)
    study.tell("c", Epoch(1036.0, 3, 1, 3, 0.5, {"val_accuracy": value, "extra": math.nan}))
    study.tell("c", Finalize(9.0, 1, {"test_loss": 0.25}))
    merge(results)
    columns, rows = queries.export_trials(StoreReader(results), "digits")
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]
    assert columns[:3] == ("study", "trial", "state")
    assert rows[1]["test_loss"] == 0.25
    assert "test_loss" in columns
    names, epochs = queries.export_epochs(StoreReader(results), "digits")
    found = [row for row in epochs if row["trial"] == 3]
    assert names[:4] == ("study", "trial", "attempt", "epoch")
    assert [(row["attempt"], row["epoch"]) for row in found] == [(0, 1), (1, 2), (1, 3)]
    assert found[2]["val_accuracy"] == value
    assert math.isnan(found[2]["extra"])
    assert all(set(row) == set(names) for row in found)


def test_unknown_studies_and_trials_are_named(study, results):
    """A typing error gets the names that there are."""
    merge(results)
    with pytest.raises(
        StudyError, match=r"no study 'digit' in the store \(did you mean 'digits'\?\); studies there: digits"
    ):
        queries.leaderboard(StoreReader(results), "digit")
    with pytest.raises(StudyError, match="there is no trial 99; 8 are planned"):
        queries.trial_detail(StoreReader(results), "digits", 99)


def test_a_missing_or_damaged_store_is_said_with_the_cure(study, results):
    """No traceback for a store that cannot be read, but what to do."""
    with pytest.raises(EnvironmentFault, match="there is no store; `cnn-sweep store merge` creates it"):
        queries.counts(StoreReader(results), "digits")
    (results / "sweeps.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(EnvironmentFault, match="file is not a database; `cnn-sweep store rebuild` rebuilds it"):
        queries.counts(StoreReader(results), "digits")


def test_the_numbers_of_a_curve_are_columns(study, results):
    """What an end says of the learning curve stands in leaderboard, view, export and detail."""
    study.run("a", 5, [0.8, 0.99], state=None)
    study.tell("a", End(1060.0, 5, 0, "complete", None, None, 2, 4.5, 123, curve={"gap": 0.25, "final": 0.99}))
    merge(results)
    best, second, *_ = queries.leaderboard(StoreReader(results), "digits")[1]
    assert (best["trial"], best["gap"], best["final"], best["slope"]) == (5, 0.25, 0.99, None)
    assert second["gap"] is None
    exported = queries.export_trials(StoreReader(results), "digits")[1]
    assert {row["trial"]: row["gap"] for row in exported} == {0: None, 1: None, 2: None, 3: None, 5: 0.25}
    assert queries.trial_detail(StoreReader(results), "digits", 5)["trial"]["curve"] == {"gap": 0.25, "final": 0.99}
    with sqlite3.connect(results / "sweeps.db") as store:
        assert store.execute("SELECT gap, slope FROM leaderboard_digits WHERE rank = 1").fetchone() == (0.25, None)


def test_a_hyperparameter_that_is_called_like_a_number_keeps_its_name(study, results):
    """The number of the curve gives way."""
    study.run("a", 5, [0.99], params={"gap": "global"}, state=None)
    study.tell("a", End(1060.0, 5, 0, "complete", None, None, 1, 4.5, 123, curve={"gap": 0.25}))
    merge(results)
    best = queries.leaderboard(StoreReader(results), "digits")[1][0]
    assert (best["gap"], best["curve_gap"]) == ("global", 0.25)
