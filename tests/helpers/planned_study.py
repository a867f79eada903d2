"""A small finished study whose journals say what its plan says, as a worker writes them, without any training."""

from __future__ import annotations

import json
from dataclasses import replace

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.sweep.sweep import Sweep

TEXT = """\
study: small
data: {source: digits, validation: 0.2, test: 0.2}
model: {layers: [{conv2d: {filters: $filters, kernel_size: 3}}, flatten, output: softmax]}
space:
  filters: [2, 4, 8]
  learning_rate: [0.001, 0.01]
training: {epochs: 3, optimizer: {name: adam, learning_rate: $learning_rate}}
"""
DEAD = ProcessIdentity("node7", "boot", "pid:[1]", 7, 8)


def value_of(trial, epoch):
    """Return what a trial reports in an epoch; the second of three is the best."""
    return round(0.5 + 0.05 * trial + (0.0, 0.01, 0.2, 0.1)[epoch], 6)


def lines_of(study, *, writer="w"):
    """Return the lines of a worker that trained all trials of a study."""
    lines = [Worker(1_000.0, DEAD, {"keras": "3.15.1"}, 1)]
    for trial in study.plan.trials:
        at = 1_000.0 + 10 * trial.number
        lines.append(
            Start(
                at, trial.number, 0, trial.configuration, trial.repeat, trial.seed, trial.params, 0, 100,
                digest=study.sweep.digest,
            )
        )  # fmt: skip
        for epoch in (1, 2, 3):
            metrics = {"loss": 0.3, "accuracy": 0.9, "val_loss": 0.4, "val_accuracy": value_of(trial.number, epoch)}
            lines.append(Epoch(at + epoch, trial.number, 0, epoch, 1.0, metrics))
        end = End(at + 4, trial.number, 0, "complete", None, None, 3, 3.0, 100, {}, cached=True)
        lines.append(replace(end, value=value_of(trial.number, 2), best_epoch=2, counted=3))
    return [encode(line) for line in lines]


def write_small_study(results, folder):
    """Write the study, its user's sweep file, and its data set."""
    file = folder / "small.yaml"
    file.write_text(TEXT, encoding="utf-8")
    study = StudyFolder.open_or_create(Sweep.load(file), results)
    study.paths.journal("w").write_bytes(b"".join(lines_of(study)))
    claims = Claims(study.paths, "w", DEAD)
    for trial in study.plan.trials:
        assert claims.claim(trial.number, 0)
    study.paths.threads.write_text("1\n", encoding="utf-8")
    study.paths.note.write_text("a note\n", encoding="utf-8")
    study.paths.fingerprint.write_text("0" * 64 + "\n", encoding="utf-8")
    assert json.loads(study.paths.provenance.read_text(encoding="utf-8"))["digest"] == study.sweep.digest
    return study
