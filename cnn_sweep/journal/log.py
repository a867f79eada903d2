"""Journals: the form of their lines, the writer that appends to its own, and reading any of them from an offset on.

A line is the CRC-32 of a JSON object in 8 hexadecimal digits, a space, the object and a newline. The object's first key
is ``type``. Types and fields that this version does not know are kept and are never an error. Numbers that JSON lacks
are written as the strings "nan", "inf" and "-inf"; in metrics they are read back as numbers.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from zlib import crc32

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal.events import EVENT_TYPES, Epoch, Event, Unknown, Worker
from cnn_sweep.journal.filesystem import sync, sync_path
from cnn_sweep.journal.identity import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_PREFIX = 9  # bytes before the object: 8 digits and a space
SYNC_EVERY_S = 2.0
READ_LIMIT = 16 << 20  # bytes that a reader takes into memory at once
ZEROS = "zero bytes"  # a reason why a line is bad
_EXCERPT = 120
_LINE_START = re.compile(rb'[0-9a-f]{8} \{"')


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
        BadLineError: If the text is not a JSON object with a type.
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
    """Return a metric as a number that can be compared; None for NaN, infinity and what is not a number."""
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


class JournalWriter:
    """Appends events to a new journal of its own. Not thread-safe.

    An appended event is in the file at once, so it survives the process. At every change of state, and after two
    seconds of appends, the file is also forced to the disk, so it survives a crash of the machine.

    If the disk is full or fails, the event stays in memory and is written, possibly again, with the next append or
    flush. A line that was cut short is closed first and remains as one bad line. Repeated lines are harmless: readers
    count a line that occurs twice once.

    Args:
        path: The journal; it must not exist.
        sync_every_s: Longest time between two flushes while epochs are appended, in seconds.

    Raises:
        EnvironmentFault: If the file cannot be created.
    """

    def __init__(self, path: Path, *, sync_every_s: float = SYNC_EVERY_S) -> None:
        self.path = path
        self._sync_every_s = sync_every_s
        self._pending = bytearray()  # whole lines that are not in the file, as far as we know
        self._unsynced = bytearray()  # whole lines that are in the file and perhaps not on the disk
        self._torn = False  # whether the file may end in the middle of a line
        self._synced_at = time.monotonic()
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            sync_path(path.parent)
        except OSError as error:
            raise _fault(path, "cannot create the journal", error) from error

    def append(self, event: Event) -> None:
        """Write an event; force it to the disk if it changes a state.

        Raises:
            EnvironmentFault: If the disk is full or fails; the event is kept for the next call.
        """
        self._pending += encode(event)
        if not isinstance(event, Epoch | Worker) or time.monotonic() - self._synced_at >= self._sync_every_s:
            self.flush()
        else:
            self._write()

    def flush(self) -> None:
        """Write what is kept and force everything to the disk.

        Raises:
            EnvironmentFault: If the disk is full or fails; what is not safe is kept for the next call.
        """
        self._write()
        self._synced_at = time.monotonic()
        if not self._unsynced:
            return
        try:
            sync(self._fd)
        except OSError as error:
            # The kernel forgets pages that it failed to write: only writing them again makes them safe.
            self._pending = self._unsynced + self._pending
            self._unsynced = bytearray()
            self._torn = True
            raise _fault(self.path, "cannot write the journal to the disk", error) from error
        self._unsynced.clear()

    def close(self) -> None:
        """Flush and close; the file is closed even if the flush fails."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        if not self._pending:
            return
        data = b"\n" + self._pending if self._torn else bytes(self._pending)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
        except OSError as error:
            if written:
                self._torn = data[written - 1 : written] != b"\n"
            raise _fault(self.path, "cannot append to the journal", error) from error
        self._torn = False
        self._unsynced += self._pending
        self._pending.clear()


@dataclass(frozen=True)
class BadLine:
    """A stretch of a journal that is not what was written.

    Attributes:
        offset: Where it begins, in bytes.
        length: Its size in bytes, without the newline.
        reason: The kind of damage.
        text: Its beginning, printable.
    """

    offset: int
    length: int
    reason: str
    text: str

    @property
    def may_heal(self) -> bool:
        """Whether the bytes may still be on their way: network file systems show zeros for a while."""
        return self.reason == ZEROS


