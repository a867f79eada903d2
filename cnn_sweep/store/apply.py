"""New journal lines into an open transaction, each of them once.

How many bytes of a journal are in the store is kept in the store: a transaction that is committed holds the
lines and the offset behind them, one that is not holds neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.log import READ_LIMIT, ZEROS
from cnn_sweep.journal.paths import StudyPaths, existing_studies
from cnn_sweep.store import dialect, schema
from cnn_sweep.store.batch import Applied, Batch
from cnn_sweep.store.studies import forget
from cnn_sweep.sweep.identity import STUDY_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

# Offsets up to which journals are read: (study, writer) to bytes.
Limits = dict[tuple[str, str], int]


def create_tables(connection: Connection) -> None:
    """Make all tables in an empty database and note the version of their layout."""
    schema.METADATA.create_all(connection)
    version = {"key": "schema_version", "value": str(schema.SCHEMA_VERSION)}
    connection.execute(schema.meta.insert(), version)


def layout(connection: Connection) -> str | None:
    """Return the version of the layout that a database has: None if it is empty, "unknown" if not ours."""
    names = dialect.tables(connection)
    if not names:
        return None
    if not {table.name for table in schema.METADATA.sorted_tables} <= names:
        return "unknown"
    query = select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
    return connection.execute(query).scalar() or "unknown"


def check_layout(found: str | None) -> None:
    """Accept an empty database and one of this version's layout.

    Raises:
        DamageError: If it is another one.
    """
    if found not in {None, str(schema.SCHEMA_VERSION)}:
        known = schema.SCHEMA_VERSION
        raise dialect.DamageError(f"its layout is version {found}, this package's is {known}")


def ensure_tables(connection: Connection) -> bool:
    """Make all tables if a database is empty; return whether it was.

    Raises:
        DamageError: If its layout is of another version.
    """
    found = layout(connection)
    check_layout(found)
    if found is None:
        create_tables(connection)
    return found is None


def read_offsets(connection: Connection) -> Limits:
    """Return how many bytes of each journal are in the store."""
    j = schema.journals.c
    return {
        (row.study, row.writer): dialect.whole(row.offset)
        for row in connection.execute(select(j.study, j.writer, j.offset))
    }


def nothing_new(connection: Connection, results: Path) -> bool:
    """Tell whether the store has all lines that the journals have."""
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
        connection: In a transaction that nobody else writes beside.
        results: Root of the studies.
        limits: If given, only these journals are read, and up to these offsets.
        batch_bytes: About how much of the journals to take in.
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
    """Tell whether a study of the store is still there, and the same one."""
    if not STUDY_NAME.fullmatch(name):
        return False
    paths = StudyPaths(results, name)
    there = {writer for writer, _ in journal_sizes(paths)}
    return not there.isdisjoint(writers) or (not there and paths.folder.exists())


def _forget_removed(connection: Connection, results: Path, known: Limits, applied: Applied) -> None:
    """Drop what is known of studies whose folder is gone, or was made anew under the old name."""
    for name in sorted({study for study, _ in known}):
        writers = {writer for study, writer in known if study == name}
        if not _exists(results, name, writers):
            forget(connection, name)
            applied.notes.append(f"{name}: its folder was removed, and so it was from the store")
            applied.changed = True
            for writer in writers:
                del known[name, writer]
