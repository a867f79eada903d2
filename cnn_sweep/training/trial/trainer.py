"""Trains trials one after another in one process, and keeps compiled graphs between them."""

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
from typing import TYPE_CHECKING, Any, TypeVar

import keras
import tensorflow as tf
from keras.src.utils.naming import reset_uids  # Keras makes public only `clear_session`

from cnn_sweep.errors import CnnSweepError, InputError
from cnn_sweep.messages import unknown
from cnn_sweep.sweep.spec.metrics import is_objective, objectives
from cnn_sweep.sweep.spec.trial import find_conflict
from cnn_sweep.training.engines.device_data import DeviceData
from cnn_sweep.training.engines.features import extracted
from cnn_sweep.training.engines.fit_engine import FitEngine, compile_note
from cnn_sweep.training.engines.graph_engine import GraphEngine
from cnn_sweep.training.graph_key import built_key, graph_key
from cnn_sweep.training.network.built import BuiltNetwork, form, shared_network
from cnn_sweep.training.network.model import build_model, plain_model, untrained_weights
from cnn_sweep.training.network.precision import computing_in
from cnn_sweep.training.network.transfer import base_of, input_scale
from cnn_sweep.training.network.user_functions import UserCode
from cnn_sweep.training.outcome import Outcome
from cnn_sweep.training.trial.training_loop import Task, TrainingLoop
from cnn_sweep.training.trial.user_objective import UserTrial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cnn_sweep.sweep.network.layers import Base
    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.data.dataset import Dataset
    from cnn_sweep.training.engines.engine import Engine
    from cnn_sweep.training.outcome import Decision, Monitor, Weights

log = logging.getLogger(__name__)

KeptEngine = TypeVar("KeptEngine", GraphEngine, FitEngine)

_MESSAGE_LENGTH = 1000  # characters of an exception's text
_VERSION = 1  # version of the meaning of checkpoints; those of other versions are not used


