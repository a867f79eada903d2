"""What a new study takes from earlier ones (``search.learn_from``): their best configurations, to be tried first.

They are chosen once, when the study is created, and stand in its own sweep file (``search.learned``). So what a study
tries does not depend on what becomes of the earlier studies, and an earlier study that misleads costs these few trials.
"""

from __future__ import annotations

from itertools import islice, zip_longest
from statistics import fmean
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import DamagedFileError, SettingError, StudyError
from cnn_sweep.journal.history import History
from cnn_sweep.journal.paths import StudyPaths, existing_study, is_study
from cnn_sweep.journal.sweep_files import read_revisions
from cnn_sweep.messages import listed, plural, show
from cnn_sweep.search.feasibility import best_first
from cnn_sweep.search.samplers import most_first
from cnn_sweep.sweep.identity import configuration_id, has_values
from cnn_sweep.sweep.space.grid import is_feasible
from cnn_sweep.sweep.space.space import find_value, is_complete
from cnn_sweep.sweep.spec.search import Learned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cnn_sweep.sweep.sweep import Sweep


def with_learned(sweep: Sweep, results: Path) -> Sweep:
    """Return a sweep with the best configurations of the studies that it learns from.

    A study that exists keeps those with which it was created.

    Args:
        sweep: The sweep; it is returned as it is if it learns from no study.
        results: Root of all studies.

    Raises:
        SweepFileError: An earlier study does not exist, cannot be compared, or has nothing to learn from.
    """
    if not sweep.search.learn_from:
        return sweep
    paths = StudyPaths(results, sweep.study)
    learned = _learned_before(paths, sweep) or sweep.search.learned
    if not learned:
        with sweep.locate_errors("search", "learn_from"):
            learned = _choose(sweep, results)
    return sweep.with_learned(learned)


def _learned_before(paths: StudyPaths, sweep: Sweep) -> tuple[Learned, ...]:
    """Return what the study has learned already; nothing if it does not exist or learns from other studies."""
    try:
        searches = [one.search for one in read_revisions(paths)] if is_study(paths) else []
    except DamagedFileError:
        return ()  # a lost sweep file is restored only from a sweep with the same digest
    return next((one.learned for one in searches if one.learn_from == sweep.search.learn_from), ())


def _choose(sweep: Sweep, results: Path) -> tuple[Learned, ...]:
    """Take turns: the best configuration of each study, then the second best, since values may not compare."""
    names = sweep.search.learn_from
    ranked = [_usable(sweep, results, name, index) for index, name in enumerate(names)]
    turns = (one for turn in zip_longest(*ranked) for one in turn if one is not None)
    distinct = {configuration_id(one.params): one for one in reversed([*turns])}
    return tuple(islice(reversed(distinct.values()), most_first(sweep)))


def _usable(sweep: Sweep, results: Path, name: str, index: int) -> list[Learned]:
    """Return the configurations of a study that can be tried in a sweep, the best first."""
    key = ("search", "learn_from", index)
    if name == sweep.study:
        raise SettingError(f"{show(name)} is the name of this study; it cannot learn from itself", key)
    try:
        paths = existing_study(results, name)
        old = read_revisions(paths)[-1]
    except StudyError as error:
        raise SettingError(str(error), key) from error
    theirs, ours = (f"{one.objective.metric} ({one.objective.direction})" for one in (old, sweep))
    if theirs != ours:
        raise SettingError(f"the objective of {show(name)} is {theirs}, that of this study {ours}", key)
    if not set(old.space.names) & set(sweep.space.names):
        what = f"{show(name)} has {listed(old.space.names)}, and this study {listed(sweep.space.names)}"
        raise SettingError(f"they have no hyperparameter in common: {what}", key)
    ranked = list(_ranked(paths, old))
    found = [
        one.model_copy(update={"params": part}) for one in ranked if (part := _part(sweep, one.params)) is not None
    ]
    if not ranked:
        raise SettingError(f"no trial of {show(name)} is complete, so there is nothing to learn from", key)
    if not found:
        which = f"none of the {plural(len(ranked), 'complete configuration')} of {show(name)}"
        raise SettingError(f"{which} lies in this space; the best is {show(dict(ranked[0].params))}", key)
    return found


def _ranked(paths: StudyPaths, old: Sweep) -> Iterator[Learned]:
    """Yield the complete configurations of a study, the best first, with the mean of their trials' values.

    As on the leaderboard, those with several values come first: the best of single values is partly luck.
    """
    history = History.read(paths, old.objective.metric, old.further_metrics)
    by_configuration: dict[str, list[tuple[int, float, float]]] = {}
    for number, (violation, value) in best_first(history, old).items():
        if (params := history.trials[number].params) is not None:
            by_configuration.setdefault(configuration_id(dict(params)), []).append((number, violation, value))
    means = [
        (any(violation for _, violation, _ in trials), len(trials) < 2, fmean(value for *_, value in trials), trials)
        for trials in by_configuration.values()
    ]
    means.sort(key=lambda one: (*one[:2], old.objective.direction.key(one[2])))
    for *_, mean, trials in means:
        params = history.trials[trials[0][0]].params or {}
        yield Learned(study=paths.study, trial=trials[0][0], value=mean, params=dict(params))


def _part(sweep: Sweep, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the values of a configuration for the hyperparameters of a sweep; None if one is not in its space.

    Hyperparameters that only one of the two studies has are left out; the search completes the configuration.
    """
    part: dict[str, Any] = {}
    for parameter in sweep.space.ordered:
        if parameter.name in params and parameter.is_active(part):
            found = find_value(parameter.domain, params[parameter.name])
            if found is None:
                return None
            part[parameter.name] = found[0]
    fixed = {name: value for name, value in sweep.search.fixed.items() if name in part}
    if not part or not has_values(part, fixed):
        return None
    if is_complete(sweep.space, part) and not is_feasible(part, sweep.constraints):
        return None
    return {name: part[name] for name in sweep.space.names if name in part}
