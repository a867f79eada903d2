"""Queries for reports and live progress: cost, jobs, failures, learning curves of chosen trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, exists, func, select

from cnn_sweep.store import schema
from cnn_sweep.store.queries import Record, restored
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.store.reader import StoreReader

# SQLite limits the number of values in one statement.
_CHUNK = 500


def cost(store: StoreReader, study: str) -> Record:
    """Return the cost of a study.

    Keys: attempts (count), attempt_seconds (of all attempts, including those whose work was lost), core_seconds (each
    attempt's seconds times the threads of its worker), began and ended (of the first and the last attempt).
    """
    a, w = schema.attempts, schema.workers
    of_worker = (w.c.study == a.c.study) & (w.c.writer == a.c.writer)
    query = (
        select(
            func.count(),
            func.coalesce(func.sum(a.c.seconds), 0.0),
            func.coalesce(func.sum(a.c.seconds * func.coalesce(w.c.threads, 1)), 0.0),
            func.min(a.c.started),
            func.max(func.coalesce(a.c.ended, a.c.lost, a.c.started)),
        )
        .select_from(a.outerjoin(w, of_worker))
        .where(a.c.study == study)
    )
    with store as connection:
        row = connection.execute(query).one()
    return dict(zip(("attempts", "attempt_seconds", "core_seconds", "began", "ended"), row, strict=True))


def time_of_attempts(store: StoreReader, study: str) -> Record:
    """Return how the attempts of a study spent their time, in seconds summed over workers.

    Keys: counted (epochs that count), repeated (epochs that a later attempt trained again) and repeated_epochs (their
    number), failed (epochs of failed trials), between (the rest: networks are built, checkpoints and models written).
    """
    e, t, a = schema.epochs.c, schema.trials.c, schema.attempts.c
    failed, counts = t.state == "failed", e.counted == 1
    seconds = {
        "counted": case((counts & ~failed, e.seconds), else_=0.0),
        "repeated": case((~counts, e.seconds), else_=0.0),
        "repeated_epochs": case((~counts, 1), else_=0),
        "failed": case((counts & failed, e.seconds), else_=0.0),
    }
    of_epochs = (
        select(*(func.coalesce(func.sum(value), 0).label(name) for name, value in seconds.items()))
        .select_from(schema.epochs.join(schema.trials, (t.study == e.study) & (t.trial == e.trial)))
        .where(e.study == study)
    )
    of_attempts = select(func.coalesce(func.sum(a.seconds), 0.0)).where(a.study == study)
    with store as connection:
        found: Record = dict(connection.execute(of_epochs).one()._mapping)  # noqa: SLF001 - public despite its name
        attempts = connection.execute(of_attempts).scalar_one()
    training = found["counted"] + found["repeated"] + found["failed"]
    return found | {"between": max(0.0, attempts - training)}


def users(store: StoreReader, study: str) -> dict[str, int]:
    """Return the users who trained a study, as far as workers recorded them, and how many trials each tried last."""
    a, w = schema.attempts.c, schema.workers.c
    later = schema.attempts.alias()
    newest = ~exists().where(later.c.study == a.study, later.c.trial == a.trial, later.c.attempt > a.attempt)
    query = (
        select(w.user, func.count())
        .select_from(schema.attempts.join(schema.workers, (w.study == a.study) & (w.writer == a.writer)))
        .where(a.study == study, w.user.is_not(None), newest)
        .group_by(w.user)
        .order_by(w.user)
    )
    with store as connection:
        return {user: count for user, count in connection.execute(query)}  # noqa: C416 - mypy knows no pairs of rows


def list_jobs(store: StoreReader, study: str) -> list[Record]:
    """Return the Slurm jobs of a study, the oldest first; keys: cluster, job, time, tasks, profile."""
    j = schema.jobs.c
    query = select(j.cluster, j.job, j.time, j.tasks, j.profile).where(j.study == study).order_by(j.time, j.job)
    with store as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - public despite its name


def failures(store: StoreReader, study: str) -> list[Record]:
    """Return the failed trials by cause and message, the most frequent first.

    Keys: cause, count, trial (the first of them), message.
    """
    t = schema.trials.c
    cause = func.coalesce(t.cause, "unknown").label("cause")
    trial = func.min(t.trial).label("trial")
    query = (
        select(cause, func.count().label("count"), trial, t.message)
        .where(t.study == study, t.state == "failed", t.attempts > 0)
        .group_by(cause, t.message)
        .order_by(func.count().desc(), trial)
    )
    with store as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - public despite its name


def best_until(store: StoreReader, study: str, epoch: int, direction: Direction) -> dict[int, float]:
    """Return the best objective up to an epoch by trial, for the trials that reached it."""
    e = schema.epochs.c
    best = func.max(e.value) if direction == Direction.MAXIMIZE else func.min(e.value)
    query = (
        select(e.trial, best.label("best"))
        .where(e.study == study, e.counted == 1, e.epoch <= epoch)
        .group_by(e.trial)
        .having(func.max(e.epoch) >= epoch)
    )
    with store as connection:
        return {row.trial: row.best for row in connection.execute(query) if row.best is not None}


def values_by_epoch(store: StoreReader, study: str) -> dict[int, list[float]]:
    """Return the objective of all trials that completed an epoch, by epoch."""
    e = schema.epochs.c
    query = select(e.epoch, e.value).where(e.study == study, e.counted == 1, e.value.is_not(None)).order_by(e.epoch)
    found: dict[int, list[float]] = {}
    with store as connection:
        for row in connection.execute(query):
            found.setdefault(row.epoch, []).append(row.value)
    return found


def curves(store: StoreReader, study: str, trials: Sequence[int]) -> dict[int, list[Record]]:
    """Return the valid epochs of some trials, in order; keys: epoch, seconds, time and the metrics by name."""
    e = schema.epochs.c
    found: dict[int, list[Record]] = {trial: [] for trial in trials}
    with store as connection:
        for first in range(0, len(trials), _CHUNK):
            some = trials[first : first + _CHUNK]
            query = (
                select(e.trial, e.epoch, e.seconds, e.time, e.metrics_json)
                .where(e.study == study, e.counted == 1, e.trial.in_(some))
                .order_by(e.trial, e.epoch)
            )
            for row in connection.execute(query):
                own: dict[str, Any] = {"epoch": row.epoch, "seconds": row.seconds, "time": row.time}
                found[row.trial].append((restored(row.metrics_json) or {}) | own)
    return found


def running(store: StoreReader, study: str) -> list[Record]:
    """Return the running attempts, by worker.

    Keys: trial, attempt, host, pid, job, started, epoch, value, epoch_seconds, unsaved, saved_epoch. ``epoch`` is the
    last complete epoch, ``value`` its objective, and ``epoch_seconds`` the mean over the attempt's epochs; all are None
    before the first. ``unsaved`` is why the newest checkpoint could not be written (None if it was), and
    ``saved_epoch`` the last epoch in a checkpoint. An attempt followed by a later one has ended, even without an event.
    """
    a, w, t, e = schema.attempts, schema.workers, schema.trials, schema.epochs
    later = schema.attempts.alias("later")
    of_worker = (w.c.study == a.c.study) & (w.c.writer == a.c.writer)
    of_epoch = (e.c.study == a.c.study) & (e.c.trial == a.c.trial) & (e.c.attempt == a.c.attempt)
    epochs = func.nullif(a.c.last_epoch - a.c.first_epoch + 1, 0)
    query = (
        select(
            *(
                a.c.trial,
                a.c.attempt,
                w.c.host,
                w.c.pid,
                w.c.job,
                a.c.started,
                a.c.last_epoch.label("epoch"),
                e.c.value,
            ),
            (a.c.epoch_seconds / epochs).label("epoch_seconds"),
            case((a.c.unsaved > func.coalesce(a.c.checkpointed, 0.0), a.c.unsaved_message)).label("unsaved"),
            func.coalesce(a.c.checkpoint_epoch, a.c.start_epoch, 0).label("saved_epoch"),
        )
        .select_from(a.outerjoin(w, of_worker).outerjoin(e, of_epoch & (e.c.epoch == a.c.last_epoch)))
        .join(t, (t.c.study == a.c.study) & (t.c.trial == a.c.trial))
        .where(a.c.study == study, a.c.state == "running", t.c.state == "running")
        .where(~exists().where(later.c.study == a.c.study, later.c.trial == a.c.trial, later.c.attempt > a.c.attempt))
        .order_by(w.c.host, w.c.pid, a.c.trial)
    )
    with store as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - public despite its name


def saved_states(store: StoreReader, study: str) -> list[Record]:
    """Return the checkpoints of trials that are paused or were interrupted, by trial, the newest attempt first.

    Keys: trial, epoch (the last in the checkpoint), file (in the study's folder).
    """
    a, t = schema.attempts, schema.trials
    query = (
        select(a.c.trial, a.c.checkpoint_epoch.label("epoch"), a.c.checkpoint_file.label("file"))
        .select_from(a.join(t, (t.c.study == a.c.study) & (t.c.trial == a.c.trial)))
        .where(a.c.study == study, t.c.state.in_(("paused", "interrupted")), a.c.checkpoint_file.is_not(None))
        .order_by(a.c.trial, a.c.attempt.desc())
    )
    with store as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - as above


def endings(store: StoreReader, study: str) -> list[tuple[float, str, float | None]]:
    """Return (seconds, state, value) of the finished trials, in order of their ends; infeasible ones have no value."""
    t = schema.trials.c
    value = case((func.coalesce(t.violation, 0) == 0, t.value)).label("value")
    query = (
        select(t.seconds, t.state, value)
        .where(t.study == study, t.ended.is_not(None), t.state.in_(FINISHED))
        .order_by(t.ended, t.trial)
    )
    with store as connection:
        return [(row.seconds or 0.0, str(row.state), row.value) for row in connection.execute(query)]


def epochs_since(store: StoreReader, study: str, since: float) -> tuple[int, float]:
    """Return the number of epochs that ended after a time, and the start of the first; without any, that time."""
    e = schema.epochs.c
    began = func.coalesce(func.min(e.time - e.seconds), since)
    query = select(func.count(), began).where(e.study == study, e.time > since)
    with store as connection:
        count, first = connection.execute(query).one()
        return int(count), float(first)


def attempts(store: StoreReader, study: str) -> list[Record]:
    """Return the attempts that have begun, in order of their starts.

    Keys: writer, trial, attempt, started, until, state, seconds (as :func:`cost` counts them), epochs (complete in this
    attempt), repeated (seconds of those that a later attempt trained again). An attempt without an end counts up to its
    last epoch. If a later one followed it, it is lost, even without an event.
    """
    a, e = schema.attempts.c, schema.epochs.c
    again = case((e.counted == 0, e.seconds), else_=0.0)
    own = (
        select(
            e.trial, e.attempt, func.max(e.time).label("last"), func.count().label("n"), func.sum(again).label("again")
        )
        .where(e.study == study)
        .group_by(e.trial, e.attempt)
        .subquery()
    )
    later = schema.attempts.alias()
    is_last = ~exists().where(later.c.study == a.study, later.c.trial == a.trial, later.c.attempt > a.attempt)
    query = (
        select(
            *(a.writer, a.trial, a.attempt, a.started),
            func.coalesce(a.ended, own.c.last, a.started).label("until"),
            case(((a.state == "running") & ~is_last, "lost"), else_=a.state).label("state"),
            func.coalesce(a.seconds, 0.0).label("seconds"),
            func.coalesce(own.c.n, 0).label("epochs"),
            func.coalesce(own.c.again, 0.0).label("repeated"),
        )
        .select_from(schema.attempts.outerjoin(own, (own.c.trial == a.trial) & (own.c.attempt == a.attempt)))
        .where(a.study == study, a.started.is_not(None))
        .order_by(a.started, a.trial, a.attempt)
    )
    with store as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - public despite its name


def attempt_times(store: StoreReader, study: str) -> dict[str, list[tuple[float, float]]]:
    """Return start and end of each writer's attempts, in order, as :func:`attempts` has them."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in attempts(store, study):
        found.setdefault(str(one["writer"]), []).append((one["started"], one["until"]))
    return found
