"""A study's own row: its objective, its planned trials, and the columns of its leaderboard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select

from cnn_sweep.errors import DamagedFileError, InputError
from cnn_sweep.journal.study_files import read_file
from cnn_sweep.journal.sweep_files import check_sweep_files
from cnn_sweep.messages import natural
from cnn_sweep.store import schema, sqlite
from cnn_sweep.store.planned import planned_counts
from cnn_sweep.store.sqlite import to_json
from cnn_sweep.store.views import drop_views
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.file.text_file import read_text
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.store.rows import Rows

_STUDIES = sqlite.upsert_all(schema.studies)
_DEFAULT = ObjectiveSpec()
_COUNTS = ("trials", "configurations", "invalid", "duplicates")


@dataclass(frozen=True)
class SweepFacts:
    """Facts from a sweep file that give a study's numbers their meaning.

    Attributes:
        metric: The objective.
        direction: Direction of the objective.
        last_epochs: Number of last epochs whose mean is a trial's value; None if it is that of the best epoch.
        constraints: Constraints on what trials measure.
        method: The search method; None if the file could not be read.
        digest: Hash of the sweep's content; None if the file could not be read.
        parameters: Hyperparameters in the order of the file.
        source: SHA-256 of the file's bytes; None if the file could not be read.
        problem: Why the file could not be read; None if it could.
    """

    metric: str = _DEFAULT.metric
    direction: Direction = _DEFAULT.direction
    last_epochs: int | None = _DEFAULT.last_epochs
    constraints: tuple[str, ...] = ()
    method: str | None = None
    digest: str | None = None
    parameters: tuple[str, ...] = ()
    source: str | None = None
    problem: str | None = None


def source_of(paths: StudyPaths, revision: int) -> str | None:
    """Return the SHA-256 of a revision's frozen sweep file; None if it cannot be read."""
    try:
        return hashlib.sha256(read_file(paths.revision(max(revision, 1)), "")).hexdigest()
    except DamagedFileError:
        return None


def read_facts(paths: StudyPaths, revision: int) -> SweepFacts:
    """Read a revision's frozen sweep file; for a damaged one, return defaults and the problem."""
    source = source_of(paths, revision)
    try:
        check_sweep_files(paths)
        file = paths.revision(max(revision, 1))
        # The rows of a table may make a study's copy larger than a file of the user's can be.
        text = read_text(file, limit=None)
        sweep = Sweep.parse(text, source=str(file), folder=file.parent).named(paths.study)
    except InputError as error:
        return SweepFacts(problem=str(error))
    return SweepFacts(
        metric=sweep.objective.metric,
        direction=sweep.objective.direction,
        last_epochs=sweep.objective.last_epochs,
        constraints=sweep.search.constraints,
        method=sweep.search.method,
        digest=sweep.digest,
        parameters=sweep.space.names,
        source=source,
    )


@dataclass(frozen=True)
class KnownStudy:
    """The store's knowledge of a study before a merge.

    Attributes:
        facts: Facts from its sweep file.
        row: Its row; None if the study is new.
    """

    facts: SweepFacts
    row: Any = None


def known_study(connection: Connection, paths: StudyPaths) -> KnownStudy:
    """Return the store's knowledge of a study; for a new one, from its first sweep file."""
    s = schema.studies
    row = connection.execute(select(s).where(s.c.study == paths.study)).one_or_none()
    if row is None:
        return KnownStudy(read_facts(paths, 1))
    parameters = tuple(sqlite.read_names(row.parameters_json))
    return KnownStudy(
        SweepFacts(
            metric=row.metric,
            direction=Direction(row.direction),
            last_epochs=row.last_epochs,
            constraints=constraints_of(row),
            method=row.method,
            digest=row.digest,
            parameters=parameters,
            source=row.source,
        ),
        row,
    )


def newest_facts(connection: Connection, paths: StudyPaths, rows: Rows, known: KnownStudy) -> SweepFacts:
    """Return the facts of the newest journaled revision of the sweep, which is read only if it changed.

    If the file cannot be read now, the previous facts remain.
    """
    r = schema.revisions.c
    stored = connection.execute(select(func.max(r.revision)).where(r.study == paths.study)).scalar()
    newest = max(sqlite.read_count(stored or 1), rows.revision, len(paths.revisions()))
    source = source_of(paths, newest)
    if known.facts.source is not None and source in {known.facts.source, None}:
        return known.facts
    facts = read_facts(paths, newest)
    return known.facts if facts.problem and known.facts.source is not None else facts


def forget(connection: Connection, study: str) -> None:
    """Delete all rows of a study."""
    drop_views(connection, study)
    for table in schema.OF_A_STUDY:
        connection.execute(delete(table).where(table.c.study == study))


def write_study(connection: Connection, paths: StudyPaths, rows: Rows, facts: SweepFacts, known: KnownStudy) -> None:
    """Write a study's row, after its revisions and configurations."""
    r = schema.revisions
    revisions = connection.execute(select(r).where(r.c.study == rows.study).order_by(r.c.revision)).all()
    newest = revisions[-1] if revisions else None
    number, counts = _counts(paths, newest)
    old = known.row
    before = sqlite.read_time(old.cancelled) if old is not None else None
    cancels = [time for time in (before, rows.cancelled) if time is not None]
    metrics = rows.metrics.union(sqlite.read_names(old.metrics_json) if old is not None else ())
    values = {
        "study": rows.study,
        "metric": facts.metric,
        "direction": facts.direction,
        "last_epochs": facts.last_epochs,
        "constraints_json": to_json(list(facts.constraints)) if facts.constraints else None,
        "method": facts.method,
        "digest": facts.digest,
        "revisions": number,
        **counts,
        "parameters_json": to_json(list(facts.parameters)),
        "others_json": to_json(_others(connection, rows, facts, known)),
        "metrics_json": to_json(sorted(metrics)),
        "created": revisions[0].time if revisions and revisions[0].revision == 1 else None,
        "cancelled": max(cancels, default=None),
        "source": facts.source,
    }
    row = tuple(values[column.name] for column in schema.studies.columns)
    sqlite.run_many(connection, _STUDIES, [row])


def _counts(paths: StudyPaths, newest: Any) -> tuple[int, dict[str, int]]:
    """Return the number of the newest revision and its counts, which follow from the plan if its line is damaged."""
    journaled, files = 0 if newest is None else newest.revision, len(paths.revisions())
    if files > journaled and (planned := planned_counts(paths)) is not None:
        return files, planned
    return journaled, {name: 0 if newest is None else getattr(newest, name) for name in _COUNTS}


def parameter_names(row: Any) -> list[str]:
    """Return the hyperparameters of a study's row: the sweep file's in its order, then any others."""
    return sqlite.read_names(row.parameters_json) + sqlite.read_names(row.others_json)


def constraints_of(row: Any) -> tuple[str, ...]:
    """Return the constraints on what trials measure of a study's row."""
    return tuple(sqlite.read_names(row.constraints_json)) if row.constraints_json is not None else ()


def _others(connection: Connection, rows: Rows, facts: SweepFacts, known: KnownStudy) -> list[str]:
    """Return hyperparameters that trials have and the sweep file lacks, as when it is damaged."""
    before = sqlite.read_names(known.row.others_json) if known.row is not None else []
    if facts is known.facts:
        return sorted(rows.parameters.union(before).difference(facts.parameters), key=natural)
    c = schema.configurations.c
    seen: set[str] = set()
    for (params,) in connection.execute(select(c.params_json).where(c.study == rows.study)):
        seen.update(sqlite.read_mapping(params))
    return sorted(seen.difference(facts.parameters), key=natural)
