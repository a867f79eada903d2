"""All figures of a study, by the section that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.report.figures import hyperparameters, trials
from cnn_sweep.report.figures.importance_rows import importance_figure, order_of

if TYPE_CHECKING:
    from cnn_sweep.report.figures.figure import Figure
    from cnn_sweep.report.report_data import Material

KINDS = ("history", "curves", "parallel", "importance", "slices", "contours", "pareto", "confusion")


def drawable(material: Material) -> list[Figure]:
    """Return all figures; those of a kind that fails are among the material's problems."""

    def of(kind: str) -> list[Figure]:
        return material.problems.attempt(f"the figures of {kind}", lambda: figures(material, kind), lambda _: [])

    return [figure for kind in KINDS for figure in of(kind)]


def figures(material: Material, kind: str) -> list[Figure]:
    """Return the figures of one of ``KINDS``; none where there is nothing to draw."""
    match kind:
        case "history":
            found = [trials.history(material)]
        case "parallel":
            found = [trials.parallel(material)]
        case "importance":
            found = [importance_figure(material, material.findings) if material.findings is not None else None]
        case "curves":
            found = [*trials.curves(material)]
        case "slices":
            found = [*hyperparameters.slices(material)]
        case "contours":
            found = [*hyperparameters.contours(material, order_of(material, material.findings))]
        case "pareto":
            found = [*trials.trade_offs(material)]
        case "confusion":
            found = [trials.confusion(material.best_model) if material.best_model is not None else None]
        case _:
            raise ValueError(f"no figures {kind!r}; there are {', '.join(KINDS)}")
    return [figure for figure in found if figure is not None]
