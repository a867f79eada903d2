"""Journal lines to rows of tables; this is where a merge spends most of its time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnn_sweep.journal.lines import metric_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Row = tuple[Any, ...]
_LARGEST = 1 << 63  # an integer column holds less
_TOGETHER = 500  # lines that are parsed in one go, which is a third faster
_METRICS = b'"metrics":'
_EPOCH_FIELDS = 7
_OF_A_TRIAL = frozenset({"start", "checkpoint", "end", "artifact", "lost", "cancel", "finalize"})
_FOR_PEOPLE = frozenset({"fault", "retire"})  # they stay in the journals
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def text_of(data: Any) -> str:
    """Return the one JSON form in which the store keeps plain data; keys keep their order."""
    return json.dumps(data, separators=(",", ":"))


@dataclass
class Rows:
    """What a batch of journal lines of one study says, as rows.

    Attributes:
        study: Name of the study.
        metric: The objective.
        epochs: Rows for the table of epochs, in the order of its columns.
        others: Kind of event to its rows; what they hold stands beside their statements in ``write.py``.
        attempts: (trial, attempt) of all epochs.
        touched: Trials that other events than epochs speak of.
        metrics: Names of all metrics in the epochs.
        parameters: Names of all hyperparameters in the starts.
    """

    study: str
    metric: str
    epochs: list[Row] = field(default_factory=list)
    others: dict[str, list[Row]] = field(default_factory=dict)
    attempts: set[tuple[int, int]] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    metrics: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)

    @property
    def touched_trials(self) -> set[int]:
        """Trials whose derived columns have to be computed anew."""
        return self.touched.union(trial for trial, _ in self.attempts)

    def add(self, writer: str, bodies: Sequence[bytes]) -> Tally:
        """Take the events of a journal's good lines.

        Args:
            writer: Name of the journal.
            bodies: JSON texts, as :func:`cnn_sweep.journal.log.read_from` gives them.
        """
        unknown = 0
        last: float | None = None
        for body, data in _parsed(bodies):
            try:
                time = _number(data["time"])
                kind = data["type"]
                if kind == "epoch":
                    self._epoch(body, data, time)
                elif kind not in _FOR_PEOPLE:
                    self._others(kind, data, time, writer)
            except _MALFORMED:
                unknown += 1  # a newer version's event; it stays in its journal
                continue
            if last is None or time > last:
                last = time
        return Tally(len(bodies), unknown, last)

    def _epoch(self, body: bytes, data: dict[str, Any], time: float) -> None:
        metrics = data["metrics"]
        value = metric_value(metrics.get(self.metric))
        if len(data) == _EPOCH_FIELDS and next(reversed(data)) == "metrics":
            # The text is there already: the object stands last and its key occurs once.
            text = body[body.index(_METRICS) + len(_METRICS) : -1].decode("ascii")
        else:
            text = text_of(metrics)
        trial, attempt = _integer(data["trial"]), _integer(data["attempt"])
        row = (self.study, trial, attempt, _integer(data["epoch"]), time, _number(data["seconds"]))
        self.epochs.append((*row, value, text, 1))
        self.attempts.add((trial, attempt))
        self.metrics.update(metrics)

    def _others(self, kind: str, data: dict[str, Any], time: float, writer: str) -> None:
        make = _MAKERS[kind]
        row = make(data, time, writer)
        self.others.setdefault(kind, []).append((self.study, *row))
        if kind == "start":
            self.parameters.update(data["params"])
        if kind in _OF_A_TRIAL and row[0] is not None:
            self.touched.add(row[0])


@dataclass(frozen=True)
class Tally:
    """How many events a stretch of a journal held.

    Attributes:
        events: All events.
        unknown: Those that this version does not understand.
        last_event: Time of the last one; None if there is none.
    """

    events: int
    unknown: int
    last_event: float | None


def _parsed(bodies: Sequence[bytes]) -> Iterator[tuple[bytes, Any]]:
    """Yield JSON texts with what they say; None for what is no JSON."""
    for start in range(0, len(bodies), _TOGETHER):
        portion = bodies[start : start + _TOGETHER]
        try:
            found = json.loads(b"[%b]" % b",".join(portion))
        except ValueError:
            found = [_parse(body) for body in portion]
        yield from zip(portion, found if len(found) == len(portion) else map(_parse, portion), strict=True)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _integer(value: Any) -> int:
    if type(value) is int and -_LARGEST <= value < _LARGEST:
        return value
    raise ValueError(value)


def _optional(value: Any) -> int | None:
    return None if value is None else _integer(value)


def _flag(value: Any) -> int | None:
    if value is None or type(value) is bool:
        return None if value is None else int(value)
    raise ValueError(value)


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise ValueError(value)


def _text(value: Any) -> str:
    """Return text that a database takes: names of files may hold bytes that are no characters."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _key(data: dict[str, Any]) -> tuple[int, int]:
    return _integer(data["trial"]), _integer(data["attempt"])


