"""Estimates how much each hyperparameter mattered, with Optuna, which takes a second to import."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cnn_sweep.errors import CnnSweepError
from cnn_sweep.search.importance import find
from cnn_sweep.store.queries import params_of

if TYPE_CHECKING:
    from cnn_sweep.report.report_data import Material
    from cnn_sweep.search.importance import Findings


def with_importance(material: Material) -> Material:
    """Add what mattered, or why that cannot be told."""
    if not material.ranked:
        return material

    def estimated() -> Material:
        try:
            return replace(material, findings=what_mattered(material), no_findings="The sweep file cannot be read.")
        except CnnSweepError as error:  # too few trials
            return replace(material, no_findings=str(error))

    return material.problems.attempt("importance", estimated, lambda why: replace(material, no_findings=why))


def what_mattered(material: Material) -> Findings | None:
    """Estimate importances from the complete trials; None without a sweep file.

    Raises:
        StudyError: There are too few trials, or nothing differs.
    """
    if material.sweep is None:
        return None
    names = {column: axis.label for column, axis in material.axes.items()}
    return find(material.sweep, [(params_of(row, names), row["value"]) for row in material.ranked])
