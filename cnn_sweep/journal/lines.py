"""The one-line form of events.

A line is the CRC-32 of a JSON object in 8 hexadecimal digits, a space, the object, a newline. The object's
first key is ``type``. Types and fields that this version does not know are kept, and are never an error.
Numbers that JSON lacks are written as the strings "nan", "inf" and "-inf"; in metrics they are read back.
"""

from __future__ import annotations

import json
import math
from typing import Any
from zlib import crc32

from cnn_sweep.journal.events import EVENT_TYPES, Event, Unknown
from cnn_sweep.journal.identity import ProcessIdentity

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_PREFIX = 9  # bytes before the object: 8 digits and a space


class BadLineError(ValueError):
    """A line that is not what its writer wrote."""


def encode(event: Event) -> bytes:
    """Return the line of an event, with its newline."""
    data: dict[str, Any] = {"type": event.type, **event.__dict__}  # fields stand in the order of the class
    extra = data.pop("extra")
    if extra:
        data |= {name: value for name, value in extra.items() if name not in data}
    try:
        text = _DUMPS(data)
    except ValueError:  # only numbers that JSON lacks; too rare to look for in every line
        text = _DUMPS(_writable(data))
    body = text.encode("ascii")
    return b"%08x %b\n" % (crc32(body), body)


def decode(line: bytes) -> Event | Unknown:
    """Return the event of a line, with or without its newline.

    Raises:
        BadLineError: If the line is not what its writer wrote.
    """
    body = checked(line.rstrip(b"\n"))
    if body is None:
        raise BadLineError(f"checksum does not match: {line[:80]!r}")
    return from_json(body)


def checked(line: bytes) -> bytes | None:
    """Return the JSON text of a line without newline; None if its checksum does not match."""
    body = line[_PREFIX:]
    return body if line[:_PREFIX] == b"%08x " % crc32(body) and body else None


def from_json(body: bytes) -> Event | Unknown:
    """Return the event of a line's JSON text.

    Raises:
        BadLineError: If the text is no JSON object with a type.
    """
    try:
        data = json.loads(body)
        name = data.pop("type")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise BadLineError(f"no event: {body[:80]!r}") from error
    kind = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        return Unknown(str(name), data)
    try:
        return _build(kind, dict(data))
    except (KeyError, TypeError, ValueError, AttributeError):
        return Unknown(name, data)  # a newer version may have changed what the type means


def metric_value(value: Any) -> float | None:
    """Return a metric as a number that can be compared; NaN, infinity and what is no number are no value: None."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer beyond all floats
        return None
    return number if math.isfinite(number) else None


def _build(kind: type[Event], data: dict[str, Any]) -> Event:
    if "metrics" in data:
        data["metrics"] = {name: _restored(value) for name, value in data["metrics"].items()}
    if "identity" in data:
        data["identity"] = ProcessIdentity.from_data(data["identity"])
    known = {name: data.pop(name) for name in kind.field_names() if name in data}
    return kind(**known, extra=data)


def _restored(value: Any) -> Any:
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _writable(value: Any) -> Any:
    """Return plain data in which numbers that JSON lacks are strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    if isinstance(value, str | int | float) or value is None:
        return value
    return _writable(_plain(value))


def _plain(value: Any) -> Any:
    """Return what is not JSON as it stands: identities and numpy's scalars and arrays."""
    if isinstance(value, ProcessIdentity):
        return value.to_data()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot be written to a journal: {value!r}")


_DUMPS = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode
