"""The commands as people type them, on one real study of digits."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

SWEEP = """
study: tiny
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3, activation: relu}
    - pool: $window
    - flatten
    - output: softmax
space:
  filters: [2, 4]
  window: [2, 7]
  optimizer: [sgd, adam]
  momentum: {low: 0.0, high: 0.9, points: 2, when: {optimizer: sgd}}
search: {method: grid}
training:
  epochs: 2
  batch_size: 64
  optimizer: {name: $optimizer, learning_rate: 0.01, momentum: $momentum}
"""
# 12 configurations, of which the 7x7 window (6 of them) does not fit on a 6x6 map.
VALID = 6

CONTRACT = ["rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"]


class Cli:
    """Types commands in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "cnn_sweep.cli.main", *map(str, words)]

    def __call__(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"CNN_SWEEP_RESULTS": str(self.results), "COLUMNS": "200"}

    def table(self, *words: object) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self(*words).stdout)))


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    """A folder with a sweep file, run once."""
    found = Cli(tmp_path_factory.mktemp("commands"))
    (found.folder / "tiny.yaml").write_text(SWEEP)
    found.run = found("run", "tiny.yaml", "--workers", 2)
    return found


def test_run_ends_in_a_leaderboard(cli):
    """``run`` prints the best trials with their hyperparameters, and names what was skipped."""
    header = cli.run.stdout.splitlines()[1].split()
    assert header == [*CONTRACT, "filters", "window", "optimizer", "momentum"]
    assert "6 configurations are skipped" in cli.run.stderr
    assert "layer 2 (pool 7x7)" in cli.run.stderr


def test_a_finished_study_runs_nothing(cli):
    """Running it again says so, quickly, and shows the same leaderboard."""
    again = cli("run", "tiny.yaml")
    assert "finished already, nothing was run" in again.stderr
    assert again.stdout == cli.run.stdout


def test_resume_of_a_finished_study_runs_nothing(cli):
    """``resume`` of a finished study says so as well."""
    assert "finished already" in cli("resume", "tiny").stderr


