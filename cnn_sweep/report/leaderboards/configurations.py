"""A leaderboard with one row a configuration, where configurations were trained with several seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.report.leaderboards.statistics import Summary, summarize, tied_with_best

if TYPE_CHECKING:
    from cnn_sweep.report.leaderboards.leaderboard import Row, Table

STATISTICS: Final = ("mean", "sd", "n", "ci_low", "ci_high", "tied")
_AFTER: Final = "seconds"


def per_configuration(table: Table, *, direction: str) -> Table:
    """Put the trials of a configuration into one row.

    The row has the columns of the first of its trials that is complete (else of its first trial), and those of
    ``STATISTICS`` behind ``seconds``: over the values of all that are complete. Rows are ranked by mean; those with a
    single value follow those with several, since a single value that is the best of many was partly luck.

    Args:
        table: A row per trial, ranked, with ``configuration``, ``repeat`` and ``seed``.
        direction: maximize or minimize.
    """
    groups: dict[Any, list[Row]] = {}
    for row in table.rows:
        groups.setdefault(row["configuration"] or ("trial", row["trial"]), []).append(row)
    taken: dict[str, str] = {name: f"params_{name}" for name in STATISTICS if name in table.columns}
    rows = [{taken.get(name, name): value for name, value in _first(group).items()} for group in groups.values()]
    samples = [_sample(group) for group in groups.values()]
    tied = tied_with_best(samples, maximize=direction == "maximize")
    for row, sample, same in zip(rows, samples, tied, strict=True):
        row.update(_statistics(summarize(list(sample.values())) if sample else None), tied=same)
    columns = [taken.get(name, name) for name in table.columns]
    place = columns.index(_AFTER) + 1
    names = (*columns[:place], *STATISTICS, *columns[place:])
    ranked = tuple(_ranked(rows, maximize=direction == "maximize"))
    return replace(table, columns=names, rows=ranked, verdict=STATISTICS)


def _first(group: list[Row]) -> Row:
    """Pick the trial that stands for its configuration."""
    return min(group, key=lambda row: (row["state"] != "complete", row["value"] is None, row["trial"]))


def _sample(group: list[Row]) -> dict[int, float]:
    """Return seed to value of the complete trials."""
    complete = (row for row in group if row["state"] == "complete" and row["value"] is not None)
    return {row["seed"]: row["value"] for row in complete if math.isfinite(row["value"])}


def _statistics(found: Summary | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(STATISTICS) | {"n": 0}
    return {"mean": found.mean, "sd": found.sd, "n": found.n, "ci_low": found.low, "ci_high": found.high}


def _ranked(rows: list[Row], *, maximize: bool) -> list[Row]:
    sign = -1.0 if maximize else 1.0
    ranked = [row for row in rows if row["n"]]
    ranked.sort(key=lambda row: (row["n"] == 1, sign * row["mean"], row["trial"]))
    others = [row for row in rows if not row["n"]]  # they keep the order of the trials' leaderboard
    return [row | {"rank": rank} for rank, row in enumerate(ranked, start=1)] + [row | {"rank": None} for row in others]
