"""A view per study with a column per hyperparameter, for sqlite3, Datasette or pandas on the file itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from cnn_sweep.store import sqlite
from cnn_sweep.store.column_names import MORE, VIOLATION
from cnn_sweep.store.schema import studies
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.spec.metrics import EPOCH_METRICS
from cnn_sweep.training.evaluation.learning_curve import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

LEADING = ("rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds")
_PREFIXES = ("leaderboard_", "epochs_")
# Order of states among trials without a rank.
UNRANKED = ("complete", "running", "paused", "interrupted", "pruned", "failed")


@dataclass(frozen=True)
class Columns:
    """The columns of a leaderboard.

    A hyperparameter keeps its name unless a leading column has it, or one that is shown on request. A metric gets a
    longer name if a hyperparameter has the same one (such as the learning rate at the best epoch), and so does a number
    of the learning curve. Names that differ only in case count as equal.

    Attributes:
        leading: The first columns.
        metrics: Names of metrics by column, in order.
        curve: Names of the learning curve's numbers by column, in order.
        parameters: Names of hyperparameters by column, in order.
    """

    leading: tuple[str, ...]
    metrics: dict[str, str]
    curve: dict[str, str]
    parameters: dict[str, str]

    @classmethod
    def of(cls, metrics: Iterable[str], parameters: Iterable[str], *, leading: tuple[str, ...] = LEADING) -> Columns:
        """Name the columns.

        Args:
            metrics: Names of the metrics, in any order.
            parameters: Names of the hyperparameters, in their order.
            leading: The first columns.
        """
        own = {*leading, *MORE}
        by_parameter = {f"params_{name}" if name.lower() in own else name: name for name in parameters}
        known = set(metrics)
        ordered = [name for name in EPOCH_METRICS if name in known] + sorted(known.difference(EPOCH_METRICS))
        taken = {name.lower() for name in (*own, *by_parameter)}
        by_metric = {f"{name}_at_best_epoch" if name.lower() in taken else name: name for name in ordered}
        by_metric = _apart(by_metric)
        taken |= {name.lower() for name in (*known, *by_metric)}
        by_number = {f"curve_{name}" if name in taken else name: name for name in NUMBERS}
        return cls(leading, by_metric, by_number, by_parameter)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return (*self.leading, *self.metrics, *self.curve, *self.parameters)


def _apart(columns: Mapping[str, str]) -> dict[str, str]:
    """Number columns that differ from an earlier one only in case, which SQLite treats as equal."""
    found: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for column, name in columns.items():
        seen[column.lower()] += 1
        number = seen[column.lower()]
        found[column if number == 1 else f"{column}_{number}"] = name
    return found


def leading_columns(study: Any) -> tuple[str, ...]:
    """Return the first columns of the leaderboard of a study's row."""
    return LEADING if study.constraints_json is None else (*LEADING, VIOLATION)


def refresh_views(connection: Connection, study: str) -> None:
    """Redefine the views of a study that differ from the definitions for its row."""
    wanted = definitions(connection, study)
    known = sqlite.views(connection)
    for name, sql in wanted.items():
        if known.get(name) != sql:
            _drop_view(connection, name)
            connection.exec_driver_sql(sql)


def drop_views(connection: Connection, study: str) -> None:
    """Remove the views of a study."""
    for name in _names(connection, study):
        _drop_view(connection, name)


def _drop_view(connection: Connection, name: str) -> None:
    """Remove a view if it exists."""
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {_quoted(name)}")


def definitions(connection: Connection, study: str) -> dict[str, str]:
    """Return the names of a study's views and the statements that create them."""
    row = connection.execute(select(studies).where(studies.c.study == study)).one()
    metrics = sqlite.read_names(row.metrics_json)
    parameters = sqlite.read_names(row.parameters_json) + sqlite.read_names(row.others_json)
    leaderboard, epochs = _names(connection, study)
    leading = leading_columns(row)
    order = "DESC" if row.direction == Direction.MAXIMIZE else "ASC"
    return {
        leaderboard: _leaderboard(leaderboard, study, order, Columns.of(metrics, parameters, leading=leading)),
        epochs: _epochs(epochs, study, [name for name in metrics if _nameable(name)]),
    }


def _names(connection: Connection, study: str) -> tuple[str, str]:
    """Name a study's views. SQLite ignores case in names; of two that differ only in case, the second gets a number."""
    s = studies.c.study
    earlier = connection.execute(select(s).where(func.lower(s) == study.lower(), s < study)).all()
    name = f"{study}_{len(earlier) + 1}" if earlier else study
    leaderboard, epochs = _PREFIXES
    return f"{leaderboard}{name}", f"{epochs}{name}"


def _leaderboard(view: str, study: str, order: str, columns: Columns) -> str:
    fields = [*(f"t.{name}" for name in columns.leading[1:])]
    fields += _json_fields("t.best_metrics_json", columns.metrics)
    fields += _json_fields("t.curve_json", columns.curve)
    fields += _json_fields("c.params_json", columns.parameters, null="'null'")
    ranked = "t.state = 'complete' AND t.value IS NOT NULL"
    group = " ".join(f"WHEN '{state}' THEN {place}" for place, state in enumerate(UNRANKED))
    return (
        f"CREATE VIEW {_quoted(view)} AS\n"
        f"SELECT CASE WHEN {ranked} THEN row_number() OVER (\n"
        f"  PARTITION BY {ranked} ORDER BY coalesce(t.violation, 0), t.value {order}, t.trial) END AS rank,\n"
        f"  {(',' + chr(10) + '  ').join(fields)}\n"
        "FROM trials AS t LEFT JOIN configurations AS c\n"
        "  ON c.study = t.study AND c.configuration = t.configuration\n"
        f"WHERE t.study = {_literal(study)} AND t.attempts > 0\n"
        f"ORDER BY rank IS NULL, rank, CASE t.state {group} ELSE {len(UNRANKED)} END, t.trial"
    )


def _epochs(view: str, study: str, metrics: list[str]) -> str:
    own = ("trial", "attempt", "epoch", "seconds", "value", "counted")
    columns = _apart({f"metric_{name}" if name.lower() in own else name: name for name in metrics})
    fields = [*own, *_json_fields("metrics_json", columns)]
    return (
        f"CREATE VIEW {_quoted(view)} AS\n"
        f"SELECT {', '.join(fields)}\n"
        f"FROM epochs WHERE study = {_literal(study)} ORDER BY trial, epoch, attempt"
    )


def _json_fields(column: str, names: dict[str, str], *, null: str = "NULL") -> list[str]:
    """Select values of a JSON object; ``null`` replaces values that are present but null."""
    fields = []
    for label, name in names.items():
        if _nameable(name):
            path = _literal("$." + _quoted(name))
            value = f"json_extract({column}, {path})"
            if null != "NULL":
                value = f"coalesce({value}, CASE json_type({column}, {path}) WHEN 'null' THEN {null} END)"
            fields.append(f"{value} AS {_quoted(label)}")
    return fields


def _nameable(name: str) -> bool:
    """Return whether SQLite's JSON paths accept a name: they allow no quotes or control characters."""
    return '"' not in name and "\\" not in name and name.isprintable()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
