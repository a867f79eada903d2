"""All figures of a study: for reports by kind, for notebooks one by one, and for papers (:mod:`.paper`) as files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.messages import near, span
from cnn_sweep.report.figures import (
    best_trials,
    history,
    hyperparameters,
    learning_curves,
    parallel_coordinates,
    pareto,
    timeline,
)
from cnn_sweep.report.figures.figure import SCALE, Figure, text
from cnn_sweep.report.figures.paper import DEFAULT_FONT, DEFAULT_WIDTH, FORMATS, Paper, write_images
from cnn_sweep.report.figures.reliability import reliability
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.report_data import gather, with_importance
from cnn_sweep.store.queries import trial_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row, Table
    from cnn_sweep.report.models.best_model import BestModel
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.store.reader import StoreReader

_PAPER: Final[dict[str, Any]] = {
    "template": "plotly_white",
    "font": {"size": 14},
    "legend": {"orientation": "h", "y": 1.1},
    "margin": {"l": 70, "r": 30, "t": 50, "b": 60},
}
_LEAST_SHARE = 0.01  # of a true class, that has the brightest colour
_MOST_NUMBERS = 30  # classes up to which each cell of a confusion matrix shows its count


def all_figures(data: ReportData) -> list[Figure]:
    """Return all figures; a kind that fails is noted among the data's problems."""

    def of(kind: str) -> list[Figure]:
        return data.problems.attempt(f"the figures of {kind}", lambda: figures(data, kind), lambda _: [])

    return [figure for kind in KINDS for figure in of(kind)]


