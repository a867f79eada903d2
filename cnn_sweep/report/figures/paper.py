"""Figures as files for papers, in the width and with the letters that a journal asks for.

Kaleido draws them in a headless Chromium. SVG and PDF are vectors. A PDF has its fonts in it, an SVG the outlines of
its letters.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from PIL import Image

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.report.figures.cells import as_vectors
from cnn_sweep.report.figures.letters import NoFontError, outlined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cnn_sweep.report.figures.figure import Figure

FORMATS: Final = ("svg", "png", "pdf")
CAPTIONS: Final = "captions.md"
DEFAULT_WIDTH: Final = "180mm"  # two columns of most journals
DEFAULT_FONT: Final = "8pt"
_DPI: Final = 300  # of a PNG
_PX_PER_MM: Final = 96 / 25.4  # a browser's pixels
_PX_PER_PT: Final = 96 / 72
_MM: Final = {"mm": 1.0, "cm": 10.0, "in": 25.4, "pt": 25.4 / 72}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_WIDTHS_MM: Final = (40.0, 1_000.0)
_FONTS_PT: Final = (4.0, 36.0)
_HEIGHT: Final = 0.62  # of the width
_LETTERS: Final = 14.0  # pixels of letters to which the sizes of points and lines in figures fit
_FAMILY: Final = "Arial, Helvetica, Liberation Sans, DejaVu Sans, sans-serif"
_NEEDS = "images of figures need kaleido and Chrome or Chromium: pip install 'cnn-sweep[figures]', apt install chromium"


@dataclass(frozen=True)
class Paper:
    """What a figure has to fit.

    Attributes:
        width_mm: Width of a figure in millimetres.
        font_pt: Size of letters in points.
    """

    width_mm: float
    font_pt: float

    @classmethod
    def of(cls, width: str = DEFAULT_WIDTH, font: str = DEFAULT_FONT) -> Self:
        """Read a width, as in ``85mm``, and a size of letters, as in ``8pt``.

        Raises:
            InputError: One of them cannot be read or is out of bounds.
        """
        width_mm, font_pt = _quantity(width, _MM), _quantity(font, {"pt": 1.0})
        if width_mm is None or not _WIDTHS_MM[0] <= width_mm <= _WIDTHS_MM[1]:
            least, most = _WIDTHS_MM
            some = "as in 85mm, 8.5cm, 3.35in or 240pt"
            raise InputError(f"width of figures {width!r}: give one from {least:g}mm to {most:g}mm, {some}")
        if font_pt is None or not _FONTS_PT[0] <= font_pt <= _FONTS_PT[1]:
            raise InputError(
                f"font of figures {font!r}: give a size from {_FONTS_PT[0]:g}pt to {_FONTS_PT[1]:g}pt, as in 8pt"
            )
        return cls(width_mm, font_pt)

    @property
    def size_px(self) -> tuple[float, float]:
        """Width and height in a browser's pixels, of which 96 are an inch."""
        width = self.width_mm * _PX_PER_MM
        return width, _HEIGHT * width

    @property
    def font_px(self) -> float:
        """Size of letters in a browser's pixels."""
        return self.font_pt * _PX_PER_PT


def _quantity(text: str, units: dict[str, float]) -> float | None:
    found = _QUANTITY.fullmatch(text.strip().lower())
    return float(found[1]) * units[found[2]] if found and found[2] in units else None


