"""Learning curves and values at rungs as figures of a report, and one trial's curves as a picture.

Pillow draws the picture, so that commands need not wait for Plotly and a browser.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from cnn_sweep.errors import InputError
from cnn_sweep.report.figures.contact_sheets import load_font
from cnn_sweep.report.figures.figure import (
    BLUE,
    COLOURS,
    DASHES,
    VERMILLION,
    Figure,
    axis_titles,
    number,
    numbers,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

    Epochs = Sequence[Mapping[str, Any]]

_PANEL = (460, 300)  # pixels of one diagram, with its margins
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 34, 40
_TICKS = 5
_FEWEST_IN_BAND = 20  # trials whose deciles say something
_GREY_BAND = "rgba(128,128,128,0.16)"
_GREY, _TRAINING, _VALIDATION = "#888888", "#1f6fb4", "#d1641f"


def at_rungs(data: ReportData) -> Figure | None:
    """Draw the value of each trial at each rung that it reached: of those that went on, and of those that stopped."""
    last = {row["trial"]: row["epochs"] or 0 for row in data.board.rows if not row.get("repeat")}
    points = [
        (level, trial, value)
        for level, values in sorted(data.at_rungs.items())
        for trial, value in values.items()
        if trial in last
    ]
    if not points:
        return None
    groups = {
        "went on": [one for one in points if last[one[1]] > one[0]],
        "stopped or was complete there": [one for one in points if last[one[1]] <= one[0]],
    }
    levels = sorted(data.at_rungs)
    traces = [
        _box(some, levels, name, color)
        for (name, some), color in zip(groups.items(), (VERMILLION, BLUE), strict=True)
        if some
    ]
    layout = axis_titles("epochs of the rung", data.metric)
    layout["xaxis"] |= {"tickvals": [*range(len(levels))], "ticktext": [str(level) for level in levels]}
    layout["xaxis"] |= {"range": [-0.5, len(levels) - 0.5], "zeroline": False}
    layout |= {"boxmode": "group", "showlegend": True}
    caption = f"Best {data.metric} of each trial up to each rung that it reached; the best at a rung go on."
    return Figure("rungs", "Values at the rungs", caption, tuple(traces), layout)


def _box(points: Sequence[tuple[int, int, float]], levels: Sequence[int], name: str, color: str) -> Row:
    """Return a trace of boxes at the places of levels, with their points, which are epochs, trial and value."""
    places = {level: place for place, level in enumerate(levels)}
    box: Row = {"type": "box", "boxpoints": "all", "jitter": 0.5, "pointpos": 0, "name": name}
    box |= {"x": [places[level] for level, *_ in points], "y": numbers(value for *_, value in points)}
    box |= {
        "marker": {"color": color, "size": 4, "opacity": 0.75},
        "line": {"width": 1.5},
        "fillcolor": "rgba(0,0,0,0)",
    }
    box |= {"customdata": [trial for _, trial, _ in points]}
    return box | {"hovertemplate": "trial %{customdata}<br>%{x} epochs: %{y:.5g}<extra></extra>"}


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
    traces: list[Row] = []
    is_band = False
    for place, trial in enumerate(data.chosen):
        line = {"color": COLOURS[place % len(COLOURS)], "dash": DASHES[place // len(COLOURS) % len(DASHES)]}
        seeds = [one for one in data.members.get(trial, ()) if data.curves.get(one)] if data.has_means else []
        if len(seeds) > 1:
            is_band = True
            traces += _band(data, trial, seeds, metric, line)
        else:
            traces += _lines(data.curves.get(trial, []), trial, (metric, beside), line)
    if not traces:
        return None
    everybody = deciles(data) if metric == data.metric else None
    if everybody:
        traces = [*_behind(everybody), *traces]
    pale = "; pale lines: the same on training data" if beside and not is_band else ""
    bands = "; means over the trainings of a configuration, and their range" if is_band else ""
    grey = "; grey: the middle 80% of all trials that reached an epoch, and their median" if everybody else ""
    caption = f"{metric} by epoch{pale}{bands}{grey}."
    layout = axis_titles("epoch", metric)
    layout["xaxis"] |= whole([epoch for trace in traces for epoch in trace["x"]])
    return Figure(f"curves-{metric}", f"{metric} by epoch", caption, tuple(traces), layout)


def deciles(data: ReportData) -> dict[str, list[Any]] | None:
    """Return the first, fifth and last decile of the objective over all trials at each epoch that enough reached.

    Returns:
        ``epoch``, ``low``, ``middle`` and ``high``; None if no epoch has enough trials.
    """
    found: dict[str, list[Any]] = {"epoch": [], "low": [], "middle": [], "high": []}
    for epoch, values in sorted(data.by_epoch.items()):
        finite = [value for value in values if math.isfinite(value)]
        if len(finite) < _FEWEST_IN_BAND:
            continue
        cuts = quantiles(finite, n=10, method="inclusive")
        for name, value in (("epoch", epoch), ("low", cuts[0]), ("middle", cuts[4]), ("high", cuts[8])):
            found[name].append(number(value))
    return found if len(found["epoch"]) > 1 else None


def _behind(found: dict[str, list[Any]]) -> list[Row]:
    """Return the traces of deciles; script.js makes the same."""
    common: Row = {"type": "scatter", "mode": "lines", "x": found["epoch"], "hoverinfo": "skip", "showlegend": False}
    edge = common | {"line": {"width": 0}}
    middle = common | {"y": found["middle"], "line": {"color": "gray", "width": 1, "dash": "dot"}}
    return [edge | {"y": found["low"]}, edge | {"y": found["high"], "fill": "tonexty", "fillcolor": _GREY_BAND}, middle]


def _lines(epochs: Epochs, trial: int, names: Sequence[str | None], line: Row) -> Iterator[Row]:
    """Yield the curve of a trial's metric, and a pale one of its counterpart on training data."""
    for name, opacity in zip(names, (1.0, 0.4), strict=True):
        found = [(row["epoch"], row[name]) for row in epochs if name is not None and row.get(name) is not None]
        if not found:
            continue
        x, y = [epoch for epoch, _ in found], numbers(value for _, value in found)
        trace = {"type": "scatter", "mode": "lines+markers", "x": x, "y": y, "opacity": opacity}
        trace |= {"name": f"trial {trial}" + ("" if name == names[0] else ", training"), "meta": trial}
        trace |= {"legendgroup": str(trial), "line": line, "marker": {"size": 4}}
        yield trace | {"hovertemplate": f"trial {trial}<br>epoch %{{x}}: %{{y:.5g}}<extra></extra>"}


