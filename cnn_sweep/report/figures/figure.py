"""Figures as plain data in Plotly's format; Plotly itself is imported only for image files and notebooks."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Distinguishable with every kind of colour vision: Okabe and Ito, "Color Universal Design" (2008).
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY)
DASHES: Final = ("solid", "dash", "dot", "dashdot")
# Uniform in lightness and suitable for colour-blind readers: Nuñez, Anderton and Renslow, PLoS ONE 13 (2018) e0199239.
SCALE: Final = "Cividis"
SHADES: Final = ("#00224e", "#2a3f6d", "#575c6d", "#7d7c78", "#a69d75", "#d3c164", "#fee838")  # seven steps of it
# Its dark end is nearly the colour of a dark page, on which these steps start where their contrast with it is 3.
_SHADES_ON_DARK: Final = ("#666970", "#7b7b78", "#918b79", "#a99f74", "#c4b56c", "#e0cb5c", "#fee838")
_EVEN: Final = [[place / (len(_SHADES_ON_DARK) - 1), shade] for place, shade in enumerate(_SHADES_ON_DARK)]
# What a dark page draws in place of colours, and of the scale.
ON_DARK: Final[dict[str, Any]] = {**dict(zip(SHADES, _SHADES_ON_DARK, strict=True)), SCALE: _EVEN}
_HOVER: Final = "trial %{customdata}<br>%{x}<br>%{y:.5g}<extra></extra>"
_LONGEST: Final = 28  # letters of a name on an axis
_FEW_STEPS: Final = 8  # on a longer axis Plotly does not divide them
DIGITS: Final = 6  # significant digits of a number in a figure


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: Name of its file without suffix, and its anchor in links.
        title: Short title.
        caption: What the figure shows and how to read it.
        data: Plotly's traces. ``customdata`` of a trace are the numbers of its trials; other traces have none.
        layout: Plotly's layout; the page sets the colours of text and background. Its ``meta`` has the columns of axes
            along which a reader of the page can select trials (:func:`selectable`).
    """

    name: str
    title: str
    caption: str
    data: tuple[dict[str, Any], ...]
    layout: dict[str, Any]


def text(words: Any) -> str:
    """Escape text, which Plotly would otherwise read as markup."""
    return html.escape(str(words), quote=False)


def label(words: Any) -> str:
    """Escape what stands on an axis; a long name loses its middle, so that there is room for the figure."""
    words = str(words)
    end = _LONGEST // 3
    return text(words if len(words) <= _LONGEST else f"{words[: _LONGEST - end - 1]}…{words[-end:]}")


def number(value: Any) -> Any:
    """Round a number for a figure; NaN and infinities become None."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def numbers(values: Any) -> list[Any]:
    """Round many numbers for a figure."""
    return [number(value) for value in values]


def scatter(
    x: Sequence[Any], y: Sequence[Any], trials: Sequence[int], *, color: str, name: str = "trial"
) -> dict[str, Any]:
    """Return a Plotly trace with a point for each trial; hovering shows the trial's number."""
    marker = {"color": color, "size": 6, "opacity": 0.85}
    kind = {"type": "scatter", "mode": "markers", "name": name, "marker": marker, "hovertemplate": _HOVER}
    return kind | {"x": numbers(x), "y": numbers(y), "customdata": list(trials)}


def selectable(column: str, values: Sequence[Any] = ()) -> dict[str, Any]:
    """Return what selects trials by a part of an axis: their column, and the values of a category axis."""
    return {"column": column} | ({"values": list(values)} if values else {})


def whole(values: Sequence[float]) -> dict[str, Any]:
    """Return the steps of an axis of whole numbers, so that there is none at a half."""
    return {"dtick": 1} if values and max(values) - min(values) < _FEW_STEPS else {}


def readable(ticks: dict[float, str], distance: float) -> dict[float, str]:
    """Leave out ticks that would hide the one below them."""
    kept: dict[float, str] = {}
    last = -math.inf
    for place, words in sorted(ticks.items()):
        if place - last >= distance:
            kept[place], last = words, place
    return kept


def axis_titles(x: str, y: str) -> dict[str, Any]:
    """Return a Plotly layout of two linear axes with titles."""
    return {"xaxis": {"title": {"text": text(x)}}, "yaxis": {"title": {"text": text(y)}}}
