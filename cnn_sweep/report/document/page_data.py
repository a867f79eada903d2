"""What the scripts of a report's page need: leaderboards, learning curves and figures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.document.packing import pack_curves, pack_figures
from cnn_sweep.report.figures.figure import COLOURS, DASHES, ON_DARK
from cnn_sweep.report.figures.learning_curves import deciles
from cnn_sweep.report.leaderboards.configurations import column_beside_statistics
from cnn_sweep.report.leaderboards.formats import is_numeric
from cnn_sweep.report.leaderboards.leaderboard import differing, overview

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.figures.figure import Figure
    from cnn_sweep.report.leaderboards.leaderboard import Table
    from cnn_sweep.report.report_data import ReportData


def page_data(data: ReportData, figures: Sequence[Figure]) -> dict[str, Any]:
    """Return what the scripts need: the leaderboards, learning curves and figures."""
    return {
        "study": data.study,
        "metric": data.metric,
        "boards": [_board_data(data, name, table) for name, table in boards(data).items()],
        "chosen": data.chosen,
        "members": data.members,
        "curves": pack_curves(data.curves),
        "deciles": deciles(data),
        **pack_figures(figures),
        "colours": COLOURS,
        "dashes": DASHES,
        "on_dark": ON_DARK,
    }


def boards(data: ReportData) -> dict[str, Table]:
    """Return the leaderboards of trials and, with repeats, of configurations; the one to show first comes first."""
    found = {"trials": replace(data.board, columns=data.columns)}
    if data.configurations is not None:
        found["configurations"] = data.configurations
    return dict(sorted(found.items(), key=lambda pair: (pair[0] == "configurations") is not data.has_means))


def shown_columns(data: ReportData, table: Table) -> tuple[str, ...]:
    """Return the columns to show first: the most important ones, without those that are the same in all rows."""
    most = overview(table, [column_beside_statistics(name) for name in data.axes])
    measured = {name for name in ("value", "mean", "n") if any(row.get(name) is not None for row in table.rows)}
    names = {"rank", "trial", *measured, *differing(table, most.columns)}
    return tuple(name for name in table.columns if name in names)


def _board_data(data: ReportData, kind: str, table: Table) -> dict[str, Any]:
    names = (*table.columns, *(name for name in table.more if name not in table.columns))
    metrics = [name for name in data.summary["metrics"] if name in names]
    first = table.rows[0] if table.rows else {}
    return {
        "name": kind,
        "columns": table.columns,
        "more": names[len(table.columns) :],
        "shown": shown_columns(data, table),
        "numeric": [name for name in names if is_numeric(table, name) and not isinstance(first.get(name), bool)],
        "bars": [name for name in ("mean", "value", *metrics) if name in names],
        "intervals": {"mean": ["ci_low", "ci_high"]} if "mean" in names else {},
        "count": len(table.rows),
        "values": [_column([_plain(row.get(name)) for row in table.rows]) for name in names],
        "nonfinite": [
            (line, place, str(row[name]))
            for line, row in enumerate(table.rows)
            for place, name in enumerate(names)
            if isinstance(value := row.get(name), float) and not math.isfinite(value)
        ],
    }


def _column(values: list[Any]) -> Any:
    """Return a column for JSON; one that is the same in all rows as that value alone."""
    first, *rest = values or [None]
    is_same = rest and all(type(value) is type(first) and value == first for value in rest)
    return {"all": first} if is_same else values


def _plain(value: Any) -> Any:
    """Return a value for JSON: numbers with full precision, NaN and infinities as None (``nonfinite`` has them)."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value
