"""The tables of the store.

Keys are natural (the study's name and numbers of the journals), so the same lines give the same rows in
whatever order they arrive. Columns marked *derived* are a function of the other rows and are computed anew
for every trial that a merge touches. Times are seconds since 1970-01-01 UTC; columns whose names end in
``_json`` hold JSON.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text, text

SCHEMA_VERSION = 4  # one less: infinite objectives were values

METADATA = MetaData()
# Types of columns of keys that are no numbers of the journals.
_KEY_TYPES: dict[str, type[String | Float[float]]] = {
    **dict.fromkeys(("study", "writer", "configuration", "kind", "path", "key", "cluster", "job"), String),
    "time": Float,
}


def _table(name: str, keys: tuple[str, ...], *columns: Column[object]) -> Table:
    """Make a table that is stored in the order of its key, whose integers are numbers of the journals."""
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
    Column("method", Text),
    Column("digest", Text),  # of the newest revision's meaning
    Column("revisions", Integer, nullable=False),
    Column("trials", BigInteger, nullable=False),  # planned in all
    Column("configurations", BigInteger, nullable=False),
    Column("invalid", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("parameters_json", Text, nullable=False),  # hyperparameters in the order of the sweep file
    Column("others_json", Text, nullable=False),  # hyperparameters that trials have and the file has not
    Column("metrics_json", Text, nullable=False),  # names of all metrics that any epoch reported
    Column("created", Float),
    Column("cancelled", Float),  # when the whole study was cancelled last
    Column("source", Text),  # SHA-256 of the sweep file that was read; NULL if it could not be
)

revisions = _table(
    "revisions",
    ("study", "revision"),
    Column("time", Float, nullable=False),
    Column("trials", BigInteger, nullable=False),
    Column("configurations", BigInteger, nullable=False),
    Column("invalid", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
)

configurations = _table("configurations", ("study", "configuration"), Column("params_json", Text, nullable=False))

trials = _table(
    "trials",
    ("study", "trial"),
    # Derived, from here on: of the highest attempt that started,
    Column("configuration", String),
    Column("repeat", BigInteger),
    Column("seed", BigInteger),
    Column("parameters", BigInteger),
    # of the highest attempt,
    Column("state", Text),
    Column("cause", Text),
    Column("message", Text),
    Column("ended", Float),
    Column("curve_json", Text),
    # of the epochs that count,
    Column("value", Float),
    Column("best_epoch", BigInteger),
    Column("best_metrics_json", Text),
    Column("epochs", BigInteger, nullable=False, server_default=text("0")),
    # and of all attempts.
    Column("seconds", Float),
    Column("attempts", BigInteger),
    Column("started", Float),
    # Not derived:
    Column("tested", Float),
    Column("test_metrics_json", Text),
    Column("cancelled", Float),
)

attempts = _table(
    "attempts",
    ("study", "trial", "attempt"),
    # Of its start,
    Column("writer", String),
    Column("started", Float),
    Column("configuration", String),
    Column("repeat", BigInteger),
    Column("seed", BigInteger),
    Column("start_epoch", BigInteger),
    Column("start_parameters", BigInteger),
    # of its end,
    Column("ended", Float),
    Column("end_state", Text),
    Column("end_cause", Text),
    Column("end_message", Text),
    Column("end_epochs", BigInteger),
    Column("end_seconds", Float),
    Column("end_parameters", BigInteger),
    Column("end_cached", Integer),  # whether its graph was compiled already
    Column("end_curve_json", Text),  # the five numbers of the learning curve, once the trial is finished
    # of who declared it lost,
    Column("lost", Float),
    Column("lost_cause", Text),
    Column("lost_message", Text),
    # of its newest checkpoint.
    Column("checkpointed", Float),
    Column("checkpoint_epoch", BigInteger),
    Column("checkpoint_file", Text),
    Column("checkpoint_bytes", BigInteger),
    # Derived:
    Column("state", Text),
    Column("cause", Text),
    Column("message", Text),
    Column("first_epoch", BigInteger),
    Column("last_epoch", BigInteger),
    Column("epoch_seconds", Float),  # sum over its epochs
    Column("seconds", Float),
)

epochs = _table(
    "epochs",
    ("study", "trial", "attempt", "epoch"),
    Column("time", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("value", Float),  # the objective; NULL if it was not reported or is not a number
    Column("metrics_json", Text, nullable=False),
    Column("counted", Integer, nullable=False),  # derived; 0 if a later attempt redoes the epoch
)

artifacts = _table(
    "artifacts",
    ("study", "trial", "attempt", "kind", "path"),
    Column("time", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
)

workers = _table(
    "workers",
    ("study", "writer"),
    Column("started", Float, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("job", Text),  # Slurm's job id
    Column("threads", BigInteger, nullable=False),
    Column("identity_json", Text, nullable=False),
    Column("versions_json", Text, nullable=False),
)

jobs = _table(
    "jobs",
    ("study", "cluster", "job", "time"),  # clusters count from the start again one day
    Column("tasks", BigInteger, nullable=False),  # elements of the array
    Column("profile", Text, nullable=False),
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

# Tables that hold what is known of a study.
OF_A_STUDY: tuple[Table, ...] = (
    studies,
    revisions,
    configurations,
    trials,
    attempts,
    epochs,
    artifacts,
    workers,
    jobs,
    journals,
    bad_lines,
)

# Trials of one study that the running merge touches: a temporary table, seen by its own connection only.
touched = Table(
    "touched",
    MetaData(),
    Column("trial", BigInteger, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)
