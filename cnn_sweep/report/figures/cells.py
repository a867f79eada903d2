"""Heat maps as coloured rectangles: Plotly's own are pixels, also in files of vectors."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.report.figures.figure import SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.report.figures.figure import Figure

    Traces = Sequence[dict[str, Any]]

_MOST_CELLS: Final = 2_500  # more rectangles would make large files
_STEPS: Final = 100  # of the colour scale


def as_vectors(figure: Figure) -> tuple[Traces, dict[str, Any]]:
    """Return the traces and the layout of a figure, with rectangles in place of a heat map if it is not too large."""
    (trace, *rest) = figure.data
    if trace["type"] != "heatmap" or len(trace["z"]) * len(trace["z"][0]) > _MOST_CELLS:
        return figure.data, figure.layout
    layout = {name: _numeric(figure.layout[name], trace[name[0]]) for name in ("xaxis", "yaxis")}
    logs = [figure.layout[name].get("type") == "log" for name in ("xaxis", "yaxis")]
    across, up = (_edges(trace[name], is_log=is_log) for name, is_log in zip("xy", logs, strict=True))
    return [*_rectangles(trace, across, up), *_texts(trace), _scale(trace), *rest], figure.layout | layout


def _numeric(axis: dict[str, Any], places: Sequence[Any]) -> dict[str, Any]:
    """Return an axis whose categories, if it has any, are numbers from 0 on."""
    ticks = {"tickvals": [*range(len(places))], "ticktext": [*places], "type": "linear"}
    return axis | {"showgrid": False, "zeroline": False} | (ticks if axis.get("type") == "category" else {})


def _edges(places: Sequence[Any], *, is_log: bool) -> list[float]:
    """Return the edges of cells from their middles; categories have places from 0 on."""
    if isinstance(places[0], str):
        places = range(len(places))
    middles = [math.log10(place) if is_log else float(place) for place in places]
    half = (middles[1] - middles[0]) / 2 if len(middles) > 1 else 0.5
    edges = [middles[0] - half, *(sum(pair) / 2 for pair in itertools.pairwise(middles)), middles[-1] + half]
    return [10**edge for edge in edges] if is_log else edges


def _range(trace: dict[str, Any]) -> tuple[float, float]:
    values = [value for line in trace["z"] for value in line if value is not None]
    return trace.get("zmin", min(values, default=0.0)), trace.get("zmax", max(values, default=1.0))


def _share(trace: dict[str, Any], value: float) -> float:
    """Return the place of a value on the colour scale, from 0 (dark) to 1."""
    low, high = _range(trace)
    share = round(_STEPS * (value - low) / (high - low)) / _STEPS if high > low else 0.5
    return 1 - share if trace.get("reversescale") else share


def _rectangles(trace: dict[str, Any], across: Sequence[float], up: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Yield a trace for each colour, with the outlines of its cells and gaps between them."""
    from plotly import colors  # noqa: PLC0415 - as Plotly elsewhere

    outlines: dict[float, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for line, values in enumerate(trace["z"]):
        for column, value in enumerate(values):
            if value is None:
                continue
            left, right, low, high = across[column], across[column + 1], up[line], up[line + 1]
            x, y = outlines[_share(trace, value)]
            x += [left, right, right, left, left, None]
            y += [low, low, high, high, low, None]
    for share, (x, y) in outlines.items():
        (color,) = colors.sample_colorscale(SCALE, [share])
        edge = {"color": color, "width": 0.5}  # covers the seams between cells
        common = {"type": "scatter", "mode": "lines", "fill": "toself", "showlegend": False}
        yield common | {"x": x, "y": y, "fillcolor": color, "line": edge}


def _texts(trace: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "texttemplate" not in trace:
        return
    cells = [(i, j, value) for j, line in enumerate(trace["z"]) for i, value in enumerate(line)]
    yield {
        "type": "scatter",
        "mode": "text",
        "x": [i for i, *_ in cells],
        "y": [j for _, j, _ in cells],
        "text": [trace["text"][j][i] for i, j, _ in cells],
        "textfont": {"color": ["white" if _share(trace, value) < 0.5 else "black" for *_, value in cells]},
        "showlegend": False,
    }


def _scale(trace: dict[str, Any]) -> dict[str, Any]:
    """Return a trace without points, whose colours are those of the rectangles: it has the colour bar."""
    low, high = _range(trace)
    marker = {"color": [low], "cmin": low, "cmax": high, "colorscale": SCALE, "showscale": True}
    marker |= {"reversescale": trace.get("reversescale", False), "colorbar": trace["colorbar"]}
    common = {"type": "scatter", "mode": "markers", "name": "scale", "showlegend": False}
    return common | {"x": [None], "y": [None], "marker": marker}
