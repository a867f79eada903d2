"""How far the trials of a study with rungs got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.search.rungs import Ladder

if TYPE_CHECKING:
    from cnn_sweep.report.contents.material import Material


def rung_table(material: Material) -> Table | None:
    """Count the trials at each rung.

    Returns:
        A row a bracket and rung: its epochs, how many trials ``reached`` it, how many of them ``went on``, how many
        ``rest`` there, and the best value of those that reached it; None if the study has no rungs.
    """
    sweep = material.sweep
    ladder = Ladder.of(sweep.pruner) if sweep is not None else None
    if ladder is None:
        return None
    better = max if material.maximize else min
    rows = []
    for bracket in range(ladder.brackets):
        own = [row for row in material.board.rows if ladder.bracket(row["trial"]) == bracket]
        longest = max((row["epochs"] or 0 for row in own), default=0)
        rung = 0
        while (level := ladder.level(bracket, rung)) <= longest:
            reached = [row for row in own if (row["epochs"] or 0) >= level]
            values = [row["value"] for row in reached if row["value"] is not None]
            rows.append(
                {
                    "bracket": bracket,
                    "epochs": level,
                    "reached": len(reached),
                    "went on": sum(row["epochs"] > level for row in reached),
                    "rest": sum(row["epochs"] == level and row["state"] in {"paused", "pruned"} for row in reached),
                    f"best {material.metric}": better(values) if values else None,
                }
            )
            rung += 1
    leading = ("bracket",) if ladder.brackets > 1 else ()
    return Table((*leading, "epochs", "reached", "went on", "rest", f"best {material.metric}"), tuple(rows))
