"""Long arrays of numbers as base64, which is half as long as their digits and quick to read.

The formats are Plotly's names of NumPy's: ``i2`` and ``i4`` are exact, ``f4`` has the six digits of a figure's numbers.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.report.figures.figure import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.report.figures.figure import Figure

_SHORTEST: Final = 50  # shorter arrays stay as they are
_PACKED: Final = ("x", "y", "base", "hovertext", "customdata")  # of a trace
_EXACT: Final = 2**24  # integers up to this are exact in single precision
_FINEST, _LARGEST = 1e-37, 1e38  # sizes that single precision has


def packed(values: Sequence[Any]) -> Any:
    """Return numbers, some of which may be None, in a compact format; return unchanged what cannot be packed."""
    kinds = {type(value) for value in values}
    if len(values) < _SHORTEST or not kinds <= {int, float, type(None)}:
        return values
    if kinds == {int}:
        top = max(map(abs, values))
        return _encoded(values, "i2" if top < 2**15 else "i4") if top < 2**31 else values
    if any(not _is_single(value) for value in values):
        return values
    return _encoded([np.nan if value is None else value for value in values], "f4")


def _is_single(value: float | None) -> bool:
    if value is None or value == 0:
        return True
    return abs(value) <= _EXACT if isinstance(value, int) else _FINEST < abs(value) < _LARGEST


def _encoded(values: Sequence[Any], dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "bdata": base64.b64encode(np.array(values, f"<{dtype}").tobytes()).decode()}


def pack_figures(figures: Sequence[Figure]) -> dict[str, Any]:
    """Return figures by name, and the arrays of their traces. Equal arrays are kept once; traces name their number."""
    arrays: list[dict[str, str]] = []
    places: dict[str, int] = {}

    def shared(values: Any) -> Any:
        small = packed(values) if isinstance(values, list) else values
        if small is values:
            return values
        key = small["dtype"] + small["bdata"]
        if key not in places:
            places[key] = len(arrays)
            arrays.append(small)
        return {"packed": places[key]}

    def of(trace: dict[str, Any]) -> dict[str, Any]:
        return trace | {name: shared(trace[name]) for name in _PACKED if name in trace}

    made = {one.name: {"data": [of(trace) for trace in one.data], "layout": one.layout} for one in figures}
    return {"figures": made, "arrays": arrays}


def pack_curves(curves: Mapping[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return learning curves: names of metrics, epochs by trial, and the values of each trial's metrics in order.

    The epochs of a trial are their number if they count from 1. Trials ascend, as the keys of a script's objects do.
    """
    curves = dict(sorted(curves.items()))
    names = list(dict.fromkeys(name for epochs in curves.values() for epoch in epochs for name in epoch))
    names = [name for name in names if name not in {"epoch", "seconds", "time"}]
    epochs = {trial: [epoch["epoch"] for epoch in found] for trial, found in curves.items() if found}
    values = [epoch.get(name) for found in curves.values() for name in names for epoch in found]
    short = {trial: len(own) if own == [*range(1, len(own) + 1)] else own for trial, own in epochs.items()}
    return {"names": names, "epochs": short, "values": packed(numbers(values))}
