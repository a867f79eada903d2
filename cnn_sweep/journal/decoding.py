"""Decides which lines of a journal are events of this version, and decodes them.

The history and the store both read through this module, so they agree on every line. A line with a good checksum may
still not be an event of this version: a newer version wrote it, or somebody edited it. Such a line is left where it is,
counted as unknown and shown by ``cnn-sweep store check``; it never stops a reader.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from cnn_sweep.journal.events import END_STATES, EVENT_TYPES, Event, Unknown
from cnn_sweep.journal.identity import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_LARGEST = 2**63  # of SQLite's integers
YEAR_10000 = 253_402_300_800.0  # in seconds since 1970; later times are no dates
_DEPTH = 20  # of nested values, which JSON encoders follow by recursion
_EXCERPT = 60  # characters of a value in a message


class BadLineError(ValueError):
    """A line that differs from what its writer wrote."""


def fields_of(body: bytes) -> dict[str, Any]:
    """Return the fields of a line's JSON text, with its ``type``.

    Raises:
        BadLineError: The text is not a JSON object with a type.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadLineError(f"no event: {body[:80]!r}") from error
    if not isinstance(data, dict) or "type" not in data:
        raise BadLineError(f"no event: {body[:80]!r}")
    return data


def misfit(data: Any) -> str | None:
    """Return why the content of a line is not an event of this version; None if it is one."""
    if not isinstance(data, dict):
        return "no JSON object"
    kind = data.get("type")
    checks = _CHECKS.get(kind) if isinstance(kind, str) else None
    if checks is None:
        return f"an event of the unknown type {_shown(kind)}"
    for name, required, fits in checks:
        value = data.get(name, MISSING)
        if value is MISSING:
            if required:
                return f"{kind} without {name!r}"
        elif not fits(value):
            return f"{kind} with {name!r}: {_shown(value)}"
    return None


def from_json(body: bytes) -> Event | Unknown:
    """Return the event of a line's JSON text.

    Raises:
        BadLineError: The text is not a JSON object with a type.
    """
    data = fields_of(body)
    if misfit(data) is not None:
        return Unknown(str(data.pop("type")), data)
    return event_of(data)


def event_of(data: dict[str, Any]) -> Event:
    """Return the event of a line whose content :func:`misfit` accepts."""
    kind = EVENT_TYPES[data["type"]]
    rest = {name: value for name, value in data.items() if name != "type"}
    if "metrics" in rest:
        rest["metrics"] = {name: NON_FINITE.get(value, value) for name, value in rest["metrics"].items()}
    if "identity" in rest:
        rest["identity"] = ProcessIdentity.from_data(rest["identity"])
    known = {name: rest.pop(name) for name in kind.field_names() if name in rest}
    return kind(**known, extra=rest)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and -_LARGEST <= value < _LARGEST)


def _is_time(value: Any) -> bool:
    return _is_number(value) and 0 <= value < YEAR_10000


def _is_measure(value: Any) -> bool:
    """Return whether a value is a number, or stands for one that JSON lacks."""
    return _is_number(value) or (type(value) is str and value in NON_FINITE)


def _is_end_state(value: Any) -> bool:
    return type(value) is str and value in END_STATES


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_name(value: Any) -> bool:
    """Return whether a value can be the name of a column."""
    if type(value) is not str or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _names_with(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return the check of an object whose values fit."""
    return lambda value: type(value) is dict and all(map(_is_name, value)) and all(map(fits, value.values()))


def _is_data(value: Any, depth: int = _DEPTH) -> bool:
    """Return whether a value can be written as JSON again."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_data(item, depth - 1) for item in inner)
    return type(value) is not float or math.isfinite(value)


_is_object = _names_with(_is_data)


def _is_identity(value: Any) -> bool:
    try:
        ProcessIdentity.from_data(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


def _are_measures(value: Any) -> bool:
    return type(value) is list and all(map(_is_measure, value))


def _are_counts(value: Any) -> bool:
    return type(value) is list and all(map(_is_count, value))


def _are_jobs(value: Any) -> bool:
    """Return whether a value lists submitted arrays, as :class:`~cnn_sweep.journal.events.Submit` describes them."""
    return type(value) is list and all(
        _is_object(job)
        and _is_text(job.get("job"))
        and job["job"].isdecimal()
        and _is_count(job.get("tasks"))
        and _is_time(job.get("time"))
        for job in value
    )


# By the annotation of a field.
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "int": _is_count,
    "float": _is_number,
    "str": _is_text,
    "bool": lambda value: type(value) is bool,
    "ProcessIdentity": _is_identity,
    "dict[str, Any]": _is_object,
    "dict[str, float]": _names_with(_is_measure),
    "dict[str, str]": _names_with(_is_text),
    "list[dict[str, Any]]": _are_jobs,
    "list[float]": _are_measures,
    "list[int]": _are_counts,
}
_NAMED: Mapping[str, Callable[[Any], bool]] = {"time": _is_time, "state": _is_end_state}


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _checks(kind: type[Event]) -> tuple[tuple[str, bool, Callable[[Any], bool]], ...]:
    """Return name, whether a line must have it, and the check of each field of an event."""
    found = []
    for field in fields(kind):
        if field.name == "extra":
            continue
        annotation = str(field.type)
        fits = _NAMED.get(field.name) or _FITS[annotation.removesuffix(" | None")]
        required = field.default is MISSING and field.default_factory is MISSING
        found.append((field.name, required, _or_none(fits) if annotation.endswith(" | None") else fits))
    return tuple(found)


_CHECKS = {name: _checks(kind) for name, kind in EVENT_TYPES.items()}
