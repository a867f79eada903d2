"""The plan of a study: its trials and their numbers, which never change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cnn_sweep.errors import SettingError
from cnn_sweep.messages import in_bytes, plural, show
from cnn_sweep.search.samplers import (
    Drawn,
    all_configurations,
    believed,
    check_packages,
    completed,
    configurations,
    is_adaptive,
)
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.network.layers import Output
from cnn_sweep.sweep.network.shapes import InvalidNetwork, infer_shapes
from cnn_sweep.sweep.space.space import is_complete
from cnn_sweep.sweep.space.templates import values_key
from cnn_sweep.sweep.spec.metrics import check_metrics, requested
from cnn_sweep.sweep.spec.search import GAIN_BELOW_NOISE
from cnn_sweep.sweep.spec.training import check_class_names
from cnn_sweep.sweep.spec.trial import find_conflict, training_stages
from cnn_sweep.sweep.sweep import InvalidTrialError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from cnn_sweep.sweep.network.layers import Layer
    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.repeats import MoreRepeats
    from cnn_sweep.sweep.sweep import Sweep


T = TypeVar("T")

FROM_PRIOR: Final = "prior"  # the source of a trial that was drawn from the user's belief
MAX_WEIGHTS: Final = 10_000_000_000  # of a network; in training, each takes 12 to 16 bytes


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of the plan.

    Attributes:
        number: Its number in the study; later revisions of the sweep never change it.
        params: Its configuration; None if the sampler proposes it when the trial begins (adaptive search).
        repeat: 0 for the first training of the configuration.
        seed: Seed of the training.
        fold: With cross-validation, the fold that validates, from 0.
        configuration: ID of the configuration; None if ``params`` is None.
        same_as: In an adaptive search, the number of the trial whose configuration this one repeats.
        part: In an adaptive search, hyperparameters with fixed values; the sampler proposes the others.
        source: Why it is tried first: a trial of an earlier study as ``study#trial``, or ``prior``.
    """

    number: int
    params: dict[str, Any] | None
    repeat: int
    seed: int
    configuration: str | None
    same_as: int | None = None
    part: dict[str, Any] | None = None
    fold: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class PlannedConfiguration:
    """A configuration that will be trained.

    Attributes:
        params: The hyperparameters.
        parameters: Number of the network's weights; None if it is unknown until the network is built.
        trainable: Number of weights trained in the last stage.
    """

    params: dict[str, Any]
    parameters: int | None
    trainable: int | None = None


@dataclass(frozen=True)
class InvalidConfiguration:
    """A configuration that cannot be trained.

    Attributes:
        params: The hyperparameters.
        reason: Why it cannot be trained.
    """

    params: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Plan:
    """All trials of a study, and the configurations that were left out.

    Attributes:
        trials: By number, starting at 0 without gaps.
        configurations: Configurations of the trials; in an adaptive search, the enqueued ones.
        invalid: Configurations that cannot be trained, with the reason.
        duplicates: Number of configurations dropped because they equal another.
        rejected: Number of configurations that violate a constraint.
        notes: Remarks for the user, for instance that the space is smaller than the search.
    """

    trials: tuple[PlannedTrial, ...]
    configurations: tuple[PlannedConfiguration, ...]
    invalid: tuple[InvalidConfiguration, ...]
    duplicates: int
    rejected: int = 0
    notes: tuple[str, ...] = ()


def check_sizes(plan: Plan) -> None:
    """Check that the networks of a new study can be in memory at all.

    Plans of studies that exist are not checked, since their trials keep their numbers.

    Raises:
        SettingError: A network has more than ``MAX_WEIGHTS`` weights.
    """
    large = [one for one in plan.configurations if (one.parameters or 0) > MAX_WEIGHTS]
    if large:
        most = max(large, key=lambda one: one.parameters or 0)
        least = in_bytes(4.0 * (most.parameters or 0))
        raise SettingError(
            f"the network with {show(most.params)} has {most.parameters:,} weights, which take {least} alone; a "
            f"network can have {MAX_WEIGHTS:,} ({plural(len(large), 'configuration has', 'configurations have')} more)",
            ("model", "layers"),
        )