def _worker(data: dict[str, Any], time: float, writer: str) -> Row:
    who = data["identity"]
    job = (who.get("slurm") or {}).get("job_id")
    known = (_text(who["host"]), _integer(who["pid"]), _optional_text(job), _integer(data["threads"]))
    return (writer, time, *known, text_of(who), text_of(data["versions"]))


def _start(data: dict[str, Any], time: float, writer: str) -> Row:
    if not isinstance(data["params"], dict):
        raise TypeError(data["params"])
    what = (_text(data["configuration"]), _integer(data["repeat"]), _integer(data["seed"]))
    params = json.dumps(data["params"], separators=(",", ":"), sort_keys=True)
    return (
        *_key(data),
        writer,
        time,
        *what,
        _integer(data["epoch"]),
        _optional(data.get("parameters")),
        params,
    )


def _checkpoint(data: dict[str, Any], time: float, _: str) -> Row:
    return (*_key(data), time, _integer(data["epoch"]), _text(data["file"]), _integer(data["bytes"]))


def _end(data: dict[str, Any], time: float, _: str) -> Row:
    why = (_text(data["state"]), _optional_text(data.get("cause")), _optional_text(data.get("message")))
    size = (_integer(data.get("epochs", 0)), _number(data.get("seconds", 0.0)))
    network = (_optional(data.get("parameters")), _flag(data.get("cached")))
    curve = data.get("curve")
    return (*_key(data), time, *why, *size, *network, text_of(dict(curve)) if curve else None)


def _artifact(data: dict[str, Any], time: float, _: str) -> Row:
    what = (_text(data["kind"]), _text(data["path"]))
    return (*_key(data), *what, time, _integer(data["bytes"]), _text(data["sha256"]))


def _lost(data: dict[str, Any], time: float, _: str) -> Row:
    return (*_key(data), time, _text(data["cause"]), _text(data["message"]))


def _cancel(data: dict[str, Any], time: float, _: str) -> Row:
    return _optional(data.get("trial")), time


def _extend(data: dict[str, Any], time: float, _: str) -> Row:
    counts = (data[name] for name in ("trials", "configurations", "invalid", "duplicates"))
    return (_integer(data["revision"]), time, *map(_integer, counts))


def _finalize(data: dict[str, Any], time: float, _: str) -> Row:
    return _integer(data["trial"]), time, text_of(dict(data["metrics"]))


def _submit(data: dict[str, Any], _time: float, _: str) -> Row:
    cluster, profile = _text(data["cluster"]), _text(data["profile"])
    return tuple(
        (cluster, _text(job["job"]), _number(job["time"]), _integer(job["tasks"]), profile) for job in data["jobs"]
    )


_MAKERS: dict[str, Callable[[dict[str, Any], float, str], Row]] = {
    "worker": _worker,
    "start": _start,
    "checkpoint": _checkpoint,
    "end": _end,
    "artifact": _artifact,
    "lost": _lost,
    "cancel": _cancel,
    "extend": _extend,
    "finalize": _finalize,
    "submit": _submit,
}
