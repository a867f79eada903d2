"""Trains trials one after the other in one process, and keeps compiled graphs between them."""

from __future__ import annotations

import gc
import hashlib
import logging
import signal
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from cnn_sweep.errors import CnnSweepError, InputError
from cnn_sweep.sweep.spec.trial import find_conflict, training_stages
from cnn_sweep.training.engine.compiled import compile_note
from cnn_sweep.training.engine.device_data import DeviceData
from cnn_sweep.training.engine.features import extracted
from cnn_sweep.training.engine.fit_learner import FitLearner
from cnn_sweep.training.engine.graph_learner import GraphLearner
from cnn_sweep.training.network.custom import build_model
from cnn_sweep.training.network.model import plain_model, untrained_weights
from cnn_sweep.training.network.precision import computing_in
from cnn_sweep.training.network.transfer import base_of, input_scale
from cnn_sweep.training.network.user_code import UserCode
from cnn_sweep.training.outcome import METRICS, Outcome
from cnn_sweep.training.signature import graph_key
from cnn_sweep.training.trial.objective import UserTrial
from cnn_sweep.training.trial.run import Run, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cnn_sweep.sweep.network.layers import Base
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.data.dataset import Dataset
    from cnn_sweep.training.engine.learner import Learner
    from cnn_sweep.training.outcome import Monitor, Verdict, Weights

log = logging.getLogger(__name__)

_MESSAGE_LENGTH = 1000  # characters of an exception's text
_VERSION = 1  # of what a checkpoint means; another one is not resumed from


class Trainer:
    """Trains trials of one study.

    A graph that was compiled for a trial serves all later ones of its shape (`graph_key`), and gives each the
    very numbers that a new process would.

    Args:
        dataset: Training and validation images.
        folder: Folder of the sweep file, where modules of the user's are found.
        prepared: Folder of prepared data sets, where outputs of bases are kept.
        max_graphs: Compiled graphs that are kept; the one that was unused for longest goes first.
        chunk_s: Seconds of training between two looks at ``monitor.should_stop``.

    Attributes:
        hits: Trials that found their graph compiled.
        misses: Trials that had to compile one.
        note: Takes what the user should know of a trial; the same may come again.
    """

    graph_key = staticmethod(graph_key)

    def __init__(
        self,
        dataset: Dataset,
        *,
        folder: Path = Path(),
        prepared: Path | None = None,
        max_graphs: int = 32,
        chunk_s: float = 2.0,
    ) -> None:
        if dataset.validation is None:
            raise InputError("the data set has no validation images, so that trials cannot be compared")
        self._dataset = dataset
        self._folder = folder
        self._max_graphs = max_graphs
        self._chunk_s = chunk_s
        self.note: Callable[[str], None] = log.info
        self._data: DeviceData | None = None
        self._prepared = prepared
        self._extracted: dict[Base, tuple[DeviceData, Weights]] = {}
        self._learners: OrderedDict[str, GraphLearner] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def train(self, spec: TrialSpec, seed: int, monitor: Monitor, resume: bytes | None = None) -> Outcome:
        """Train one trial, or go on with it.

        Args:
            spec: The trial.
            seed: Decides initial weights, order of images and every random draw.
            monitor: Hears of epochs and checkpoints, and is asked whether to stop.
            resume: A checkpoint of the same trial.

        Returns:
            How it ended. What goes wrong in the trial itself is an outcome, not an exception.

        Raises:
            InputError: The trial asks for what cannot be.
            CheckpointError: ``resume`` is damaged, or of another trial.
        """
        attempt: Run | UserTrial | None = None
        hits, misses = self.hits, self.misses
        try:
            attempt = self._attempt(spec, seed, _Guard(monitor), resume)
            outcome = attempt.go()
            looked_up = (self.hits, self.misses) != (hits, misses)
            outcome = _with_value(outcome, spec)
            return replace(outcome, cached=self.misses == misses if looked_up else None)
        except _MonitorError as error:
            raise error.original from None
        except CnnSweepError:
            raise
        except BaseException as error:  # a trial that fails is a result, also one that calls sys.exit
            if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                raise  # the user's; where the keyboard is ignored, as in workers, it is the trial's own
            # What it compiled may be in any state.
            for stage in training_stages(spec):
                self._learners.pop(graph_key(stage), None)
            return _failed(attempt, error, UserCode.of(spec, self._folder))

    def _attempt(self, spec: TrialSpec, seed: int, monitor: Monitor, resume: bytes | None) -> Run | UserTrial:
        if spec.objective.function is not None:
            keras.backend.clear_session()
            return UserTrial(spec, seed, dataset=self._dataset, monitor=monitor, folder=self._folder)
        if spec.objective.metric not in METRICS and (spec.training is None or spec.training.engine != "fit"):
            raise InputError(
                f"objective.metric: {spec.objective.metric!r} is not reported by the trainer; "
                f"valid choices: {', '.join(METRICS)}"
            )
        if (reason := find_conflict(spec)) is not None:
            raise InputError(reason)
        run = Run(
            Task(spec, seed, self._identity(spec, seed)),
            partial(self._learner, seed=seed),
            dataset=self._dataset,
            monitor=monitor,
            chunk_s=self._chunk_s,
        )
        if resume is not None:
            run.resume(resume)
        return run

    def _learner(self, spec: TrialSpec, seed: int) -> Learner:
        """Return the untrained network of a trial, or of a stage of it."""
        if spec.training is None:
            raise InputError("the trial has neither training settings nor an objective function")
        if spec.training.engine == "fit":
            scale = input_scale(spec.layers, self._dataset.rescale)
            return FitLearner(self._model(spec, seed), spec.training, self._dataset, scale=scale)
        if self._data is None:
            self._data = DeviceData.of(self._dataset)
        if spec.layers is None:
            return GraphLearner(self._model(spec, seed), spec.training, self._data)
        key, data = graph_key(spec), self._data
        before: Weights = ()
        base = base_of(spec.layers)
        if base is not None and base.extract:
            data, before = self._features(base)
            spec = spec.model_copy(update={"layers": spec.layers[1:]})
        learner = self._of_layers(key, spec, data, before)
        learner.reset(spec, seed)
        return learner

    def _features(self, base: Base) -> tuple[DeviceData, Weights]:
        """Return the outputs of a base for all images, and its weights."""
        if base not in self._extracted:
            if self._prepared is None:
                raise InputError("base: extract needs a folder in which outputs are kept")
            dataset, weights = extracted(self._dataset, base, self._prepared)
            self._extracted[base] = DeviceData.of(dataset), weights
        return self._extracted[base]

    def _of_layers(self, key: str, spec: TrialSpec, data: DeviceData, before: Weights) -> GraphLearner:
        learner = self._learners.get(key)
        if learner is None:
            self.misses += 1
            if len(self._learners) >= self._max_graphs:
                self._learners.popitem(last=False)
                # Graphs refer to themselves; left to itself, Python finds that out megabytes later.
                gc.collect()
            learner = self._learners[key] = GraphLearner.of_layers(spec, data, before)
        else:
            self.hits += 1
        self._learners.move_to_end(key)
        return learner

    def _model(self, spec: TrialSpec, seed: int) -> Any:
        """Return an untrained Keras model without a graph of ours."""
        # Keras counts names of layers and seeds for the whole process. (This drops compiled kernels, too, which
        # is why networks of layers name theirs themselves.)
        keras.backend.clear_session(free_memory=False)
        with computing_in(spec.training):
            if spec.layers is None:
                model = build_model(spec, seed, self._dataset.info, self._folder)
                self._note_compiled(model, spec)
                return model
            keras.utils.set_random_seed(seed)
            model = plain_model(spec.layers, self._dataset.info, rescale=None)
        model.set_weights(untrained_weights(model, spec.layers, seed))
        return model

    def _note_compiled(self, model: Any, spec: TrialSpec) -> None:
        if spec.training is None or spec.build is None:
            return
        if (note := compile_note(model, spec.training, self._dataset.info, spec.build)) is not None:
            self.note(note)

    def _identity(self, spec: TrialSpec, seed: int) -> str:
        """Return what a checkpoint must agree in with the trial that resumes from it."""
        parts = (str(_VERSION), str(seed), self._dataset.fingerprint, spec.model_dump_json())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class _MonitorError(Exception):
    """Carries what a monitor raised past the trial, whose fault it is not."""

    def __init__(self, original: Exception) -> None:
        super().__init__()
        self.original = original


