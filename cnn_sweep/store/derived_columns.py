"""Columns derived from other rows, recomputed for the trials that a merge touched.

They depend only on the rows, and not on when or in which batches lines were merged. The same rules are in
:mod:`cnn_sweep.journal.trials`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    Integer,
    String,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.schema import CreateTable

from cnn_sweep.store.schema import attempts, epochs, studies, touched, trials
from cnn_sweep.store.sqlite import rounded, upsert_from
from cnn_sweep.sweep.direction import Direction

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import ColumnElement, Connection, Insert, Table, Update

_STUDY = bindparam("of_study", type_=String)


def touch(connection: Connection, numbers: Iterable[int]) -> None:
    """Write the numbers of the trials that a merge touched into a table of the connection."""
    connection.execute(CreateTable(touched, if_not_exists=True))
    connection.execute(delete(touched))
    if rows := [{"trial": number} for number in sorted(numbers)]:
        connection.execute(insert(touched), rows)


def derive(connection: Connection, study: str) -> None:
    """Compute the derived columns of the touched trials of a study."""
    for statement in _STATEMENTS:
        connection.execute(statement, {"of_study": study})


def _is_touched(table: Table) -> ColumnElement[bool]:
    """Select the rows of touched trials, in a form for which SQLite uses the key instead of scanning the table."""
    return and_(table.c.study == _STUDY, table.c.trial.in_(select(touched.c.trial)))


def _sums() -> Insert:
    """Derive an attempt's columns from its epochs."""
    e = epochs.c
    sums = {
        "first_epoch": func.min(e.epoch),
        "last_epoch": func.max(e.epoch),
        "epoch_seconds": rounded(func.sum(e.seconds)),
    }
    columns = (value.label(name) for name, value in sums.items())
    keys = (e.study, e.trial, e.attempt)
    query = select(*keys, *columns).where(_is_touched(epochs)).group_by(*keys)
    return upsert_from(attempts, query, replaced=tuple(sums))


def _attempts() -> Insert:
    """Derive the state of attempts: an attempt's own end takes precedence over other processes' events."""
    a = attempts.c
    ended, lost = a.ended.is_not(None), a.lost.is_not(None)
    values = {
        "state": case((ended, a.end_state), (lost, "lost"), else_="running"),
        "cause": case((ended, a.end_cause), else_=a.lost_cause),
        "message": case((ended, a.end_message), else_=a.lost_message),
        "seconds": rounded(func.coalesce(a.end_seconds, a.epoch_seconds, 0.0)),
    }
    columns = (value.label(name) for name, value in values.items())
    query = select(a.study, a.trial, a.attempt, *columns).where(_is_touched(attempts))
    return upsert_from(attempts, query, replaced=tuple(values))


def _counted() -> Update:
    """Mark the valid epochs: those that no later attempt has repeated, or has started before.

    Only trials with several attempts are considered.
    """
    several = select(attempts.c.trial).where(_is_touched(attempts)).group_by(attempts.c.trial).having(func.count() > 1)
    later = attempts.alias("later")
    # If the line of its start is damaged, an attempt started just before its first reported epoch.
    started_after = func.coalesce(later.c.start_epoch, later.c.first_epoch - 1)
    redone = exists().where(
        later.c.study == epochs.c.study,
        later.c.trial == epochs.c.trial,
        later.c.attempt > epochs.c.attempt,
        started_after < epochs.c.epoch,
    )
    again = epochs.alias("again")
    reported = exists().where(
        again.c.study == epochs.c.study,
        again.c.trial == epochs.c.trial,
        again.c.attempt > epochs.c.attempt,
        again.c.epoch == epochs.c.epoch,
    )
    counted = case((or_(redone, reported), 0), else_=1)
    of_several = (epochs.c.study == _STUDY, epochs.c.trial.in_(several))
    return update(epochs).values(counted=counted).where(*of_several, epochs.c.counted != counted)


def _trials() -> Insert:
    """Derive a trial's columns from its attempts; most are copied from one of them."""
    a = attempts.c
    parameters = func.coalesce(a.end_parameters, a.start_parameters)
    ranked = (
        select(
            attempts,
            parameters.label("parameters"),
            _place(a.attempt).label("place"),
            _place(a.started).label("started_place"),
            _place(parameters).label("parameters_place"),
        )
        .where(_is_touched(attempts))
        .subquery()
    )
    r = ranked.c
    values = {
        "configuration": _at(r.started_place, r.configuration),
        "repeat": _at(r.started_place, r.repeat),
        "fold": _at(r.started_place, r.fold),
        "seed": _at(r.started_place, r.seed),
        "parameters": _at(r.parameters_place, r.parameters),
        "state": _at(r.place, case((r.state == "lost", "interrupted"), else_=r.state)),
        "cause": _at(r.place, r.cause),
        "message": _at(r.place, r.message),
        "ended": _at(r.place, func.coalesce(r.ended, r.lost)),
        "curve_json": _at(r.place, r.end_curve_json),
        "seconds": rounded(func.sum(r.seconds)),
        "attempts": func.count(),
        "started": func.min(r.started),
        "missing_epochs": null(),
    }
    columns = (value.label(name) for name, value in values.items())
    # The condition is needed because SQLite parses a conflict clause directly after FROM as part of a join.
    query = select(r.study, r.trial, *columns).where(r.place > 0).group_by(r.study, r.trial)
    return upsert_from(trials, query, replaced=tuple(values))


