"""The reliability diagram: accuracy by confidence, before and after temperature scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.report.figures.figure import BLUE, ORANGE, Figure, axis_titles, numbers

if TYPE_CHECKING:
    from cnn_sweep.report.leaderboards.leaderboard import Table
    from cnn_sweep.report.models.best_model import BestModel


def reliability(best: BestModel) -> Figure:
    """Draw the accuracy of the best model in each bin of confidence; points on the diagonal can be believed.

    See Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    found = best.calibration
    traces = [_points(found.bins, f"as it is, error {found.error[0]:.3f}", BLUE)]
    scaling = "No temperature calibrates them: all images are right, or the probabilities say nothing"
    if not found.is_at_bound:
        temperature = f"temperature {found.temperature:.3g}"
        traces.append(_points(found.scaled_bins, f"{temperature}, error {found.error[1]:.3f}", ORANGE))
        scaling = f"{temperature.capitalize()} scales them, fitted for each fifth of the images to the others"
    diagonal = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip", "showlegend": False}
    diagonal["line"] = {"color": "gray", "dash": "dot", "width": 1}
    layout = axis_titles("probability of the predicted class", "share of images that are right")
    for axis in ("xaxis", "yaxis"):
        layout[axis]["range"] = [-0.02, 1.02]
    caption = (
        f"Probabilities of trial {best.trial} against the share of validation images that are right, with 95% "
        f"intervals (Wilson); points below the diagonal are too sure. {scaling}. The error is the expected "
        "calibration error."
    )
    return Figure("reliability", "Reliability diagram", caption, (diagonal, *traces), layout)


def _points(bins: Table, name: str, color: str) -> dict[str, Any]:
    rows = bins.rows
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": numbers(row["mean"] for row in rows),
        "y": numbers(row["accuracy"] for row in rows),
        "text": [row["images"] for row in rows],
        "line": {"color": color, "width": 1},
        "marker": {"color": color, "size": 8},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": numbers(row["high"] - row["accuracy"] for row in rows),
            "arrayminus": numbers(row["accuracy"] - row["low"] for row in rows),
            "thickness": 1.5,
            "width": 3,
        },
        "hovertemplate": "%{text} images with %{x:.3g}: %{y:.3g} are right<extra></extra>",
    }
