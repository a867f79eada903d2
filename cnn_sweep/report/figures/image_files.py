"""Figures as files for papers: SVG, PNG, PDF. Plotly draws them in a Chromium without a window, through kaleido."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cnn_sweep.report.figures.figure import Figure

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


def live(figure: Figure) -> Any:
    """Return a figure as Plotly's ``Figure``, on white."""
    import plotly.graph_objects as go  # noqa: PLC0415 - takes longer to import than most reports to write

    return go.Figure({"data": list(figure.data), "layout": _PAPER | figure.layout})


def write_images(
    figures: Sequence[Figure],
    folder: Path,
    formats: Sequence[str] = FORMATS,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write each figure in each format, named after it.

    Args:
        figures: Which.
        folder: Where; it is made if it does not exist.
        formats: Of ``FORMATS``.
        tell: Is told which figure is being drawn, which takes a second each.

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
    kaleido.write_fig_sync(live(figure), path=file, opts=how)
    return file
