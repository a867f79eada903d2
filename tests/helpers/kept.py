"""A finished study whose trials kept predictions, written without any training; each is as skilful as a test says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import End, Epoch, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.predictions import KeptPredictions, keep, logs_of
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.data.prepare import prepare
from cnn_sweep.training.evaluation.metrics import all_metrics

TEXT = """\
study: kept
data: {source: digits, validation: 0.2, test: 0.2}
model: {layers: [{conv2d: {filters: $filters, kernel_size: 3}}, flatten, output: softmax]}
space: {filters: [2, 4, 8]}
search: {repeats: REPEATS}
training: {epochs: 2, optimizer: {name: adam, learning_rate: 0.01}}
"""
DEAD = ProcessIdentity("node7", "boot", "pid:[1]", 7, 8)
_SPREAD = 2.0  # of scores about those of the true class


@dataclass
class KeptStudy:
    """A study, the labels of its validation images, and the probabilities of its trials in full precision."""

    study: StudyFolder
    labels: Any
    probabilities: dict[int, Any]


def softmax(scores):
    """Return probabilities of scores, shape (n, classes)."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def guesses(labels, skill, *, seed, classes=10):
    """Return probabilities of an imagined network, which is right the more often the larger its skill is."""
    random = np.random.default_rng(seed)
    return softmax(random.normal(0.0, _SPREAD, (len(labels), classes)) + skill * np.eye(classes)[labels])


def write_kept_study(results, folder, *, repeats=1, skills=(2.0, 4.0, 5.0), keeps=lambda _trial: True):
    """Write a study of three configurations; of a trial that keeps nothing only the metrics are there."""
    file = folder / "kept.yaml"
    file.write_text(TEXT.replace("REPEATS", str(repeats)), encoding="utf-8")
    study = StudyFolder.open_or_create(Sweep.load(file), results)
    dataset = load(prepare(study.sweep.data, study.sweep.folder, study.data_root))
    study.paths.fingerprint.write_text(f"{dataset.fingerprint}\n", encoding="utf-8")
    study.paths.threads.write_text("1\n", encoding="utf-8")
    labels, names = np.asarray(dataset.validation.y), dataset.info.class_names
    lines: list[Any] = [Worker(1_000.0, DEAD, {"keras": "3.15.1"}, 1)]
    made = {}
    for trial in study.plan.trials:
        place = (2, 4, 8).index(trial.params["filters"])
        made[trial.number] = guesses(labels, skills[place], seed=trial.number)
        lines += _trial(study, trial, labels, made[trial.number])
        if keeps(trial.number):
            kept = KeptPredictions(
                2, "validation", np.arange(len(labels), dtype=np.int32), labels, names, logs_of(made[trial.number])
            )
            keep(study.paths, "w", (trial.number, 0), kept)
    study.paths.journal("w").write_bytes(b"".join(encode(line) for line in lines))
    return KeptStudy(study, labels, made)


def _trial(study, trial, labels, probabilities):
    at = 1_000.0 + 10 * trial.number
    digest = study.sweep.digest
    yield Start(at, trial.number, 0, trial.configuration, trial.repeat, trial.seed, trial.params, 0, 100, digest=digest)
    best = all_metrics(labels, probabilities, "val_", study.sweep.resolve(trial.params).training.metrics)
    for epoch, metrics in ((1, {"val_accuracy": 0.1}), (2, best)):
        more = {"loss": 0.3, "accuracy": 0.9, "val_loss": 0.4}
        yield Epoch(at + epoch, trial.number, 0, epoch, 1.0, more | metrics)
    end = {"value": best["val_accuracy"], "best_epoch": 2, "counted": 2}
    yield End(at + 4, trial.number, 0, "complete", None, None, 2, 3.0, 100, {}, cached=True, **end)
