from __future__ import annotations

import json
import math
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.journal import events
from cnn_sweep.journal.decoding import BadLineError
from cnn_sweep.journal.events import Unknown
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import decode, encode

_times = st.floats(min_value=0, max_value=2e9)
_numbers = st.integers(min_value=0, max_value=2**40)
_words = st.text(max_size=20)
_names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _words,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
_params = st.dictionaries(_names, _values, max_size=4)
_metrics = st.dictionaries(_names, st.floats(), max_size=4)
_identities = st.builds(
    ProcessIdentity,
    host=_words,
    boot_id=_words,
    pid_namespace=_words,
    pid=_numbers,
    started=_numbers,
    slurm=st.none() | st.builds(lambda job, cluster: {"job_id": str(job), "cluster": cluster}, _numbers, _words),
)
_key = {"time": _times, "trial": _numbers, "attempt": _numbers}
_maybe = st.none() | _words
_states = st.sampled_from(sorted(events.END_STATES))
_events = st.one_of(
    st.builds(events.Worker, _times, _identities, st.dictionaries(_names, _words, max_size=2), _numbers),
    st.builds(
        events.Start, **_key, configuration=_words, repeat=_numbers, seed=_numbers, params=_params, epoch=_numbers
    ),
    st.builds(events.Epoch, **_key, epoch=_numbers, seconds=_times, metrics=_metrics),
    st.builds(events.Checkpoint, **_key, epoch=_numbers, file=_words, bytes=_numbers),
    st.builds(
        events.End,
        **_key,
        state=_states,
        cause=_maybe,
        message=_maybe,
        epochs=_numbers,
        seconds=_times,
    ),
    st.builds(events.Artifact, **_key, kind=_words, path=_words, bytes=_numbers, sha256=_words),
    st.builds(events.Lost, **_key, cause=_words, message=_words),
    st.builds(events.Cancel, _times, st.none() | _numbers),
    st.builds(events.Extend, _times, _numbers, _numbers, _numbers, _numbers, _numbers),
    st.builds(events.Finalize, _times, _numbers, _metrics),
    st.builds(events.Submit, _times, st.just([{"job": "7", "tasks": 2, "time": 1.0}]), _words, _words),
)


@given(_events)
def test_what_is_written_is_read_back(event):
    """Every event survives its line, bit for bit, with NaN and infinities in metrics."""
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert repr(decode(line)) == repr(event)
    assert repr(decode(line[:-1])) == repr(event)


@given(_events, st.data())
def test_any_changed_byte_is_noticed(event, data):
    """A line with one changed byte is refused."""
    line = bytearray(encode(event))
    place = data.draw(st.integers(0, len(line) - 2))
    line[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadLineError):
        decode(bytes(line))


@given(_events, st.data())
def test_any_missing_end_is_noticed(event, data):
    """A line that stops early is refused."""
    line = encode(event)
    with pytest.raises(BadLineError):
        decode(line[: data.draw(st.integers(0, len(line) - 2))])


def _line(text):
    return b"%08x %b\n" % (crc32(text), text)


def test_an_event_of_a_newer_version_is_kept():
    """An unknown type is no error and keeps all its fields."""
    assert decode(_line(b'{"type":"dream","time":1,"of":"sheep"}')) == Unknown("dream", {"time": 1, "of": "sheep"})


def test_a_field_of_a_newer_version_is_kept_and_written_again():
    """An unknown field of a known type goes through reading and writing unharmed."""
    event = decode(_line(b'{"type":"cancel","time":1.0,"trial":3,"who":"me"}'))
    assert event == events.Cancel(1.0, 3, extra={"who": "me"})
    assert decode(encode(event)) == event


@pytest.mark.parametrize("text", [b'{"type":"start","time":1}', b'{"type":"epoch","metrics":7}'])
def test_a_known_type_with_other_fields_is_unknown(text):
    """A newer version may have changed the fields of a type; that is not an error either."""
    assert isinstance(decode(_line(text)), Unknown)


@pytest.mark.parametrize("text", [b"", b"7", b"[]", b"{}", b"{nonsense", b'{"time":1}'])
def test_a_line_that_is_no_event_is_bad(text):
    """A right checksum over something else than an event is refused."""
    with pytest.raises(BadLineError):
        decode(_line(text))


def test_the_type_comes_first_and_the_metrics_last():
    """Readers may look at the beginning of a line to know its type, and cut the metrics out of its end."""
    line = encode(events.Epoch(1.5, 2, 0, 3, 0.25, {"loss": 0.1, "val_loss": math.nan}))
    assert line[9:].startswith(b'{"type":"epoch",')
    assert line.endswith(b'"metrics":{"loss":0.1,"val_loss":"nan"}}\n')
    assert json.loads(line[9:])["metrics"] == {"loss": 0.1, "val_loss": "nan"}


def test_numpy_numbers_are_written_as_numbers():
    """Metrics and parameters may be numpy scalars, also NaN in single precision."""
    metrics = {"a": np.float32(0.5), "b": np.float64(0.1), "c": np.float32("nan"), "d": np.int64(3)}
    event = decode(encode(events.Epoch(1.0, 0, 0, 1, 1.0, metrics)))
    assert event.metrics["a"] == 0.5
    assert event.metrics["b"] == 0.1
    assert math.isnan(event.metrics["c"])
    assert event.metrics["d"] == 3


def test_what_cannot_be_written_is_named():
    """An object that is no data is refused with its name."""
    with pytest.raises(TypeError, match="object object"):
        encode(events.Epoch(1.0, 0, 0, 1, 1.0, {"a": object()}))
