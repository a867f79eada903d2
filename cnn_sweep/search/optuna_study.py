"""Writes studies to Optuna's storages, and reads an Optuna study as history for a search."""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import optuna
from optuna.distributions import CategoricalDistribution, check_distribution_compatibility
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.messages import listed, show
from cnn_sweep.search.distributions import distribution
from cnn_sweep.search.optuna_rows import add_trials
from cnn_sweep.sweep.space.space import Choices, find_value, is_complete

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from cnn_sweep.sweep.space.space import Parameter
    from cnn_sweep.sweep.sweep import Sweep

_STATES: Final = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
_OURS: Final = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class ExportedTrial:
    """A trial to write to a storage.

    Attributes:
        params: Its hyperparameters.
        state: Its state; any unfinished state is written as running.
        values: One per objective; None if it has no value.
        constraints: Value of each of the sweep's ``search.constraints``, at most 0 if it is satisfied.
        steps: Objective by epoch.
        attributes: User attributes, as JSON data.
        started: Start, in seconds since 1970.
        ended: End, in seconds since 1970; None if it has not ended.
    """

    params: Mapping[str, Any]
    state: str
    values: tuple[float | None, ...]
    constraints: Mapping[str, float]
    steps: Mapping[int, float]
    attributes: Mapping[str, Any]
    started: float
    ended: float | None


