"""The figures of a report one by one, as Plotly's, for notebooks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.messages import near
from cnn_sweep.report.figures.all_figures import figures
from cnn_sweep.report.figures.image_files import live
from cnn_sweep.report.figures.trials import curves
from cnn_sweep.report.report_data import gather

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.figures.figure import Figure
    from cnn_sweep.report.leaderboards.leaderboard import Table
    from cnn_sweep.report.report_data import Material
    from cnn_sweep.store.reading import StoreReader


class Plots:
    """Figures of a study as it was when they were first asked for; each is a ``plotly.graph_objects.Figure``."""

    def __init__(self, store: StoreReader, study: str, board: Table) -> None:
        self._store = store
        self._study = study
        self._board = board

    @cached_property
    def _material(self) -> Material:
        return gather(self._store, self._study, self._board)

    def history(self) -> Any:
        """Draw the value of each complete trial in the order in which they ended, and the best so far."""
        return self._only("history")

    def curves(self, *trials: int, metric: str | None = None) -> Any:
        """Draw learning curves.

        Args:
            trials: Which; by default the best ones.
            metric: Of which metric; by default the objective.
        """
        material = gather(self._store, self._study, self._board, trials=trials) if trials else self._material
        found = curves(material, [metric or material.metric])
        return self._live(found, f"curves of {metric or material.metric}")

    def parallel(self) -> Any:
        """Draw each complete trial as a line across its hyperparameters."""
        return self._only("parallel")

    def slice(self, parameter: str) -> Any:
        """Draw the objective over one hyperparameter."""
        return self._named("slices", f"slice-{self._known(parameter)}")

    def contour(self, one: str, other: str) -> Any:
        """Draw the mean of the objective over two hyperparameters."""
        one, other = self._known(one), self._known(other)
        order = list(self._material.axes)
        first, second = sorted((one, other), key=order.index)
        return self._named("contours", f"contour-{first}-{second}")

    def pareto(self, cost: str = "parameters") -> Any:
        """Draw the objective against ``parameters`` (weights) or ``seconds`` (of training), with the Pareto front."""
        return self._named("pareto", f"pareto-{cost}")

    def _known(self, parameter: str) -> str:
        axes = self._material.axes
        if parameter not in axes:
            raise InputError(f"no hyperparameter {parameter!r}{near(parameter, axes)}; there are: {', '.join(axes)}")
        return parameter

    def _only(self, kind: str) -> Any:
        return self._live(figures(self._material, kind), kind)

    def _named(self, kind: str, name: str) -> Any:
        return self._live([figure for figure in figures(self._material, kind) if figure.name == name], name)

    def _live(self, found: Sequence[Figure], what: str) -> Any:
        if not found:
            raise InputError(
                f"{self._study}: there is nothing to draw for {what}; it needs complete trials that differ"
            )
        return live(found[0])
