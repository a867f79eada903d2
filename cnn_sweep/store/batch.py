"""New journal lines of one study into an open transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.log import BadLine, read_from, reread
from cnn_sweep.store import dialect, schema
from cnn_sweep.store.derive import derive
from cnn_sweep.store.rows import Rows, Tally
from cnn_sweep.store.studies import KnownStudy, forget, known_study, newest_facts, write_study
from cnn_sweep.store.views import refresh_views
from cnn_sweep.store.write import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from cnn_sweep.journal.paths import StudyPaths

_JOURNALS = dialect.upsert_all(schema.journals)
_BAD_LINES = dialect.upsert_all(schema.bad_lines)


@dataclass
class Applied:
    """What was applied so far.

    Attributes:
        events: Events that were taken over.
        bad_lines: Bad lines that were found.
        notes: What else the user should know.
        more: Whether there is more to apply at once.
        changed: Whether the store changed at all.
    """

    events: int = 0
    bad_lines: int = 0
    notes: list[str] = field(default_factory=list)
    more: bool = False
    changed: bool = False

    def add(self, other: Applied) -> None:
        """Add what was applied after this."""
        self.events += other.events
        self.bad_lines += other.bad_lines
        self.notes += (note for note in other.notes if note not in self.notes)
        self.more = other.more
        self.changed |= other.changed


class Batch:
    """One study's part of a batch.

    Args:
        connection: In a transaction that nobody else writes beside.
        paths: Files of the study.
        applied: What was applied so far; it is added to.
        offsets: How many bytes of each journal are in the store.
        limits: If given, only these journals are read, and up to these offsets.
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
        sick = self._sick_lines()
        if not sick and all(self._offsets.get(writer, 0) == end for writer, end in ends):
            return 0
        known = known_study(self._connection, self._paths)
        rows = Rows(self._study, known.facts.metric)
        used = self._heal(rows, sick)
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
        times = [time for time in (dialect.moment(last), tally.last_event) if time is not None]
        counts = (dialect.whole(events) + tally.events, dialect.whole(unknown) + tally.unknown)
        row = (self._study, writer, offset, *counts, max(times, default=None))
        dialect.run_many(self._connection, _JOURNALS, [row])
        self._offsets[writer] = offset
        self._applied.events += tally.events

    def _note_bad(self, writer: str, found: Iterable[BadLine]) -> None:
        rows = [(self._study, writer, bad.offset, bad.length, bad.reason, bad.text) for bad in found]
        dialect.run_many(self._connection, _BAD_LINES, rows)
        self._applied.bad_lines += len(rows)

    def _sick_lines(self) -> list[tuple[str, BadLine]]:
        """Return bad lines that may have healed: network file systems show zeros before they show bytes."""
        b = schema.bad_lines.c
        query = select(b.writer, b.offset, b.length, b.reason, b.text).where(b.study == self._study)
        found = self._connection.execute(query)
        rows = ((w, BadLine(dialect.whole(o), dialect.whole(n), r, t)) for w, o, n, r, t in found)
        return [(writer, bad) for writer, bad in rows if bad.may_heal]

    def _heal(self, rows: Rows, sick: list[tuple[str, BadLine]]) -> int:
        """Read sick lines once more; return how many bytes of them were saved."""
        b = schema.bad_lines
        saved = 0
        for writer, bad in sick:
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
        if facts.metric != rows.metric or (known.row is not None and facts.direction != was.direction):
            # Values mean something else now: all of the study is read again with the new meaning.
            forget(self._connection, self._study)
            rows = Rows(self._study, facts.metric)
            known = KnownStudy(facts)
            self._applied.more = True
        write_rows(self._connection, rows)
        write_study(self._connection, rows, facts, known)
        derive(self._connection, self._study, rows.touched_trials)
        refresh_views(self._connection, self._study)
        self._applied.changed = True
