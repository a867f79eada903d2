"""Stands in for ``cnn_sweep.execution.worker.study_trainer``: the real training loop around a stub engine.

The loop, its checkpoints and everything around them are the project's. Only the data set, the network and TensorFlow
are not there.
"""

from __future__ import annotations

import hashlib
import os
import time

import hash_chain
import numpy as np

from cnn_sweep.journal.filesystem import write_aside, write_once
from cnn_sweep.training.data.dataset import Dataset, Split
from cnn_sweep.training.engines.engine import Evaluation, Totals
from cnn_sweep.training.trial.checkpoint import CheckpointError
from cnn_sweep.training.trial.training_loop import Task, TrainingLoop

_EPOCH_S = float(os.environ.get("FAULTS_EPOCH_S", "0.03"))
# The process ends as if a network's native code had crashed once it has reported this epoch.
_DIES_AFTER = int(os.environ.get("FAULTS_DIES_AFTER", "0"))
_BATCH = 4


class StubEngine:
    """Computes a chain of hashes; its time is slept, not computed."""

    parameters = 32
    divisible = True

    def __init__(self, params, seed):
        self.pace_s = None
        self._state = hash_chain.begin(seed, params)

    def train(self, plan, so_far, last, should_stop):
        """Take steps of the chain."""
        epoch = plan.steps_before // hash_chain.STEPS + 1
        if 0 < _DIES_AFTER < epoch:
            os._exit(1)
        for number in range(so_far.step, last):
            time.sleep(_EPOCH_S / hash_chain.STEPS)
            self._state = hash_chain.step(self._state, epoch, number)
        return Totals(last, hash_chain.value(self._state), 0.0)

    def evaluate(self, plan):
        """Return the value of the state as the loss."""
        return Evaluation(hash_chain.value(self._state), np.full((len(plan.validation), 2), 0.5, np.float32))

    def weights(self):
        """Return the state."""
        return (np.frombuffer(self._state, np.uint8),)

    def set_weights(self, weights):
        """Set the state."""
        self._state = weights[0].tobytes()

    def state(self):
        """Return the state as a checkpoint keeps it."""
        return {"state": np.frombuffer(self._state, np.uint8)}

    def restore(self, state):
        """Continue from a checkpoint."""
        self._state = state["state"].tobytes()


class StudyTrainer:
    """The interface that the worker uses."""

    def __init__(self, study, *, staged_in=None):
        write_once(study.paths.fingerprint, b"0" * 64 + b"\n")
        labels = np.zeros(_BATCH * hash_chain.STEPS, np.int32)
        splits = {"train": Split(labels, labels), "validation": Split(labels[:2], labels[:2])}
        self._data = Dataset(splits, study.info, 1.0, "0" * 64)

    def train(self, spec, *, seed, fold, monitor, resume=None):
        """Train a trial; if the checkpoint belongs to another trial, from the beginning."""
        try:
            return self._train(spec, seed, monitor, resume)
        except CheckpointError:
            if resume is None:
                raise
            return self._train(spec, seed, monitor, None)

    def _train(self, spec, seed, monitor, resume):
        identity = hashlib.sha256(f"{seed} {spec.model_dump_json()}".encode()).hexdigest()
        loop = TrainingLoop(
            Task(spec, seed, identity),
            lambda _spec: StubEngine(dict(spec.params), seed),
            dataset=self._data,
            monitor=monitor,
            chunk_s=0.05,
        )
        if resume is not None:
            loop.resume(resume)
        return loop.go()

    def export(self, spec, outcome, *, seed, path):
        """Save the state of the best epoch as the model."""
        write_aside(path, outcome.weights[0].tobytes())
        return True
