"""All figures of a study, by the section that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.report import figures_of_hyperparameters, figures_of_trials
from cnn_sweep.report.what_mattered import importance_figure, order_of

if TYPE_CHECKING:
    from cnn_sweep.report.figure import Figure
    from cnn_sweep.report.material import Material

KINDS = ("history", "curves", "parallel", "importance", "slices", "contours", "pareto", "confusion")


def figures(material: Material, kind: str) -> list[Figure]:
    """Return the figures of one of ``KINDS``; none where there is nothing to draw."""
    match kind:
        case "history":
            found = [figures_of_trials.history(material)]
        case "parallel":
            found = [figures_of_trials.parallel(material)]
        case "importance":
            found = [importance_figure(material, material.findings) if material.findings is not None else None]
        case "curves":
            found = [*figures_of_trials.curves(material)]
        case "slices":
            found = [*figures_of_hyperparameters.slices(material)]
        case "contours":
            found = [*figures_of_hyperparameters.contours(material, order_of(material, material.findings))]
        case "pareto":
            found = [*figures_of_trials.trade_offs(material)]
        case "confusion":
            found = [material.best_model.confusion if material.best_model is not None else None]
        case _:
            raise ValueError(f"no figures {kind!r}; there are {', '.join(KINDS)}")
    return [figure for figure in found if figure is not None]
