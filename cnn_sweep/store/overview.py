"""All studies of the store at a glance, with one query per table, so that hundreds of studies are listed at once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from cnn_sweep.store import schema, sqlite
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.states import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Select

    from cnn_sweep.store.reader import StoreReader

Record = dict[str, Any]


def overview(store: StoreReader) -> list[Record]:
    """Return a record per study, by name.

    Keys: study, metric, direction (:class:`Direction`), planned, trials (count by state, all states), best (value of
    the best complete, feasible trial, or None), created, cancelled, last_event, workers (identities of the processes
    that train), running (identities of the workers of running trials), jobs (records with job, time, tasks, cluster,
    profile).
    """
    s = schema.studies.c
    query = select(s.study, s.metric, s.direction, s.trials, s.created, s.cancelled).order_by(s.study)
    with store as connection:
        counts, best, last = _counts(connection), _extremes(connection), _last_events(connection)
        workers, running, jobs = _identities(connection, _TRAINED), _identities(connection, _RUNNING), _jobs(connection)
        rows = connection.execute(query).all()
    found = []
    for row in rows:
        direction = Direction(row.direction)
        begun = counts[row.study]
        states = dict.fromkeys(STATES, 0) | begun | {"waiting": max(row.trials - sum(begun.values()), 0)}
        values = best.get(row.study)
        found.append(
            {
                "study": row.study,
                "metric": row.metric,
                "direction": direction,
                "planned": row.trials,
                "trials": states,
                "best": None if values is None else direction.better_of(*values),
                "created": row.created,
                "cancelled": row.cancelled,
                "last_event": last.get(row.study),
                "workers": workers[row.study],
                "running": running[row.study],
                "jobs": jobs[row.study],
            }
        )
    return found


def _counts(connection: Connection) -> Mapping[str, dict[str, int]]:
    t = schema.trials.c
    query = select(t.study, t.state, func.count()).where(t.attempts > 0).group_by(t.study, t.state)
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for study, state, count in connection.execute(query):
        found[study][str(state)] = int(count)
    return found


def _extremes(connection: Connection) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each study's complete, feasible trials."""
    t = schema.trials.c
    query = select(t.study, func.min(t.value), func.max(t.value))
    query = query.where(t.state == "complete", t.value.is_not(None), func.coalesce(t.violation, 0) == 0).group_by(
        t.study
    )
    return {study: (low, high) for study, low, high in connection.execute(query)}


def _last_events(connection: Connection) -> dict[str, float | None]:
    j = schema.journals.c
    query = select(j.study, func.max(j.last_event)).group_by(j.study)
    return {study: sqlite.read_time(last) for study, last in connection.execute(query)}


_w, _t, _a = schema.workers.c, schema.trials.c, schema.attempts.c
_TRAINED = select(_w.study, _w.identity_json).where(_w.threads > 0).order_by(_w.writer)
_RUNNING = (
    select(_w.study, _w.identity_json)
    .join(schema.attempts, (_a.study == _w.study) & (_a.writer == _w.writer))
    .join(schema.trials, (_t.study == _a.study) & (_t.trial == _a.trial))
    .where(_t.state == "running", _a.state == "running")
    .order_by(_a.trial, _a.attempt)
)


def _identities(connection: Connection, query: Select[Any]) -> Mapping[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for study, identity in connection.execute(query):
        found[study].append(sqlite.read_mapping(identity))
    return found


def _jobs(connection: Connection) -> Mapping[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for row in connection.execute(select(schema.jobs)).mappings():
        found[row["study"]].append(dict(row))
    return found
