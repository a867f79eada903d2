from __future__ import annotations

import errno
import math
import os

import pytest
from helpers.disks import small_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal import filesystem, log
from cnn_sweep.journal.events import Cancel, Epoch, Lost
from cnn_sweep.journal.log import JournalWriter, encode, metric_value, parse_lines, read_from, reread

_LOST = [Lost(float(n), n, 0, "killed", "x" * n) for n in range(20)]


def _epoch(number):
    return Epoch(1.0, 0, 0, number, 0.5, {"loss": 1 / number})


def test_events_are_in_the_file_when_append_returns(paths):
    """Another reader sees an event at once, in order."""
    with JournalWriter(paths.journal("w")) as journal:
        for event in _LOST:
            journal.append(event)
            assert list(read_from(paths.journal("w")).events())[-1] == event
    assert list(read_from(paths.journal("w")).events()) == _LOST


def test_a_journal_has_one_writer(paths):
    """A journal that exists is not opened for writing again, not even by the same process."""
    JournalWriter(paths.journal("w")).close()
    with pytest.raises(EnvironmentFault, match=r"w\.jsonl: cannot create the journal: File exists"):
        JournalWriter(paths.journal("w"))


def test_reading_goes_on_where_it_stopped(paths):
    """A reader that keeps the offset reads every line once."""
    seen, offset = [], 0
    with JournalWriter(paths.journal("w")) as journal:
        for event in _LOST:
            journal.append(event)
            chunk = read_from(paths.journal("w"), offset)
            seen += chunk.events()
            offset = chunk.end_offset
    assert seen == _LOST
    assert read_from(paths.journal("w"), offset).bodies == ()


def test_an_unfinished_last_line_is_left_for_later(paths):
    """A line is read when its newline is there, and not before."""
    file, line = paths.journal("w"), encode(_LOST[3])
    file.write_bytes(encode(_LOST[1]) + line[:20])
    chunk = read_from(file)
    assert list(chunk.events()) == [_LOST[1]]
    assert chunk.bad == ()
    with file.open("ab") as end:
        end.write(line[20:])
    assert list(read_from(file, chunk.end_offset).events()) == [_LOST[3]]


@given(st.integers(1, 400), st.lists(st.integers(0, 19), max_size=30))
def test_portions_do_not_matter(tmp_path_factory, limit, which):
    """However small the portions are, the same lines are read."""
    file = tmp_path_factory.mktemp("journal") / "w.jsonl"
    file.write_bytes(b"".join(encode(_LOST[n]) for n in which))
    seen, offset, more = [], 0, True
    while more:
        chunk = read_from(file, offset, limit=limit)
        seen += chunk.events()
        offset, more = chunk.end_offset, chunk.more
    assert seen == [_LOST[n] for n in which]


@settings(max_examples=200)
@given(st.data())
def test_a_flipped_byte_costs_no_other_line(data):
    """Whichever byte of a journal changes, at most its own line is lost, and the damage is reported."""
    lines = [encode(event) for event in _LOST]
    text = bytearray(b"".join(lines))
    place = data.draw(st.integers(0, len(text) - 2))
    text[place] ^= data.draw(st.integers(1, 255))
    bodies, bad = parse_lines(bytes(text), 0)
    ends = [sum(map(len, lines[: n + 1])) for n in range(len(lines))]
    hit = next(n for n, end in enumerate(ends) if place < end)
    assert [line[9:-1] for n, line in enumerate(lines) if n != hit] == [b for b in bodies if b != lines[hit][9:-1]]
    assert len(bad) in {1, 2}  # two where the new byte is a newline
    assert bad[0].offset - 1 <= place <= bad[-1].offset + bad[-1].length  # a new newline belongs to neither


def test_a_damaged_newline_costs_nothing(paths):
    """If two lines run together, both are recovered, and the damage is reported with its place."""
    first, second = encode(_LOST[1]), encode(_LOST[2])
    paths.journal("w").write_bytes(first[:-1] + b"x" + second)
    chunk = read_from(paths.journal("w"))
    assert list(chunk.events()) == _LOST[1:3]
    (bad,) = chunk.bad
    assert (bad.offset, bad.length, bad.reason) == (0, len(first + second) - 1, "checksum does not match")


