"""How long the epochs of planned trials take: measured for some, and predicted for the others from their networks.

An epoch's time is fitted as a sum of non-negative shares: of multiplications, of activations, of updated weights, of
steps, and of the epoch itself.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.provenance import DOES_NOT_TRAIN
from cnn_sweep.search.plan import Validator
from cnn_sweep.search.samplers import completed
from cnn_sweep.sweep.network.work import network_work
from cnn_sweep.sweep.spec.trial import training_stages
from cnn_sweep.training.graph_key import graph_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.search.plan import PlannedTrial
    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.sweep.sweep import Sweep
    from cnn_sweep.tools.training_rates import Measured

PROBED: Final = 6  # shapes that a probe trains
ENOUGH: Final = 3  # trials of a study that make a probe unnecessary
_PROPOSALS: Final = 32  # configurations that stand for those which a sampler proposes later
_SWEEPS: Final = 500  # rounds of the fit
# Numbers per weight that an update reads and writes, relative to sgd's.
_MOMENTS: Final = {"sgd": 1, "rmsprop": 2, "adagrad": 2}
_MORE_MOMENTS: Final = 3


@dataclass(frozen=True)
class Shape:
    """One stage of a trial, as far as its speed goes.

    Attributes:
        params: Hyperparameters of a trial that has it.
        stage: Number of the stage.
        graph: Key of its compiled graph.
        epochs: Epochs of the stage.
        features: Amounts whose weighted sum is the time of an epoch.
    """

    params: Mapping[str, Any] = field(compare=False)
    stage: int
    graph: str
    epochs: int = field(compare=False)
    features: tuple[float, ...]


class Shapes:
    """The shapes of a sweep's trials.

    Args:
        sweep: The sweep.
        info: Shape and classes of the images.
        images: Number of training images.
    """

    def __init__(self, sweep: Sweep, info: ImageInfo, images: int) -> None:
        self._sweep = sweep
        self._info = info
        self._images = images
        self._known: dict[str, tuple[Shape, ...]] = {}
        self._proposed: list[dict[str, Any]] = []
        self._is_valid = Validator(sweep, info).is_valid

    def of(self, trial: PlannedTrial) -> tuple[Shape, ...]:
        """Return the stages of a trial; if its configuration is unknown yet, those of a configuration drawn for it.

        Raises:
            InputError: No configuration can be trained.
        """
        return self.of_params(trial.params or self._proposal(trial))

    def of_params(self, params: Mapping[str, Any]) -> tuple[Shape, ...]:
        """Return the stages of a configuration."""
        key = json.dumps(params, sort_keys=True, default=str)
        if key not in self._known:
            stages = training_stages(self._sweep.resolve(params))
            self._known[key] = tuple(self._shape(params, number, stage) for number, stage in enumerate(stages))
        return self._known[key]

    def _proposal(self, trial: PlannedTrial) -> Mapping[str, Any]:
        place = trial.number % _PROPOSALS
        while len(self._proposed) <= place:
            found = completed(self._sweep, trial.part or {}, len(self._proposed), self._is_valid)
            if found is None:
                raise InputError(f"{self._sweep.study}: no configuration can be trained (`cnn-sweep plan` says why)")
            self._proposed.append(found)
        return self._proposed[place]

    def _shape(self, params: Mapping[str, Any], number: int, spec: TrialSpec) -> Shape:
        training = spec.training
        if training is None:
            raise ValueError("a function of the user trains this network")
        steps = training.steps_per_epoch or -(-self._images // training.batch_size)
        images = steps * training.batch_size if training.steps_per_epoch else self._images
        features: tuple[float, ...] = (0.0, float(images), 0.0)
        if spec.layers is not None:
            work = network_work(spec.layers, self._info)
            updates = work.trained * _MOMENTS.get(training.optimizer.name, _MORE_MOMENTS)
            features = (float(images * work.multiply_adds), float(images * work.activations), float(steps * updates))
        return Shape(params, number, graph_key(spec), training.epochs, (*features, float(steps), 1.0))


@dataclass(frozen=True)
class EpochTimes:
    """Times from which a study's cost follows, in seconds.

    Attributes:
        start_s: From the start of a pool until a worker of it can build a network.
        build_s: Building and compiling a network.
        trial_s: A trial of a network that the worker has compiled, beside its epochs.
        memory_mb: Most memory of one worker, in MB; None if unknown.
        source: Origin of the times, for the user.
        measured: Time of an epoch by shape.
        shares: Time per unit of each feature.
    """

    start_s: float
    build_s: float
    trial_s: float
    memory_mb: float | None
    source: str
    measured: Mapping[Shape, float]
    shares: tuple[float, ...]

    def epoch_s(self, shape: Shape) -> float:
        """Return the time of an epoch."""
        known = self.measured.get(shape)
        return float(np.dot(self.shares, shape.features)) if known is None else known


def to_probe(shapes: Iterable[Shape], most: int = PROBED) -> list[Shape]:
    """Choose shapes that differ as much as possible, the one with the most work first."""
    distinct = list(dict.fromkeys(shapes))
    if not distinct:
        return []
    points = np.log1p([shape.features for shape in distinct])
    chosen = [int(np.argmax([shape.features[0] + shape.features[1] for shape in distinct]))]
    far = np.full(len(distinct), np.inf)
    while len(chosen) < min(most, len(distinct)):
        far = np.minimum(far, np.abs(points - points[chosen[-1]]).sum(axis=1))
        far[chosen] = -1.0
        chosen.append(int(np.argmax(far)))
    return [distinct[place] for place in chosen]


def times_of_probe(shapes: Sequence[Shape], found: Measured, source: str) -> EpochTimes:
    """Return the times that a probe measured, as means over its workers."""
    measured = {
        shape: statistics.fmean(one.epoch_s for one in several)
        for shape, several in zip(shapes, found.shapes, strict=True)
    }
    built: dict[str, float] = {}
    for shape, several in zip(shapes, found.shapes, strict=True):
        built.setdefault(shape.graph, statistics.fmean(one.build_s for one in several))
    return EpochTimes(
        start_s=found.start_s,
        build_s=statistics.fmean(built.values()),
        trial_s=statistics.fmean(one.trial_s for several in found.shapes for one in several),
        memory_mb=max(one.memory_mb for several in found.shapes for one in several),
        source=source,
        measured=measured,
        shares=_fit(measured),
    )


def times_of_study(shapes: Shapes, history: History) -> EpochTimes | None:
    """Return the times that a study's journals tell; None before a few trials have ended."""
    epochs: dict[Shape, list[float]] = defaultdict(list)
    trials = [trial for trial in history.trials.values() if trial.params is not None and trial.counted]
    if len(trials) < ENOUGH:
        return None
    for trial in trials:
        stages = shapes.of_params(trial.params or {})
        for number, epoch in trial.counted.items():
            epochs[stages[int(number > stages[0].epochs and len(stages) > 1)]].append(epoch.seconds)
    measured = {shape: statistics.median(seconds) for shape, seconds in epochs.items()}
    beside: dict[bool, list[float]] = {True: [], False: []}
    for trial in trials:
        own = measured[shapes.of_params(trial.params or {})[0]] if trial.counted else 0.0
        for attempt in trial.attempts.values():
            if attempt.end is not None and attempt.end.cached is not None:
                beside[attempt.end.cached].append(max(0.0, attempt.end.seconds - own * len(attempt.epochs)))
    return EpochTimes(
        start_s=_start_of_workers(history),
        build_s=statistics.median(beside[False] or [0.0]),
        trial_s=statistics.median(beside[True] or [0.0]),
        memory_mb=None,
        source=f"as {len(trials)} trials of the study took",
        measured=measured,
        shares=_fit(measured),
    )