@dataclass(frozen=True)
class Chunk:
    """What was read of a journal.

    Attributes:
        bodies: The JSON texts of the good lines, in the file's order.
        end_offset: Where to read on; just behind a newline.
        bad: What had to be skipped.
        fault: Why nothing could be read where something was expected; None otherwise.
        more: Whether there is more to read at once.
    """

    bodies: tuple[bytes, ...]
    end_offset: int
    bad: tuple[BadLine, ...] = ()
    fault: str | None = None
    more: bool = False

    def events(self) -> Iterator[Event | Unknown]:
        """Yield the events of the good lines."""
        return map(from_json, self.bodies)


def read_from(path: Path, offset: int = 0, *, limit: int = READ_LIMIT, end: int | None = None) -> Chunk:
    """Read the complete lines of a journal that begin at or behind ``offset``.

    A file that is missing, unreadable or shorter than ``offset`` (a size that is out of date on this machine,
    or a damaged file) is a ``fault`` of the chunk and not an error: the next call may well succeed.

    Args:
        path: The journal.
        offset: The ``end_offset`` of the last chunk.
        limit: How many bytes to read at most, if there is a whole line in them.
        end: Behind which byte nothing is read, if given.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            stop = size if end is None else min(size, end)
            if size < offset or (end is not None and size < end):
                return Chunk((), offset, fault=f"has {size} bytes where {max(offset, end or 0)} were read before")
            file.seek(offset)
            data, last = _read_lines(file.fileno(), min(limit, stop - offset), stop - offset)
    except OSError as error:
        return Chunk((), offset, fault=f"cannot be read: {error.strerror or error}")
    bodies, bad = parse_lines(data, offset)
    return Chunk(tuple(bodies), offset + len(data), tuple(bad), more=not last)


def parse_lines(data: bytes, offset: int) -> tuple[list[bytes], list[BadLine]]:
    """Split complete lines into the JSON texts of the good ones and what is bad.

    Args:
        data: The lines; the last one ends with a newline.
        offset: Where ``data`` begins in its file.
    """
    bodies: list[bytes] = []
    bad: list[BadLine] = []
    lines = data.split(b"\n")
    lines.pop()
    for line in lines:
        body = checked(line)
        if body is not None:
            bodies.append(body)
        elif line:  # a writer closes a line that might be torn with a newline, which may leave an empty one
            bodies.extend(_saved(line))
            bad.append(_bad(line, offset))
        offset += len(line) + 1
    return bodies, bad


def reread(path: Path, bad: BadLine) -> tuple[list[bytes], list[BadLine]]:
    """Read a bad line once more, where it may have healed; it is returned as it was if it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), bad.length + 1, bad.offset)
    except OSError:
        return [], [bad]
    if len(data) != bad.length + 1 or not data.endswith(b"\n"):
        return [], [bad]
    return parse_lines(data, bad.offset)


def _read_lines(fd: int, limit: int, available: int) -> tuple[bytes, bool]:
    """Read up to ``limit`` bytes, more if no line fits; return whole lines and whether they are the last."""
    data = b""
    wanted = limit
    while wanted > len(data):
        block = os.read(fd, wanted - len(data))
        data += block
        if not block:
            break  # shorter than its size said
        if len(data) == wanted < available and b"\n" not in data:
            wanted = min(available, 2 * wanted)
    return data[: data.rfind(b"\n") + 1], len(data) >= available or len(data) < wanted


def _saved(line: bytes) -> Iterator[bytes]:
    """Yield the whole events inside a bad line: those around a damaged newline or behind a torn beginning."""
    starts = [match.start() for match in _LINE_START.finditer(line)]
    for start, stop in zip(starts, [*starts, len(line) + 1][1:], strict=True):
        piece = line[start : stop - 1]
        body = checked(piece) or checked(line[start:stop])
        if body is not None:
            yield body


def _bad(line: bytes, offset: int) -> BadLine:
    reason = ZEROS if b"\0" in line else "checksum does not match"
    text = line[:_EXCERPT].decode("ascii", errors="backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return BadLine(offset, len(line), reason, text)


def _fault(path: Path, what: str, error: OSError) -> EnvironmentFault:
    advice = {
        errno.ENOSPC: "free some space; what was not written is written with the next event",
        errno.EDQUOT: "your quota is used up; what was not written is written with the next event",
    }.get(error.errno or 0, "check the file system")
    return EnvironmentFault(f"{path}: {what}: {error.strerror or error}; {advice}")