def _band(data: ReportData, trial: int, seeds: Sequence[int], metric: str, line: Row) -> list[Row]:
    """Return the mean over seeds at each epoch that at least two reached, between their lowest and highest values."""
    values: dict[int, list[float]] = defaultdict(list)
    for seed in seeds:
        for row in data.curves[seed]:
            if (value := row.get(metric)) is not None:
                values[row["epoch"]].append(value)
    x = sorted(epoch for epoch, found in values.items() if len(found) > 1)
    if not x:
        return []
    common: Row = {"type": "scatter", "x": x, "meta": trial, "legendgroup": str(trial)}
    edge = common | {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    mean = common | {"mode": "lines+markers", "line": line, "marker": {"size": 4}}
    return [
        edge | {"y": numbers(min(values[epoch]) for epoch in x)},
        edge | {"y": numbers(max(values[epoch]) for epoch in x), "fill": "tonexty", "fillcolor": f"{line['color']}26"},
        mean
        | {"y": numbers(fmean(values[epoch]) for epoch in x), "name": f"trial {trial}, mean of {len(seeds)} trainings"},
    ]


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
    for place, name in enumerate(panels):
        panel = Image.new("RGB", _PANEL, "white")
        _draw_panel(ImageDraw.Draw(panel), epochs, name)
        picture.paste(panel, (place % columns * _PANEL[0], 24 + place // columns * _PANEL[1]))
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
    for epoch in _whole_ticks(*axes.epochs):
        x, bottom = axes.place(epoch, ticks[0])
        draw.text((x, bottom + 5), str(epoch), _GREY, font, anchor="mt")
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
