"""Configurations that a sweep file gives outright: fixed values, and what is tried first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.problems import listed, show, unknown
from cnn_sweep.sweep.samples import holds
from cnn_sweep.sweep.space import Choices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.sweep.expressions import Expression
    from cnn_sweep.sweep.problems import Problems
    from cnn_sweep.sweep.search_spec import SearchSpec
    from cnn_sweep.sweep.space import Range, Space
    from cnn_sweep.sweep.yaml import Path


def read_given(search: SearchSpec, space: Space, constraints: Sequence[Expression], problems: Problems) -> SearchSpec:
    """Bring ``fixed`` and ``enqueue`` into the space's own values; what is not in the space is a mistake."""
    if not search.fixed and not search.enqueue:
        return search
    fixed = _values(search.fixed, ("search", "fixed"), space, problems)
    enqueue = []
    for index, given in enumerate(search.enqueue):
        path: Path = ("search", "enqueue", index)
        params = _values(given, path, space, problems)
        _check_conditions(params, path, space, problems)
        if is_complete(space, params) and not holds(params, constraints):
            problems.add(path, f"{show(params)} does not satisfy the constraints")
        enqueue.append({name: params[name] for name in space.names if name in params})
    return search.model_copy(update={"fixed": fixed, "enqueue": tuple(enqueue)})


def is_complete(space: Space, params: Mapping[str, Any]) -> bool:
    """Tell whether every parameter that counts beside the others has a value."""
    return all(one.name in params or not one.is_active(params) for one in space.ordered)


def _values(given: Mapping[str, Any], path: Path, space: Space, problems: Problems) -> dict[str, Any]:
    values = {}
    for name, value in given.items():
        if name not in space.by_name:
            problems.add((*path, name), unknown("parameter", name, space.names))
        elif (found := value_in(space.by_name[name].domain, value)) is None:
            where = _described(space.by_name[name].domain)
            problems.add((*path, name), f"{show(value)} is not in the space of {name!r}: {where}")
        else:
            values[name] = found[0]
    return values


def value_in(domain: Choices | Range, value: Any) -> tuple[Any] | None:
    """Return a value as the space has it, 0.0 for 0, in a tuple of its own since it may be nothing."""
    if isinstance(domain, Choices):
        place = domain.index(value)
        return None if place is None else (domain.values[place],)
    return (domain.nearest(value),) if domain.contains(value) else None


def _described(domain: Choices | Range) -> str:
    if isinstance(domain, Choices):
        return listed(map(show, domain.values))
    steps = "" if domain.step is None else f" in steps of {domain.step:g}"
    return f"{domain.low:g} to {domain.high:g}{steps}"


def _check_conditions(params: Mapping[str, Any], path: Path, space: Space, problems: Problems) -> None:
    for name in params:
        parameter = space.by_name[name]
        if lacking := [other for other in parameter.when if other not in params]:
            problems.add((*path, name), f"depends on {listed(lacking)}, which must be given too")
        elif not parameter.is_active(params):
            beside = {other: params[other] for other in parameter.when}
            problems.add((*path, name), f"{name!r} does not count beside {show(beside)}; leave it out")