def _start_of_workers(history: History) -> float:
    """Return the median time from the start of a pool, which imports TensorFlow for its workers, to its first trial."""
    pools: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for one in history.workers.values():
        if one.worker is not None and one.worker.threads == DOES_NOT_TRAIN:
            pools[_place(one.worker.identity)].append(one.worker.time)
    first: dict[tuple[tuple[str, ...], float], float] = {}
    for attempt in (attempt for trial in history.trials.values() for attempt in trial.attempts.values()):
        worker = history.workers.get(attempt.writer or "")
        if worker is not None and worker.worker is not None and attempt.start is not None:
            place, born = _place(worker.worker.identity), worker.worker.time
            pool = place, max((time for time in pools[place] if time <= born), default=born)
            first[pool] = min(first.get(pool, attempt.start.time), attempt.start.time)
    return statistics.median(began - start for (_, start), began in first.items()) if first else 0.0


def _place(identity: ProcessIdentity) -> tuple[str, ...]:
    """Return what the processes of one pool have in common: machine and job."""
    return identity.host, identity.boot_id, identity.pid_namespace, *(identity.slurm or {}).values()


def _fit(measured: Mapping[Shape, float]) -> tuple[float, ...]:
    """Fit the time per unit of each feature: non-negative, with the least squares of relative errors.

    Coordinate descent, which begins with the multiplications, so that a single measurement scales with them.
    """
    seconds = np.array(list(measured.values()))
    features = np.array([shape.features for shape in measured])
    scale = np.maximum(features.max(axis=0), 1e-300)
    rows = features / scale / seconds[:, None]
    shares = np.zeros(rows.shape[1])
    left = np.ones(len(rows))
    for _ in range(_SWEEPS):
        for column in range(rows.shape[1]):
            square = float(rows[:, column] @ rows[:, column])
            if square == 0.0:
                continue
            new = max(0.0, shares[column] + float(rows[:, column] @ left) / square)
            left -= (new - shares[column]) * rows[:, column]
            shares[column] = new
    return tuple(map(float, shares / scale))
