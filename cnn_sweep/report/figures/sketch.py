"""A small figure of a search as SVG, for places without JavaScript."""

from __future__ import annotations

import html
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from cnn_sweep.report.figures.figure import BLUE, ORANGE
from cnn_sweep.report.leaderboards.leaderboard import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.sweep.direction import Direction

_WIDTH: Final = 420
_HEIGHT: Final = 150
_EDGE: Final = 8  # space around the points
_TEXT: Final = 18  # height of the line of text above them
_MOST: Final = 300  # points drawn; of more trials, some are left out


def sketch(values: Sequence[tuple[int, float]], direction: Direction, metric: str) -> str:
    """Draw the value of each trial, and the best value so far as a line.

    Args:
        values: Number and finite value of each trial, by number.
        direction: Direction of the objective.
        metric: The objective's name.

    Returns:
        An SVG element; an empty string if there are no values.
    """
    if not values:
        return ""
    low, high = min(value for _, value in values), max(value for _, value in values)
    first, last = values[0][0], values[-1][0]

    def place(trial: int, value: float) -> tuple[float, float]:
        across = (trial - first) / (last - first) if last > first else 0.5
        up = (value - low) / (high - low) if high > low else 0.5
        return (
            round(_EDGE + across * (_WIDTH - 2 * _EDGE), 1),
            round(_HEIGHT - _EDGE - up * (_HEIGHT - _TEXT - 2 * _EDGE), 1),
        )

    best = accumulate((value for _, value in values), direction.better_of)
    steps = [place(trial, value) for (trial, _), value in zip(values, best, strict=True)]
    line = " ".join(f"{x},{y}" for x, y in _corners(steps))
    every = -(-len(values) // _MOST)
    points = "".join('<circle cx="{}" cy="{}" r="2.5"/>'.format(*place(*pair)) for pair in values[::every])
    words = f"{html.escape(metric)} by trial, from {shown(low)} to {shown(high)}; line: the best so far"
    return (
        f'<svg role="img" aria-label="{words}" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<text x="{_EDGE}" y="13" font-size="12" fill="currentColor">{words}</text>'
        f'<g fill="{BLUE}" fill-opacity="0.7">{points}</g>'
        f'<polyline points="{line}" fill="none" stroke="{ORANGE}" stroke-width="2"/></svg>'
    )


def _corners(steps: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of a stair through the points; without steps in between, one per change of height."""
    found = [steps[0]]
    for x, y in steps[1:]:
        if y != found[-1][1]:
            found += [(x, found[-1][1]), (x, y)]
    return [*found, (steps[-1][0], steps[-1][1])]