def test_plan_writes_nothing(cli, tmp_path):
    """``plan`` lists trials, duplicates and invalid networks and leaves no file."""
    plan = json.loads(cli("plan", "tiny.yaml", "--json", code=0).stdout)
    assert plan["trials"] == len(plan["configurations"]) == VALID
    assert plan["duplicates"] == 4  # momentum does not count with adam: two rows of each of its four pairs are one
    assert all("pool 7x7" in invalid["reason"] for invalid in plan["invalid"])
    assert set(plan["configurations"][0]) == {"params", "parameters"}
    other = Cli(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    other("plan", "tiny.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_leaderboard_csv_is_the_contract(cli):
    """The columns come in their order, with metrics at the best epoch and then the hyperparameters."""
    rows = cli.table("leaderboard", "tiny", "--format", "csv")
    names = list(rows[0])
    assert names[:8] == CONTRACT
    assert names[8:12] == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert names[-4:] == ["filters", "window", "optimizer", "momentum"]
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert [row["value"] == row["val_accuracy"] for row in rows] == [True] * VALID
    assert {row["momentum"] for row in rows if row["optimizer"] == "adam"} == {""}


def test_leaderboard_filters_sorts_and_cuts(cli):
    """``--where``, ``--sort``, ``--top`` and ``--columns`` do what they say."""
    rows = cli.table(
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
        (["--sort", "accurracy"], "unknown column 'accurracy'; columns: rank, trial"),
        (["--where", "lr > 1"], "unknown column 'lr'"),
        (["--where", "value >"], "value >"),
        (["--where", "__import__('os').system('true')"], "__import__"),
        (["--columns", "a,b"], "unknown column 'a'"),
    ],
)
def test_leaderboard_refuses_what_it_does_not_know(cli, words, message):
    """A wrong column or expression is one message with the choices, exit code 2."""
    assert message in cli("leaderboard", "tiny", *words, code=2).stderr


def test_leaderboard_in_other_forms(cli):
    """JSON is a list of rows and Markdown a pipe table."""
    rows = json.loads(cli("leaderboard", "tiny", "--format", "json").stdout)
    assert [row["rank"] for row in rows] == list(range(1, VALID + 1))
    lines = cli("leaderboard", "tiny", "--format", "markdown", "--columns", "rank,trial").stdout.splitlines()
    assert lines[:2] == ["| rank | trial |", "| --- | --- |"]


def test_status_counts_every_state(cli):
    """``status --json`` has a count for each state, the workers, the best trial and the jobs."""
    status = json.loads(cli("status", "tiny", "--json").stdout)
    states = {"waiting", "running", "complete", "pruned", "failed", "paused", "interrupted"}
    assert set(status["trials"]) == states
    assert status["trials"]["complete"] == VALID
    assert status["workers"] == {"alive": 0, "unknown": 0}
    assert status["jobs"] == []
    best = cli.table("leaderboard", "tiny", "--top", 1, "--format", "csv")[0]
    assert status["best"] == {"trial": int(best["trial"]), "value": float(best["value"])}
    assert "6 complete" in cli("status").stdout


def test_show_has_the_learning_curve(cli):
    """``show`` gives the parameters, the attempts and every epoch of a trial."""
    shown = json.loads(cli("show", "tiny", 0, "--json").stdout)
    assert shown["trial"]["params"]["filters"] == 2
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [1, 2]
    assert len(shown["attempts"]) == 1
    assert "val_accuracy" in cli("show", "tiny", 0).stdout


def test_show_of_a_trial_that_is_not_there(cli):
    """An unknown trial's message says which there are."""
    assert "no trial 99" in cli("show", "tiny", 99, code=2).stderr


def test_an_unknown_study_lists_the_known_ones(cli):
    """Each reading command says which studies there are."""
    for words in (
        ["leaderboard", "tin"],
        ["status", "tin"],
        ["show", "tin", 0],
        ["resume", "tin"],
        ["finalize", "tin"],
    ):
        assert "studies there: tiny" in cli(*words, code=2).stderr


def test_export_csv_has_full_precision(cli, tmp_path):
    """``trials.csv`` and ``epochs.csv`` agree with the store to the last bit."""
    cli("export", "tiny", "--to", "csv", tmp_path)
    trials = _rows(tmp_path / "trials.csv")
    epochs = _rows(tmp_path / "epochs.csv")
    assert list(epochs[0])[:4] == ["study", "trial", "attempt", "epoch"]
    assert len(trials) == VALID
    assert len(epochs) == 2 * VALID
    with sqlite3.connect(cli.results / "sweeps.db") as store:
        values = dict(store.execute("SELECT trial, value FROM trials WHERE study = 'tiny'").fetchall())
    assert {int(row["trial"]): float(row["value"]) for row in trials} == values


def test_the_view_has_a_column_for_each_hyperparameter(cli):
    """sqlite3 alone reads a leaderboard."""
    with sqlite3.connect(cli.results / "sweeps.db") as store:
        row = store.execute("SELECT filters, optimizer, value FROM leaderboard_tiny WHERE rank = 1").fetchone()
    best = cli.table("leaderboard", "tiny", "--top", 1, "--format", "csv")[0]
    assert row == (int(best["filters"]), best["optimizer"], float(best["value"]))


def test_the_python_api_gives_the_same_leaderboard(cli):
    """``Study.leaderboard()`` is the command's table as a DataFrame."""
    code = (
        "from cnn_sweep import Study; import sys\n"
        f"Study.open({str(cli.results)!r}, 'tiny').leaderboard().to_csv(sys.stdout, index=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    command = cli.table("leaderboard", "tiny", "--format", "csv")
    assert [row["trial"] for row in rows] == [row["trial"] for row in command]
    assert [float(row["value"]) for row in rows] == [float(row["value"]) for row in command]


def test_a_store_is_rebuilt_as_it_was(cli):
    """Without its database a results folder gives the same tables again."""
    before = cli("leaderboard", "tiny", "--format", "csv").stdout
    (cli.results / "sweeps.db").unlink()
    cli("store", "rebuild")
    assert cli("leaderboard", "tiny", "--format", "csv").stdout == before
    assert "sound" in cli("store", "check").stdout


def test_finalize_opens_the_test_set(cli):
    """``finalize`` shows validation and test scores of the best; no leaderboard shows the test set before."""
    assert "test_" not in cli("leaderboard", "tiny", "--format", "csv").stdout
    shown = cli("finalize", "tiny", "--top", 2)
    assert "test_accuracy" in shown.stdout
    assert "its model was not kept, training it again" in shown.stderr  # one model is kept by default
    trial = json.loads(
        cli("show", "tiny", cli.table("leaderboard", "tiny", "--format", "csv")[0]["trial"], "--json").stdout
    )
    assert 0.0 <= trial["trial"]["test_metrics"]["test_accuracy"] <= 1.0


def test_a_changed_sweep_is_refused_with_a_diff(cli):
    """Another meaning under the same name is refused, exit code 2."""
    (cli.folder / "changed.yaml").write_text(SWEEP.replace("epochs: 2", "epochs: 3"))
    refused = cli("run", "changed.yaml", code=2).stderr
    assert "-  epochs: 2" in refused
    assert "+  epochs: 3" in refused


def test_extend_adds_what_is_new(cli):
    """``run --extend`` trains the new choices only."""
    (cli.folder / "wider.yaml").write_text(SWEEP.replace("filters: [2, 4]", "filters: [2, 4, 3]"))
    assert "--extend" in cli("run", "wider.yaml", code=2).stderr
    before = cli.table("leaderboard", "tiny", "--format", "csv")
    cli("run", "wider.yaml", "--extend", "--workers", 1)
    after = cli.table("leaderboard", "tiny", "--format", "csv")
    assert len(after) == len(before) + VALID // 2
    old = {row["trial"]: row["value"] for row in before}
    assert {row["trial"]: row["value"] for row in after if row["trial"] in old} == old


SLOW = SWEEP.replace("study: tiny", "study: slow").replace("epochs: 2", "epochs: 150")


def _journals_have(results: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in results.glob("*/journal/*.jsonl"))


def _wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_ctrl_c_leaves_a_study_that_resume_continues(tmp_path):
    """The first Ctrl-C writes checkpoints and exits with 130; ``resume`` goes on from them."""
    cli = Cli(tmp_path)
    (tmp_path / "slow.yaml").write_text(SLOW.replace("window: [2, 7]", "window: [2]").replace("[2, 4]", "[2]"))
    command = cli.command("run", "slow.yaml", "--workers", 2)
    run = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=cli.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    _wait_for(lambda: _journals_have(cli.results, b'"epoch":3'))
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors.decode()
    assert b"`cnn-sweep resume slow` continues" in errors
    status = json.loads(cli("status", "slow", "--json").stdout)
    assert status["trials"]["interrupted"] == 2
    cli("resume", "slow", "--workers", 2)
    shown = json.loads(cli("show", "slow", 0, "--json").stdout)
    assert [attempt["state"] for attempt in shown["attempts"]] == ["interrupted", "complete"]
    assert shown["attempts"][1]["start_epoch"] >= 3


def test_failed_trials_are_said_and_exit_with_1(tmp_path):
    """A trial that diverges is failed with its cause; the others go on; the exit code is 1."""
    cli = Cli(tmp_path)
    text = SWEEP.replace("learning_rate: 0.01", "learning_rate: $rate").replace(
        "space:", "space:\n  rate: [0.01, 1.0e+30]"
    )
    (tmp_path / "tiny.yaml").write_text(text.replace("optimizer: [sgd, adam]", "optimizer: [sgd]"))
    done = cli("run", "tiny.yaml", "--workers", 1, code=1)
    assert "trials failed" in done.stderr
    failed = [row for row in cli.table("leaderboard", "tiny", "--format", "csv") if row["state"] == "failed"]
    assert failed
    shown = json.loads(cli("show", "tiny", failed[0]["trial"], "--json").stdout)
    assert shown["trial"]["cause"] == "diverged"


def test_all_mistakes_of_a_file_come_at_once(tmp_path):
    """A bad sweep file exits with 2 and one line for each mistake, with file and line; nothing is written."""
    cli = Cli(tmp_path)
    (tmp_path / "bad.yaml").write_text(SWEEP.replace("pool: $window", "pol: $window").replace("epochs: 2", "epoch: 2"))
    errors = cli("run", "bad.yaml", code=2).stderr
    assert "bad.yaml:7" in errors
    assert "pol" in errors
    assert "bad.yaml:17" in errors or "bad.yaml:16" in errors
    assert not cli.results.exists()


def test_a_study_whose_trials_fail_alike_is_stopped(tmp_path):
    """Three trials with one and the same exception are enough; ``resume`` gives a mended study another chance."""
    cli = Cli(tmp_path)
    (tmp_path / "network.py").write_text("def build(params, image_shape, classes):\n    return params['missing']\n")
    model = "model: {build: 'network:build'}\n"
    text = SWEEP[: SWEEP.index("model:")] + model + SWEEP[SWEEP.index("space:") :]
    (tmp_path / "tiny.yaml").write_text(text)
    done = cli("run", "tiny.yaml", "--workers", 1, code=1)
    assert "stopped with 9 trials left: those so far failed alike" in done.stderr
    assert "KeyError: 'missing'" in done.stderr
    assert json.loads(cli("status", "tiny", "--json").stdout)["trials"]["failed"] == 3


def test_cancel_stops_a_run_after_its_checkpoints(tmp_path):
    """``cancel`` from another terminal ends a local run as Ctrl-C does; a cancelled trial is failed for good."""
    cli = Cli(tmp_path)
    (tmp_path / "slow.yaml").write_text(SLOW.replace("window: [2, 7]", "window: [2]").replace("[2, 4]", "[2]"))
    run = subprocess.Popen(
        cli.command("run", "slow.yaml", "--workers", 1),
        cwd=tmp_path,
        env=cli.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _wait_for(lambda: _journals_have(cli.results, b'"epoch":3'))
    cli("cancel", "slow", 1)
    cli("cancel", "slow")
    run.communicate(timeout=60)
    states = json.loads(cli("status", "slow", "--json").stdout)["trials"]
    assert states["failed"] == 1
    assert states["interrupted"] == 1
    assert json.loads(cli("show", "slow", 1, "--json").stdout)["trial"]["cause"] == "cancelled"
    assert "is cancelled" not in cli("logs", "slow").stdout
    assert "trial 1 is failed already" in cli("cancel", "slow", 1, code=2).stderr


def test_data_that_changed_under_a_study_are_refused(tmp_path):
    """Trials on other data than the first ones' cannot be ranked with them: the run ends with what changed."""
    numpy = pytest.importorskip("numpy")
    cli = Cli(tmp_path)
    images, labels = numpy.zeros((40, 8, 8, 1), numpy.uint8), numpy.arange(40) % 2
    images[labels == 1] = 200
    numpy.save(tmp_path / "x.npy", images)
    numpy.save(tmp_path / "y.npy", labels)
    data = "data: {source: arrays, train: {x: x.npy, y: y.npy}, validation: 0.5}"
    text = SWEEP.replace("data: {source: digits, validation: 0.2, test: 0.2}", data)
    (tmp_path / "tiny.yaml").write_text(text.replace("filters: [2, 4]", "filters: [2]"))
    cli("run", "tiny.yaml", "--workers", 1)
    images[:3] = 7
    numpy.save(tmp_path / "x.npy", images)
    (tmp_path / "tiny.yaml").write_text(text)
    refused = cli("run", "tiny.yaml", "--extend", "--workers", 1, code=3).stderr
    assert "the data of study 'tiny' are not what its first trials were trained on" in refused
