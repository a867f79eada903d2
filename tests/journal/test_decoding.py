"""A line with a good checksum and other types than its writer gave is left, and stops nobody."""

from __future__ import annotations

import json
import math
from typing import Any
from zlib import crc32

import pytest

from cnn_sweep.journal.decoding import from_json, misfit
from cnn_sweep.journal.events import END_STATES, EVENT_TYPES, Epoch, Event, Start, Unknown
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import encode

IDENTITY = {"host": "n1", "boot_id": "b", "pid_namespace": "p", "pid": 7, "started": 8, "slurm": {"job_id": "9"}}
LINES: dict[str, dict[str, Any]] = {
    "worker": {"identity": IDENTITY, "versions": {"keras": "3"}, "threads": 1},
    "start": {"trial": 0, "attempt": 0, "configuration": "c", "repeat": 0, "seed": 1, "params": {"rate": 0.1}},
    "epoch": {"trial": 0, "attempt": 0, "epoch": 1, "seconds": 0.5, "metrics": {"loss": "nan", "val_loss": 1}},
    "checkpoint": {"trial": 0, "attempt": 0, "epoch": 1, "file": "c", "bytes": 3},
    "unsaved": {"trial": 0, "attempt": 0, "epoch": 1, "message": "c: No space left on device"},
    "end": {"trial": 0, "attempt": 0, "state": "complete", "curve": {"gap": 0.1}, "counted": 3},
    "artifact": {"trial": 0, "attempt": 0, "kind": "model", "path": "m", "bytes": 3, "sha256": "ab"},
    "lost": {"trial": 0, "attempt": 0, "cause": "killed", "message": "gone"},
    "cancel": {"trial": None},
    "extend": {"revision": 1, "trials": 3, "configurations": 3, "invalid": 0, "duplicates": 0},
    "finalize": {"trial": 0, "metrics": {"test_loss": 0.5}, "model": "refit", "networks": [0], "epochs": 3},
    "submitting": {"key": "ab", "comment": "c", "tasks": 2, "profile": "p.toml", "cluster": "lab"},
    "submit": {"jobs": [{"job": "7", "tasks": 2, "time": 1.5}], "profile": "p.toml", "cluster": "lab"},
    "fault": {"message": "no", "job": "7_1"},
    "retire": {"reason": "memory"},
    "followed": {"end": "1-3", "step": "report", "outcome": "complete", "file": "finished/r.html", "message": None},
    "known": {"source": "o", "number": 1, "params": {}, "state": "complete", "values": [0.5]},
}
NUMBERS = ["3", 1.5, True, -1, 2**63, None, [], {}]
TIMES = ["2027-01-01", math.nan, math.inf, -1.0, 1e300, 10**400, True, None, []]
DEEP = json.loads("[" * 300 + "]" * 300)
OTHER_VALUES: dict[str, list[Any]] = {
    "time": TIMES,
    **dict.fromkeys(("trial", "attempt", "epoch", "revision", "bytes", "threads", "repeat", "number"), NUMBERS),
    "seconds": ["1", math.nan, None, True, 10**400],
    "state": ["done", 3, None, []],
    "metrics": [[], None, {"loss": "low"}, {"loss": None}, {"loss": [1]}, {"\ud800": 1}, {"a\0": 1}],
    "params": [[], None, "rate", {"\ud800": 1}, {"rate": math.nan}, {"rate": DEEP}],
    "identity": [None, [], {}, IDENTITY | {"pid": "7"}, IDENTITY | {"slurm": {"job_id": "x"}}, IDENTITY | {"host": 1}],
    "jobs": [None, {}, [7], [{"job": "x", "tasks": 1, "time": 1.0}], [{"job": "7", "tasks": 1}]],
    "values": [None, {}, ["low"], [None]],
    "networks": [None, {}, ["0"], [0.5]],
    "versions": [None, {"keras": 3}],
    "configuration": [7, None],
}
CHANGED = [(kind, name, value) for kind, line in LINES.items() for name in line for value in OTHER_VALUES.get(name, ())]
CHANGED += [("end", "time", value) for value in TIMES]
MAY_BE = [("cancel", "trial", None)]


def line_of(kind, **changes):
    """Return the data of a line."""
    return {"type": kind, "time": 1.0, **LINES[kind], **changes}


def test_every_kind_of_event_is_tried():
    """The sound lines of this file are of all kinds, and all are events."""
    assert LINES.keys() == EVENT_TYPES.keys()
    assert [misfit(line_of(kind)) for kind in LINES] == [None] * len(LINES)
    assert all(isinstance(from_json(json.dumps(line_of(kind)).encode()), Event) for kind in LINES)
    assert all(misfit(line_of("end", state=state)) is None for state in END_STATES)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [case for case in CHANGED if case not in MAY_BE],
    ids=[f"{number}-{kind}-{name}" for number, (kind, name, _) in enumerate(c for c in CHANGED if c not in MAY_BE)],
)
def test_a_value_of_another_type_is_no_event(kind, name, value):
    """The reason names the kind and the field, and reading gives an unknown event instead of an error."""
    line = line_of(kind, **{name: value})
    reason = misfit(line)
    assert reason is not None
    assert reason.startswith(f"{kind} with '{name}': ")
    assert len(reason) < 120
    assert isinstance(from_json(json.dumps(line).encode()), Unknown)


@pytest.mark.parametrize("kind", LINES)
def test_a_line_without_a_required_field_is_no_event(kind):
    """Fields without a default must be there."""
    for name in LINES[kind].keys() & {"trial", "revision", "identity", "reason", "source", "step"}:
        line = line_of(kind)
        del line[name]
        if kind != "cancel":
            assert misfit(line) == f"{kind} without '{name}'"


def test_odd_lines_change_nothing_in_a_history(paths):
    """Between the lines of a trial they are counted, and the trial is what it would be without them."""
    sound = [Start(1.0, 0, 0, "c", 0, 1, {}), *(Epoch(1.0 + e, 0, 0, e, 0.5, {"val_accuracy": e / 9}) for e in (1, 2))]
    odd = [json.dumps(line_of(kind, **{name: value})).encode() for kind, name, value in CHANGED]
    odd += [b"[" * 100_000, b'{"type":["end"],"time":1}', b"NaN", "«»".encode("latin-1")]
    lines = [b"%08x %b\n" % (crc32(body), body) for body in odd]
    paths.journal("w").write_bytes(b"".join([*lines, *map(encode, sound), *lines]))
    history = History.read(paths)
    assert history.unknown == 2 * (len(lines) - len(MAY_BE))
    assert list(history.trials) == [0]
    assert history.trials[0].values == {1: 1 / 9, 2: 2 / 9}
    assert history.bad_lines == 0
