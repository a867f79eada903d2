"""The store's queries for commands and reports; times are seconds since 1970-01-01 UTC, None is a missing value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from cnn_sweep.errors import StudyError
from cnn_sweep.journal.decoding import NON_FINITE
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.messages import listed, near, no_trial
from cnn_sweep.store import schema, sqlite
from cnn_sweep.store.column_names import MISSING_EPOCHS, MORE, VIOLATION
from cnn_sweep.store.studies import constraints_of, parameter_names
from cnn_sweep.store.views import LEADING, UNRANKED, Columns, leading_columns
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.identity import NULL
from cnn_sweep.sweep.states import STATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Label, Row, Select, Table

    from cnn_sweep.store.reader import StoreReader

Record = dict[str, Any]
Columned = tuple[tuple[str, ...], list[Record]]

_TRIAL = (
    "study",
    "trial",
    "state",
    "value",
    "best_epoch",
    "epochs",
    "parameters",
    "seconds",
    "configuration",
    "repeat",
    "fold",
    "seed",
    "attempts",
    "started",
    "ended",
    "cause",
    "message",
    "threads",
    "user",
)
_EPOCH = ("study", "trial", "attempt", "epoch")


def list_studies(store: StoreReader) -> list[str]:
    """Return the names of all studies in the store, sorted."""
    with store as connection:
        return list(connection.execute(select(schema.studies.c.study).order_by(schema.studies.c.study)).scalars())


def study_summary(store: StoreReader, study: str) -> Record:
    """Return the summary of a study.

    Keys: study, metric, direction (:class:`Direction`), last_epochs (number of last epochs whose mean is a trial's
    value, or None for its best epoch), constraints (on what trials measure, as texts), method, digest, revisions,
    planned, configurations, invalid, duplicates, parameters (names in the sweep file's order), metrics (names),
    created, cancelled, trials (count by state, all states), best ({"trial", "value"} or None), causes (count of failed
    trials by cause), bad_lines (count), incomplete (count of trials of which epochs are missing), unknown_lines (count
    of lines that are not events of this version).
    """
    with store as connection:
        row = _study(connection, study)
        names = ("study", "metric", "last_epochs", "method", "digest", "revisions", "configurations")
        summary = {name: getattr(row, name) for name in (*names, "invalid", "duplicates", "created", "cancelled")}
        bad, journals = schema.bad_lines.c, schema.journals.c
        return summary | {
            "direction": Direction(row.direction),
            "constraints": constraints_of(row),
            "planned": row.trials,
            "parameters": parameter_names(row),
            "metrics": sqlite.read_names(row.metrics_json),
            "trials": _counts(connection, row),
            "best": _best(connection, row),
            "causes": _causes(connection, study),
            "graphs": _graphs(connection, study),
            "bad_lines": connection.execute(
                select(func.count()).select_from(schema.bad_lines).where(bad.study == study)
            ).scalar_one(),
            "incomplete": _incomplete(connection, study),
            "unknown_lines": connection.execute(
                select(func.coalesce(func.sum(journals.unknown), 0)).where(journals.study == study)
            ).scalar_one(),
        }


def list_tests(store: StoreReader, study: str) -> list[Record]:
    """Return the evaluations of models on the test set, the oldest first; those of one command stand together.

    Keys: writer (journal of the command), time, trial, model (empty for the trial's own), networks (trials),
    temperature, epochs, and metrics (values by name), as in :class:`cnn_sweep.journal.events.Finalize`.
    """
    t = schema.tests.c
    plain = ("writer", "time", "trial", "model", "temperature", "epochs")
    with store as connection:
        rows = connection.execute(select(schema.tests).where(t.study == study)).all()
    began: dict[str, float] = {}
    for row in rows:
        began[row.writer] = min(row.time, began.get(row.writer, row.time))
    return [
        {name: getattr(row, name) for name in plain}
        | {"networks": sqlite.read_numbers(row.networks_json), "metrics": restored(row.metrics_json) or {}}
        for row in sorted(rows, key=lambda row: (began[row.writer], row.writer, row.time, row.trial))
    ]


def revision_times(store: StoreReader, study: str) -> dict[int, float]:
    """Return the time of each revision of a study's sweep file."""
    r = schema.revisions.c
    with store as connection:
        rows = connection.execute(select(r.revision, r.time).where(r.study == study))
        return {row.revision: row.time for row in rows}


def objective_of(store: StoreReader, study: str) -> Record:
    """Return metric, direction, last_epochs and constraints of a study, as in :func:`study_summary`."""
    with store as connection:
        row = _study(connection, study)
        found = {"metric": row.metric, "direction": Direction(row.direction), "last_epochs": row.last_epochs}
        return found | {"constraints": constraints_of(row)}


def counts(store: StoreReader, study: str) -> dict[str, int]:
    """Return the number of trials in each state; all states are present, including ``waiting``."""
    with store as connection:
        return _counts(connection, _study(connection, study))


def leaderboard(store: StoreReader, study: str, *, top: int | None = None) -> Columned:
    """Return the columns of a study's leaderboard and a record per trial that began, or for the first ``top`` of them.

    Complete trials come first, ranked by value and then by number; the others follow with ``rank`` None. Columns:
    rank, trial, state, value, best_epoch, epochs, parameters, seconds; metrics at the best epoch; numbers of the
    learning curve; hyperparameters in the order of the sweep file; for a finalized study, the metrics on its
    test set; ``missing_epochs`` if lines of epochs are damaged. Records also have the names of ``MORE``. Epochs are not
    read.
    """
    with store as connection:
        row = _study(connection, study)
        # Before the first epoch, only the name of the objective is known.
        metrics = sqlite.read_names(row.metrics_json) or [row.metric] * (row.metric not in LEADING)
        columns = Columns.of(metrics, parameter_names(row), leading=leading_columns(row))
        rows = connection.execute(_best_first(study, Direction(row.direction), top)).all()
        tested = _test_columns(connection, study, taken=(*columns.names, *MORE))
    flags = (MISSING_EPOCHS,) if any(r.missing_epochs for r in rows) else ()
    own = (*columns.leading[1:], *MORE)
    records = [
        {"rank": place if r.state == "complete" and r.value is not None else None, **_record(r, columns, own)}
        | _tests(r, tested)
        for place, r in enumerate(rows, start=1)
    ]
    return (*columns.names, *tested, *flags), records


def _test_columns(connection: Connection, study: str, taken: Sequence[str]) -> dict[str, str]:
    """Return the names of the metrics on the test set by column; empty before the study is finalized."""
    t = schema.trials.c
    query = select(t.test_metrics_json).where(t.study == study, t.test_metrics_json.is_not(None))
    names = {name for text in connection.execute(query).scalars() for name in restored(text) or {}}
    return {f"{name}_finalized" if name in taken else name: name for name in sorted(names)}


def _tests(row: Row[Any], columns: Mapping[str, str]) -> Record:
    """Return a trial's metrics on the test set by column; None for those of a trial that was not finalized."""
    found = (restored(row.test_metrics_json) or {}) if columns else {}
    return {column: found.get(name) for column, name in columns.items()}


def has_repeats(store: StoreReader, study: str) -> bool:
    """Return whether a study has trained any configuration with a second seed."""
    t = schema.trials.c
    query = select(t.trial).where(t.study == study, t.repeat > 0).limit(1)
    with store as connection:
        return connection.execute(query).first() is not None


def parameter_columns(names: Sequence[str]) -> list[str]:
    """Return the leaderboard columns of these hyperparameters."""
    return list(Columns.of((), names).parameters)


def params_of(record: Record, columns: Mapping[str, str]) -> Record:
    """Return the active hyperparameters of a record.

    Args:
        record: A row of a leaderboard.
        columns: Names of hyperparameters by column.
    """
    found = {name: record.get(column) for column, name in columns.items()}
    return {name: None if value is NULL else value for name, value in found.items() if value is not None}


def trial_detail(store: StoreReader, study: str, trial: int) -> dict[str, Any]:
    """Return all data on a trial.

    Returns:
        ``trial``: its row, with ``params``, ``best_metrics``, ``curve`` and ``test_metrics`` as mappings; ``attempts``,
        ``epochs`` (including invalid ones, with ``counted`` 0; metrics by name) and ``artifacts``: rows. ``kept`` of an
        artifact is whether its file exists, because journals do not record the removal of models that are no longer
        among the best.

    Raises:
        StudyError: The trial has not begun.
    """
    folder = StudyPaths(store.results, study).folder
    with store as connection:
        planned = _study(connection, study).trials
        row = connection.execute(_trials_with_params(study).where(schema.trials.c.trial == trial)).one_or_none()
        if row is None:
            raise StudyError(no_trial(study, trial, planned))
        record = {name: getattr(row, name) for name in (*_TRIAL, VIOLATION)}
        record["params"] = _params(row)
        record["best_metrics"] = restored(row.best_metrics_json)
        record["curve"] = restored(row.curve_json)
        record["test_metrics"] = restored(row.test_metrics_json)
        record[MISSING_EPOCHS] = row.missing_epochs
        return {
            "trial": record,
            "attempts": _of_trial(connection, schema.attempts, study, trial),
            "epochs": [_flat(epoch) for epoch in _of_trial(connection, schema.epochs, study, trial)],
            "artifacts": [
                row | {"kept": (folder / row["path"]).is_file()}
                for row in _of_trial(connection, schema.artifacts, study, trial)
            ],
        }


def list_workers(store: StoreReader, study: str) -> list[Record]:
    """Return a record per journal, in order of their starts.

    Keys: writer, started, host, pid, job, threads, user, identity, versions, last_event.
    """
    w, j = schema.workers, schema.journals
    query = (
        select(w, j.c.last_event)
        .join(j, (j.c.study == w.c.study) & (j.c.writer == w.c.writer))
        .where(w.c.study == study)
        .order_by(w.c.started, w.c.writer)
    )
    with store as connection:
        return [_with_mappings(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - public despite its name


def export_trials(store: StoreReader, study: str) -> Columned:
    """Return columns and records of all trials that have begun, by number."""
    with store as connection:
        names, own, columns, rows = _export(connection, study)
    return names, [dict.fromkeys(names) | _exported(row, own, columns) for row in rows]


def export_runs(store: StoreReader, study: str) -> list[tuple[Record, Record, Record]]:
    """Return facts, hyperparameters and test scores of the trials that have begun, by number.

    Facts have the columns of ``export_trials`` without hyperparameters. A hyperparameter with the value null is present
    as None; an inactive one is absent. Test scores have the same names as on the leaderboard.
    """
    with store as connection:
        names, own, columns, rows = _export(connection, study)
        board = Columns.of(columns.metrics.values(), columns.parameters.values())
        tested = _test_columns(connection, study, taken=(*board.names, *MORE))
    facts = [name for name in names if name not in columns.parameters]
    found = []
    for row in rows:
        record = _exported(row, own, columns)
        tests = {name: value for name, value in _tests(row, tested).items() if value is not None}
        found.append(({name: record.get(name) for name in facts}, _params(row) or {}, tests))
    return found


def _export(connection: Connection, study: str) -> tuple[tuple[str, ...], tuple[str, ...], Columns, Sequence[Row[Any]]]:
    """Return an export's columns, those of them that the store has, the meanings of the others, and rows."""
    row = _study(connection, study)
    rows = connection.execute(_trials_with_params(study).order_by(schema.trials.c.trial)).all()
    own = (*_TRIAL, VIOLATION) if constraints_of(row) else _TRIAL
    # Only finalized trials have scores on the test set.
    tests = sorted({name for r in rows for name in restored(r.test_metrics_json) or {}}.difference(own))
    columns = Columns.of(sqlite.read_names(row.metrics_json), parameter_names(row), leading=(*own, *tests))
    return (*own, *columns.metrics, *columns.curve, *tests, *columns.parameters), own, columns, rows


def _exported(row: Row[Any], own: Sequence[str], columns: Columns) -> Record:
    return (restored(row.test_metrics_json) or {}) | _record(row, columns, own)


def export_epochs(store: StoreReader, study: str) -> tuple[tuple[str, ...], Iterator[Record]]:
    """Return columns and records of all valid epochs, by trial and epoch."""
    with store as connection:
        metrics = sqlite.read_names(_study(connection, study).metrics_json)
    columns = Columns.of(metrics, (), leading=(*_EPOCH, "seconds"))
    return (*_EPOCH, *columns.metrics, "seconds"), _epochs(store, study, columns)


def _epochs(store: StoreReader, study: str, columns: Columns) -> Iterator[Record]:
    e = schema.epochs.c
    query = select(schema.epochs).where(e.study == study, e.counted == 1).order_by(e.trial, e.epoch)
    with store as connection:
        for row in connection.execute(query):
            metrics = restored(row.metrics_json) or {}
            record = {name: getattr(row, name) for name in (*_EPOCH, "seconds")}
            yield record | {column: metrics.get(name) for column, name in columns.metrics.items()}


def _study(connection: Connection, study: str) -> Row[Any]:
    row = connection.execute(select(schema.studies).where(schema.studies.c.study == study)).one_or_none()
    if row is None:
        known = list(connection.execute(select(schema.studies.c.study)).scalars())
        raise StudyError(f"no study {study!r} in the store{near(study, known)}; studies there: {listed(known)}")
    return row


def _trials_with_params(study: str) -> Select[Any]:
    t, c = schema.trials, schema.configurations
    same = (c.c.study == t.c.study) & (c.c.configuration == t.c.configuration)
    chosen = select(t, c.c.params_json, _of_worker("threads"), _of_worker("user")).join(c, same, isouter=True)
    return chosen.where(t.c.study == study, t.c.attempts > 0)


def _of_worker(column: str) -> Label[Any]:
    """Select a column of the worker of the newest attempt at a trial, if the worker recorded it."""
    t, a, w = schema.trials.c, schema.attempts.c, schema.workers.c
    same = (a.study == t.study) & (a.trial == t.trial) & (w.study == a.study) & (w.writer == a.writer) & (w.threads > 0)
    newest = select(w[column]).where(same).order_by(a.attempt.desc()).limit(1)
    return newest.correlate(schema.trials).scalar_subquery().label(column)


def _best_first(study: str, direction: Direction, top: int | None) -> Select[Any]:
    """Order trials by rank; those without a rank follow, by state and number."""
    t = schema.trials.c
    ranked = (t.state == "complete") & t.value.is_not(None)
    value = case((ranked, direction.key(t.value)))
    place = case({state: number for number, state in enumerate(UNRANKED)}, value=t.state, else_=len(UNRANKED))
    order = (case((ranked, 0), else_=1), case((ranked, func.coalesce(t.violation, 0))), value, place, t.trial)
    query = _trials_with_params(study).order_by(*order)
    if top is None:
        return query
    # Numbers are selected first, so that parameters are looked up only for the trials shown.
    first = select(t.trial).where(t.study == study, t.attempts > 0).order_by(*order).limit(top)
    return query.where(t.trial.in_(first))


def _counts(connection: Connection, study: Row[Any]) -> dict[str, int]:
    t = schema.trials.c
    query = select(t.state, func.count()).where(t.study == study.study, t.attempts > 0).group_by(t.state)
    found = {str(state): int(count) for state, count in connection.execute(query)}
    waiting = max(study.trials - sum(found.values()), 0)
    return dict.fromkeys(STATES, 0) | found | {"waiting": waiting}


def _causes(connection: Connection, study: str) -> dict[str, int]:
    t = schema.trials.c
    cause = func.coalesce(t.cause, "unknown")
    query = select(cause, func.count()).where(t.study == study, t.state == "failed").group_by(cause).order_by(cause)
    return {str(name): int(count) for name, count in connection.execute(query)}


def _incomplete(connection: Connection, study: str) -> int:
    t = schema.trials.c
    query = select(func.count()).select_from(schema.trials).where(t.study == study, t.missing_epochs > 0)
    return int(connection.execute(query).scalar_one())


def _graphs(connection: Connection, study: str) -> dict[str, int]:
    """Count the attempts that reused a compiled graph, and those that compiled one."""
    a = schema.attempts.c
    query = select(func.count(), func.coalesce(func.sum(a.end_cached), 0))
    known, cached = connection.execute(query.where(a.study == study, a.end_cached.is_not(None))).one()
    return {"cached": int(cached), "compiled": int(known - cached)}


def _best(connection: Connection, study: Row[Any]) -> Record | None:
    t = schema.trials.c
    query = (
        select(t.trial, t.value, t.violation)
        .where(t.study == study.study, t.state == "complete", t.value.is_not(None))
        .order_by(func.coalesce(t.violation, 0), Direction(study.direction).key(t.value), t.trial)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    constrained = {} if row.violation is None else {VIOLATION: row.violation}
    return {"trial": row.trial, "value": row.value, **constrained}


def _record(row: Row[Any], columns: Columns, own: Sequence[str]) -> Record:
    """Flatten a trial's row into columns: its ``own``, then metrics, then hyperparameters."""
    metrics, params = restored(row.best_metrics_json) or {}, _params(row) or {}
    record = {name: getattr(row, name) for name in own}
    curve = restored(row.curve_json) or {}
    for names, found in ((columns.metrics, metrics), (columns.curve, curve), (columns.parameters, params)):
        for column, name in names.items():
            record[column] = found.get(name)
    record |= {column: NULL for column, name in columns.parameters.items() if params.get(name, NULL) is None}
    return record


def _of_trial(connection: Connection, table: Table, study: str, trial: int) -> list[Record]:
    keys = list(table.primary_key)
    columns = [column for column in table.columns if column.name not in {"study", "trial"}]
    query = select(*columns).where(table.c.study == study, table.c.trial == trial).order_by(*keys)
    return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - public despite its name


def _flat(epoch: Record) -> Record:
    """Add an epoch's metrics to its own columns, and rename metrics that clash."""
    metrics = restored(epoch.pop("metrics_json")) or {}
    return epoch | {f"metric_{name}" if name in epoch else name: value for name, value in metrics.items()}


def _with_mappings(row: Any) -> Record:
    record = dict(row)
    del record["study"]
    for name in ("identity", "versions"):
        record[name] = sqlite.read_mapping(record.pop(f"{name}_json"))
    return record


def _params(row: Row[Any]) -> Record | None:
    return None if row.params_json is None else sqlite.read_mapping(row.params_json)


def restored(text: str | None) -> Record | None:
    """Parse metrics of the store, including the numbers that JSON lacks."""
    if text is None:
        return None
    found = sqlite.read_mapping(text)
    if ':"' not in text:  # no value is text, the usual case
        return found
    return {name: NON_FINITE.get(v, v) if isinstance(v, str) else v for name, v in found.items()}
