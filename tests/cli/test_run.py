"""Runs that are interrupted, cancelled, that fail, or whose input is wrong."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from helpers.sweeps import sweep_of_digits

from cnn_sweep.cli.commands import run as of_run
from cnn_sweep.execution import machine
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.sweep.sweep import Sweep


@pytest.fixture
def slow(sweep_text):
    """The sweep file with training that takes a while, and three configurations that can be built."""
    text = sweep_text.replace("study: tiny", "study: slow").replace("epochs: 2", "epochs: 150")
    return text.replace("window: [2, 7]", "window: [2]").replace("[2, 4]", "[2]")


def _journals_have(results: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in results.glob("*/journal/*.jsonl"))


def _wait_for(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_run_starts_as_many_workers_as_it_says_that_fit(tmp_path, monkeypatch, capsys):
    """The memory that is free changes all the time; it is read once."""
    text = sweep_of_digits("space: {{filters: [2, 4, 8]}}\nsearch: {{method: grid}}\ntraining: {{epochs: 1}}\n")
    sweep = Sweep.parse(text.format(study="s", metric="val_accuracy", direction="maximize"))
    readings = iter([2e9])
    started = []
    for place in (of_run, machine):
        monkeypatch.setattr(place, "usable_memory", lambda: next(readings))
        monkeypatch.setattr(place, "usable_cores", lambda: 3)
        monkeypatch.setattr(place, "visible_gpus", list)

    def run_local(_study, _observe, *, workers, **_):
        started.append(workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(of_run, "run_local", run_local)
    with pytest.raises(KeyboardInterrupt):
        of_run.train_here(StudyFolder.open_or_create(sweep, tmp_path), of_run.LocalOptions(None, None))
    assert started == [2]
    assert "2 of 3 cores in use: a worker needs about 1 GB, and 2.0 GB may be used" in capsys.readouterr().err


def test_ctrl_c_leaves_a_study_that_resume_continues(cli, slow):
    """The first Ctrl-C writes checkpoints and exits with 130; ``resume`` goes on from them."""
    (cli.folder / "slow.yaml").write_text(slow, encoding="utf-8")
    run = cli.start("run", "slow.yaml", "--workers", 2)
    _wait_for(lambda: _journals_have(cli.results, b'"trial":0,"attempt":0,"epoch":3'))
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 130, errors.decode()
    assert b"`cnn-sweep resume slow` continues" in errors
    assert b"slow: stopping once checkpoints are written; press Ctrl-C again to kill the workers" in errors
    status = json.loads(cli("status", "slow", "--json").stdout)
    assert status["trials"]["interrupted"] == 2
    cli("resume", "slow", "--workers", 1)
    shown = json.loads(cli("show", "slow", 0, "--json").stdout)
    assert [attempt["state"] for attempt in shown["attempts"]] == ["interrupted", "complete"]
    reached = max(row["epoch"] for row in shown["epochs"] if row["attempt"] == 0)
    assert shown["attempts"][1]["start_epoch"] == reached


def test_results_do_not_depend_on_how_many_workers_share_the_cores(cli, sweep_text):
    """One worker on all cores and two workers compute the same bits with one thread each, and say so."""
    text = sweep_text.replace("[2, 7]", "[2]").replace("[2, 4]", "[2]")
    (cli.folder / "tiny.yaml").write_text(text, encoding="utf-8")
    boards = []
    for workers in (1, 2):
        cli.results = cli.folder / f"by-{workers}"
        said = cli("run", "tiny.yaml", "--workers", workers).stderr
        assert ("`--workers" in said) == (workers < len(os.sched_getaffinity(0)))
        columns = "trial,value,val_loss,val_macro_f1,threads"
        boards.append(cli.table("leaderboard", "tiny", "--columns", columns, "--format", "csv"))
    assert boards[0] == boards[1]
    assert {row["threads"] for row in boards[0]} == {"1"}
    refused = cli("run", "tiny.yaml", "--workers", 1, "--threads", 2, code=2).stderr
    assert "each worker of the study 'tiny' uses 1 thread, because its first run used that number; 2 cannot" in refused
    assert "To go on with 1, leave out --threads" in refused
    assert json.loads(cli("show", "tiny", 0, "--json").stdout)["trial"]["threads"] == 1
    assert "seed 0, 1 thread, by " in cli("show", "tiny", 0).stdout


def test_failed_trials_are_said_and_exit_with_1(cli, sweep_text):
    """A trial that diverges is failed with its cause; the others go on; the exit code is 1."""
    text = sweep_text.replace("learning_rate: 0.01", "learning_rate: $rate").replace(
        "space:", "space:\n  rate: [0.01, 1.0e+30]"
    )
    text = text.replace("optimizer: [sgd, adam]", "optimizer: [sgd]").replace("[2, 4]", "[2]").replace("[2, 7]", "[2]")
    (cli.folder / "tiny.yaml").write_text(text, encoding="utf-8")
    done = cli("run", "tiny.yaml", "--workers", 1, code=1)
    assert "trials failed" in done.stderr
    failed = [row for row in cli.table("leaderboard", "tiny", "--format", "csv") if row["state"] == "failed"]
    assert failed
    shown = json.loads(cli("show", "tiny", failed[0]["trial"], "--json").stdout)
    assert shown["trial"]["cause"] == "diverged"


def test_all_mistakes_of_a_file_come_at_once(cli, sweep_text):
    """A bad sweep file exits with 2 and one line for each mistake, with file and line; nothing is written."""
    (cli.folder / "bad.yaml").write_text(
        sweep_text.replace("pool: $window", "pol: $window").replace("epochs: 2", "epoch: 2"), encoding="utf-8"
    )
    errors = cli("run", "bad.yaml", code=2).stderr
    assert "bad.yaml:7" in errors
    assert "pol" in errors
    assert "bad.yaml:17" in errors or "bad.yaml:16" in errors
    assert not cli.results.exists()


@pytest.mark.parametrize("verb", [["plan"], ["run"], ["submit", "--profile", "none.toml"]])
def test_a_function_that_is_missing_is_told_before_anything_starts(cli, sweep_text, verb):
    """A module that is not there is refused with the line that names it; no study is left, and no images."""
    model = "model: {build: 'network:build'}\n"
    text = sweep_text[: sweep_text.index("model:")] + model + sweep_text[sweep_text.index("space:") :]
    (cli.folder / "tiny.yaml").write_text(text, encoding="utf-8")
    said = cli(verb[0], "tiny.yaml", *verb[1:], code=2).stderr
    assert "tiny.yaml:4: model.build: no module 'network'" in said
    assert not cli.results.exists()


def test_a_study_whose_trials_fail_alike_is_stopped(cli, sweep_text):
    """Three trials with one and the same exception are enough; ``resume`` gives a mended study another chance."""
    (cli.folder / "network.py").write_text(
        "def build(params, image_shape, classes):\n    return params['missing']\n", encoding="utf-8"
    )
    model = "model: {build: 'network:build'}\n"
    text = sweep_text[: sweep_text.index("model:")] + model + sweep_text[sweep_text.index("space:") :]
    (cli.folder / "tiny.yaml").write_text(text, encoding="utf-8")
    done = cli("run", "tiny.yaml", "--workers", 1, code=1)
    assert "stopped with 9 trials left: all trials so far failed for the same reason" in done.stderr
    assert "KeyError: 'missing'" in done.stderr
    assert json.loads(cli("status", "tiny", "--json").stdout)["trials"]["failed"] == 3
    code = cli.results / "tiny" / "code" / "network.py"
    assert (
        "WARNING trial 0 failed\n"
        "Traceback (most recent call last):\n"
        f'  File "{code}", line 2, in build\n'
        "    return params['missing']\n"
        "           ~~~~~~^^^^^^^^^^^\n"
        "KeyError: 'missing'\n"
    ) in cli("logs", "tiny", "--lines", 100).stdout


def test_cancel_stops_a_run_after_its_checkpoints(cli, slow):
    """``cancel`` from another terminal ends a local run as Ctrl-C does; a cancelled trial is failed for good."""
    (cli.folder / "slow.yaml").write_text(
        slow.replace("epochs: 150", "epochs: 5000"), encoding="utf-8"
    )  # nobody waits for them
    run = cli.start("run", "slow.yaml", "--workers", 1)
    _wait_for(lambda: _journals_have(cli.results, b'"epoch":3'))
    cli("cancel", "slow", 1)
    cli("cancel", "slow")
    run.communicate(timeout=240)
    states = json.loads(cli("status", "slow", "--json").stdout)["trials"]
    assert states["failed"] == 1
    assert states["interrupted"] == 1
    assert json.loads(cli("show", "slow", 1, "--json").stdout)["trial"]["cause"] == "cancelled"
    logs = cli("logs", "slow").stdout
    assert "interrupted (stopped) after epoch" in logs
    assert "is cancelled" not in logs
    assert "trial 1 is already failed" in cli("cancel", "slow", 1, code=2).stderr


def test_data_that_changed_under_a_study_are_refused(cli, sweep_text):
    """Trials on other data than the first ones' cannot be ranked with them: the run ends with what changed."""
    numpy = pytest.importorskip("numpy")
    images, labels = numpy.zeros((40, 8, 8, 1), numpy.uint8), numpy.arange(40) % 2
    images[labels == 1] = 200
    numpy.save(cli.folder / "x.npy", images)
    numpy.save(cli.folder / "y.npy", labels)
    data = "data: {source: arrays, train: {x: x.npy, y: y.npy}, validation: 0.5}"
    text = sweep_text.replace("data: {source: digits, validation: 0.2, test: 0.2}", data)
    (cli.folder / "tiny.yaml").write_text(text.replace("filters: [2, 4]", "filters: [2]"), encoding="utf-8")
    cli("run", "tiny.yaml", "--workers", 1)
    images[:3] = 7
    numpy.save(cli.folder / "x.npy", images)
    (cli.folder / "tiny.yaml").write_text(text, encoding="utf-8")
    refused = cli("run", "tiny.yaml", "--extend", "--workers", 1, code=3).stderr
    assert "the data of study 'tiny' are not those of its first trials" in refused
