"""All figures of a study: for reports by kind, for notebooks one by one, and for papers as image files.

Plotly draws image files in a headless Chromium, through kaleido.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.messages import near
from cnn_sweep.report.figures import best_trials, hyperparameters, learning_curves, parallel_coordinates, pareto
from cnn_sweep.report.figures.figure import SCALE, Figure, text
from cnn_sweep.report.figures.reliability import reliability
from cnn_sweep.report.report_data import gather
from cnn_sweep.store.queries import trial_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Row, Table
    from cnn_sweep.report.models.best_model import BestModel
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.store.reader import StoreReader

KINDS = (
    *("history", "best", "rungs", "curves", "parallel", "importance", "slices", "contours", "pareto"),
    *("confusion", "reliability"),  # of the best model
)
FORMATS: Final = ("svg", "png", "pdf")
_WIDTH, _HEIGHT = 900, 560  # pixels
_SCALE = 2  # pixels of a PNG per pixel of the figure
_NEEDS = "images of figures need kaleido and Chrome or Chromium: pip install 'cnn-sweep[figures]', apt install chromium"
_PAPER: Final[dict[str, Any]] = {
    "template": "plotly_white",
    "font": {"size": 14},
    "legend": {"orientation": "h", "y": 1.1},
    "margin": {"l": 70, "r": 30, "t": 50, "b": 60},
}
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
    match kind:
        case "history":
            found = [learning_curves.history(data)]
        case "best":
            found = [best_trials.best_trials(data)]
        case "rungs":
            found = [learning_curves.at_rungs(data)]
        case "parallel":
            found = [parallel_coordinates.parallel(data)]
        case "importance":
            found = [hyperparameters.importance(data, data.findings) if data.findings is not None else None]
        case "curves":
            found = [*learning_curves.curves(data)]
        case "slices":
            found = [*hyperparameters.slices(data)]
        case "contours":
            found = [*hyperparameters.contours(data, hyperparameters.order_of(data, data.findings))]
        case "pareto":
            found = [*pareto.trade_offs(data)]
        case "confusion":
            found = [_confusion(data.best_model) if data.best_model is not None else None]
        case "reliability":
            found = [reliability(data.best_model) if data.best_model is not None else None]
        case _:
            raise ValueError(f"no figures {kind!r}; there are {', '.join(KINDS)}")
    return [figure for figure in found if figure is not None]


def _confusion(best: BestModel) -> Figure:
    """Draw the confusion matrix of the best model on the validation images."""
    counts, names = best.counts, [text(name) for name in best.class_names]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    trace: Row = {"type": "heatmap", "x": names, "y": names, "z": shares.round(4).tolist()}
    trace |= {"colorscale": SCALE, "zmin": 0, "zmax": 1, "colorbar": {"title": {"text": "share of the true class"}}}
    trace |= {"customdata": counts.tolist()}
    trace["hovertemplate"] = "%{y} taken for %{x}: %{customdata} images (%{z:.1%} of the true class)<extra></extra>"
    if len(names) <= _MOST_NUMBERS:
        trace |= {"text": [[str(count) for count in line] for line in counts.tolist()], "texttemplate": "%{text}"}
    layout = {
        "xaxis": {"title": {"text": "predicted class"}, "type": "category"},
        "yaxis": {"title": {"text": "true class"}, "type": "category", "autorange": "reversed"},
    }
    caption = (
        f"Validation images of trial {best.trial} by true and predicted class: counts, coloured by share of a row."
    )
    return Figure("confusion", "Confusion matrix", caption, (trace,), layout)


def to_plotly(figure: Figure) -> Any:
    """Return a figure as a ``plotly.graph_objects.Figure`` on white."""
    import plotly.graph_objects as go  # noqa: PLC0415 - importing it takes longer than writing most reports

    return go.Figure({"data": list(figure.data), "layout": _PAPER | figure.layout})


def write_images(
    figures: Sequence[Figure],
    folder: Path,
    formats: Sequence[str] = FORMATS,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write each figure in each format, to files with the figure's name.

    Args:
        figures: The figures.
        folder: Their folder; it is created if it does not exist.
        formats: Some of ``FORMATS``.
        tell: Called with a message before each figure, which takes about a second.

    Raises:
        EnvironmentFault: kaleido or a browser is missing, or the folder cannot be written.
    """
    try:
        import kaleido  # noqa: PLC0415 - an extra
        from kaleido.errors import ChromeNotFoundError  # noqa: PLC0415 - as above
    except ImportError as error:
        raise EnvironmentFault(f"{_NEEDS} ({error})") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kaleido.start_sync_server(silence_warnings=True)
        try:
            written = []
            for place, figure in enumerate(figures, start=1):
                tell(f"figure {place} of {len(figures)}: {figure.name}")
                written += [_write(kaleido, figure, folder / f"{figure.name}.{one}") for one in formats]
            return written
        finally:
            kaleido.stop_sync_server(silence_warnings=True)
    except ChromeNotFoundError as error:
        raise EnvironmentFault(f"{_NEEDS} (no browser was found)") from error
    except (OSError, RuntimeError) as error:
        raise EnvironmentFault(f"figures cannot be written to {folder}: {error}") from error


def _write(kaleido: Any, figure: Figure, file: Path) -> Path:
    how = {"format": file.suffix[1:], "width": _WIDTH, "height": _HEIGHT, "scale": _SCALE}
    kaleido.write_fig_sync(to_plotly(figure), path=file, opts=how)
    return file


class Plots:
    """Figures of a study as ``plotly.graph_objects.Figure`` objects; the data are read once, on first use."""

    def __init__(self, store: StoreReader, study: str, board: Table) -> None:
        self._store = store
        self._study = study
        self._board = board

    @cached_property
    def _data(self) -> ReportData:
        return gather(self._store, self._study, self._board)

    def history(self) -> Any:
        """Draw the value of each complete trial in order of completion, and the best value so far."""
        return self._only("history")

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
