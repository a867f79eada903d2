"""Commands that read a finished study: plans, leaderboards, single trials, exports, the store."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

# 12 configurations, of which the 7x7 window (6 of them) does not fit on a 6x6 map.
VALID = 6

NUMBERS = ["spread", "epochs_to_90", "gap", "slope", "final"]
CONTRACT = ["rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"]


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_run_ends_in_a_leaderboard(tiny):
    """``run`` prints the best trials with the hyperparameters that differ, and names what was skipped."""
    header = tiny.run.stdout.splitlines()[1].split()
    assert header[:7] == ["rank", "trial", "state", "value", "filters", "optimizer", "momentum"]
    assert "the same in all rows: window 2" in tiny.run.stderr
    assert "(`cnn-sweep leaderboard tiny --all` shows all columns" in tiny.run.stderr
    assert "skipped 6 configurations" in tiny.run.stderr
    assert "layer 2 (pool 7x7)" in tiny.run.stderr


def test_a_finished_study_runs_nothing(tiny):
    """Running it again says so, quickly, and shows the same leaderboard."""
    again = tiny("run", "tiny.yaml")
    assert "already finished; nothing to run" in again.stderr
    assert again.stdout == tiny.run.stdout


def test_resume_of_a_finished_study_runs_nothing(tiny):
    """``resume`` of a finished study says so as well."""
    assert "already finished" in tiny("resume", "tiny").stderr


def test_plan_writes_nothing(tiny, cli, sweep_text):
    """``plan`` lists trials, duplicates and invalid networks and leaves no file."""
    plan = json.loads(tiny("plan", "tiny.yaml", "--json", code=0).stdout)
    assert plan["trials"] == len(plan["configurations"]) == VALID
    assert plan["duplicates"] == 4  # momentum does not count with adam: two rows of each of its four pairs are one
    assert all("pool 7x7" in invalid["reason"] for invalid in plan["invalid"])
    assert set(plan["configurations"][0]) == {"params", "parameters", "trainable"}
    (cli.folder / "tiny.yaml").write_text(sweep_text, encoding="utf-8")
    cli("plan", "tiny.yaml")
    assert sorted(path.name for path in cli.folder.iterdir()) == ["tiny.yaml"]


def test_a_plan_without_a_valid_network_has_no_configurations(cli, sweep_text):
    """Only the configurations of an adaptive search are proposed later; a grid without a valid network has none."""
    broken = sweep_text.replace("window: [2, 7]", "window: [50, 60]")
    (cli.folder / "tiny.yaml").write_text(broken, encoding="utf-8")
    assert "0 trials of 0 configurations (grid" in cli("plan", "tiny.yaml").stdout


def test_all_leaderboards_have_one_order_of_columns(tiny):
    """In a pipe, ``leaderboard`` begins with the columns at the end of ``run``; the rest follows."""
    first = tiny.run.stdout.splitlines()[1].split()
    names = tiny("leaderboard", "tiny").stdout.splitlines()[1].split()
    assert names[: len(first)] == first
    assert {*CONTRACT, "window"} < set(names)


def test_leaderboard_csv_is_the_contract(tiny):
    """The columns come in their order, with metrics at the best epoch and then the hyperparameters."""
    rows = tiny.table("leaderboard", "tiny", "--format", "csv")
    names = list(rows[0])
    assert names[:8] == CONTRACT
    assert names[8:12] == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert names[-9:] == [*NUMBERS, "filters", "window", "optimizer", "momentum"]
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert [row["value"] == row["val_accuracy"] for row in rows] == [True] * VALID
    assert {row["momentum"] for row in rows if row["optimizer"] == "adam"} == {""}


def test_leaderboard_filters_sorts_and_cuts(tiny):
    """``--where``, ``--sort``, ``--top`` and ``--columns`` do what they say."""
    rows = tiny.table(
        *("leaderboard", "tiny", "--where", "optimizer == 'sgd' and parameters > 100", "--sort", "-parameters"),
        *("--top", 3, "--columns", "trial,parameters,optimizer", "--format", "csv"),
    )
    assert len(rows) == 3
    assert list(rows[0]) == ["trial", "parameters", "optimizer"]
    assert {row["optimizer"] for row in rows} == {"sgd"}
    sizes = [int(row["parameters"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sort", "accurracy"], "unknown column 'accurracy' (did you mean 'accuracy'?); columns: rank, trial"),
        (["--where", "lr > 1"], "unknown column 'lr'"),
        (["--where", "value >"], "value >"),
        (["--where", "__import__('os').system('true')"], "__import__"),
        (["--columns", "a,b"], "unknown column 'a'"),
    ],
)
def test_leaderboard_refuses_what_it_does_not_know(tiny, words, message):
    """A wrong column or expression is one message with the choices, exit code 2."""
    assert message in tiny("leaderboard", "tiny", *words, code=2).stderr


def test_leaderboard_groups_and_leaves_out(tiny):
    """``--by`` sums up, ``--diff`` leaves out what is the same, and both go with ``--where``."""
    rows = tiny.table("leaderboard", "tiny", "--by", "optimizer", "--where", "filters == 2", "--format", "csv")
    assert list(rows[0]) == ["optimizer", "n", "trials", "mean", "std", "best", "best_trial"]
    assert {row["optimizer"]: row["n"] for row in rows} == {"adam": "1", "sgd": "2"}
    rows = tiny.table("leaderboard", "tiny", "--diff", "--where", "missing(momentum)", "--format", "csv")
    assert list(rows[0])[-1] == "filters"


def test_leaderboard_in_other_forms(tiny):
    """JSON is a list of rows and Markdown a pipe table."""
    rows = json.loads(tiny("leaderboard", "tiny", "--format", "json").stdout)
    assert [row["rank"] for row in rows] == list(range(1, VALID + 1))
    lines = tiny("leaderboard", "tiny", "--format", "markdown", "--columns", "rank,trial").stdout.splitlines()
    assert lines[:2] == ["| rank | trial |", "| --- | --- |"]


def test_status_counts_every_state(tiny):
    """``status --json`` has a count for each state, the workers, the best trial and the jobs."""
    status = json.loads(tiny("status", "tiny", "--json").stdout)
    states = {"waiting", "running", "complete", "pruned", "failed", "paused", "interrupted"}
    assert set(status["trials"]) == states
    assert status["trials"]["complete"] == VALID
    assert status["workers"] == {"alive": 0, "unknown": 0}
    assert status["jobs"] == []
    best = tiny.table("leaderboard", "tiny", "--top", 1, "--format", "csv")[0]
    assert status["best"] == {"trial": int(best["trial"]), "value": float(best["value"])}
    assert status["graphs"]["cached"] + status["graphs"]["compiled"] == VALID
    text = tiny("status").stdout
    assert "6 complete" in text
    assert f"graphs: {status['graphs']['cached']} of {VALID} attempts reused a compiled network" in text


def test_show_has_the_learning_curve(tiny):
    """``show`` gives the parameters, the attempts and every epoch of a trial."""
    shown = json.loads(tiny("show", "tiny", 0, "--json").stdout)
    assert shown["trial"]["params"]["filters"] == 2
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [1, 2]
    assert len(shown["attempts"]) == 1
    assert "val_accuracy" in tiny("show", "tiny", 0).stdout


def test_show_of_a_trial_that_is_not_there(tiny):
    """The message for an unknown trial lists the valid numbers."""
    assert "there is no trial 99" in tiny("show", "tiny", 99, code=2).stderr


def test_an_unknown_study_lists_the_known_ones(tiny):
    """Each reading command lists the existing studies."""
    for words in (
        ["leaderboard", "tin"],
        ["status", "tin"],
        ["show", "tin", 0],
        ["resume", "tin"],
        ["finalize", "tin"],
    ):
        assert "studies there: tiny" in tiny(*words, code=2).stderr


def test_export_csv_has_full_precision(tiny, tmp_path):
    """``trials.csv`` and ``epochs.csv`` agree with the store to the last bit."""
    tiny("export", "tiny", "--to", "csv", tmp_path)
    trials = _rows(tmp_path / "trials.csv")
    epochs = _rows(tmp_path / "epochs.csv")
    assert list(epochs[0])[:4] == ["study", "trial", "attempt", "epoch"]
    assert len(trials) == VALID
    assert len(epochs) == 2 * VALID
    with sqlite3.connect(tiny.results / "sweeps.db") as store:
        values = dict(store.execute("SELECT trial, value FROM trials WHERE study = 'tiny'").fetchall())
    assert {int(row["trial"]): float(row["value"]) for row in trials} == values


def test_the_view_has_a_column_for_each_hyperparameter(tiny):
    """sqlite3 alone reads a leaderboard."""
    with sqlite3.connect(tiny.results / "sweeps.db") as store:
        row = store.execute("SELECT filters, optimizer, value FROM leaderboard_tiny WHERE rank = 1").fetchone()
    best = tiny.table("leaderboard", "tiny", "--top", 1, "--format", "csv")[0]
    assert row == (int(best["filters"]), best["optimizer"], float(best["value"]))


def test_the_python_api_gives_the_same_leaderboard(tiny):
    """``Study.leaderboard()`` is the command's table as a DataFrame."""
    code = (
        "from cnn_sweep import Study; import sys\n"
        f"Study.open({str(tiny.results)!r}, 'tiny').leaderboard().to_csv(sys.stdout, index=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    command = tiny.table("leaderboard", "tiny", "--format", "csv")
    assert [row["trial"] for row in rows] == [row["trial"] for row in command]
    assert [float(row["value"]) for row in rows] == [float(row["value"]) for row in command]


def test_a_store_is_rebuilt_as_it_was(tiny):
    """Without its database a results folder gives the same tables again."""
    before = tiny("leaderboard", "tiny", "--format", "csv").stdout
    (tiny.results / "sweeps.db").unlink()
    tiny("store", "rebuild")
    assert tiny("leaderboard", "tiny", "--format", "csv").stdout == before
    assert "sound" in tiny("store", "check").stdout


def test_finalize_opens_the_test_set(tiny):
    """``finalize`` shows validation and test scores of the best; no leaderboard shows the test set before."""
    assert "test_" not in tiny("leaderboard", "tiny", "--format", "csv").stdout
    shown = tiny("finalize", "tiny", "--top", 2)
    assert "test_accuracy" in shown.stdout
    assert "its model was not kept, training it again" in shown.stderr  # one model is kept by default
    trial = json.loads(
        tiny("show", "tiny", tiny.table("leaderboard", "tiny", "--format", "csv")[0]["trial"], "--json").stdout
    )
    assert 0.0 <= trial["trial"]["test_metrics"]["test_accuracy"] <= 1.0


def test_a_changed_sweep_is_refused_with_a_diff(tiny, sweep_text):
    """Another meaning under the same name is refused, exit code 2."""
    (tiny.folder / "changed.yaml").write_text(sweep_text.replace("epochs: 2", "epochs: 3"), encoding="utf-8")
    refused = tiny("run", "changed.yaml", code=2).stderr
    assert "-  epochs: 2" in refused
    assert "+  epochs: 3" in refused


def test_extend_adds_what_is_new(tiny, sweep_text):
    """``run --extend`` trains the new choices only."""
    (tiny.folder / "wider.yaml").write_text(
        sweep_text.replace("filters: [2, 4]", "filters: [2, 4, 3]"), encoding="utf-8"
    )
    assert "--extend" in tiny("run", "wider.yaml", code=2).stderr
    before = tiny.table("leaderboard", "tiny", "--format", "csv")
    tiny("run", "wider.yaml", "--extend", "--workers", 1)
    after = tiny.table("leaderboard", "tiny", "--format", "csv")
    assert len(after) == len(before) + VALID // 2
    old = {row["trial"]: row["value"] for row in before}
    assert {row["trial"]: row["value"] for row in after if row["trial"] in old} == old
