"""Reads new journal lines into an open transaction, each line once.

The store records how many bytes of each journal it contains. Lines and the offset after them are committed in the same
transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.log import READ_LIMIT, ZEROS, BadLine, read_from, reread
from cnn_sweep.journal.paths import StudyPaths, existing_studies
from cnn_sweep.store import schema, sqlite
from cnn_sweep.store.derived_columns import derive, touch
from cnn_sweep.store.planned import complete_trials, drop_unused, planned_configurations
from cnn_sweep.store.rows import Rows, Tally
from cnn_sweep.store.studies import KnownStudy, forget, known_study, newest_facts, write_study
from cnn_sweep.store.views import refresh_views
from cnn_sweep.sweep.identity import STUDY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import Connection

# Offsets in bytes up to which journals are read, by (study, writer).
Limits = dict[tuple[str, str], int]
_JOURNALS = sqlite.upsert_all(schema.journals)
_BAD_LINES = sqlite.upsert_all(schema.bad_lines)


@dataclass
class Applied:
    """Result of a merge so far.

    Attributes:
        events: Number of events read.
        bad_lines: Number of bad lines found.
        notes: Remarks for the user.
        more: Whether further lines are waiting.
        changed: Whether the store has changed.
    """

    events: int = 0
    bad_lines: int = 0
    notes: list[str] = field(default_factory=list)
    more: bool = False
    changed: bool = False

    def add(self, other: Applied) -> None:
        """Add the next batch."""
        self.events += other.events
        self.bad_lines += other.bad_lines
        self.notes += (note for note in other.notes if note not in self.notes)
        self.more = other.more
        self.changed |= other.changed


def read_offsets(connection: Connection) -> Limits:
    """Return how many bytes of each journal are in the store."""
    j = schema.journals.c
    return {
        (row.study, row.writer): sqlite.read_count(row.offset)
        for row in connection.execute(select(j.study, j.writer, j.offset))
    }


def nothing_new(connection: Connection, results: Path) -> bool:
    """Return whether the store has every line of the journals."""
    b = schema.bad_lines.c
    if connection.execute(select(b.offset).where(b.reason == ZEROS).limit(1)).first() is not None:
        return False  # they may have become visible
    names = existing_studies(results)
    sizes = {(name, w): size for name in names for w, size in journal_sizes(StudyPaths(results, name)) if size}
    return sizes == read_offsets(connection)


def apply_new(
    connection: Connection, results: Path, *, limits: Limits | None = None, batch_bytes: int = READ_LIMIT
) -> Applied:
    """Apply a batch of new lines of all studies' journals in the caller's transaction.

    Args:
        connection: In an exclusive transaction.
        results: Root of the studies.
        limits: If given, only these journals are read, up to these offsets.
        batch_bytes: Approximate number of bytes of journals to read.
    """
    applied = Applied()
    known = read_offsets(connection)
    if limits is None:
        _forget_removed(connection, results, known, applied)
    names = existing_studies(results) if limits is None else sorted({study for study, _ in limits})
    for name in names:
        offsets = {writer: offset for (study, writer), offset in known.items() if study == name}
        wanted = None if limits is None else {w: end for (study, w), end in limits.items() if study == name}
        batch = Batch(connection, StudyPaths(results, name), applied, offsets, wanted)
        batch_bytes -= batch.run(batch_bytes)
        if applied.more:
            break
    return applied


def _exists(results: Path, name: str, writers: set[str]) -> bool:
    """Return whether a study in the store still exists and has not been replaced by another one."""
    if not STUDY_NAME.fullmatch(name):
        return False
    paths = StudyPaths(results, name)
    there = {writer for writer, _ in journal_sizes(paths)}
    return not there.isdisjoint(writers) or (not there and paths.folder.exists())


def _forget_removed(connection: Connection, results: Path, known: Limits, applied: Applied) -> None:
    """Delete the rows of studies whose folder was removed or belongs to a new study of the same name."""
    for name in sorted({study for study, _ in known}):
        writers = {writer for study, writer in known if study == name}
        if not _exists(results, name, writers):
            forget(connection, name)
            applied.notes.append(f"{name}: its folder was removed, so the store forgot it")
            applied.changed = True
            for writer in writers:
                del known[name, writer]


class Batch:
    """Reads one study's part of a batch.

    Args:
        connection: In an exclusive transaction.
        paths: Files of the study.
        applied: Result of the merge so far, which is updated.
        offsets: Bytes of each journal that are in the store.
        limits: If given, only these journals are read, up to these offsets.
    """

    def __init__(
        self,
        connection: Connection,
        paths: StudyPaths,
        applied: Applied,
        offsets: dict[str, int],
        limits: dict[str, int] | None,
    ) -> None:
        self._connection = connection
        self._paths = paths
        self._study = paths.study
        self._applied = applied
        self._offsets = offsets
        self._limits = limits

    def run(self, budget: int) -> int:
        """Apply up to about ``budget`` bytes; return how many were read."""
        ends = sorted(self._limits.items()) if self._limits is not None else journal_sizes(self._paths)
        suspect = self._suspect_lines()
        if not suspect and all(self._offsets.get(writer, 0) == end for writer, end in ends):
            return 0
        known = known_study(self._connection, self._paths)
        rows = Rows(self._study, known.facts.metric)
        used = self._heal(rows, suspect)
        for writer, end in ends:
            if used >= budget or self._applied.more:
                self._applied.more = True
                break
            used += self._read(rows, writer, end, budget - used)
        if used:
            self._write(rows, known)
        return used

    def _read(self, rows: Rows, writer: str, end: int, budget: int) -> int:
        offset = self._offsets.get(writer, 0)
        if end == offset:
            return 0
        path = self._paths.journal(writer)
        chunk = read_from(path, offset, limit=budget, end=None if self._limits is None else end)
        if chunk.fault is not None:
            self._applied.notes.append(f"{path}: {chunk.fault}; left for later")
            return 0
        self._applied.more |= chunk.more
        if chunk.end_offset > offset:
            self._note_bad(writer, chunk.bad)
            self._advance(writer, chunk.end_offset, rows.add(writer, chunk.bodies))
        return chunk.end_offset - offset

    def _advance(self, writer: str, offset: int, tally: Tally) -> None:
        j = schema.journals
        query = select(j.c.events, j.c.unknown, j.c.last_event)
        known = self._connection.execute(query.where(j.c.study == self._study, j.c.writer == writer)).one_or_none()
        events, unknown, last = known if known is not None else (0, 0, None)
        times = [time for time in (sqlite.read_time(last), tally.last_event) if time is not None]
        counts = (sqlite.read_count(events) + tally.events, sqlite.read_count(unknown) + tally.unknown)
        row = (self._study, writer, offset, *counts, max(times, default=None))
        sqlite.run_many(self._connection, _JOURNALS, [row])
        self._offsets[writer] = offset
        self._applied.events += tally.events

    def _note_bad(self, writer: str, found: Iterable[BadLine]) -> None:
        rows = [(self._study, writer, bad.offset, bad.length, bad.reason, bad.text) for bad in found]
        sqlite.run_many(self._connection, _BAD_LINES, rows)
        self._applied.bad_lines += len(rows)

    def _suspect_lines(self) -> list[tuple[str, BadLine]]:
        """Return bad lines that may be readable by now: network file systems may show zeros at first."""
        b = schema.bad_lines.c
        query = select(b.writer, b.offset, b.length, b.reason, b.text).where(b.study == self._study)
        found = self._connection.execute(query)
        rows = ((w, BadLine(sqlite.read_count(o), sqlite.read_count(n), r, t)) for w, o, n, r, t in found)
        return [(writer, bad) for writer, bad in rows if bad.may_heal]

    def _heal(self, rows: Rows, suspect: list[tuple[str, BadLine]]) -> int:
        """Read bad lines again; return the number of bytes that are readable now."""
        b = schema.bad_lines
        saved = 0
        for writer, bad in suspect:
            bodies, left = reread(self._paths.journal(writer), bad)
            if left == [bad]:
                continue
            key = (b.c.study == self._study, b.c.writer == writer, b.c.offset == bad.offset)
            self._connection.execute(delete(b).where(*key))
            self._note_bad(writer, left)
            self._advance(writer, self._offsets[writer], rows.add(writer, bodies))
            saved += bad.length
        return saved

    def _write(self, rows: Rows, known: KnownStudy) -> None:
        facts = newest_facts(self._connection, self._paths, rows, known)
        if facts.problem is not None:
            self._applied.notes.append(facts.problem)
        was = known.facts
        rule = (facts.direction, facts.last_epochs, facts.constraints)
        if facts.metric != rows.metric or (
            known.row is not None and rule != (was.direction, was.last_epochs, was.constraints)
        ):
            # With another objective, every value has another meaning, so the whole study is read again.
            forget(self._connection, self._study)
            rows = Rows(self._study, facts.metric)
            known = KnownStudy(facts)
            self._applied.more = True
        rows.write(self._connection)
        write_study(self._connection, self._paths, rows, facts, known)
        self._derive(rows)
        refresh_views(self._connection, self._study)
        self._applied.changed = True

    def _derive(self, rows: Rows) -> None:
        if rows.touched_trials:
            touch(self._connection, rows.touched_trials)
            planned = planned_configurations(self._connection, self._study)
            derive(self._connection, self._study)
            complete_trials(self._connection, self._paths)
            drop_unused(self._connection, self._study, planned)