class Trainer:
    """Trains trials of one study.

    All trials with the same `graph_key` share one compiled graph, and their results are bit-identical to those of a
    new process.

    Args:
        dataset: Training and validation images.
        folder: Folder of the sweep file, with the user's modules.
        prepared: Folder of prepared data sets, which also holds the features of bases.
        max_graphs: Number of compiled graphs to keep; the least recently used one is dropped first.
        chunk_s: Seconds of training between two calls of ``monitor.should_stop``.

    Attributes:
        hits: Number of trials that reused a compiled graph.
        misses: Number of trials that compiled one.
        note: Receives remarks for the user, some more than once.
        keeps_predictions: Whether outcomes have the predictions of the best epoch.
        stops_after: Number of epochs after which trials are complete; None to follow their settings.
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
            raise InputError("the data set has no validation images, so trials cannot be compared")
        self._dataset = dataset
        self._folder = folder
        self._max_graphs = max_graphs
        self._chunk_s = chunk_s
        self.note: Callable[[str], None] = log.info
        self.keeps_predictions = True
        self.stops_after: int | None = None
        self._data: DeviceData | None = None
        self._prepared = prepared
        self._extracted: dict[Base, tuple[DeviceData, Weights]] = {}
        self._engines: OrderedDict[str, GraphEngine | FitEngine] = OrderedDict()
        self._used: set[str] = set()  # keys of the running trial
        self.hits = 0
        self.misses = 0

    def train(
        self, spec: TrialSpec, seed: int, monitor: Monitor, resume: bytes | None = None, *, fold: int = 0
    ) -> Outcome:
        """Train one trial, or continue it from a checkpoint.

        Args:
            spec: The trial.
            seed: Determines initial weights, the order of images and every random draw.
            monitor: Receives epochs and checkpoints, and decides whether to stop.
            resume: A checkpoint of the same trial.
            fold: With cross-validation, the number of its fold; see :meth:`.Dataset.fold`.

        Returns:
            How it ended. A failure of the trial itself is an outcome, not an exception.

        Raises:
            InputError: The trial's settings are impossible.
            CheckpointError: ``resume`` is damaged, or belongs to another trial.
        """
        attempt: TrainingLoop | UserTrial | None = None
        hits, misses = self.hits, self.misses
        self._used.clear()
        try:
            attempt = self._attempt(Task(spec, seed, self._identity(spec, seed, fold), fold), _Guard(monitor), resume)
            outcome = attempt.go()
            looked_up = (self.hits, self.misses) != (hits, misses)
            outcome = _with_value(outcome, spec)
            return replace(outcome, cached=self.misses == misses if looked_up else None)
        except _MonitorError as error:
            raise error.original from None
        except CnnSweepError:
            raise
        except BaseException as error:  # a failed trial is a result, even if it called sys.exit
            if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                raise  # the user's Ctrl-C; workers ignore Ctrl-C, so there the trial itself raised it
            # The failed trial's compiled graphs may be in any state.
            for key in self._used:
                self._engines.pop(key, None)
            return _failed(attempt, error, UserCode.of(spec, self._folder))

    def _attempt(self, task: Task, monitor: Monitor, resume: bytes | None) -> TrainingLoop | UserTrial:
        spec, seed = task.spec, task.seed
        if spec.objective.function is not None:
            keras.backend.clear_session()
            dataset = self._dataset.of_fold(task.fold)
            return UserTrial(spec, seed, dataset=dataset, monitor=monitor, folder=self._folder)
        metric = spec.objective.metric
        is_reported = is_objective(metric) or metric == "learning_rate"
        if not is_reported and (spec.training is None or spec.training.engine != "fit"):
            choices = (*objectives(), "learning_rate")
            raise InputError(f"objective.metric: {unknown('metric', metric, choices)}")
        if (reason := find_conflict(spec)) is not None:
            raise InputError(reason)
        run = TrainingLoop(
            replace(task, keeps_predictions=self.keeps_predictions, stops_after=self.stops_after),
            partial(self._engine, seed=seed),
            dataset=self._dataset,
            monitor=monitor,
            chunk_s=self._chunk_s,
        )
        if resume is not None:
            run.resume(resume)
        return run

    def _engine(self, spec: TrialSpec, seed: int) -> Engine:
        """Return the untrained network of a trial, or of a stage of it."""
        if spec.training is None:
            raise InputError("the trial has neither training settings nor an objective function")
        if spec.training.engine == "fit":
            scale = input_scale(spec.layers, self._dataset.rescale)
            return self._of_fit(
                FitEngine(self._model(spec, seed), spec.training, self._dataset, scale=scale), spec.training
            )
        if self._data is None:
            self._data = DeviceData.of(self._dataset)
        if spec.layers is None:
            return self._of_build(self._model(spec, seed), spec.training, self._data)
        key, data = graph_key(spec), self._data
        before: Weights = ()
        base = base_of(spec.layers)
        if base is not None and base.extract:
            data, before = self._features(base)
            spec = spec.model_copy(update={"layers": spec.layers[1:]})
        engine = self._of_layers(key, spec, data, before)
        engine.reset(spec, seed)
        return engine

    def _features(self, base: Base) -> tuple[DeviceData, Weights]:
        """Return the outputs of a base for all images, and its weights."""
        if base not in self._extracted:
            if self._prepared is None:
                raise InputError("base: extract needs a folder in which outputs are kept")
            dataset, weights = extracted(self._dataset, base, self._prepared)
            self._extracted[base] = DeviceData.of(dataset), weights
        return self._extracted[base]

    def _of_layers(self, key: str, spec: TrialSpec, data: DeviceData, before: Weights) -> GraphEngine:
        return self._find(key, GraphEngine) or self._keep(key, GraphEngine.of_layers(spec, data, before))

    def _of_build(self, model: Any, training: TrainingSpec, data: DeviceData) -> GraphEngine:
        """Return an engine for a network of the user's function: a kept one if it computes the same."""
        key = None if (described := form(model)) is None else built_key(described, training)
        engine = None if key is None else self._find(key, GraphEngine)
        if engine is None:
            with computing_in(training):
                network = None if key is None else shared_network(model)
            if key is None or network is None:
                return GraphEngine(BuiltNetwork(model), training, data)
            engine = self._keep(key, GraphEngine(network, training, data))
        engine.become(model, training)
        return engine

    def _of_fit(self, untrained: FitEngine, training: TrainingSpec) -> FitEngine:
        """Return an engine in the state of an untrained one: a kept one, whose functions are compiled, if any fits."""
        if (described := untrained.form()) is None:
            return untrained
        key = built_key(described, training)
        engine = self._find(key, FitEngine)
        if engine is None:
            return self._keep(key, untrained)
        engine.restore(untrained.state())
        return engine

    def _find(self, key: str, kind: type[KeptEngine]) -> KeptEngine | None:
        """Return the engine of a compiled graph, if it is kept."""
        engine = self._engines.get(key)
        if not isinstance(engine, kind):
            return None
        self.hits += 1
        self._engines.move_to_end(key)
        self._used.add(key)
        return engine

    def _keep(self, key: str, engine: KeptEngine) -> KeptEngine:
        """Keep a new engine for later trials."""
        self.misses += 1
        if len(self._engines) >= self._max_graphs:
            self._engines.popitem(last=False)
            # Graphs contain reference cycles, which Python would collect only megabytes later.
            gc.collect()
        self._engines[key] = engine
        self._used.add(key)
        return engine

    def _model(self, spec: TrialSpec, seed: int) -> Any:
        """Return an untrained Keras model for the engine `fit`, or from the user's `build` function."""
        # Keras numbers names per process. (`clear_session` would also drop compiled kernels, of all kept graphs.)
        reset_uids()
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

    def _identity(self, spec: TrialSpec, seed: int, fold: int) -> str:
        """Return the identity stored in checkpoints; only a trial with the same one may resume from them."""
        parts = [str(_VERSION), str(seed), self._dataset.fingerprint, spec.model_dump_json()]
        if self._dataset.folds is not None:
            parts.append(f"fold {fold}")
        if self.stops_after is not None:
            parts.append(f"{self.stops_after} epochs")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class _MonitorError(Exception):
    """Carries an exception of the monitor past the trial, which did not cause it."""

    def __init__(self, original: Exception) -> None:
        super().__init__()
        self.original = original


