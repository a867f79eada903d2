"""Estimates how much each hyperparameter mattered, with Optuna, which takes a second to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.search.importance import find, results_of

if TYPE_CHECKING:
    from cnn_sweep.report.contents.material import Material
    from cnn_sweep.search.importance import Findings


def what_mattered(material: Material) -> Findings | None:
    """Estimate importances from the complete trials; None without a sweep file.

    Raises:
        StudyError: There are too few trials, or nothing differs.
    """
    if material.sweep is None:
        return None
    columns = {axis.label: column for column, axis in material.axes.items()}
    return find(material.sweep, results_of(material.sweep, material.ranked, columns))