class Validator:
    """Checks which configurations of a sweep can be trained; equal networks are checked once.

    Args:
        sweep: The sweep.
        info: Shape and classes of the images; None skips the check of shapes.
    """

    def __init__(self, sweep: Sweep, info: ImageInfo | None) -> None:
        self._sweep = sweep
        self._info = info
        network = sweep.sections.network
        self._names = sorted(network.names) if network else []
        self._counts: dict[str, tuple[int, int] | str] = {}

    def check(self, params: Mapping[str, Any]) -> PlannedConfiguration | InvalidConfiguration:
        """Check one configuration."""
        own = dict(params)
        try:
            spec = self._sweep.resolve(own)
        except InvalidTrialError as error:
            return InvalidConfiguration(own, str(error))
        if (reason := find_conflict(spec)) is not None:
            return InvalidConfiguration(own, reason)
        if self._info is not None and spec.training is not None:
            check_metrics(spec.training.metrics, self._info, ("training", "metrics"))
        layers = training_stages(spec)[-1].layers
        if layers is None or self._info is None:
            return PlannedConfiguration(own, None)
        key = values_key(self._names, own) + f" {layers[0]}"
        if key not in self._counts:
            self._counts[key] = _count_or_reason(layers, self._info)
        found = self._counts[key]
        return InvalidConfiguration(own, found) if isinstance(found, str) else PlannedConfiguration(own, *found)

    def is_valid(self, params: Mapping[str, Any]) -> bool:
        """Return whether a configuration can be trained."""
        return isinstance(self.check(params), PlannedConfiguration)


def _count_or_reason(layers: tuple[Layer, ...], info: ImageInfo) -> tuple[int, int] | str:
    last = layers[-1] if layers else None
    if isinstance(last, Output) and last.units == 1 and info.classes != 2:
        return f"layer {len(layers)} (output): one unit can separate two classes, but the data has {info.classes}"
    try:
        shape = infer_shapes(layers, info)
    except InvalidNetwork as error:
        return str(error)
    return shape.parameters, shape.trainable


def make_plan(revisions: Sequence[Sweep], info: ImageInfo | None) -> Plan:
    """Number the trials of a study.

    Trials of a later revision follow those of earlier ones, so numbers never change. Within a revision, each
    configuration comes once before any comes with its second seed, unless the search compares its gain with the noise
    between seeds.

    Args:
        revisions: The first sweep and its extensions, in order.
        info: Shape and classes of the images; None counts every network as valid.

    Raises:
        InputError: A sweep weights or measures a class that the images do not have.
    """
    planner = _Planner()
    for sweep in revisions:
        if info is not None:
            check_class_names(sweep.weighted_classes, info)
            _check_objectives(sweep, info)
        if sweep.more_repeats is not None:
            planner.add_repeats(sweep, sweep.more_repeats)
        elif is_adaptive(sweep):
            planner.add_adaptive(sweep, info)
        else:
            planner.add(sweep, info)
    return planner.plan()


def _trainings(sweep: Sweep, names: Collection[T]) -> Iterator[tuple[T, int]]:
    """Yield names of configurations with the numbers of their trainings, in the order in which they begin."""
    repeats = range(sweep.search.repeats * sweep.fold_count)
    if GAIN_BELOW_NOISE in sweep.search.until:
        return ((name, repeat) for name in names for repeat in repeats)
    return ((name, repeat) for repeat in repeats for name in names)


def _check_objectives(sweep: Sweep, info: ImageInfo) -> None:
    """Check that the objectives can be computed for the classes of the images."""
    for index, one in enumerate(sweep.objectives):
        key = ("objectives", index, "metric") if len(sweep.objectives) > 1 else ("objective", "metric")
        if one.function is None:
            check_metrics(requested([one.metric]), info, key)
    for index, constraint in enumerate(sweep.outcome_constraints):
        if sweep.objective.function is None:
            check_metrics(requested(constraint.names), info, ("search", "constraints", index))


