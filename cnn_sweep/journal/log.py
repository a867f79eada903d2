"""Journals: the format of their lines, a writer, and incremental reading from an offset.

A line is the CRC-32 of a JSON object in 8 hexadecimal digits, a space, the object and a newline. The object's first key
is ``type``. Types and fields that this version does not know are kept and are not errors. Numbers that JSON lacks
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
from cnn_sweep.journal.decoding import BadLineError, from_json
from cnn_sweep.journal.events import Epoch, Event, Unknown, Worker
from cnn_sweep.journal.filesystem import sync, sync_path
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.study_files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PREFIX = 9  # bytes before the object: 8 digits and a space
_LARGEST_VALUE = 1e150  # the squares of larger values, in standard deviations, are no floats
SYNC_EVERY_S = 2.0
READ_LIMIT = 16 << 20  # bytes that a reader loads into memory at once
ZEROS = "zero bytes"  # reason of a `BadLine` that may still heal
_EXCERPT = 120
_LINE_START = re.compile(rb'[0-9a-f]{8} \{"')


def encode(event: Event) -> bytes:
    """Return the line of an event, with its newline."""
    data: dict[str, Any] = {"type": event.type, **event.__dict__}  # fields in the order of the class
    extra = data.pop("extra")
    if extra:
        data |= {name: value for name, value in extra.items() if name not in data}
    try:
        text = _DUMPS(data)
    except ValueError:  # numbers that JSON lacks, too rare to look for in every line
        text = _DUMPS(_writable(data))
    body = text.encode("ascii")
    return b"%08x %b\n" % (crc32(body), body)


def decode(line: bytes) -> Event | Unknown:
    """Return the event of a line, with or without its newline.

    Raises:
        BadLineError: The line is damaged.
    """
    body = checked(line.rstrip(b"\n"))
    if body is None:
        raise BadLineError(f"checksum does not match: {line[:80]!r}")
    return from_json(body)


def checked(line: bytes) -> bytes | None:
    """Return the JSON text of a line without newline; None if its checksum does not match."""
    body = line[_PREFIX:]
    return body if line[:_PREFIX] == b"%08x " % crc32(body) and body else None


def metric_value(value: Any) -> float | None:
    """Return a metric as a float; None for NaN, infinity, numbers beyond 1e150 and anything that is not a number."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer too large for a float
        return None
    return number if abs(number) < _LARGEST_VALUE else None


def _writable(value: Any) -> Any:
    """Return a copy in which numbers that JSON lacks are strings."""
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
    """Return identities and NumPy's scalars and arrays as JSON data."""
    if isinstance(value, ProcessIdentity):
        return value.to_data()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot be written to a journal: {value!r}")


_DUMPS = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode


class JournalWriter:
    """Appends events to a new journal. Not thread-safe.

    An appended event is written to the file at once, so it survives the process. Changes of state, and epochs every two
    seconds, also flush the file to disk, so that events survive a crash of the machine.

    If the disk is full or fails, the event stays in memory and is written, possibly again, with the next append or
    flush. An incomplete line is first ended with a newline and remains as one bad line. Repeated lines are harmless:
    readers count duplicates once.

    Args:
        path: The journal; it must not exist.
        sync_every_s: Longest time between two flushes while epochs are appended, in seconds.

    Raises:
        EnvironmentFault: The file cannot be created.
    """

    def __init__(self, path: Path, *, sync_every_s: float = SYNC_EVERY_S) -> None:
        self.path = path
        self._sync_every_s = sync_every_s
        self._pending = bytearray()  # complete lines that are not known to be in the file
        self._unsynced = bytearray()  # complete lines that are in the file, but perhaps not on disk
        self._torn = False  # whether the file may end in the middle of a line
        self._synced_at = time.monotonic()
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            sync_path(path.parent)
        except OSError as error:
            raise _fault(path, "cannot create the journal", error) from error

    def append(self, event: Event) -> None:
        """Write an event; flush it to disk if it changes a state.

        Raises:
            EnvironmentFault: The disk is full or fails; the event is kept for the next call.
        """
        self._pending += encode(event)
        if not isinstance(event, Epoch | Worker) or time.monotonic() - self._synced_at >= self._sync_every_s:
            self.flush()
        else:
            self._write()

    def flush(self) -> None:
        """Write all events still in memory and flush the file to disk.

        Raises:
            EnvironmentFault: The disk is full or fails; events not yet on disk are kept for the next call.
        """
        self._write()
        self._synced_at = time.monotonic()
        if not self._unsynced:
            return
        try:
            sync(self._fd)
        except OSError as error:
            # After a failed flush, the kernel drops the pages; only writing them again makes them safe.
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
    """A damaged line of a journal.

    Attributes:
        offset: Byte offset of its start.
        length: Its size in bytes, without the newline.
        reason: Kind of damage.
        text: Its beginning, in printable characters.
    """

    offset: int
    length: int
    reason: str
    text: str

    @property
    def may_heal(self) -> bool:
        """Whether the data may still arrive: network file systems may show zeros at first."""
        return self.reason == ZEROS


@dataclass(frozen=True)
class Chunk:
    """Lines read from a journal.

    Attributes:
        bodies: JSON texts of the good lines, in the order of the file.
        end_offset: Where the next read starts, directly after a newline.
        bad: Damaged lines, which were skipped.
        fault: Why expected data could not be read; None if there was no fault.
        more: Whether more lines can be read now.
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
    """Read the complete lines of a journal that begin at or after ``offset``.

    If the file is missing, unreadable or shorter than ``offset`` (because this machine has an outdated size, or the
    file is damaged), the chunk has a ``fault``. This is not an error, since the next call may succeed.

    Args:
        path: The journal.
        offset: The ``end_offset`` of the last chunk.
        limit: Largest number of bytes to read, unless a single line is longer.
        end: Byte offset at which reading ends, if given.
    """
    try:
        with open_file(path) as file:
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
    """Return the JSON texts of the good lines, and the bad lines.

    Args:
        data: The lines; the last one ends with a newline.
        offset: Byte offset of ``data`` in its file.
    """
    bodies: list[bytes] = []
    bad: list[BadLine] = []
    lines = data.split(b"\n")
    lines.pop()
    for line in lines:
        body = checked(line)
        if body is not None:
            bodies.append(body)
        elif line:  # an empty line is harmless: a writer ends a possibly incomplete line with a newline
            bodies.extend(_saved(line))
            bad.append(_bad(line, offset))
        offset += len(line) + 1
    return bodies, bad


def reread(path: Path, bad: BadLine) -> tuple[list[bytes], list[BadLine]]:
    """Read a bad line again, since it may have healed; return it unchanged if it cannot be read."""
    try:
        with open_file(path) as file:
            data = os.pread(file.fileno(), bad.length + 1, bad.offset)
    except OSError:
        return [], [bad]
    if len(data) != bad.length + 1 or not data.endswith(b"\n"):
        return [], [bad]
    return parse_lines(data, bad.offset)


def _read_lines(fd: int, limit: int, available: int) -> tuple[bytes, bool]:
    """Read up to ``limit`` bytes, or one longer line; return complete lines and whether they are the last."""
    data = b""
    wanted = limit
    while wanted > len(data):
        block = os.read(fd, wanted - len(data))
        data += block
        if not block:
            break  # the file is shorter than its reported size
        if len(data) == wanted < available and b"\n" not in data:
            wanted = min(available, 2 * wanted)
    return data[: data.rfind(b"\n") + 1], len(data) >= available or len(data) < wanted


def _saved(line: bytes) -> Iterator[bytes]:
    """Yield the complete events inside a bad line: around a damaged newline or after an incomplete beginning."""
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