def figures(data: ReportData, kind: str) -> list[Figure]:
    """Return the figures of one of ``KINDS``; empty if there is nothing to draw.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in _MAKERS:
        raise ValueError(f"no figures {kind!r}; there are {', '.join(KINDS)}")
    return [figure for figure in _MAKERS[kind](data) if figure is not None]


def _contours(data: ReportData) -> list[Figure]:
    return hyperparameters.contours(data, hyperparameters.order_of(data, data.findings))


def _importance(data: ReportData) -> list[Figure]:
    return [hyperparameters.importance(data, metric, found) for metric, found in data.all_findings.items()]


def _of_best_model(data: ReportData, draw: Callable[[BestModel], Figure]) -> list[Figure]:
    return [] if data.best_model is None else [draw(data.best_model)]


def _confusion(best: BestModel) -> Figure:
    """Draw the confusion matrix of the best model on the validation images; only what is confused has a colour."""
    counts, names = best.counts, [text(name) for name in best.class_names]
    totals = counts.sum(axis=1)
    shares = counts / totals[:, None].clip(min=1)
    confused = shares * (1 - np.eye(len(counts)))
    rows = [f"{name} ({total:,})" for name, total in zip(names, totals, strict=True)]
    trace: Row = {"type": "heatmap", "x": names, "y": rows, "z": confused.round(4).tolist(), "colorscale": SCALE}
    trace |= {"zmin": 0, "zmax": max(float(confused.max()), _LEAST_SHARE)}
    trace |= {"colorbar": {"title": {"text": "confused, of the true class"}, "tickformat": ".0%"}}
    trace |= {"text": [[str(count) for count in line] for line in counts.tolist()]}
    trace |= {"hovertext": [[f"{share:.1%}" for share in line] for line in shares.tolist()]}
    trace["hovertemplate"] = "%{y} taken for %{x}: %{text} images (%{hovertext} of the true class)<extra></extra>"
    if len(names) <= _MOST_NUMBERS:
        trace |= {"texttemplate": "%{text}"}
    layout = {
        "xaxis": {"title": {"text": "predicted class"}, "type": "category"},
        "yaxis": {"title": {"text": "true class (images)"}, "type": "category", "autorange": "reversed"},
    }
    right = best.images - best.wrong
    accuracy = f"{right / best.images:.4g} ({span(*wilson(right, best.images))}, 95%, Wilson)"
    caption = (
        f"Validation images of trial {best.trial} by true and predicted class; {right:,} of {best.images:,} are right, "
        f"an accuracy of {accuracy}. Colours show what is confused, as a share of the true class."
    )
    return Figure("confusion", "Confusion matrix", caption, (trace,), layout)


_MAKERS: Final[dict[str, Callable[[ReportData], Sequence[Figure | None]]]] = {
    "history": history.history,
    "distribution": lambda data: [history.distribution(data)],
    "best": lambda data: [best_trials.best_trials(data)],
    "rungs": lambda data: [learning_curves.at_rungs(data)],
    "curves": learning_curves.curves,
    "parallel": lambda data: [parallel_coordinates.parallel(data)],
    "importance": _importance,
    "slices": hyperparameters.slices,
    "contours": _contours,
    "pareto": pareto.trade_offs,
    "confusion": lambda data: _of_best_model(data, _confusion),
    "reliability": lambda data: _of_best_model(data, reliability),
    "timeline": lambda data: [timeline.timeline(data)],
}
KINDS: Final = tuple(_MAKERS)


def to_plotly(figure: Figure) -> Any:
    """Return a figure as a ``plotly.graph_objects.Figure`` on white."""
    import plotly.graph_objects as go  # noqa: PLC0415 - importing it takes longer than writing most reports

    return go.Figure({"data": list(figure.data), "layout": _PAPER | figure.layout})


class Plots:
    """Figures of a study as ``plotly.graph_objects.Figure`` objects; the data are read once, on first use."""

    def __init__(self, store: StoreReader, study: str, board: Table) -> None:
        self._store = store
        self._study = study
        self._board = board

    @cached_property
    def _data(self) -> ReportData:
        return gather(self._store, self._study, self._board)

    def history(self, over: str = "trials") -> Any:
        """Draw the value of each finished trial, and the best value so far.

        Args:
            over: The axis: ``trials``, ``time``, or ``cores`` (computing time).
        """
        return self._named("history", "history" if over == "trials" else f"history-{over}")

    def distribution(self) -> Any:
        """Draw the share of complete trials that are at least as good as a value."""
        return self._only("distribution")

    def hypervolume(self) -> Any:
        """Draw the hypervolume of the Pareto front of two or three objectives after each complete trial."""
        return self._named("pareto", "hypervolume")

    def curves(self, *trials: int, metric: str | None = None) -> Any:
        """Draw learning curves.

        Args:
            trials: Numbers of trials; by default the best ones.
            metric: The metric; by default the objective.

        Raises:
            InputError: Nothing can be drawn.
            StudyError: One of the trials has not begun.
        """
        for trial in trials:
            trial_detail(self._store, self._study, trial)  # refuses an unknown number
        data = gather(self._store, self._study, self._board, trials=trials) if trials else self._data
        found = learning_curves.curves(data, [metric or data.metric])
        return self._live(found, f"curves of {metric or data.metric}")

    def parallel(self) -> Any:
        """Draw each complete trial as a line across its hyperparameters."""
        return self._only("parallel")

    def slice(self, parameter: str) -> Any:
        """Draw the objective over one hyperparameter."""
        return self._named("slices", f"slice-{self._known(parameter)}")

    def contour(self, one: str, other: str) -> Any:
        """Draw the mean of the objective over two hyperparameters."""
        one, other = self._known(one), self._known(other)
        order = list(self._data.axes)
        first, second = sorted((one, other), key=order.index)
        return self._named("contours", f"contour-{first}-{second}")

    def pareto(self, cost: str = "parameters") -> Any:
        """Draw the objective against ``parameters`` (weights) or ``seconds`` (of training), with the Pareto front."""
        return self._named("pareto", f"pareto-{cost}")

    def timeline(self) -> Any:
        """Draw which worker trained which trial, and when."""
        return self._only("timeline")

    def save(
        self,
        folder: str | Path,
        *,
        width: str = DEFAULT_WIDTH,
        font: str = DEFAULT_FONT,
        formats: Sequence[str] = FORMATS,
    ) -> list[Path]:
        """Write all figures for a paper, and their captions.

        Args:
            folder: The folder to write to.
            width: Width of each figure, as in ``85mm``.
            font: Size of letters, as in ``8pt``.
            formats: Some of ``svg``, ``png`` and ``pdf``.

        Raises:
            InputError: The width or the font cannot be read.
            EnvironmentFault: kaleido or a browser is missing, or the folder cannot be written.
        """
        paper = Paper.of(width, font)
        return write_images(all_figures(with_importance(self._data)), Path(folder), paper, formats)

    def _known(self, parameter: str) -> str:
        axes = self._data.axes
        if parameter not in axes:
            raise InputError(f"no hyperparameter {parameter!r}{near(parameter, axes)}; there are: {', '.join(axes)}")
        return parameter

    def _only(self, kind: str) -> Any:
        return self._live(figures(self._data, kind), kind)

    def _named(self, kind: str, name: str) -> Any:
        return self._live([figure for figure in figures(self._data, kind) if figure.name == name], name)

    def _live(self, found: Sequence[Figure], what: str) -> Any:
        if not found:
            raise InputError(
                f"{self._study}: there is nothing to draw for {what}; it needs complete trials that differ"
            )
        return to_plotly(found[0])