class _Guard:
    """Tells the monitor's exceptions from the trial's."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        with _blamed_on_monitor():
            self._monitor.epoch(epoch, metrics, seconds)

    def checkpoint(self, state: bytes, epoch: int) -> None:
        with _blamed_on_monitor():
            self._monitor.checkpoint(state, epoch)

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        with _blamed_on_monitor():
            self._monitor.checkpoint_later(state, epoch)

    def verdict(self) -> Verdict:
        with _blamed_on_monitor():
            return self._monitor.verdict()

    def should_stop(self) -> bool:
        with _blamed_on_monitor():
            return self._monitor.should_stop()


@contextmanager
def _blamed_on_monitor() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _MonitorError(error) from error


def _with_value(outcome: Outcome, spec: TrialSpec) -> Outcome:
    """Return an outcome as it is, but a complete trial whose objective was never finite as one that failed."""
    if outcome.state != "complete" or outcome.value is not None:
        return outcome
    metric, by = spec.objective.metric, spec.objective.function or "the trainer"
    if not any(metric in epoch for epoch in outcome.history):
        reported = ", ".join(sorted({name for epoch in outcome.history for name in epoch})) or "nothing"
        message = f"{by} reported no {metric}; it reported {reported}"
        return replace(outcome, state="failed", cause="exception", message=message)
    last = f"the last one was {outcome.history[-1].get(metric)}"
    message = f"{by} reported no finite {metric} in any of {len(outcome.history)} epochs; {last}"
    return replace(outcome, state="failed", cause="diverged", message=message)


def _failed(attempt: Run | UserTrial | None, error: BaseException, code: UserCode) -> Outcome:
    """Return the outcome of a trial that raised."""
    out_of_memory = isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)
    text = " ".join(str(error).split())
    if len(text) > _MESSAGE_LENGTH:
        text = text[:_MESSAGE_LENGTH] + "..."
    message = f"{': '.join(filter(None, (type(error).__name__, text)))} ({code.place(error)})"
    cause = "oom" if out_of_memory else "exception"
    if attempt is None:
        failed = Outcome("failed", cause=cause, message=message)
    else:
        failed = attempt.outcome("failed", cause=cause, message=message)
    return failed if out_of_memory else replace(failed, traceback=code.traceback(error))
