"""What a journal can say, and its one-line form.

A line is the CRC-32 of a JSON object in 8 hexadecimal digits, a space, the object, a newline. The object's
first key is ``type``. Types and fields that this version does not know are kept, and are never an error.
Numbers that JSON lacks are written as the strings "nan", "inf" and "-inf"; in metrics they are read back.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar
from zlib import crc32

from cnn_sweep.journal.identity import ProcessIdentity

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
PREFIX = 9  # bytes before the object: 8 digits and a space


class BadLineError(ValueError):
    """A line that is not what its writer wrote."""


@dataclass(frozen=True)
class Event:
    """Base of all events.

    Attributes:
        type: The event's name in the journal.
        time: When it happened, in seconds since 1970-01-01 UTC.
    """

    type: ClassVar[str] = ""
    time: float


@dataclass(frozen=True)
class Worker(Event):
    """First line of a journal: who writes it.

    Attributes:
        identity: The process.
        versions: Package name to version.
        threads: Threads that the process computes with.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "worker"
    identity: ProcessIdentity
    versions: dict[str, str]
    threads: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Start(Event):
    """An attempt begins.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt, from 0.
        configuration: Id of the hyperparameters.
        repeat: Which repeat of the configuration, from 0.
        seed: Seed of everything random in the trial.
        params: The hyperparameters.
        epoch: The last epoch that was taken over from earlier attempts; 0 if there is none.
        parameters: Number of weights of the network, where known.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "start"
    trial: int
    attempt: int
    configuration: str
    repeat: int
    seed: int
    params: dict[str, Any]
    epoch: int = 0
    parameters: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch(Event):
    """An epoch is done.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        epoch: Number of the epoch, from 1.
        seconds: How long it took.
        metrics: Name to value.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "epoch"
    trial: int
    attempt: int
    epoch: int
    seconds: float
    metrics: dict[str, float]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint(Event):
    """A checkpoint is on disk.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        epoch: The last epoch that is complete in it.
        file: Path relative to the study's folder.
        bytes: Its size.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "checkpoint"
    trial: int
    attempt: int
    epoch: int
    file: str
    bytes: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class End(Event):
    """An attempt is over, in its own worker's words.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        state: complete, pruned, failed, paused or interrupted.
        cause: Why, in one word; None if it went as planned.
        message: Why, in full.
        epochs: The last epoch that is complete.
        seconds: How long the attempt took.
        parameters: Number of weights of the network, where known.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "end"
    trial: int
    attempt: int
    state: str
    cause: str | None = None
    message: str | None = None
    epochs: int = 0
    seconds: float = 0.0
    parameters: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact(Event):
    """A file that a trial left behind.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        kind: What it is, such as ``model``.
        path: Path relative to the study's folder.
        bytes: Its size.
        sha256: Its checksum, hexadecimal.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "artifact"
    trial: int
    attempt: int
    kind: str
    path: str
    bytes: int
    sha256: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lost(Event):
    """Somebody found out that an attempt's worker is gone.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        cause: What happened to the worker, in one word.
        message: What happened to the worker, in full.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "lost"
    trial: int
    attempt: int
    cause: str
    message: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cancel(Event):
    """The user gave up the study, or one trial of it.

    Attributes:
        trial: Number of the trial; None for all.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "cancel"
    trial: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Extend(Event):
    """A revision of the sweep is in force; the first one when the study is created.

    Attributes:
        revision: Number of the revision, from 1.
        trials: Trials that are planned in all, with those of earlier revisions.
        configurations: Configurations that are planned in all.
        invalid: Configurations that no network can be built of.
        duplicates: Draws that were dropped because they had been drawn before.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "extend"
    revision: int
    trials: int
    configurations: int
    invalid: int
    duplicates: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finalize(Event):
    """A trial's model was measured on the test set.

    Attributes:
        trial: Number of the trial.
        metrics: Name (``test_loss``, ``test_accuracy``, …) to value.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "finalize"
    trial: int
    metrics: dict[str, float]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submit(Event):
    """Jobs were put into a cluster's queue.

    Attributes:
        jobs: For each array its ``job`` (id), ``tasks`` (elements) and ``time`` (of submission).
        profile: The profile's file.
        cluster: The cluster's name.
        extra: Fields of newer versions.
    """

    type: ClassVar[str] = "submit"
    jobs: list[dict[str, Any]]
    profile: str
    cluster: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unknown:
    """An event of a newer version.

    Attributes:
        type: Its name.
        data: All its fields.
    """

    type: str
    data: dict[str, Any]


_KINDS: dict[str, type[Event]] = {
    kind.type: kind for kind in (Worker, Start, Epoch, Checkpoint, End, Artifact, Lost, Cancel, Extend, Finalize, Submit)
}
_FIELDS = {kind: tuple(f.name for f in dataclasses.fields(kind) if f.name != "extra") for kind in _KINDS.values()}


def encode(event: Event) -> bytes:
    """Return the line of an event, with its newline."""
    values = event.__dict__
    data: dict[str, Any] = {"type": event.type}
    data.update((name, values[name]) for name in _FIELDS[type(event)])
    data.update((name, value) for name, value in values["extra"].items() if name not in data)
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
    body = line[PREFIX:]
    return body if line[:PREFIX] == b"%08x " % crc32(body) and body else None


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
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return Unknown(str(name), data)
    try:
        return _build(kind, dict(data))
    except (KeyError, TypeError, ValueError, AttributeError):
        return Unknown(name, data)  # a newer version may have changed what the type means


def metric_value(value: Any) -> float | None:
    """Return a metric as it was before it was written; None for what is no number."""
    if isinstance(value, str):
        return NON_FINITE.get(value)
    return float(value) if isinstance(value, int | float) else None


def _build(kind: type[Event], data: dict[str, Any]) -> Event:
    if "metrics" in data:
        data["metrics"] = {name: _restored(value) for name, value in data["metrics"].items()}
    if "identity" in data:
        data["identity"] = ProcessIdentity.from_data(data["identity"])
    known = {name: data.pop(name) for name in _FIELDS[kind] if name in data}
    return kind(**known, extra=data)  # type: ignore[call-arg]  # every kind of _KINDS has the field


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
