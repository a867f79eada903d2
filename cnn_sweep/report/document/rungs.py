"""How far the trials of a study with rungs got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.report_data import rung_levels
from cnn_sweep.search.rungs import Ladder

if TYPE_CHECKING:
    from cnn_sweep.report.report_data import Material


def rung_table(material: Material) -> Table | None:
    """Count the trials at each rung.

    Returns:
        A row a bracket and rung: its epochs, how many trials ``reached`` it, how many of them ``went on``, how many
        ``rest`` there, and the best of their results at that rung: of the objective up to its epochs, which is what
        decides who goes on. Repeats do not compete and are left out. None if the study has no rungs.
    """
    sweep = material.sweep
    ladder = Ladder.of(sweep.pruner) if sweep is not None else None
    if ladder is None:
        return None
    rows = []
    for bracket in range(ladder.brackets):
        rivals = (row for row in material.board.rows if not row.get("repeat"))
        own = [row for row in rivals if ladder.bracket(row["trial"]) == bracket]
        longest = max((row["epochs"] or 0 for row in own), default=0)
        for level in rung_levels(ladder, bracket, longest):
            reached = [row for row in own if (row["epochs"] or 0) >= level]
            results = material.at_rungs.get(level, {})
            values = [results[row["trial"]] for row in reached if row["trial"] in results]
            rows.append(
                {
                    "bracket": bracket,
                    "epochs": level,
                    "reached": len(reached),
                    "went on": sum(row["epochs"] > level for row in reached),
                    "rest": sum(row["epochs"] == level and row["state"] in {"paused", "pruned"} for row in reached),
                    f"best {material.metric}": min(values, key=material.direction.key, default=None),
                }
            )
    leading = ("bracket",) if ladder.brackets > 1 else ()
    return Table((*leading, "epochs", "reached", "went on", "rest", f"best {material.metric}"), tuple(rows))
