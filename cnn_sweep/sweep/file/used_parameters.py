"""Which hyperparameters have an effect: those that the sweep refers to, and those that switch others on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.expressions.expression import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator


def used_parameters(data: Any) -> set[str]:
    """Return the names of the hyperparameters that have an effect, as far as the sections of a sweep can be read."""
    parts = data.items() if isinstance(data, dict) else ()
    used = set(_references([part for key, part in parts if key not in ("space", "constraints")]))
    space = data.get("space") if isinstance(data, dict) else None
    return _with_switches(used, space) if isinstance(space, dict) else used


def _with_switches(used: set[str], space: dict[str, Any]) -> set[str]:
    """Add the parameters that act only through the ``when`` of others that are used."""
    conditions = {
        name: set(map(str, entry["when"]))
        for name, entry in space.items()
        if isinstance(entry, dict) and isinstance(entry.get("when"), dict)
    }
    found: set[str] = set()
    new = used
    while new:
        found |= new
        new = set().union(*(conditions.get(name, set()) for name in new)) - found
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from REFERENCE.findall(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)
