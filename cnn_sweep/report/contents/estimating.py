"""Estimates how much each hyperparameter mattered, with Optuna, which takes a second to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.report.contents.what_mattered import MOST
from cnn_sweep.search.importance import find
from cnn_sweep.store.queries import params_of

if TYPE_CHECKING:
    from cnn_sweep.report.contents.material import Material
    from cnn_sweep.search.importance import Findings


def what_mattered(material: Material) -> Findings | None:
    """Estimate importances from the complete trials, of many from evenly spaced ones; None without a sweep file.

    Raises:
        StudyError: There are too few trials, or nothing differs.
    """
    if material.sweep is None:
        return None
    rows = sorted(material.ranked, key=lambda row: row["trial"])
    picked = rows if len(rows) <= MOST else [rows[i * len(rows) // MOST] for i in range(MOST)]
    names = {column: axis.label for column, axis in material.axes.items()}
    return find(material.sweep, [(params_of(row, names), row["value"]) for row in picked])
