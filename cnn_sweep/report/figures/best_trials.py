"""The best trials, or configurations, as points with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.report.figures.figure import BLUE, ORANGE, Figure, axis_titles, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

_TOP: Final = 15


def best_trials(data: ReportData) -> Figure | None:
    """Draw the score of the best few with its 95% interval, the best on top."""
    rows = data.contenders[:_TOP]
    if not rows:
        return None
    groups = {"cannot be distinguished from the best": [], "worse": []} if data.has_means else {"trial": rows}
    if data.has_means:
        for row in rows:
            groups["worse" if row["tied"] is False else "cannot be distinguished from the best"].append(row)
    traces = [
        _points(data, some, name, color)
        for (name, some), color in zip(groups.items(), (BLUE, ORANGE), strict=False)
        if some
    ]
    what, score = ("configurations", f"mean {data.metric}") if data.has_means else ("trials", data.metric)
    layout = axis_titles(score, "trial")
    order = [str(row["trial"]) for row in rows]
    layout["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order, "autorange": "reversed"}
    layout["showlegend"] = len(traces) > 1
    caption = f"The best {len(rows)} {what}{_intervals(data, rows)}."
    return Figure("best", f"Best {what}", caption, tuple(traces), layout)


def _intervals(data: ReportData, rows: Sequence[Row]) -> str:
    if not any(data.interval(row) for row in rows):
        return "; their uncertainty is unknown, since each has one seed"
    if data.has_means:
        return ", with 95% intervals of their means"
    return f", with 95% intervals (Wilson) for {data.validation_images:,} validation images and one seed"


def _points(data: ReportData, rows: Sequence[Row], name: str, color: str) -> dict[str, Any]:
    scores = [data.score(row) for row in rows]
    ends = [data.interval(row) or (score, score) for row, score in zip(rows, scores, strict=True)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": numbers(scores),
        "y": [str(row["trial"]) for row in rows],
        "customdata": [row["trial"] for row in rows],
        "marker": {"color": color, "size": 8},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": numbers(high - score for (_, high), score in zip(ends, scores, strict=True)),
            "arrayminus": numbers(score - low for (low, _), score in zip(ends, scores, strict=True)),
            "thickness": 1.5,
            "width": 3,
        },
        "hovertemplate": "trial %{customdata}<br>%{x:.5g}<extra></extra>",
    }
