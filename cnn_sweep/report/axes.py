"""Axes of figures for hyperparameters: linear, logarithmic or categorical, with a place for missing values."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.leaderboards.leaderboard import shown
from cnn_sweep.sweep.identity import NULL
from cnn_sweep.sweep.space.space import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.sweep.space.space import Parameter

# Figures may show numbers as categories if there are no more different ones than this.
FEW = 8
_LOG_SPAN = 50.0  # from this ratio of largest to smallest value on, the axis is logarithmic


@dataclass(frozen=True)
class Axis:
    """How to draw one hyperparameter.

    Attributes:
        column: Its column of the leaderboard.
        label: Its name.
        numeric: Whether its values are numbers; else they are categories.
        log: Whether the axis is logarithmic.
        values: The different values in order; for categories, in the order of the sweep file.
        missing: Whether the hyperparameter is inactive in some rows.
    """

    column: str
    label: str
    numeric: bool
    log: bool
    values: tuple[Any, ...]
    missing: bool

    def is_active(self, row: Row) -> bool:
        """Return whether the hyperparameter is active in a trial; its value may be null."""
        return row.get(self.column) is not None

    @property
    def varies(self) -> bool:
        """Whether trials differ in this hyperparameter."""
        return len(self.values) + self.missing > 1

    def position(self, value: Any) -> float:
        """Return a value's position: the value, its logarithm to base 10, or the number of its category."""
        if not self.numeric:
            return float(self._places[_key(value)])
        return math.log10(value) if self.log else float(value)

    @property
    def _places(self) -> dict[str, int]:
        return {_key(value): place for place, value in enumerate(self.values)}

    def positions(self, rows: Sequence[Row]) -> list[float | None]:
        """Return the positions of the rows' values; None where the hyperparameter is inactive."""
        active = [self.is_active(row) for row in rows]
        if self.numeric:
            return [self.position(row[self.column]) if there else None for row, there in zip(rows, active, strict=True)]
        places = self._places
        pairs = zip(rows, active, strict=True)
        return [float(places[_key(row.get(self.column))]) if there else None for row, there in pairs]

    def words(self, rows: Sequence[Row]) -> list[str | None]:
        """Return the rows' values as text for a categorical axis; None where the hyperparameter is inactive."""
        return [word(row.get(self.column)) if self.is_active(row) else None for row in rows]


def word(value: Any) -> str:
    """Return a hyperparameter's value as text for people; null becomes ``null``."""
    return "null" if value is None else shown(value)


def axis_of(column: str, label: str, rows: Sequence[Row], parameter: Parameter | None) -> Axis:
    """Choose the axis of a hyperparameter from its values in trials and its domain in the sweep file.

    Args:
        column: Its column of the leaderboard.
        label: Its name.
        rows: All trials.
        parameter: Its definition in the sweep file; None if that cannot be read.
    """
    active = [row for row in rows if row.get(column) is not None]
    there: dict[str, Any] = {_key(value): value for value in (row.get(column) for row in active)}
    numeric = bool(there) and all(_is_number(value) for value in there.values())
    domain = parameter.domain if parameter is not None else None
    if numeric:
        ordered = tuple(sorted(there.values()))
        log = domain.log if isinstance(domain, Range) else _spans_decades(ordered)
        log = log and ordered[0] > 0
    else:
        of_file = [] if domain is None or isinstance(domain, Range) else [_key(value) for value in domain.values]
        order = [key for key in of_file if key in there] + sorted(there.keys() - set(of_file))
        ordered, log = tuple(there[key] for key in order), False
    return Axis(column, label, numeric, log, ordered, missing=len(active) < len(rows))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _spans_decades(ordered: tuple[Any, ...]) -> bool:
    return len(ordered) > 2 and ordered[0] > 0 and ordered[-1] / ordered[0] >= _LOG_SPAN


def _key(value: Any) -> str:
    if value is NULL:
        value = None  # null, as in the sweep file
    return json.dumps(list(value) if isinstance(value, tuple) else value, sort_keys=True, default=str)