class _Guard:
    """Wraps a monitor and marks its exceptions, so that they do not count as failures of the trial."""

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

    def decision(self) -> Decision:
        with _blamed_on_monitor():
            return self._monitor.decision()

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
    """Return an outcome unchanged, but a failed one if the trial is complete without any finite objective."""
    if outcome.state != "complete" or outcome.value is not None:
        return outcome
    metric, by = spec.objective.metric, spec.objective.function or "the trainer"
    if not any(metric in epoch for epoch in outcome.history):
        reported = ", ".join(sorted({name for epoch in outcome.history for name in epoch})) or "nothing"
        message = f"{by} reported no {metric}; it reported {reported}"
        return replace(outcome, state="failed", cause="exception", message=message)
    last, epochs = f"the last one was {outcome.history[-1].get(metric)}", len(outcome.history)
    if (counted := spec.objective.last_epochs) is None:
        which = f"any of {epochs} epochs"
    else:
        which = "the last epoch" if counted == 1 else f"each of the last {min(counted, epochs)} epochs"
    message = f"{by} reported no finite {metric} in {which}; {last}"
    return replace(outcome, state="failed", cause="diverged", message=message)


def _failed(attempt: TrainingLoop | UserTrial | None, error: BaseException, code: UserCode) -> Outcome:
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