@dataclass
class _Planner:
    trials: list[PlannedTrial] = field(default_factory=list)
    drawn: dict[str, dict[str, Any]] = field(default_factory=dict)
    valid: dict[str, PlannedConfiguration] = field(default_factory=dict)
    invalid: dict[str, InvalidConfiguration] = field(default_factory=dict)
    planned: dict[tuple[str | int, int], int] = field(default_factory=dict)
    enqueued: set[str] = field(default_factory=set)
    proposals: list[dict[str, Any]] = field(default_factory=list)
    sources: dict[str | int, str] = field(default_factory=dict)
    draws: int = 0
    duplicates: int = 0
    rejected: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, sweep: Sweep, info: ImageInfo | None) -> None:
        validator = Validator(sweep, info)
        for place, part, source in self._newly_enqueued(sweep, validator):
            params = completed(sweep, part, place, validator.is_valid)
            if params is None:
                self.notes.append(f"no trainable configuration was found that completes {part}, which is enqueued")
            elif (name := configuration_id(params)) not in self.drawn:
                self._check_and_add(validator, params)
                self._note_source(name, source)
        drawn = configurations(sweep, known=self.drawn.values(), first=self.draws)
        self._count(sweep, drawn)
        for params in drawn.params:
            self._check_and_add(validator, params)
        for name, repeat in _trainings(sweep, self.valid):
            self._append(sweep, name, repeat, self.valid[name].params)

    def add_adaptive(self, sweep: Sweep, info: ImageInfo | None) -> None:
        """Plan trials whose configurations the sampler will complete; only enqueued values are known now."""
        check_packages(sweep.search.method)
        validator = Validator(sweep, info)
        for _, part, source in self._newly_enqueued(sweep, validator):
            if not is_complete(sweep.space, part) or self._check_and_add(validator, part):
                self._note_source(len(self.proposals), source)
                self.proposals.append(part)
        wanted = self._possible(sweep, validator)
        self.proposals += [{} for _ in range(wanted - len(self.proposals))]
        for place, repeat in _trainings(sweep, range(len(self.proposals))):
            part = self.proposals[place]
            complete = bool(part) and is_complete(sweep.space, part)
            self._append(sweep, place, repeat, part if complete else None, part=part or None)

    def add_repeats(self, sweep: Sweep, more: MoreRepeats) -> None:
        """Plan more repeats of selected configurations only."""
        names = {number: name for (name, _), number in self.planned.items()}
        for repeat in range(more.repeats * sweep.fold_count):
            for number in more.trials:
                first = self.trials[number]
                self._append(sweep, names[number], repeat, first.params, part=first.part)

    def _newly_enqueued(self, sweep: Sweep, validator: Validator) -> list[tuple[int, dict[str, Any], str | None]]:
        """List what is tried first, with its source: from the user, from earlier studies, and from the priors."""
        found = []
        first: list[tuple[dict[str, Any], str | None]] = [(one, None) for one in sweep.search.enqueue]
        first += [(one.params, f"{one.study}#{one.trial}") for one in sweep.search.learned]
        first += [(params, FROM_PRIOR) for params in believed(sweep, validator.is_valid)]
        for given, source in first:
            part = {name: given[name] for name in sweep.space.names if name in given}
            if (name := configuration_id(part)) not in self.enqueued:
                found.append((len(self.enqueued), part, source))
                self.enqueued.add(name)
        return found

    def _note_source(self, name: str | int, source: str | None) -> None:
        if source is not None:
            self.sources[name] = source

    def _check_and_add(self, validator: Validator, params: dict[str, Any]) -> bool:
        name = configuration_id(params)
        self.drawn[name] = params
        checked = validator.check(params)
        if isinstance(checked, InvalidConfiguration):
            self.invalid[name] = checked
            return False
        self.valid[name] = checked
        return True

    def _possible(self, sweep: Sweep, validator: Validator) -> int:
        """Return the number of trials of an adaptive search: at most the number of valid configurations."""
        wanted = sweep.search.max_trials or 0
        rows = all_configurations(sweep)
        if rows is None:
            return wanted
        valid = sum(map(validator.is_valid, rows))
        if valid < wanted:
            self._note_exhausted(sweep, valid)
        return min(wanted, valid)

    def _append(
        self,
        sweep: Sweep,
        name: str | int,
        repeat: int,
        params: dict[str, Any] | None,
        *,
        part: dict[str, Any] | None = None,
    ) -> None:
        if (name, repeat) in self.planned:
            return
        number = self.planned[name, repeat] = len(self.trials)
        trial = PlannedTrial(
            number=number,
            params=params,
            repeat=repeat,
            seed=sweep.search.seed + repeat // sweep.fold_count,
            fold=repeat % sweep.fold_count if sweep.fold_count > 1 else None,
            configuration=None if params is None else configuration_id(params),
            same_as=self.planned[name, 0] if params is None and repeat else None,
            part=part if params is None else None,
            source=self.sources.get(name),
        )
        self.trials.append(trial)

    def _count(self, sweep: Sweep, drawn: Drawn) -> None:
        if sweep.search.method in ("grid", "table"):  # counts cover the whole list, not only its new rows
            self.duplicates, self.rejected = drawn.duplicates, drawn.rejected
        else:
            self.duplicates += drawn.duplicates
            self.rejected += drawn.rejected
        self.draws = max(self.draws, drawn.draws)
        if drawn.exhausted:
            self._note_exhausted(sweep, len(self.drawn) + len(drawn.params))

    def _note_exhausted(self, sweep: Sweep, found: int) -> None:
        if sweep.search.trials is not None:
            asked = sweep.search.trials
            self.notes.append(f"{asked} trials were requested, but only {found} configurations were found")

    def plan(self) -> Plan:
        return Plan(
            trials=tuple(self.trials),
            configurations=tuple(self.valid.values()),
            invalid=tuple(self.invalid.values()),
            duplicates=self.duplicates,
            rejected=self.rejected,
            notes=tuple(self.notes),
        )
