"""``store check``: compares the store with one rebuilt from the same journal lines, and finds damaged lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from cnn_sweep.errors import DamagedFileError, EnvironmentFault
from cnn_sweep.journal.decoding import BadLineError, fields_of, misfit
from cnn_sweep.journal.events import EVENT_TYPES
from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.log import read_from
from cnn_sweep.journal.paths import StudyPaths, existing_studies
from cnn_sweep.journal.sweep_files import check_sweep_files
from cnn_sweep.store import schema, sqlite
from cnn_sweep.store.files import private_folder, store_file
from cnn_sweep.store.ingest import Limits, apply_new, read_offsets
from cnn_sweep.store.published import digest_of, list_versions
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.store.schema import create_tables
from cnn_sweep.store.views import definitions
from cnn_sweep.sweep.identity import STUDY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Table

_SHOWN = 5  # rows of a table that findings name


@dataclass(frozen=True)
class CheckReport:
    """Result of a check.

    Attributes:
        findings: One line per finding; empty if store and journals are sound.
        bad_lines: Damaged lines of all journals, and lines that are no events.
        waiting_bytes: Bytes of the journals that are not merged yet, which is not damage.
        is_store_sound: Whether the store says what the journals say.
    """

    findings: tuple[str, ...]
    bad_lines: int
    waiting_bytes: int
    is_store_sound: bool = True

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def check(results: Path) -> CheckReport:
    """Compare the store with one rebuilt from the same lines, and look for damaged lines.

    Nothing is changed, and other programs may continue to write: the comparison covers the journals up to the offsets
    that the store has read. Damaged lines after these offsets are reported as well.
    """
    findings: list[str] = []
    if store_file(results).is_file():
        try:
            with StoreReader(results) as connection:
                findings += _check_store(connection, results)
                waiting = _waiting(read_offsets(connection), results)
        except EnvironmentFault as error:
            findings.append(str(error))
            waiting = _waiting({}, results)
    else:
        waiting = _waiting({}, results)
    files, bad = list(_damaged_sweep_files(results)), list(_bad_lines(results))
    return CheckReport((*findings, *files, *bad), len(bad), waiting, is_store_sound=not findings)


def _waiting(offsets: Limits, results: Path) -> int:
    return sum(max(size - offsets.get(key, 0), 0) for key, size in _sizes(results).items())


def _sizes(results: Path) -> Limits:
    names = existing_studies(results)
    return {(name, writer): size for name in names for writer, size in journal_sizes(StudyPaths(results, name))}


def _check_store(connection: Connection, results: Path) -> Iterator[str]:
    file = store_file(results)
    yield from (f"{file}: {problem}" for problem in (*_unlike(results), *sqlite.integrity(connection)))
    offsets = read_offsets(connection)
    sizes = _sizes(results)
    for (study, writer), offset in sorted(offsets.items()):
        size = sizes.get((study, writer))
        if size is None or size < offset:
            known = "is gone" if size is None else f"has only {size} bytes"
            name = StudyPaths(results, study).journal(writer) if STUDY_NAME.fullmatch(study) else writer
            yield f"{name}: the store has read {offset} bytes of this journal, which {known}"
    limits = {key: min(offset, sizes[key]) for key, offset in offsets.items() if key in sizes}
    with private_folder() as folder:
        engine = sqlite.open_private(folder / "fresh.db")
        try:
            with engine.begin() as fresh:
                _make(fresh, results, limits)
                yield from (f"{file}: {difference}" for difference in differences(connection, fresh))
        finally:
            engine.dispose()


def _unlike(results: Path) -> Iterator[str]:
    """Yield a finding if the file differs from the newest published one, which nothing may change."""
    newest = next(iter(list_versions(results)), None)
    if newest is not None and digest_of(store_file(results)) != newest.digest:
        yield "it is not the store that was published last: its checksum does not match"


def _make(fresh: Connection, results: Path, limits: Limits) -> None:
    create_tables(fresh)
    while apply_new(fresh, results, limits=limits).more:
        pass


def differences(store: Connection, fresh: Connection) -> Iterator[str]:
    """Yield the differences between two stores, table by table."""
    for table in schema.METADATA.sorted_tables:
        try:
            kept, made = _rows(store, table), _rows(fresh, table)
        except (DBAPIError, UnicodeError) as error:
            yield f"table {table.name}: cannot be read: {sqlite.reason(error)}"
            continue
        wrong = sorted(key for key in kept.keys() | made.keys() if kept.get(key) != made.get(key))
        for key in wrong[:_SHOWN]:
            yield f"table {table.name}: {_difference(table, key, kept.get(key), made.get(key))}"
        if len(wrong) > _SHOWN:
            yield f"table {table.name}: {len(wrong) - _SHOWN} more rows differ from the journals"
    known, made_of = sqlite.definitions(store), sqlite.definitions(fresh)
    yield from (f"table {name}: is not defined as it should be" for name in made_of if known.get(name) != made_of[name])
    yield from _different_views(store, fresh)


def _rows(connection: Connection, table: Table) -> dict[str, Any]:
    """Return all rows by key, with keys as text, since damage may have changed their types."""
    keys = len(table.primary_key)
    return {repr(tuple(row[:keys])): tuple(row) for row in connection.execute(select(table))}


def _difference(table: Table, key: str, kept: Any, made: Any) -> str:
    if kept is None:
        return f"row {key} is missing"
    if made is None:
        return f"row {key} is in no journal"
    pairs = zip(table.columns.keys(), kept, made, strict=True)
    columns = ", ".join(f"{name} is {a!r} and should be {b!r}" for name, a, b in pairs if a != b)
    return f"row {key}: {columns}"


def _different_views(store: Connection, fresh: Connection) -> Iterator[str]:
    known = sqlite.views(store)
    names = [name for (name,) in fresh.execute(select(schema.studies.c.study))]
    for study in names:
        if sum(name.casefold() == study.casefold() for name in names) > 1:
            continue  # SQLite treats the names of their views as equal
        for view, sql in definitions(fresh, study).items():
            if known.get(view) != sql:
                yield f"view {view}: {'is missing' if view not in known else 'differs from its definition'}"


def _damaged_sweep_files(results: Path) -> Iterator[str]:
    for study in existing_studies(results):
        try:
            check_sweep_files(StudyPaths(results, study))
        except DamagedFileError as error:
            yield str(error)


def _bad_lines(results: Path) -> Iterator[str]:
    for study, writer in _sizes(results):
        path = StudyPaths(results, study).journal(writer)
        offset, more = 0, True
        while more:
            chunk = read_from(path, offset)
            for bad in chunk.bad:
                yield f"{path}: byte {bad.offset}: {bad.length} bytes: {bad.reason}: {bad.text}"
            yield from (f"{path}: {reason}" for body in chunk.bodies if (reason := _odd(body)) is not None)
            if chunk.fault is not None:
                yield f"{path}: {chunk.fault}"
            offset, more = chunk.end_offset, chunk.more


def _odd(body: bytes) -> str | None:
    """Return why a line with a good checksum is no event; None for an event, also one of a newer version's types."""
    try:
        data = fields_of(body)
    except BadLineError as error:
        return str(error)
    kind = data["type"]
    return misfit(data) if not isinstance(kind, str) or kind in EVENT_TYPES else None