@dataclass(frozen=True)
class MatchingTrials:
    """Trials of an Optuna study that lie in a sweep's space.

    Attributes:
        trials: (number in the Optuna study, hyperparameters as values of the sweep, state, values).
        skipped: Number of trials that cannot be used, by reason.
    """

    trials: list[tuple[int, dict[str, Any], str, list[float]]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def write_study(storage: str, sweep: Sweep, records: Iterable[ExportedTrial]) -> int:
    """Write a study into an Optuna storage.

    Args:
        storage: URL, such as ``sqlite:///study.db``.
        sweep: Gives the study's name, space and objectives.
        records: Its trials.

    Returns:
        The number of trials written.

    Raises:
        InputError: The storage already has a study of that name.
        EnvironmentFault: The storage cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [StudyDirection[one.direction.name] for one in sweep.objectives]
    trials = [_trial(sweep, record) for record in records]
    with _storage_errors(storage, "written"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # names of metrics
        backend = RDBStorage(storage)
        try:
            study = optuna.create_study(storage=backend, study_name=sweep.study, directions=directions)
        except DuplicatedStudyError:
            raise InputError(f"{storage} already has a study {sweep.study!r}; choose another storage") from None
        try:
            study.set_metric_names([one.metric for one in sweep.objectives])
            add_trials(backend, sweep.study, trials)
        except BaseException:  # never leave part of a study behind
            optuna.delete_study(study_name=sweep.study, storage=backend)
            raise
    return len(trials)


def mirror_study(storage: str, sweep: Sweep, records: Iterable[ExportedTrial]) -> int:
    """Add finished trials that a study in a storage lacks; create the study if needed.

    If others delete the study meanwhile, nothing is added, and the next call creates it again.

    Args:
        storage: URL, such as ``sqlite:///study.db``.
        sweep: Gives the study's name, space and objectives.
        records: Its trials, each with its number as the attribute ``trial``.

    Returns:
        The number of trials added.

    Raises:
        EnvironmentFault: The storage cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _storage_errors(storage, "written"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # names of metrics
        try:
            return _add_missing(storage, sweep, records)
        except KeyError:  # Optuna's error where a study or a trial is not there
            if sweep.study in optuna.get_all_study_names(storage=storage):
                raise
            return 0


def _add_missing(storage: str, sweep: Sweep, records: Iterable[ExportedTrial]) -> int:
    directions = [StudyDirection[one.direction.name] for one in sweep.objectives]
    backend = RDBStorage(storage)
    study = optuna.create_study(storage=backend, study_name=sweep.study, directions=directions, load_if_exists=True)
    study.set_metric_names([one.metric for one in sweep.objectives])
    known = study.get_trials(deepcopy=False)
    there = {trial.user_attrs.get("trial") for trial in known}
    missing = [record for record in records if record.attributes["trial"] not in there]
    finished = [trial for trial in (_trial(sweep, record) for record in missing) if trial.state.is_finished()]
    _check_distributions(known, finished)
    add_trials(backend, sweep.study, finished)
    return len(finished)


def _check_distributions(known: Iterable[FrozenTrial], added: Iterable[FrozenTrial]) -> None:
    """Check that added trials have the distributions of a study, as Optuna does before it adds one.

    Raises:
        ValueError: A hyperparameter has other choices, or another kind.
    """
    there = {name: found for trial in known for name, found in trial.distributions.items()}
    for trial in added:
        for name, own in trial.distributions.items():
            check_distribution_compatibility(there.setdefault(name, own), own)


def read_study(storage: str, name: str, sweep: Sweep) -> MatchingTrials:
    """Read the trials of an Optuna study that lie in a sweep's space.

    Args:
        storage: URL, such as ``sqlite:///study.db``.
        name: Name of the Optuna study.
        sweep: The sweep.

    Raises:
        InputError: There is no such study, or its directions differ.
        EnvironmentFault: The storage cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _storage_errors(storage, "read"):
        names = optuna.get_all_study_names(storage=storage)
        if name not in names:
            raise InputError(f"{storage} has no study {name!r}; studies there: {listed(names)}")
        study = optuna.load_study(study_name=name, storage=storage)
        theirs, trials = [one.name.lower() for one in study.directions], study.get_trials(deepcopy=False)
    ours = [one.direction for one in sweep.objectives]
    if theirs != ours:
        raise InputError(f"the study {name!r} has the directions {listed(theirs)}; {sweep.study!r} has {listed(ours)}")
    found = MatchingTrials()
    for trial in trials:
        _take(trial, sweep, found)
    return found


def _take(trial: FrozenTrial, sweep: Sweep, found: MatchingTrials) -> None:
    values = list(trial.values or [])
    if trial.state == TrialState.PRUNED and trial.intermediate_values and len(sweep.objectives) == 1:
        values = [trial.intermediate_values[max(trial.intermediate_values)]]
    if trial.state not in _OURS:
        found.skipped["not ended"] += 1
    elif trial.state == TrialState.COMPLETE and not all(map(math.isfinite, values)):
        found.skipped["without a finite value"] += 1
    else:
        params = _ours(trial.params, sweep, found)
        if params is not None:
            found.trials.append((trial.number, params, _OURS[trial.state], values))


def _ours(theirs: Mapping[str, Any], sweep: Sweep, found: MatchingTrials) -> dict[str, Any] | None:
    """Convert parameters to values of the sweep; None, with the reason counted, if they are not in its space."""
    params = {}
    for parameter in sweep.space.parameters:
        if parameter.name not in theirs:
            continue
        given = theirs[parameter.name]
        value = find_value(parameter.domain, given)
        if value is None and isinstance(parameter.domain, Choices):
            value = next(((one,) for one in parameter.domain.values if _written(one) == given), None)
        if value is None:
            found.skipped[f"{parameter.name} {show(given)} is not in the space"] += 1
            return None
        params[parameter.name] = value[0]
    active = {name: value for name, value in params.items() if sweep.space.by_name[name].is_active(params)}
    if not is_complete(sweep.space, active):
        lacking = [one.name for one in sweep.space.ordered if one.is_active(active) and one.name not in active]
        found.skipped[f"has no {listed(lacking)}"] += 1
        return None
    if not sweep.satisfies(active):
        found.skipped["violates a constraint"] += 1
        return None
    return active


def _trial(sweep: Sweep, record: ExportedTrial) -> FrozenTrial:
    # A damaged journal may have values that no trial can have; Optuna refuses them.
    known = [
        one
        for one in sweep.space.parameters
        if one.name in record.params and find_value(one.domain, record.params[one.name]) is not None
    ]
    values = [float(value) for value in record.values if value is not None and math.isfinite(value)]
    state = _STATES.get(record.state, TrialState.RUNNING)
    if state == TrialState.COMPLETE and len(values) < len(record.values):
        state = TrialState.FAIL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        trial = create_trial(
            state=state,
            values=values if state == TrialState.COMPLETE else None,
            params={one.name: _written(record.params[one.name]) for one in known},
            distributions={one.name: _distribution(one) for one in known},
            intermediate_values=dict(record.steps),
            user_attrs=dict(record.attributes),
            constraints=dict(record.constraints),
        )
    trial.datetime_start = _moment(record.started)
    trial.datetime_complete = _moment(record.ended) if state.is_finished() and record.ended is not None else None
    return trial


def _distribution(parameter: Parameter) -> BaseDistribution:
    """Return a distribution whose choices are the values themselves, for readable plots."""
    if isinstance(parameter.domain, Choices):
        return CategoricalDistribution([_written(value) for value in parameter.domain.values])
    return distribution(parameter.domain)


def _written(value: Any) -> Any:
    """Return a list as JSON text, since Optuna allows no lists."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _moment(seconds: float) -> datetime:
    """Return a time as Optuna stores it: local, without a time zone."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().replace(tzinfo=None)


@contextmanager
def _storage_errors(storage: str, what: str) -> Iterator[None]:
    """Turn an error of a storage into one message, whichever library below Optuna raised it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EnvironmentFault(f"{storage} cannot be {what} by Optuna: {reason}") from error
