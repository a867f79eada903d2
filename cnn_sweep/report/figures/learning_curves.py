"""The optimization history and learning curves as figures of a report, and one trial's curves as a picture.

Pillow draws the picture, so that commands need not wait for Plotly and a browser.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from cnn_sweep.errors import InputError
from cnn_sweep.report.figures.contact_sheets import load_font
from cnn_sweep.report.figures.figure import BLUE, COLOURS, DASHES, VERMILLION, Figure, axis_titles, numbers, scatter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

    Epochs = Sequence[Mapping[str, Any]]

_PANEL = (460, 300)  # pixels of one diagram, with its margins
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 34, 40
_TICKS = 5
_GREY, _TRAINING, _VALIDATION = "#888888", "#1f6fb4", "#d1641f"


def history(data: ReportData) -> Figure | None:
    """Draw the value of each complete trial in order of completion, and the best value so far."""
    rows = sorted(data.ranked, key=lambda row: (row["ended"] or 0.0, row["trial"]))
    if not rows:
        return None
    values = [row["value"] for row in rows]
    best = list(itertools.accumulate(values, data.direction.better_of))
    order = list(range(1, len(rows) + 1))
    trials = [row["trial"] for row in rows]
    points = scatter(order, values, trials, name="trial", color=BLUE)
    line: Row = {"type": "scatter", "mode": "lines", "x": order, "y": numbers(best), "name": "best so far"}
    line |= {"line": {"color": VERMILLION, "width": 2, "shape": "hv"}, "hoverinfo": "skip"}
    others = f" (the first of {len(data.objectives)} objectives)" if len(data.objectives) > 1 else ""
    caption = f"{data.metric}{others} of each complete trial in order of completion, and the best value so far."
    layout = axis_titles("complete trials", data.metric)
    return Figure("history", "Optimization history", caption, (points, line), layout)


def curves(data: ReportData, metrics: Sequence[str] | None = None) -> list[Figure]:
    """Draw the learning curves of the chosen trials: a figure per metric, with training beside validation."""
    names = metrics if metrics is not None else _curve_metrics(data)
    return [figure for name in names if (figure := _curve(data, name)) is not None]


def _curve_metrics(data: ReportData) -> list[str]:
    """List the validation metrics, the objective first, and the metrics without a validation counterpart."""
    known = list(data.summary["metrics"])
    own = [name for name in known if name.startswith("val_") or f"val_{name}" not in known]
    return sorted(own, key=lambda name: (name != data.metric, name != "val_loss", not name.startswith("val_")))


def _curve(data: ReportData, metric: str) -> Figure | None:
    beside = metric.removeprefix("val_") if metric.startswith("val_") else None
    traces = []
    for place, trial in enumerate(data.chosen):
        epochs = data.curves.get(trial, [])
        color, dash = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
        for name, opacity in ((metric, 1.0), (beside, 0.4)):
            found = [(row["epoch"], row[name]) for row in epochs if name is not None and row.get(name) is not None]
            if not found:
                continue
            x, y = [epoch for epoch, _ in found], numbers(value for _, value in found)
            trace = {"type": "scatter", "mode": "lines+markers", "x": x, "y": y, "opacity": opacity}
            trace |= {"name": f"trial {trial}" + ("" if name == metric else ", training"), "meta": trial}
            trace |= {"legendgroup": str(trial), "line": {"color": color, "dash": dash}, "marker": {"size": 4}}
            traces.append(trace | {"hovertemplate": f"trial {trial}<br>epoch %{{x}}: %{{y:.5g}}<extra></extra>"})
    if not traces:
        return None
    caption = f"{metric} by epoch" + ("; pale lines: the same on training data." if beside else ".")
    return Figure(f"curves-{metric}", f"{metric} by epoch", caption, tuple(traces), axis_titles("epoch", metric))


@dataclass(frozen=True)
class _Axes:
    """Maps epochs and values to pixels."""

    epochs: tuple[float, float]
    values: tuple[float, float]

    def place(self, epoch: float, value: float) -> tuple[float, float]:
        width, height = _PANEL[0] - _LEFT - _RIGHT, _PANEL[1] - _TOP - _BOTTOM
        across = (epoch - self.epochs[0]) / (self.epochs[1] - self.epochs[0])
        up = (value - self.values[0]) / (self.values[1] - self.values[0])
        return _LEFT + across * width, _PANEL[1] - _BOTTOM - up * height


def learning_curves(epochs: Epochs, title: str) -> Image.Image:
    """Draw each training metric beside its validation counterpart.

    Args:
        epochs: A mapping for each epoch: its number ``epoch`` and its metrics.
        title: Title above the diagrams.

    Raises:
        InputError: There is no metric to draw.
    """
    names = [name.removeprefix("val_") for name in (epochs[-1] if epochs else {}) if name.startswith("val_")]
    panels = [name for name in ("loss", "accuracy", *names) if _points(epochs, name) or _points(epochs, f"val_{name}")]
    panels = list(dict.fromkeys(panels))
    if not panels:
        raise InputError("the trial has no epoch with a metric to draw")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    picture = Image.new("RGB", (columns * _PANEL[0], rows * _PANEL[1] + 24), "white")
    ImageDraw.Draw(picture).text((_LEFT, 6), title, "black", load_font(14))
    for number, name in enumerate(panels):
        panel = Image.new("RGB", _PANEL, "white")
        _draw_panel(ImageDraw.Draw(panel), epochs, name)
        picture.paste(panel, (number % columns * _PANEL[0], 24 + number // columns * _PANEL[1]))
    return picture


def _points(epochs: Epochs, name: str) -> list[tuple[float, float]]:
    pairs = ((epoch["epoch"], epoch.get(name)) for epoch in epochs)
    return [(e, v) for e, v in pairs if isinstance(v, int | float) and math.isfinite(v)]


def _draw_panel(draw: ImageDraw.ImageDraw, epochs: Epochs, name: str) -> None:
    lines = [(name, _TRAINING, _points(epochs, name)), (f"val_{name}", _VALIDATION, _points(epochs, f"val_{name}"))]
    values = [value for _, _, points in lines for _, value in points]
    numbers = [number for _, _, points in lines for number, _ in points]
    ticks = nice_ticks(min(values), max(values))
    axes = _Axes((min(numbers), max(*numbers, min(numbers) + 1)), (ticks[0], ticks[-1]))
    font = load_font(11)
    for tick in ticks:
        left, y = axes.place(axes.epochs[0], tick)
        draw.line([(left, y), (_PANEL[0] - _RIGHT, y)], "#e4e4e4")
        draw.text((left - 6, y), f"{tick:.4g}", _GREY, font, anchor="rm")
    for number in _whole_ticks(*axes.epochs):
        x, bottom = axes.place(number, ticks[0])
        draw.text((x, bottom + 5), str(number), _GREY, font, anchor="mt")
    draw.text((_PANEL[0] / 2, _PANEL[1] - 12), "epoch", _GREY, font, anchor="mm")
    x = float(_LEFT)
    for label, color, points in lines:
        if not points:
            continue
        corners = [axes.place(*point) for point in points]
        if len(corners) > 1:
            draw.line(corners, color, width=2, joint="curve")
        if len(corners) <= 60:
            for cx, cy in corners:
                draw.ellipse([cx - 2, cy - 2, cx + 2, cy + 2], color)
        draw.text((x, 12), label, color, font)
        x += font.getlength(label) + 18


def nice_ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers from just below ``low`` to just above ``high``."""
    spread = (high - low) or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(spread / _TICKS))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor * _TICKS >= spread)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def _whole_ticks(first: float, last: float) -> list[int]:
    step = max(1, math.ceil((last - first) / 8))
    return list(range(int(first), int(last) + 1, step))
