"""A study with rungs, killed at random moments: each decision is legal all the same, and nothing saved is redone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from helpers.campaigns import epochs, start
from helpers.rung_audit import Audit

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import decode

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

# `make faults` sets 10; the everyday test takes a short cut of the same campaign.
KILLS = int(os.environ.get("CNN_SWEEP_RUNG_KILLS", "2"))
# Between the time that an event bears and its being in the file, a busy machine may let something else run; seconds.
LAG_S = 1.0

SWEEP = f"""
study: rungs
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: 4, kernel_size: 3, activation: relu}}
    - dropout: $dropout
    - flatten
    - output: softmax
space:
  dropout: {{low: 0.0, high: 0.5}}
  learning_rate: {{low: 1.0e-4, high: 0.3, log: true}}
search: {{method: random, trials: {8 * KILLS}, seed: 7}}
pruner: {{asha: {{min_epochs: 2, reduction: 3}}}}
training:
  epochs: 54
  batch_size: 16
  optimizer: {{name: adam, learning_rate: $learning_rate}}
  checkpoint_every_s: 0.3
"""


def _events(results: Path):
    for journal in results.glob("*/journal/*.jsonl"):
        for line in journal.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield decode(line)


def _wait(run: subprocess.Popen[bytes], results: Path, *, seconds: float, progress: int) -> None:
    """Wait for some progress, or from the first of it for some time."""
    before = epochs(results)
    deadline = time.monotonic() + 120
    while run.poll() is None and time.monotonic() < deadline and (done := epochs(results)) < before + progress:
        if done > before:
            deadline = min(deadline, time.monotonic() + seconds)
        time.sleep(0.02)


def test_every_decision_at_a_rung_is_legal_whatever_is_killed(tmp_path):
    """Killed at random and resumed, a study ends; the audit proves each promotion; nothing saved is trained again."""
    results, sweep = tmp_path / "results", tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP, encoding="utf-8")
    chance = random.Random(os.environ.get("CNN_SWEEP_FAULT_SEED", "1"))
    kills = 0
    run = start(results, "run", sweep)
    while kills < KILLS:
        _wait(run, results, seconds=chance.uniform(0.0, 3.0), progress=chance.randint(1, 30))
        if run.poll() is not None:
            break
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        kills += 1
        run = start(results, "resume", "rungs")
    assert run.wait(timeout=600) == 0, (tmp_path / "run.log").read_text(encoding="utf-8")
    assert kills == KILLS, f"the study ended after {kills} kills; give it more trials"

    study = StudyFolder.open(results, "rungs")
    audit = Audit(study.paths, study.sweep, study.plan, lag_s=LAG_S)
    assert list(audit.breaches()) == []
    history = History(study.paths)
    history.refresh()
    states = Counter(trial.state for trial in history.trials.values())
    assert set(states) == {"complete", "pruned"}
    assert states.total() == len(study.plan.trials)
    again = defaultdict(list)
    for event in _events(results):
        if event.type == "epoch":
            again[event.trial, event.epoch].append(event.metrics)
    assert all(metrics == seen[0] for seen in again.values() for metrics in seen), "an epoch gave other numbers"
    twice = sum(len(seen) - 1 for seen in again.values())
    print(f"{kills} kills, {dict(states)}, {audit.promotions} promotions, {len(again)} epochs, {twice} trained twice")
