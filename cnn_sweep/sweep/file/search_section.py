"""Reads the sections ``search`` and ``pruner`` of a sweep file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.messages import listed, show, unknown
from cnn_sweep.sweep.expressions.parser import ExpressionError
from cnn_sweep.sweep.file.problems import validate_section
from cnn_sweep.sweep.file.space_section import describe_domain
from cnn_sweep.sweep.identity import name_problem
from cnn_sweep.sweep.space.grid import is_feasible
from cnn_sweep.sweep.space.space import find_value, is_complete
from cnn_sweep.sweep.spec.metrics import TRIAL_METRICS, is_objective, objectives
from cnn_sweep.sweep.spec.outcome_constraints import MAX_CONSTRAINTS, outcome_constraints
from cnn_sweep.sweep.spec.search import (
    GAIN_BELOW_NOISE,
    GRID_METHODS,
    LISTED_METHODS,
    OPTIONS,
    PRUNERS,
    PrunerSpec,
    SearchSpec,
    parse_pruner,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.expressions.expression import Expression
    from cnn_sweep.sweep.file.problems import Problems
    from cnn_sweep.sweep.space.space import Space
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec


def read_search(value: Any, problems: Problems) -> SearchSpec:
    """Read ``search``; if it cannot be read, return a search that causes no further problems."""
    path: KeyPath = ("search",)
    spec: SearchSpec | None = validate_section(SearchSpec, value, path, problems)
    if spec is None:
        method = value.get("method") if isinstance(value, dict) else None
        # Otherwise, the wrong method would cause messages about ranges of the space, too.
        return SearchSpec(method="grid" if method is None or method in GRID_METHODS else "random", trials=1)
    _check_table_keys(spec, problems)
    for index, name in enumerate(spec.learn_from):
        if (problem := name_problem(name)) is not None:
            problems.add((*path, "learn_from", index), problem)
    if spec.method not in LISTED_METHODS and spec.max_trials is None:
        problems.add(path, f"the method {spec.method!r} needs a number of trials; add trials: 50")
    options = spec.options
    if model := OPTIONS.get(spec.method):
        read = validate_section(model, options, (*path, "options"), problems)
        return spec.model_copy(update={"options": read.model_dump() if read else {}})
    for key in options:
        problems.add((*path, "options", key), f"the method {spec.method!r} has no options; leave out {show(key)}")
    return spec


def _check_table_keys(spec: SearchSpec, problems: Problems) -> None:
    """Check that a table is given if the search uses one, and only then."""
    given = [key for key in ("file", "rows") if key in spec.model_fields_set]
    if spec.method != "table":
        for key in given:
            problems.add(("search", key), f"belongs to the method 'table', not {show(spec.method)}")
        return
    if len(given) != 1:
        problems.add(("search",), "the method 'table' needs a CSV file, as in search: {method: table, file: grid.csv}")
    for unused in ("fixed", "enqueue", "learn_from", "learned"):
        if unused in spec.model_fields_set:
            problems.add(("search", unused), "has no effect with the method 'table'; change the table")


def read_pruner(
    top: Any, objective: ObjectiveSpec, search: SearchSpec, problems: Problems, *, folds: int | None = None
) -> PrunerSpec | None:
    """Read ``pruner``; return None if there is none, or if it cannot be read."""
    if "pruner" not in top:
        return None
    path: KeyPath = ("pruner",)
    found = parse_pruner(top["pruner"])
    if found is None:
        problems.add(path, f"must be one of {listed(PRUNERS)}, as in pruner: {{asha: {{reduction: 3}}}}")
        return None
    name, settings = found
    if name not in PRUNERS:
        problems.add(path, unknown("pruner", name, list(PRUNERS)))
        return None
    if name in ("asha", "hyperband", "predictive") and objective.function is not None:
        problems.add(path, f"{name} pauses trials at a checkpoint, and objective.function writes none; try median")
    if name == "wilcoxon" and search.repeats < 2 and folds is None:
        problems.add(
            path, "wilcoxon compares repeats of configurations; add repeats: 5 to the search, or folds: 5 to data"
        )
    spec: PrunerSpec | None = validate_section(PRUNERS[name], settings, (*path, name), problems)
    return spec


def check_until(search: SearchSpec, objective: ObjectiveSpec, folds: Any, problems: Problems) -> None:
    """Check that ``search.until`` has values of the objective, and what else it may have."""
    for name, goal in search.until.items():
        path: KeyPath = ("search", "until", name)
        if name == GAIN_BELOW_NOISE:
            if goal is not True:
                problems.add(path, f"must be true, not {show(goal)}; leave the line out for a search without it")
            elif search.repeats < 2 and folds is None:
                cure = "add repeats: 3 to the search, or folds: 5 to data"
                problems.add(path, f"needs trainings that differ by chance alone; {cure}")
        elif name != objective.metric:
            problems.add(path, unknown("limit", name, [objective.metric, GAIN_BELOW_NOISE]))
        elif goal is True:
            problems.add(path, "must be a number: the value at which the search ends")


def check_outcome_constraints(search: SearchSpec, problems: Problems, *, any_metric: bool) -> SearchSpec:
    """Check ``search.constraints``; return the search with those that can be used.

    Args:
        search: The section.
        problems: Mistakes are added to it.
        any_metric: Whether the user's own function may report metrics of any name.
    """
    path: KeyPath = ("search", "constraints")
    if len(search.constraints) > MAX_CONSTRAINTS:
        problems.add(path, f"a search can have {MAX_CONSTRAINTS} constraints, this one has {len(search.constraints)}")
    usable = []
    for index, text in enumerate(search.constraints[:MAX_CONSTRAINTS]):
        try:
            (constraint,) = outcome_constraints((text,))
        except ExpressionError as error:
            problems.add((*path, index), str(error))
            continue
        known = [any_metric or name in TRIAL_METRICS or is_objective(name) for name in constraint.names]
        for name in (name for name, is_known in zip(constraint.names, known, strict=True) if not is_known):
            problems.add((*path, index), unknown("metric", name, (*TRIAL_METRICS, *objectives())))
        usable += [text] * all(known)
    return search.model_copy(update={"constraints": tuple(usable)})


def read_fixed_and_enqueued(
    search: SearchSpec, space: Space, constraints: Sequence[Expression], problems: Problems
) -> SearchSpec:
    """Convert ``fixed``, ``enqueue`` and ``learned`` to values of the space; a value outside it is a problem."""
    if not search.fixed and not search.enqueue and not search.learned:
        return search
    fixed = _read_values(search.fixed, ("search", "fixed"), space, problems)

    def configuration(values: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        params = _read_values(values, path, space, problems)
        _check_conditions(params, path, space, problems)
        if is_complete(space, params) and not is_feasible(params, constraints):
            problems.add(path, f"{show(params)} does not satisfy the constraints")
        return {name: params[name] for name in space.names if name in params}

    enqueue = [configuration(values, ("search", "enqueue", index)) for index, values in enumerate(search.enqueue)]
    learned = [
        one.model_copy(update={"params": configuration(one.params, ("search", "learned", index, "params"))})
        for index, one in enumerate(search.learned)
    ]
    return search.model_copy(update={"fixed": fixed, "enqueue": tuple(enqueue), "learned": tuple(learned)})


def _read_values(raw: Mapping[str, Any], path: KeyPath, space: Space, problems: Problems) -> dict[str, Any]:
    values = {}
    for name, value in raw.items():
        if name not in space.by_name:
            problems.add_unknown((*path, name), "parameter", name, space.names)
        elif (found := find_value(space.by_name[name].domain, value)) is None:
            where = describe_domain(space.by_name[name].domain)
            problems.add((*path, name), f"{show(value)} is not in the space of {name!r}: {where}")
        else:
            values[name] = found[0]
    return values


def _check_conditions(params: Mapping[str, Any], path: KeyPath, space: Space, problems: Problems) -> None:
    for name in params:
        parameter = space.by_name[name]
        if lacking := [other for other in parameter.when if other not in params]:
            problems.add((*path, name), f"depends on {listed(lacking)}, which must be set too")
        elif not parameter.is_active(params):
            conditions = {other: params[other] for other in parameter.when}
            problems.add((*path, name), f"{name!r} is inactive with {show(conditions)}; leave it out")
