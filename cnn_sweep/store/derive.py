"""Columns that follow from other rows, computed anew for the trials that a merge touched.

They are functions of the rows alone, so they do not depend on when and in what portions lines arrived; the
same rules stand in :mod:`cnn_sweep.journal.history`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Integer, and_, case, cast, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.schema import CreateTable

from cnn_sweep.store.dialect import rounded, upsert_from
from cnn_sweep.store.schema import attempts, epochs, studies, touched, trials

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import ColumnElement, Connection, FromClause, Insert, Select, Update

_TRIAL = ("study", "trial")
_ATTEMPT = ("study", "trial", "attempt")


def derive(connection: Connection, study: str, numbers: Iterable[int]) -> None:
    """Compute the derived columns of some trials of a study."""
    connection.execute(CreateTable(touched, if_not_exists=True))
    connection.execute(delete(touched))
    rows = [{"study": study, "trial": number} for number in sorted(numbers)]
    if rows:
        connection.execute(insert(touched), rows)
        for statement in (_ATTEMPTS, _COUNTED, _TRIALS):
            connection.execute(statement)


def _same(left: FromClause, right: FromClause, names: tuple[str, ...]) -> ColumnElement[bool]:
    return and_(*(left.c[name] == right.c[name] for name in names))


def _attempts() -> Insert:
    """Sums over an attempt's epochs; its own end counts over what others say of it."""
    of_attempt = [epochs.c[name] for name in _ATTEMPT]
    sums = (
        select(
            *of_attempt,
            func.min(epochs.c.epoch).label("first_epoch"),
            func.max(epochs.c.epoch).label("last_epoch"),
            func.sum(epochs.c.seconds).label("seconds"),
        )
        .join_from(touched, epochs, _same(touched, epochs, _TRIAL))
        .group_by(*of_attempt)
        .subquery()
    )
    a = attempts.c
    ended, lost = a.ended.is_not(None), a.lost.is_not(None)
    query = (
        select(
            *(a[name] for name in _ATTEMPT),
            case((ended, a.end_state), (lost, "lost"), else_="running").label("state"),
            case((ended, a.end_cause), else_=a.lost_cause).label("cause"),
            case((ended, a.end_message), else_=a.lost_message).label("message"),
            sums.c.first_epoch,
            sums.c.last_epoch,
            rounded(func.coalesce(a.end_seconds, sums.c.seconds, 0.0)).label("seconds"),
        )
        .join_from(touched, attempts, _same(touched, attempts, _TRIAL))
        .join(sums, _same(sums, attempts, _ATTEMPT), isouter=True)
    )
    replaced = ("state", "cause", "message", "first_epoch", "last_epoch", "seconds")
    return upsert_from(attempts, query, replaced=replaced)


def _counted() -> Update:
    """An epoch counts unless a later attempt started before it; it can only where there are several."""
    several = (
        select(attempts.c.study, attempts.c.trial)
        .join_from(touched, attempts, _same(touched, attempts, _TRIAL))
        .group_by(attempts.c.study, attempts.c.trial)
        .having(func.count() > 1)
    )
    later = attempts.alias("later")
    # Where the line of the start is damaged, it started just before the first epoch that it reported.
    started_after = func.coalesce(later.c.start_epoch, later.c.first_epoch - 1)
    redone = exists().where(
        _same(later, epochs, _TRIAL), later.c.attempt > epochs.c.attempt, started_after < epochs.c.epoch
    )
    counted = case((redone, 0), else_=1)
    return (
        update(epochs)
        .values(counted=counted)
        .where(tuple_(epochs.c.study, epochs.c.trial).in_(several), epochs.c.counted != counted)
    )


def _trials() -> Insert:
    """Join what the attempts of a trial and its epochs that count say of it."""
    by_attempt, by_epoch, best = _of_attempts(), _of_epochs(), _best()
    query = (
        select(
            touched.c.study,
            touched.c.trial,
            *(by_attempt.c[name] for name in _FROM_ATTEMPTS),
            by_epoch.c.epochs,
            best.c.value,
            best.c.epoch.label("best_epoch"),
            best.c.metrics_json.label("best_metrics_json"),
        )
        .join_from(touched, by_attempt, _same(touched, by_attempt, _TRIAL), isouter=True)
        .join(by_epoch, _same(touched, by_epoch, _TRIAL), isouter=True)
        .join(best, and_(_same(touched, best, _TRIAL), best.c.place == 1), isouter=True)
    )
    return upsert_from(trials, query, replaced=(*_FROM_ATTEMPTS, "epochs", "value", "best_epoch", "best_metrics_json"))


_FROM_ATTEMPTS = (
    "configuration",
    "repeat",
    "seed",
    "parameters",
    "state",
    "cause",
    "message",
    "ended",
    "seconds",
    "attempts",
    "started",
)


def _of_attempts() -> FromClause:
    """Group the attempts of each touched trial; most columns are those of one of them."""
    a = attempts.c
    parameters = func.coalesce(a.end_parameters, a.start_parameters)

    def place(known: ColumnElement[Any]) -> ColumnElement[int]:
        """Count attempts from the highest down, those with a value before those without."""
        order = (cast(known.is_(None), Integer), a.attempt.desc())
        return func.row_number().over(partition_by=(a.study, a.trial), order_by=order)

    ranked = (
        select(
            attempts,
            parameters.label("parameters"),
            place(a.attempt).label("place"),
            place(a.started).label("started_place"),
            place(parameters).label("parameters_place"),
        )
        .join_from(touched, attempts, _same(touched, attempts, _TRIAL))
        .subquery()
    )
    r = ranked.c
    state = case((r.state == "lost", "interrupted"), else_=r.state)
    return (
        select(
            r.study,
            r.trial,
            _at(r.started_place, r.configuration).label("configuration"),
            _at(r.started_place, r.repeat).label("repeat"),
            _at(r.started_place, r.seed).label("seed"),
            _at(r.parameters_place, r.parameters).label("parameters"),
            _at(r.place, state).label("state"),
            _at(r.place, r.cause).label("cause"),
            _at(r.place, r.message).label("message"),
            _at(r.place, func.coalesce(r.ended, r.lost)).label("ended"),
            rounded(func.sum(r.seconds)).label("seconds"),
            func.count().label("attempts"),
            func.min(r.started).label("started"),
        )
        .group_by(r.study, r.trial)
        .subquery()
    )


def _at(place: ColumnElement[int], value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Pick, of a group of rows, the value of the one in the first place."""
    return func.max(case((place == 1, value), else_=None))


def _counting_epochs(*columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(epochs.c.study, epochs.c.trial, *columns)
        .join_from(touched, epochs, _same(touched, epochs, _TRIAL))
        .where(epochs.c.counted == 1)
    )


def _of_epochs() -> FromClause:
    last = func.max(epochs.c.epoch).label("epochs")
    return _counting_epochs(last).group_by(epochs.c.study, epochs.c.trial).subquery()


def _best() -> FromClause:
    """Rank the epochs that count by the objective, the first of equals first."""
    value = epochs.c.value
    goodness = case((studies.c.direction == "maximize", -value), else_=value)
    place = func.row_number().over(partition_by=(epochs.c.study, epochs.c.trial), order_by=(goodness, epochs.c.epoch))
    query = _counting_epochs(epochs.c.epoch, value, epochs.c.metrics_json, place.label("place"))
    return query.join(studies, studies.c.study == epochs.c.study).where(value.is_not(None)).subquery()


_ATTEMPTS = _attempts()
_COUNTED = _counted()
_TRIALS = _trials()