def _place(known: ColumnElement[Any]) -> ColumnElement[int]:
    """Number a trial's attempts from the highest down, those with a value before those without."""
    a = attempts.c
    return func.row_number().over(partition_by=a.trial, order_by=(cast(known.is_(None), Integer), a.attempt.desc()))


def _at(place: ColumnElement[int], value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Select the value of the first row in each group."""
    return func.max(case((place == 1, value), else_=None))


def _best() -> Insert:
    """Derive the best valid epoch of each trial, the earliest of several; none without a value."""
    e = epochs.c
    direction = select(studies.c.direction).where(studies.c.study == _STUDY).scalar_subquery()
    goodness = case({one: one.key(e.value) for one in Direction}, value=direction)
    rival = case((and_(e.counted == 1, e.value.is_not(None)), 1), else_=0)
    counted_epoch = case((e.counted == 1, e.epoch), else_=None)
    ranked = (
        select(
            epochs,
            rival.label("rival"),
            func.max(counted_epoch).over(partition_by=e.trial).label("epochs"),
            func.row_number().over(partition_by=e.trial, order_by=(rival.desc(), goodness, e.epoch)).label("place"),
        )
        .where(_is_touched(epochs))
        .subquery()
    )
    r = ranked.c
    values = {
        "epochs": func.coalesce(r.epochs, 0),
        "value": case((r.rival == 1, r.value), else_=None),
        "best_epoch": case((r.rival == 1, r.epoch), else_=None),
        "best_metrics_json": case((r.rival == 1, r.metrics_json), else_=None),
    }
    columns = (value.label(name) for name, value in values.items())
    query = select(r.study, r.trial, *columns).where(r.place == 1)
    return upsert_from(trials, query, replaced=tuple(values))


def _last() -> Insert:
    """Derive the value of each trial from its last epochs, if the study's objective says so; else no trial is read."""
    e = epochs.c
    last = select(studies.c.last_epochs).where(studies.c.study == _STUDY).scalar_subquery()
    newest = func.row_number().over(partition_by=e.trial, order_by=e.epoch.desc()).label("place")
    ranked = select(epochs, newest).where(_is_touched(epochs), e.counted == 1, last.is_not(None)).subquery()
    r = ranked.c
    has_all = func.count(r.value) == func.count()
    values = {
        "value": case((has_all, func.exact_mean(r.value))),
        "best_epoch": case((has_all, func.max(r.epoch))),
        "best_metrics_json": case((has_all, func.max(case((r.place == 1, r.metrics_json))))),
    }
    columns = (value.label(name) for name, value in values.items())
    query = select(r.study, r.trial, *columns).where(r.place <= last).group_by(r.study, r.trial)
    return upsert_from(trials, query, replaced=tuple(values))


def _incomplete() -> Insert:
    """Take the result from a trial's end if that counted more epochs than there are, since lines are damaged."""
    ends = select(attempts, _place(attempts.c.attempt).label("place")).where(_is_touched(attempts)).subquery()
    r, e = ends.c, epochs.c
    of_trial = (e.study == r.study, e.trial == r.trial, e.counted == 1)
    there = select(func.count()).where(*of_trial).correlate(ends).scalar_subquery()
    best = select(e.metrics_json).where(*of_trial, e.epoch == r.end_best_epoch).correlate(ends).scalar_subquery()
    values = {
        "value": r.end_value,
        "best_epoch": r.end_best_epoch,
        "best_metrics_json": best,
        "epochs": r.end_epochs,
        "missing_epochs": r.end_counted - there,
    }
    columns = (value.label(name) for name, value in values.items())
    query = select(r.study, r.trial, *columns).where(r.place == 1, r.end_counted > there)
    return upsert_from(trials, query, replaced=tuple(values))


def _violations() -> Insert:
    """Derive the total violation of the constraints by each trial with a value, if the study has any."""
    texts = select(studies.c.constraints_json).where(studies.c.study == _STUDY).scalar_subquery()
    t = trials.c
    violation = func.violation(texts, t.best_metrics_json, t.parameters, t.seconds).label("violation")
    query = select(t.study, t.trial, violation).where(_is_touched(trials), t.value.is_not(None), texts.is_not(None))
    return upsert_from(trials, query, replaced=("violation",))


# The order matters: each statement reads results of the previous ones.
_STATEMENTS = (_sums(), _attempts(), _counted(), _trials(), _best(), _last(), _incomplete(), _violations())
