"""The tables of the store, the event that fills each column, and which of two conflicting rows is kept.

One line here gives a field of an event its column: ``info=_of(End, "cached")``. The tables, the conversion of journal
lines and the statements that insert or update all follow from these lines. A change of layout needs a new
``SCHEMA_VERSION``; stores of other layouts are set aside and rebuilt from the journals.

Keys are natural (the study's name and numbers in the journals), so the same lines give the same rows in any
order of arrival. *Derived* columns are functions of the other rows and are recomputed for every trial that a merge
touches. Times are seconds since 1970-01-01 UTC; columns whose names end in ``_json`` hold JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text, select, text

from cnn_sweep.journal.events import (
    Artifact,
    Cancel,
    Checkpoint,
    End,
    Extend,
    Finalize,
    Lost,
    Start,
    Submit,
    Unsaved,
    Worker,
)
from cnn_sweep.store.sqlite import DamageError, tables, to_json, to_sorted_json, to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from cnn_sweep.journal.events import Event

SCHEMA_VERSION = 10  # version 9 did not know why a trial is tried first

METADATA = MetaData()
WRITER = "writer"  # name of the journal of a line; no event has a field of this name
# Types of key columns that are not integers.
_KEY_TYPES: dict[str, type[String | Float[float]]] = {
    **dict.fromkeys(("study", "writer", "configuration", "kind", "path", "key", "cluster", "job", "model"), String),
    "time": Float,
}


def _json_object(value: Any) -> str:
    return to_json(dict(value))


def _json_unless_empty(value: Any) -> str | None:
    return to_json(dict(value)) if value else None


def _optional_text(value: Any) -> str | None:
    return None if value is None else to_text(value)


@dataclass(frozen=True)
class EventField:
    """The field of an event that fills a column.

    Attributes:
        event: The kind of event.
        path: Name of the field; dots separate the keys of nested values.
        convert: Converts the journal's value to the column's; by default, the column's type determines the conversion,
            and None is accepted if it is the field's default.
    """

    event: type[Event]
    path: str
    convert: Callable[[Any], Any] | None = None


def _of(event: type[Event], path: str, convert: Callable[[Any], Any] | None = None) -> dict[str, EventField]:
    """Declare the source of a column; for the arguments, see :class:`EventField`."""
    return {"source": EventField(event, path, convert)}


def _table(name: str, keys: tuple[str, ...], *columns: Column[object]) -> Table:
    """Return a table that is stored in the order of its key."""
    key_columns: list[Column[object]] = [
        Column(key, _KEY_TYPES.get(key, BigInteger), primary_key=True, autoincrement=False) for key in keys
    ]
    return Table(name, METADATA, *key_columns, *columns, sqlite_with_rowid=False)


meta = _table("meta", ("key",), Column("value", Text, nullable=False))

studies = _table(
    "studies",
    ("study",),
    Column("metric", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("last_epochs", BigInteger),  # whose mean is a trial's value; NULL if it is that of the best epoch
    Column("constraints_json", Text),  # on what trials measure; NULL if there are none
    Column("method", Text),
    Column("digest", Text),  # digest of the newest revision
    Column("revisions", Integer, nullable=False),
    Column("trials", BigInteger, nullable=False),  # total number of planned trials
    Column("configurations", BigInteger, nullable=False),
    Column("invalid", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("parameters_json", Text, nullable=False),  # hyperparameters in the order of the sweep file
    Column("others_json", Text, nullable=False),  # hyperparameters that trials have and the file does not
    Column("metrics_json", Text, nullable=False),  # names of all metrics that any epoch reported
    Column("created", Float),
    Column("cancelled", Float),  # when the whole study was last cancelled
    Column("source", Text),  # SHA-256 of the sweep file; NULL if it could not be read
)

revisions = _table(
    "revisions",
    ("study", "revision"),
    Column("time", Float, nullable=False, info=_of(Extend, "time")),
    Column("trials", BigInteger, nullable=False, info=_of(Extend, "trials")),
    Column("configurations", BigInteger, nullable=False, info=_of(Extend, "configurations")),
    Column("invalid", BigInteger, nullable=False, info=_of(Extend, "invalid")),
    Column("duplicates", BigInteger, nullable=False, info=_of(Extend, "duplicates")),
)

configurations = _table(
    "configurations",
    ("study", "configuration"),
    Column("params_json", Text, nullable=False, info=_of(Start, "params", to_sorted_json)),
)

trials = _table(
    "trials",
    ("study", "trial"),
    # Derived columns from here on. From the highest attempt that started:
    Column("configuration", String),
    Column("repeat", BigInteger),
    Column("fold", BigInteger),
    Column("seed", BigInteger),
    Column("parameters", BigInteger),
    # From the highest attempt:
    Column("state", Text),
    Column("cause", Text),
    Column("message", Text),
    Column("ended", Float),
    Column("curve_json", Text),
    # From the valid epochs:
    Column("value", Float),
    Column("best_epoch", BigInteger),
    Column("best_metrics_json", Text),
    Column("violation", Float),  # total, of the constraints; 0 if it is feasible, NULL without a value or constraints
    Column("epochs", BigInteger, nullable=False, server_default=text("0")),
    Column("missing_epochs", BigInteger),  # counted by its end, but not in the journals; NULL if none is missing
    # From all attempts:
    Column("seconds", Float),
    Column("attempts", BigInteger),
    Column("started", Float),
    # Not derived:
    Column("tested", Float, info=_of(Finalize, "time")),
    Column("test_metrics_json", Text, info=_of(Finalize, "metrics", _json_object)),
    Column("cancelled", Float, info=_of(Cancel, "time")),
)

# Each evaluation of a model on the test set; those with the same writer are of one opening.
tests = _table(
    "tests",
    ("study", "writer", "trial", "model"),
    Column("time", Float, nullable=False, info=_of(Finalize, "time")),
    Column("metrics_json", Text, nullable=False, info=_of(Finalize, "metrics", _json_object)),
    Column("networks_json", Text, nullable=False, info=_of(Finalize, "networks", to_json)),
    Column("temperature", Float, info=_of(Finalize, "temperature")),
    Column("epochs", BigInteger, info=_of(Finalize, "epochs")),
)

attempts = _table(
    "attempts",
    ("study", "trial", "attempt"),
    # From its start:
    Column("writer", String, info=_of(Start, WRITER)),
    Column("started", Float, info=_of(Start, "time")),
    Column("configuration", String, info=_of(Start, "configuration")),
    Column("repeat", BigInteger, info=_of(Start, "repeat")),
    Column("fold", BigInteger, info=_of(Start, "fold")),
    Column("seed", BigInteger, info=_of(Start, "seed")),
    Column("start_epoch", BigInteger, info=_of(Start, "epoch")),
    Column("start_parameters", BigInteger, info=_of(Start, "parameters")),
    Column("source", Text, info=_of(Start, "source")),
    # From its end:
    Column("ended", Float, info=_of(End, "time")),
    Column("end_state", Text, info=_of(End, "state")),
    Column("end_cause", Text, info=_of(End, "cause")),
    Column("end_message", Text, info=_of(End, "message")),
    Column("end_epochs", BigInteger, info=_of(End, "epochs")),
    Column("end_seconds", Float, info=_of(End, "seconds")),
    Column("end_parameters", BigInteger, info=_of(End, "parameters")),
    Column("end_cached", Integer, info=_of(End, "cached")),
    Column("end_curve_json", Text, info=_of(End, "curve", _json_unless_empty)),
    Column("end_value", Float, info=_of(End, "value")),
    Column("end_best_epoch", BigInteger, info=_of(End, "best_epoch")),
    Column("end_counted", BigInteger, info=_of(End, "counted")),
    # From the event that declared it lost:
    Column("lost", Float, info=_of(Lost, "time")),
    Column("lost_cause", Text, info=_of(Lost, "cause")),
    Column("lost_message", Text, info=_of(Lost, "message")),
    # From its newest checkpoint:
    Column("checkpointed", Float, info=_of(Checkpoint, "time")),
    Column("checkpoint_epoch", BigInteger, info=_of(Checkpoint, "epoch")),
    Column("checkpoint_file", Text, info=_of(Checkpoint, "file")),
    Column("checkpoint_bytes", BigInteger, info=_of(Checkpoint, "bytes")),
    # From the newest checkpoint that could not be written:
    Column("unsaved", Float, info=_of(Unsaved, "time")),
    Column("unsaved_message", Text, info=_of(Unsaved, "message")),
    # Derived:
    Column("state", Text),
    Column("cause", Text),
    Column("message", Text),
    Column("first_epoch", BigInteger),
    Column("last_epoch", BigInteger),
    Column("epoch_seconds", Float),  # sum over its epochs
    Column("seconds", Float),
)

# Most lines are epochs, so `rows.py` has a separate, faster conversion for them.
epochs = _table(
    "epochs",
    ("study", "trial", "attempt", "epoch"),
    Column("time", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("value", Float),  # the objective; NULL if it was not reported or is not a number
    Column("metrics_json", Text, nullable=False),
    Column("counted", Integer, nullable=False),  # derived; 0 if a later attempt repeats the epoch
)

artifacts = _table(
    "artifacts",
    ("study", "trial", "attempt", "kind", "path"),
    Column("time", Float, nullable=False, info=_of(Artifact, "time")),
    Column("bytes", BigInteger, nullable=False, info=_of(Artifact, "bytes")),
    Column("sha256", Text, nullable=False, info=_of(Artifact, "sha256")),
)

workers = _table(
    "workers",
    ("study", "writer"),
    Column("started", Float, nullable=False, info=_of(Worker, "time")),
    Column("host", Text, nullable=False, info=_of(Worker, "identity.host")),
    Column("pid", BigInteger, nullable=False, info=_of(Worker, "identity.pid")),
    Column("job", Text, info=_of(Worker, "identity.slurm.job_id", _optional_text)),  # Slurm's job ID
    Column("threads", BigInteger, nullable=False, info=_of(Worker, "threads")),
    Column("user", Text, info=_of(Worker, "user", _optional_text)),
    Column("identity_json", Text, nullable=False, info=_of(Worker, "identity", to_json)),
    Column("versions_json", Text, nullable=False, info=_of(Worker, "versions", to_json)),
)

jobs = _table(
    "jobs",
    ("study", "cluster", "job", "time"),  # a cluster reuses job IDs
    Column("tasks", BigInteger, nullable=False, info=_of(Submit, "tasks")),  # elements of the array
    Column("profile", Text, nullable=False, info=_of(Submit, "profile")),
)

journals = _table(
    "journals",
    ("study", "writer"),
    Column("offset", BigInteger, nullable=False),  # bytes of the file that are in the store
    Column("events", BigInteger, nullable=False),
    Column("unknown", BigInteger, nullable=False),  # events that this version does not know
    Column("last_event", Float),
)

bad_lines = _table(
    "bad_lines",
    ("study", "writer", "offset"),
    Column("length", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("text", Text, nullable=False),
)

# Tables with data on studies.
OF_A_STUDY = tuple(table for table in METADATA.sorted_tables if "study" in table.c)

# Trials of one study that the current merge touches; a temporary table, visible only to its own connection.
touched = Table(
    "touched",
    MetaData(),
    Column("trial", BigInteger, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True, eq=False)
class EventTable:
    """Declares what events of one kind write to one table.

    Attributes:
        event: The kind of event.
        table: The table; columns whose source is another event are not changed.
        wins: Which of two rows with the same key is kept: the one that sorts first or last by the columns that the
            event fills. This depends only on their values, not on the order of arrival.
        by: Columns to compare before the others.
        unless: Field that must be empty for the event to write to the table.
        each: Field with a list whose items each become a row; an item's fields take precedence over the event's.
    """

    event: type[Event]
    table: Table
    wins: Literal["first", "last"] = "first"
    by: tuple[str, ...] = ()
    unless: str | None = None
    each: str | None = None


EVENT_TABLES = (
    EventTable(Worker, workers),
    EventTable(Start, attempts),
    EventTable(Start, configurations),
    EventTable(Checkpoint, attempts, "last", by=("checkpoint_epoch",)),
    EventTable(Unsaved, attempts, "last"),
    EventTable(End, attempts),
    EventTable(Artifact, artifacts, "last"),
    EventTable(Lost, attempts),
    EventTable(Cancel, trials, "last"),
    EventTable(Extend, revisions),
    EventTable(Finalize, trials, "last", unless="model"),
    EventTable(Finalize, tests, "last"),
    EventTable(Submit, jobs, each="jobs"),
)


def create_tables(connection: Connection) -> None:
    """Create all tables in an empty database, and record the version of their layout."""
    METADATA.create_all(connection)
    version = {"key": "schema_version", "value": str(SCHEMA_VERSION)}
    connection.execute(meta.insert(), version)


def layout(connection: Connection) -> str | None:
    """Return the version of a database's layout: None if it is empty, "unknown" if it is not a store."""
    names = tables(connection)
    if not names:
        return None
    if meta.name not in names:
        return "unknown"
    found = connection.execute(select(meta.c.value).where(meta.c.key == "schema_version")).scalar()
    lacks_tables = found == str(SCHEMA_VERSION) and not {table.name for table in METADATA.sorted_tables} <= names
    return "unknown" if found is None or lacks_tables else str(found)


def check_layout(found: str | None) -> None:
    """Accept an empty database and one of this version's layout.

    Raises:
        DamageError: The layout is another one.
    """
    if found not in {None, str(SCHEMA_VERSION)}:
        known = SCHEMA_VERSION
        raise DamageError(f"its layout is version {found}, this package's is {known}")


def ensure_tables(connection: Connection) -> bool:
    """Create all tables if a database is empty; return whether it was.

    Raises:
        DamageError: The layout has another version.
    """
    found = layout(connection)
    check_layout(found)
    if found is None:
        create_tables(connection)
    return found is None