def test_a_file_shorter_than_what_was_read_is_a_fault_and_no_error(paths):
    """A size that is out of date stops no reader; neither does a file that is gone."""
    paths.journal("w").write_bytes(encode(_LOST[1]))
    chunk = read_from(paths.journal("w"), 1000)
    assert (chunk.bodies, chunk.end_offset) == ((), 1000)
    assert "where 1000 were read before" in chunk.fault
    assert "No such file" in read_from(paths.journal("missing"), 7).fault


def test_zeros_heal_when_the_bytes_arrive(paths):
    """Where a network file system shows zeros first, the lines are found on a later look."""
    lines = [encode(event) for event in _LOST[:4]]
    hole = b"\0" * (len(lines[1] + lines[2]) - 1) + b"\n"
    paths.journal("w").write_bytes(lines[0] + hole + lines[3])
    (bad,) = read_from(paths.journal("w")).bad
    assert bad.may_heal
    assert reread(paths.journal("w"), bad) == ([], [bad])
    paths.journal("w").write_bytes(b"".join(lines))
    assert reread(paths.journal("w"), bad) == ([line[9:-1] for line in lines[1:3]], [])


def test_epochs_are_forced_to_disk_now_and_then_and_states_at_once(paths, monkeypatch):
    """Epochs cost a flush every two seconds at most, a change of state is safe when append returns."""
    clock, flushes = [0.0], []
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(log, "sync", lambda fd: flushes.append(clock[0]))
    with JournalWriter(paths.journal("w")) as journal:
        for second in range(5):
            clock[0] = float(second)
            journal.append(_epoch(second + 1))
        assert flushes == [2.0, 4.0]
        journal.append(Cancel(1.0))
        assert flushes == [2.0, 4.0, 4.0]


def test_a_cut_line_is_closed_and_written_again(paths, monkeypatch):
    """After a write that the disk cut short, the next one leaves one bad line and no event missing."""
    real = os.write
    room = [25]

    def write(fd, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(room[0], len(data))
        room[0] -= taken
        return real(fd, bytes(data[:taken]))

    with JournalWriter(paths.journal("w")) as journal:
        monkeypatch.setattr(log.os, "write", write)
        for event in _LOST[1:3]:
            with pytest.raises(EnvironmentFault, match=r"w\.jsonl: cannot append .* No space .* free some space"):
                journal.append(event)
        room[0] = 10**6
        journal.append(_LOST[3])
    chunk = read_from(paths.journal("w"))
    assert list(chunk.events()) == _LOST[1:4]
    assert [bad.length for bad in chunk.bad] == [25]


def test_lines_that_a_failed_flush_may_have_dropped_are_written_again(paths, monkeypatch):
    """The kernel drops pages that it could not write, so their content is appended again."""
    with JournalWriter(paths.journal("w")) as journal:
        journal.append(_epoch(1))

        def fail(fd):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(log, "sync", fail)
        with pytest.raises(EnvironmentFault, match="cannot write the journal to the disk: Input/output error"):
            journal.append(_LOST[1])
        monkeypatch.setattr(log, "sync", filesystem.sync)
        journal.append(_LOST[2])
    found = list(read_from(paths.journal("w")).events())
    assert found == [_epoch(1), _LOST[1], _epoch(1), _LOST[1], _LOST[2]]


@pytest.mark.faults
def test_a_full_disk_loses_no_event(tmp_path):
    """On a real file system without room, events wait in memory until there is room again."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        _fill_and_free(disk)


def _fill_and_free(disk):
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    sent = []
    with JournalWriter(disk / "w.jsonl") as journal:
        failures = 0
        for number in range(1, 400):
            if failures == 3:
                ballast.unlink(missing_ok=True)
            sent.append(_epoch(number))
            try:
                journal.append(sent[-1])
            except EnvironmentFault:
                failures += 1
    chunk = read_from(disk / "w.jsonl")
    assert failures == 3
    assert list(dict.fromkeys(map(repr, chunk.events()))) == [repr(event) for event in sent]
    assert len(chunk.bad) <= 1


@pytest.mark.parametrize("value", [math.nan, -math.inf, 10**400, 1e308, "0.5", None, [0.5]])
def test_what_cannot_be_ranked_is_no_value(value):
    """Objectives are numbers with which means and standard deviations can be computed."""
    assert metric_value(value) is None
    assert metric_value(3) == 3.0
