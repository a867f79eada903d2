"""One study, killed at random moments: process groups, workers, mergers. Nothing is lost or counted twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from helpers.campaigns import command, epochs, start

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

# `make faults` sets 20; the everyday test kills one of each kind.
KILLS = int(os.environ.get("CNN_SWEEP_KILLS", "3"))
DEADLINE_S = 1200

SWEEP = f"""
study: campaign
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: $filters, kernel_size: 3, activation: relu}}
    - dropout: $dropout
    - flatten
    - output: softmax
space:
  filters: [4, 6]
  dropout: [0.0, 0.5]
  optimizer: [sgd, adam]
search: {{method: grid, seed: 7}}
training:
  epochs: {12 * KILLS}
  batch_size: 16
  optimizer: {{name: $optimizer, learning_rate: 0.01}}
  checkpoint_every_s: 0.5
"""


def _wait(run: subprocess.Popen[bytes], results: Path, *, seconds: float, progress: int) -> None:
    """Wait for some time or some progress: on a fast machine time alone would see the study end before its kills."""
    deadline, enough = time.monotonic() + seconds, epochs(results) + progress
    while run.poll() is None and time.monotonic() < deadline and epochs(results) < enough:
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
    except FileNotFoundError:
        return []


def _kill_worker(run: subprocess.Popen[bytes], results: Path, chance: random.Random) -> str:
    if workers := _children(run.pid):
        os.kill(chance.choice(workers), signal.SIGKILL)
    return "worker" if workers else ""


def _kill_group(run: subprocess.Popen[bytes], results: Path, chance: random.Random) -> str:
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return "group"


def _kill_merger(run: subprocess.Popen[bytes], results: Path, chance: random.Random) -> str:
    """Kill a rebuild or a merge of the live store somewhere between its first import and its commit."""
    verb = chance.choice(["merge", "rebuild"])
    merger = subprocess.Popen(command(results, "store", verb), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        merger.wait(timeout=chance.uniform(0.3, 1.2))
    except subprocess.TimeoutExpired:
        merger.kill()
        merger.wait()
    return "merger"


def _tables(results: Path) -> dict[str, list[tuple[object, ...]]]:
    """Read a study's results, without their writers and times."""
    with sqlite3.connect(results / "sweeps.db") as store:
        return {
            "trials": store.execute(
                "SELECT trial, configuration, repeat, seed, state, value, best_epoch, best_metrics_json, epochs,"
                " parameters FROM trials ORDER BY trial"
            ).fetchall(),
            "epochs": store.execute(
                "SELECT trial, epoch, value, metrics_json FROM epochs WHERE counted ORDER BY trial, epoch"
            ).fetchall(),
        }


def _attempts(results: Path) -> dict[str, int]:
    with sqlite3.connect(results / "sweeps.db") as store:
        counts = dict(store.execute("SELECT state, count(*) FROM attempts GROUP BY state").fetchall())
        repeated = store.execute("SELECT count(*) FROM epochs WHERE NOT counted").fetchone()[0]
    return counts | {"epochs trained twice": repeated}


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The tables of an undisturbed run."""
    folder = tmp_path_factory.mktemp("calm")
    (folder / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    run = start(folder / "results", "run", folder / "sweep.yaml")
    assert run.wait(timeout=DEADLINE_S) == 0, (folder / "run.log").read_text(encoding="utf-8")
    return _tables(folder / "results")


def test_a_killed_study_ends_as_an_undisturbed_one(tmp_path, calm):
    """After kill -9 of workers, process groups and mergers the tables equal a calm run's bit for bit."""
    results, sweep = tmp_path / "results", tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP, encoding="utf-8")
    chance = random.Random(os.environ.get("CNN_SWEEP_FAULT_SEED", "1"))
    kinds = [_kill_worker, _kill_group, _kill_merger]
    killed: list[str] = []
    deadline = time.monotonic() + DEADLINE_S
    run = start(results, "run", sweep)
    while len(killed) < KILLS:
        assert time.monotonic() < deadline, killed
        _wait(run, results, seconds=chance.uniform(1.0, 9.0), progress=chance.randint(10, 60))
        if run.poll() is not None:
            assert run.returncode == 0, (tmp_path / "run.log").read_text(encoding="utf-8")
            break
        if done := kinds[len(killed) % len(kinds)](run, results, chance):
            killed.append(done)
        if run.poll() is not None:
            run = start(results, "run", sweep)
    assert run.wait(timeout=DEADLINE_S) == 0, (tmp_path / "run.log").read_text(encoding="utf-8")

    print(f"{len(killed)} kills: {killed}; attempts: {_attempts(results)}")
    assert len(killed) == KILLS, f"the study ended after {len(killed)} kills; give it more epochs"
    assert _tables(results) == calm
    checked = subprocess.run(command(results, "store", "check"), capture_output=True, encoding="utf-8", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
