"""``expand_grid``: all combinations of some factors as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd


def expand_grid(**factors: Any) -> pd.DataFrame:
    """Return a table with a row for each combination of the factors, like R's ``expand.grid``.

    The first factor varies fastest. A list of lists is a factor whose values are lists.

    Args:
        **factors: The values of each column: a list, tuple, range, array or Series; anything else, such as text,
            is a single value.

    Returns:
        One column per factor, in the order of the arguments; no rows if a factor has no values.

    Examples:
        >>> expand_grid(filters=[8, 16], pooling=["max", "average"])
           filters  pooling
        0        8      max
        1       16      max
        2        8  average
        3       16  average
    """
    columns = {name: _values(factor) for name, factor in factors.items()}
    rows = 1 if columns else 0
    for column in columns.values():
        rows *= len(column)
    table: dict[str, pd.Series[Any]] = {}
    repeats = 1
    for name, column in columns.items():
        length = max(len(column), 1)
        positions = [(row // repeats) % length for row in range(rows)]
        table[name] = column.iloc[positions].reset_index(drop=True)
        repeats *= length
    return pd.DataFrame(table, columns=list(columns))


def _values(factor: Any) -> pd.Series[Any]:
    if isinstance(factor, str | bytes) or not hasattr(factor, "__iter__"):
        return pd.Series([factor])
    values = list(factor)
    if any(isinstance(value, list | tuple) for value in values):
        return pd.Series(values, dtype=object)
    return pd.Series(values) if values else pd.Series(values, dtype=object)
