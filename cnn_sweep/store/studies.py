"""A study's own row: what it optimises, how much is planned, which columns its leaderboard has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select

from cnn_sweep.store import dialect, schema
from cnn_sweep.store.rows import text_of
from cnn_sweep.store.sweep_facts import SweepFacts, read_facts, source_of
from cnn_sweep.store.views import drop_views
from cnn_sweep.sweep.direction import Direction

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.store.rows import Rows

_STUDIES = dialect.upsert_all(schema.studies)
_COUNTS = ("trials", "configurations", "invalid", "duplicates")


@dataclass(frozen=True)
class KnownStudy:
    """What the store says of a study before a merge.

    Attributes:
        facts: Its meaning.
        row: Its row; None if the study is new.
    """

    facts: SweepFacts
    row: Any = None


def known_study(connection: Connection, paths: StudyPaths) -> KnownStudy:
    """Return what is known of a study; of a new one, what its first sweep file says."""
    s = schema.studies
    row = connection.execute(select(s).where(s.c.study == paths.study)).one_or_none()
    if row is None:
        return KnownStudy(read_facts(paths, 1))
    parameters = tuple(dialect.names(row.parameters_json))
    return KnownStudy(
        SweepFacts(row.metric, Direction(row.direction), row.method, row.digest, parameters, row.source), row
    )


def newest_facts(connection: Connection, paths: StudyPaths, rows: Rows, known: KnownStudy) -> SweepFacts:
    """Return what the newest journaled revision of the sweep says; it is read only if it changed.

    A file that cannot be read now does not overrule what was read before.
    """
    r = schema.revisions.c
    stored = connection.execute(select(func.max(r.revision)).where(r.study == paths.study)).scalar()
    newest = max([dialect.whole(stored or 1), *(row[1] for row in rows.others.get("extend", ()))])
    source = source_of(paths, newest)
    if known.facts.source is not None and source in {known.facts.source, None}:
        return known.facts
    facts = read_facts(paths, newest)
    return known.facts if facts.problem and known.facts.source is not None else facts


def forget(connection: Connection, study: str) -> None:
    """Drop all that is known of a study."""
    drop_views(connection, study)
    for table in schema.OF_A_STUDY:
        connection.execute(delete(table).where(table.c.study == study))


def write_study(connection: Connection, rows: Rows, facts: SweepFacts, known: KnownStudy) -> None:
    """Write a study's row; its revisions and configurations are written already."""
    r = schema.revisions
    revisions = connection.execute(select(r).where(r.c.study == rows.study).order_by(r.c.revision)).all()
    newest = revisions[-1] if revisions else None
    old = known.row
    cancels = [row[2] for row in rows.others.get("cancel", ()) if row[1] is None]
    before = dialect.moment(old.cancelled) if old is not None else None
    cancels += [before] if before is not None else []
    metrics = rows.metrics.union(dialect.names(old.metrics_json) if old is not None else ())
    values = {
        "study": rows.study,
        "metric": facts.metric,
        "direction": facts.direction,
        "method": facts.method,
        "digest": facts.digest,
        "revisions": newest.revision if newest is not None else 0,
        **{name: getattr(newest, name) if newest is not None else 0 for name in _COUNTS},
        "parameters_json": text_of(list(facts.parameters)),
        "others_json": text_of(_others(connection, rows, facts, known)),
        "metrics_json": text_of(sorted(metrics)),
        "created": revisions[0].time if newest is not None and revisions[0].revision == 1 else None,
        "cancelled": max(cancels, default=None),
        "source": facts.source,
    }
    row = tuple(values[column.name] for column in schema.studies.columns)
    dialect.run_many(connection, _STUDIES, [row])


def parameter_names(row: Any) -> list[str]:
    """Return the hyperparameters of a study's row: the sweep file's in its order, then any others."""
    return dialect.names(row.parameters_json) + dialect.names(row.others_json)


def _others(connection: Connection, rows: Rows, facts: SweepFacts, known: KnownStudy) -> list[str]:
    """Return the hyperparameters that trials have and the sweep file has not, as when it is damaged."""
    before = dialect.names(known.row.others_json) if known.row is not None else []
    if facts is known.facts:
        return sorted(rows.parameters.union(before).difference(facts.parameters))
    c = schema.configurations.c
    seen: set[str] = set()
    for (params,) in connection.execute(select(c.params_json).where(c.study == rows.study)):
        seen.update(dialect.mapping(params))
    return sorted(seen.difference(facts.parameters))
