"""Reads the ``space`` section of a sweep file."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import listed, near, number_hint, show
from cnn_sweep.sweep.expressions.expression import RESERVED, is_name
from cnn_sweep.sweep.identity import value_key
from cnn_sweep.sweep.space.space import Choices, Parameter, Range, Space, find_value
from cnn_sweep.sweep.spec.metrics import EPOCH_METRICS

if TYPE_CHECKING:
    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.file.problems import Problems

# Columns of a leaderboard other than hyperparameters.
COLUMNS: Final = (
    *("rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"),
    *EPOCH_METRICS,
)
_CHOICE_KEYS: Final = ("choices", "when", "prior")
_RANGE_KEYS: Final = ("low", "high", "step", "log", "points", "when", "prior")
MAX_POINTS: Final = 100_000
MAX_PARAMETERS: Final = 500  # each is a column of the store, and SQLite allows 2,000
_EXAMPLE: Final = "[8, 16, 32] or {low: 0.0, high: 0.5}"


def read_space(value: Any, problems: Problems, *, grid: bool) -> Space:
    """Read the section; a parameter with a mistake becomes a problem and is left out of the result.

    Args:
        value: The value of ``space`` in the file.
        problems: Mistakes are added to it.
        grid: Whether the search is a grid, for which every range must define its values.
    """
    path: KeyPath = ("space",)
    if not isinstance(value, dict):
        problems.add(path, f"must be a mapping from names to values, such as filters: {_EXAMPLE}, not {show(value)}")
        return Space()
    if len(value) > MAX_PARAMETERS:
        problems.add(path, f"a sweep can have {MAX_PARAMETERS:,} hyperparameters, this one has {len(value):,}")
        return Space()
    _check_names(list(value), problems)
    domains = {
        name: _with_prior(_read_domain(entry, (*path, name), problems, grid=grid), entry, (*path, name), problems)
        for name, entry in value.items()
    }
    parameters = []
    for name, domain in domains.items():
        if domain is not None:
            when = _read_when(name, value[name], domains, problems)
            parameters.append(Parameter(name, domain, when))
    return _without_cycles(parameters, problems)


def _check_names(names: list[str], problems: Problems) -> None:
    seen: dict[str, str] = {}
    for name in names:
        path = ("space", name)
        if not is_name(name):
            reserved = f"; reserved: {listed(sorted(RESERVED))}" if name in RESERVED else ""
            rule = "use letters, digits and _, and do not begin with a digit"
            problems.add(path, f"{show(name)} cannot name a hyperparameter; {rule}{reserved}")
        elif name.lower() in COLUMNS:
            problems.add(
                path,
                f"{show(name)} is a column of the leaderboard; use another name, such as '{name}_setting'",
            )
        elif name.lower() in seen:
            problems.add(path, f"{show(name)} and {show(seen[name.lower()])} differ in case only")
        seen.setdefault(name.lower(), name)


def _read_domain(entry: Any, path: KeyPath, problems: Problems, *, grid: bool) -> Choices | Range | None:
    if isinstance(entry, list):
        return _read_choices(entry, path, problems)
    if not isinstance(entry, dict):
        hint = "" if entry is None or isinstance(entry, str) else f"; for one value write [{show(entry)}]"
        problems.add(path, f"must be a list of choices or a range, such as {_EXAMPLE}, not {show(entry)}{hint}")
        return None
    if "choices" in entry:
        problems.mapping(entry, path, _CHOICE_KEYS)
        return _read_choices(entry["choices"], (*path, "choices"), problems)
    if "low" not in entry and "high" not in entry:
        problems.mapping(entry, path, ("choices", *_RANGE_KEYS))
        problems.add(path, "needs either choices, or low and high")
        return None
    return _read_range(entry, path, problems, grid=grid)


def _with_prior(
    domain: Choices | Range | None, entry: Any, path: KeyPath, problems: Problems
) -> Choices | Range | None:
    """Add the value that the user believes to be best."""
    if domain is None or not isinstance(entry, dict) or "prior" not in entry:
        return domain
    found = find_value(domain, entry["prior"])
    if found is None:
        problems.add((*path, "prior"), f"{show(entry['prior'])} is not in the space: {describe_domain(domain)}")
        return domain
    return replace(domain, prior=found) if isinstance(domain, Choices) else replace(domain, prior=found[0])


def describe_domain(domain: Choices | Range) -> str:
    """Return the values of a hyperparameter for messages."""
    if isinstance(domain, Choices):
        return listed(map(show, domain.values))
    steps = "" if domain.step is None else f" in steps of {domain.step:g}"
    return f"{domain.low:g} to {domain.high:g}{steps}"


def _read_choices(values: Any, path: KeyPath, problems: Problems) -> Choices | None:
    before = len(problems)
    if not isinstance(values, list):
        problems.add(path, f"must be a list of choices, not {show(values)}")
    elif not values:
        problems.add(path, "the list of choices is empty; give at least one value")
    else:
        seen: set[tuple[Any, ...]] = set()
        for index, value in enumerate(values):
            if not _is_value(value):
                problems.add((*path, index), f"{show(value)} is not a value; valid: numbers, text, true, false, lists")
                continue
            if isinstance(value, str) and "$" in value:
                problems.add((*path, index), f"{show(value)}: references work only under model and training")
            if value_key(value) in seen:
                problems.add((*path, index), f"the choice {show(value)} is repeated")
            seen.add(value_key(value))
    return Choices(tuple(values)) if len(problems) == before else None


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_value(item) for item in value)
    return not isinstance(value, dict)


def _read_range(entry: dict[str, Any], path: KeyPath, problems: Problems, *, grid: bool) -> Range | None:
    before = len(problems)
    entry = dict(problems.mapping(entry, path, _RANGE_KEYS))
    for key in ("low", "high"):
        if key not in entry:
            problems.add(path, f"the key {key!r} is missing; a range needs low and high")
    for key in ("low", "high", "step"):
        if key in entry and not _is_number(entry[key]):
            problems.add((*path, key), f"must be a number, not {show(entry[key])}{number_hint(entry[key])}")
    if not isinstance(entry.get("log", False), bool):
        problems.add((*path, "log"), f"must be true or false, not {show(entry['log'])}")
    points = entry.get("points")
    if "points" in entry and not (_is_number(points) and isinstance(points, int) and 1 <= points <= MAX_POINTS):
        problems.add((*path, "points"), f"must be a whole number from 1 to {MAX_POINTS:,}, not {show(points)}")
    if len(problems) == before:
        _check_range(entry, path, problems)
    if len(problems) > before:
        return None
    low, high, step = entry["low"], entry["high"], entry.get("step")
    integer = all(isinstance(number, int) for number in (low, high, step) if number is not None)
    domain = Range(low, high, step=step, log=entry.get("log", False), points=points, integer=integer)
    if grid and points is None and MAX_POINTS < domain.size < math.inf:
        problems.add(path, f"a grid would take all {domain.size:,} values; add points or step")
        return None
    if grid and domain.grid is None:
        problems.add(path, "a grid needs to know which values to take; add points or step")
        return None
    return domain


def _check_range(entry: dict[str, Any], path: KeyPath, problems: Problems) -> None:
    low, high, step = entry["low"], entry["high"], entry.get("step")
    log = entry.get("log", False)
    if low > high:
        problems.add((*path, "low"), f"low {show(low)} is larger than high {show(high)}")
    elif log and low <= 0:
        problems.add((*path, "low"), f"a log range needs a low above 0, not {show(low)}")
    elif step is not None and step <= 0:
        problems.add((*path, "step"), f"must be more than 0, not {show(step)}")
    elif step is not None and step > high - low:
        problems.add((*path, "step"), f"step {show(step)} is larger than the range from {show(low)} to {show(high)}")
    elif step is not None and (high - low) / step > MAX_POINTS:
        problems.add((*path, "step"), f"step {show(step)} makes more than {MAX_POINTS:,} values")
    elif step is None and not log and "points" not in entry and isinstance(low, int) and high - low > 10**9:
        problems.add(
            (*path, "high"),
            "the range is too large for whole numbers; write low and high with a decimal point",
        )
    for other in ("log", "points"):
        if step is not None and entry.get(other):
            problems.add((*path, "step"), f"step and {other} exclude each other")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_when(
    name: str, entry: Any, domains: dict[str, Choices | Range | None], problems: Problems
) -> dict[str, tuple[Any, ...]]:
    if not isinstance(entry, dict) or "when" not in entry:
        return {}
    path: KeyPath = ("space", name, "when")
    conditions = entry["when"]
    if not isinstance(conditions, dict) or not conditions:
        problems.add(path, f"must be a mapping such as {{optimizer: sgd}}, not {show(conditions)}")
        return {}
    when = {}
    for other, wanted in conditions.items():
        if other == name:
            problems.add((*path, other), f"{name!r} cannot depend on itself")
        elif other not in domains:
            problems.add_unknown((*path, other), "parameter", other, [one for one in domains if one != name])
        elif (domain := domains[other]) is not None:
            several = isinstance(wanted, list) and not (isinstance(domain, Choices) and domain.contains(wanted))
            possible = _possible_values(other, tuple(wanted) if several else (wanted,), domain, problems, path)
            if possible:
                when[other] = possible
    return when


def _possible_values(
    other: str, values: tuple[Any, ...], domain: Choices | Range, problems: Problems, path: KeyPath
) -> tuple[Any, ...]:
    """Return the values of a condition that the other parameter can have; the others become problems."""
    if not values:
        problems.add((*path, other), "the list of values is empty; give at least one")
    possible = []
    for index, value in enumerate(values):
        if isinstance(domain, Choices):
            valid = f"{near(value, domain.values)}; valid: {listed(map(show, domain.values))}"
        else:
            valid = f"; its range is {show(domain.low)} to {show(domain.high)}"
        if domain.contains(value):
            possible.append(value)
        else:
            problems.add((*path, other, index), f"{other!r} is never {show(value)}{valid}")
    return tuple(possible)


def _without_cycles(parameters: list[Parameter], problems: Problems) -> Space:
    """Drop conditions on parameters that could not be read, and report cycles."""
    names = {parameter.name for parameter in parameters}
    readable = [
        replace(parameter, when={name: values for name, values in parameter.when.items() if name in names})
        for parameter in parameters
    ]
    space = Space(tuple(readable))
    try:
        _ = space.ordered
    except ValueError as error:
        problems.add(("space",), str(error))
        return Space(tuple(Parameter(parameter.name, parameter.domain) for parameter in readable))
    return space
