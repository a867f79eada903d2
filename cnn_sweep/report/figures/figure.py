"""A figure as plain data in the terms of Plotly, which is loaded only to write images or to return a live figure."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Colours that people with any colour vision tell apart: Okabe and Ito, "Color Universal Design" (2008).
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY)
DASHES: Final = ("solid", "dash", "dot", "dashdot")
# Even in lightness and readable by the colour-blind: Nuñez, Anderton and Renslow, PLoS ONE 13 (2018) e0199239.
SCALE: Final = "Cividis"
_HOVER: Final = "trial %{customdata}<br>%{x}<br>%{y:.5g}<extra></extra>"
DIGITS: Final = 6  # significant digits of a number in a figure


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: Of its file, and in links to it.
        title: A few words.
        caption: What it shows and how to read it.
        data: Plotly's traces.
        layout: Plotly's layout, without colours of text and background: those are the page's.
    """

    name: str
    title: str
    caption: str
    data: tuple[dict[str, Any], ...]
    layout: dict[str, Any]


def text(words: Any) -> str:
    """Escape what Plotly would take for markup."""
    return html.escape(str(words), quote=False)


def number(value: Any) -> Any:
    """Round a number for a figure; what cannot be drawn is None."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def numbers(values: Any) -> list[Any]:
    """Round many numbers for a figure."""
    return [number(value) for value in values]


def scatter(
    x: Sequence[Any], y: Sequence[Any], trials: Sequence[int], *, color: str, name: str = "trial"
) -> dict[str, Any]:
    """Describe a point for each trial, with the trial's number under the pointer."""
    marker = {"color": color, "size": 6, "opacity": 0.85}
    kind = {"type": "scatter", "mode": "markers", "name": name, "marker": marker, "hovertemplate": _HOVER}
    return kind | {"x": numbers(x), "y": numbers(y), "customdata": list(trials)}


def axis_titles(x: str, y: str) -> dict[str, Any]:
    """Describe two linear axes by their titles."""
    return {"xaxis": {"title": {"text": text(x)}}, "yaxis": {"title": {"text": text(y)}}}