def write_images(
    figures: Sequence[Figure],
    folder: Path,
    paper: Paper,
    formats: Sequence[str] = FORMATS,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write each figure in each format, to files with the figure's name, and a file with a caption for each.

    Args:
        figures: The figures.
        folder: Their folder; it is created if it does not exist.
        paper: Their width and their letters.
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
                drawn = for_paper(figure, paper)
                written += [_write(kaleido, drawn, folder / f"{figure.name}.{one}", paper) for one in formats]
        finally:
            kaleido.stop_sync_server(silence_warnings=True)
        if why := _outline_letters([file for file in written if file.suffix == ".svg"]):
            tell(f"letters of SVG files stay text, which other machines show with their own fonts, because {why}")
        captions = "\n\n".join(f"**{figure.name}**: {figure.caption}" for figure in figures)
        (folder / CAPTIONS).write_text(f"{captions}\n", encoding="utf-8")
    except ChromeNotFoundError as error:
        raise EnvironmentFault(f"{_NEEDS} (no browser was found)") from error
    except (OSError, RuntimeError) as error:
        raise EnvironmentFault(f"figures cannot be written to {folder}: {error}") from error
    return written


def _write(kaleido: Any, drawn: Any, file: Path, paper: Paper) -> Path:
    form = file.suffix[1:]
    width, height = paper.size_px
    scale = _DPI / 96 if form == "png" else 1
    how = {"format": form, "width": width, "height": height, "scale": scale}
    kaleido.write_fig_sync(drawn, path=file, opts=how)
    if form == "svg":  # in millimetres: programs take pixels for different lengths
        size = f'width="{paper.width_mm:g}mm" height="{_HEIGHT * paper.width_mm:g}mm"'
        svg = re.sub(r'width="[\d.]+" height="[\d.]+"', size, file.read_text(encoding="utf-8"), count=1)
        file.write_text(svg, encoding="utf-8")
    if form == "png":
        with Image.open(file) as picture:
            picture.load()
        picture.save(file, dpi=(_DPI, _DPI))
    return file


def _outline_letters(files: Sequence[Path]) -> str:
    """Turn the letters of SVG files into outlines; return why that is impossible, or an empty text."""
    try:
        for file in files:
            file.write_text(outlined(file.read_text(encoding="utf-8"), _FAMILY), encoding="utf-8")
    except NoFontError as error:
        return str(error)
    return ""


def for_paper(figure: Figure, paper: Paper) -> Any:
    """Return a figure as a ``plotly.graph_objects.Figure`` whose texts all have the size that a paper asks for."""
    import plotly.graph_objects as go  # noqa: PLC0415 - importing it takes longer than writing most reports

    font = {"size": paper.font_px}
    factor = paper.font_px / _LETTERS
    traces, own = as_vectors(figure)
    layout: dict[str, Any] = _scaled(own, factor)
    for name in ("xaxis", "yaxis"):
        axis = layout.get(name, {})
        title = axis.get("title", {}) | {"font": font}
        layout[name] = axis | {"title": title, "automargin": True, "exponentformat": "power", "minexponent": 6}
        if axis.get("type") == "log":
            layout[name] |= _decades([value for trace in traces for value in trace[name[0]] if value])
    for one in layout.get("annotations", ()):
        one["bgcolor"] = "rgba(255,255,255,0.7)"
    margin = {"l": 0, "r": 0.5, "t": 2.5, "b": 0}
    layout |= {
        "template": "plotly_white",
        "font": font | {"family": _FAMILY, "color": "black"},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": font},
        "margin": {side: lines * paper.font_px for side, lines in margin.items()},
    }
    drawn = go.Figure({"data": [_scaled(trace, factor) for trace in traces], "layout": layout})
    bar = {"title": {"font": font}, "tickfont": font, "thickness": 1.2 * paper.font_px, "outlinewidth": 0}
    drawn.update_traces({"marker": {"colorbar": bar}}, {"name": "scale"})
    drawn.update_traces({"colorbar": bar}, {"type": "heatmap"})
    return drawn


def _decades(values: Sequence[float]) -> dict[str, Any]:
    """Return the ticks of a logarithmic axis; Plotly's own have letters of several sizes."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    digits = (1,) if high - low > 2 else (1, 2, 5)
    ticks = [digit * 10.0**decade for decade in range(low, high + 1) for digit in digits]
    return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _scaled(value: Any, factor: float) -> Any:
    """Scale the sizes of points and the widths of lines, which are those for large letters."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_scaled(one, factor) for one in value]
    if not isinstance(value, dict):
        return value
    sizes = {"size", "width", "thickness", "xshift"}
    if value.get("type") == "bar":
        sizes -= {"width"}  # in units of the axis
    return {
        name: one * factor if name in sizes and isinstance(one, int | float) else _scaled(one, factor)
        for name, one in value.items()
    }
