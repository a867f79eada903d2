"""Comparison of two sweeps: whether the second only extends the first (``run --extend``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.messages import listed, show
from cnn_sweep.sweep.identity import canonical_json
from cnn_sweep.sweep.space.space import Choices
from cnn_sweep.sweep.spec.search import GRID_METHODS

if TYPE_CHECKING:
    from cnn_sweep.sweep.space.space import Parameter, Range
    from cnn_sweep.sweep.sweep import Sweep

_MISSING = object()
# The first two are compared value by value; the others do not concern results.
_MAY_DIFFER = ("space", "search", "models", "when_finished")


def extension(old: Sweep, new: Sweep) -> list[str] | None:
    """Return the changes that keep a sweep from extending another: all but new choices, points, trials or repeats.

    What is kept, and what runs when the study has ended, may change, too.

    Args:
        old: The sweep of a study that has trials.
        new: The sweep that may continue it.

    Returns:
        None if ``new`` equals or only extends ``old``; otherwise each forbidden change.
    """
    before, after = old.canonical(), new.canonical()
    sections = dict.fromkeys(name for name in (*before, *after) if name not in _MAY_DIFFER)
    reasons = [reason for name in sections for reason in _changes(name, before.get(name), after.get(name))]
    return [*reasons, *_search_changes(old, new), *_space_changes(old, new)] or None


def _changes(where: str, before: Any, after: Any) -> list[str]:
    """List differences at the deepest keys possible."""
    if canonical_json(before) == canonical_json(after):
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        keys = dict.fromkeys([*before, *after])
        pairs = [(f"{where}.{key}", before.get(key, _MISSING), after.get(key, _MISSING)) for key in keys]
    elif _are_mappings(before) and _are_mappings(after) and len(before) == len(after):
        pairs = [(f"{where}[{i}]", one, other) for i, (one, other) in enumerate(zip(before, after, strict=True))]
    else:
        return [f"{where}: {show(before)} became {show(after)}"]
    reasons = []
    for place, one, other in pairs:
        if one is _MISSING:
            reasons.append(f"{place}: {show(other)} is new")
        elif other is _MISSING:
            reasons.append(f"{place}: {show(one)} is gone")
        else:
            reasons += _changes(place, one, other)
    return reasons


def _are_mappings(data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(item, dict) for item in data)


def _search_changes(old: Sweep, new: Sweep) -> list[str]:
    before, after = old.search, new.search
    reasons = []
    for name in ("method", "seed", "options", "constraints", "learn_from"):
        reasons += _changes(f"search.{name}", getattr(before, name), getattr(after, name))
    for name in ("epochs", "hours", "gpu_hours"):
        reasons += _less(name, getattr(before, name), getattr(after, name))
    reasons += _easier(old, new)
    reasons += _lost_rows(old, new)
    if after.repeats < before.repeats:
        reasons.append(f"search.repeats: {before.repeats} became {after.repeats}, which is less")
    return [*reasons, *_less("trials", before.max_trials, after.max_trials)]


def _less(name: str, before: float | None, after: float | None) -> list[str]:
    """Compare limits; None means unlimited."""
    if after is None or (before is not None and after >= before):
        return []
    return [f"search.{name}: {'all' if before is None else show(before)} became {show(after)}, which is less"]


def _lost_rows(old: Sweep, new: Sweep) -> list[str]:
    """Compare the rows of two tables."""
    kept = {canonical_json(row) for row in new.sections.rows or ()}
    lost = [row for row in old.sections.rows or () if canonical_json(row) not in kept]
    if not lost or new.search.method != "table":
        return []
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return [f"search.file: the row {show(lost[0])}{more} is gone"]


def _easier(old: Sweep, new: Sweep) -> list[str]:
    """Compare the values of ``search.until``."""
    reasons = []
    for name, goal in new.search.until.items():
        before = old.search.until.get(name)
        if before is None or old.objective.direction.better(before, goal):
            was = "nothing" if before is None else show(before)
            reasons.append(f"search.until.{name}: {was} became {show(goal)}, which is reached earlier")
    return reasons


def _space_changes(old: Sweep, new: Sweep) -> list[str]:
    if old.space.names != new.space.names:
        was, now = listed(old.space.names), listed(new.space.names)
        return [f"space: the hyperparameters were {was}; now they are {now}"]
    reasons = []
    for name in old.space.names:
        before, after = old.space.by_name[name], new.space.by_name[name]
        reasons += _lost_values(before, after, grid=old.search.method in GRID_METHODS)
        for reason in _condition_changes(before, after, old):
            reasons.append(reason)
    return reasons


def _lost_values(before: Parameter, after: Parameter, *, grid: bool) -> list[str]:
    old, new = before.domain, after.domain
    where = f"space.{before.name}"
    if not isinstance(old, Choices) and not isinstance(new, Choices) and not grid:
        return [] if _covers(new, old) else [f"{where}: the new range does not include all of the old one"]
    if isinstance(old, Choices) != isinstance(new, Choices) and not grid:
        return [f"{where}: a range cannot replace choices, nor choices a range"]
    kept = {canonical_json(value) for value in new.grid or ()}
    lost = [value for value in old.grid or () if canonical_json(value) not in kept]
    return [f"{where}: {listed(map(show, lost))} is gone"] if lost else []


def _covers(new: Range, old: Range) -> bool:
    same = (new.log, new.step, new.integer) == (old.log, old.step, old.integer)
    return same and new.contains(old.low) and new.low <= old.low and old.high <= new.high


def _condition_changes(before: Parameter, after: Parameter, old: Sweep) -> list[str]:
    """Compare conditions; they may name new values of another parameter, which no old trial has."""
    where = f"space.{before.name}.when"
    if set(before.when) != set(after.when):
        return [f"{where}: {show(dict(before.when))} became {show(dict(after.when))}"]
    reasons = []
    for name, values in before.when.items():
        both = (*values, *after.when[name])
        now = Choices(after.when[name])
        changed = [value for value in both if Choices(values).contains(value) != now.contains(value)]
        if any(old.space.by_name[name].domain.contains(value) for value in changed):
            reasons.append(f"{where}.{name}: {show(list(values))} became {show(list(after.when[name]))}")
    return reasons
