"""Letters of SVG files as outlines, so that a figure looks the same on each machine, whatever fonts it has.

Only what Plotly writes is understood: ``text`` with nested ``tspan``, anchors, lines, bold, italics, and shifts and
sizes of superscripts. fontconfig says which file has a font, and fontTools reads its outlines.
"""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SVG: Final = "http://www.w3.org/2000/svg"
_NAMESPACES: Final = {"": _SVG, "xlink": "http://www.w3.org/1999/xlink"}
_TEXT, _TSPAN, _PATH, _GROUP = (f"{{{_SVG}}}{name}" for name in ("text", "tspan", "path", "g"))
_BOLD_FROM: Final = 600  # of 100 to 900
_INVISIBLE: Final = frozenset("\u200b\u200c\u200d\u2060\ufeff")  # Plotly ends superscripts with the first
_ANCHORS: Final = {"start": 0.0, "middle": 0.5, "end": 1.0}
_OF_LETTERS: Final = re.compile(r"(font|text|white-space|letter-spacing|user-select|pointer-events)")


class NoFontError(Exception):
    """Letters cannot become outlines; the message says why."""


@dataclass(frozen=True)
class _Style:
    """How letters look: their size in pixels, and whether they are bold or slanted."""

    size: float = 16.0
    bold: bool = False
    slanted: bool = False

    def of(self, element: ET.Element) -> _Style:
        """Return the style inside an element."""
        own = _styles(element)
        weight = own.get("font-weight", "")
        bold = self.bold if not weight else weight in {"bold", "bolder"} or _number(weight, 0.0) >= _BOLD_FROM
        slanted = own["font-style"] in {"italic", "oblique"} if "font-style" in own else self.slanted
        return _Style(_length(own.get("font-size", ""), self.size, self.size), bold, slanted)


@dataclass
class _Chunk:
    """Letters with a common anchor.

    Attributes:
        x: Place of the anchor.
        anchor: Share of the width that is left of it.
        width: Width so far.
        parts: Letters, their place after the chunk's beginning, the height of their line, the style of their outlines,
            and how they look.
    """

    x: float = 0.0
    anchor: float = 0.0
    width: float = 0.0
    parts: list[tuple[str, float, float, str, _Style]] = field(default_factory=list)


def _styles(element: ET.Element) -> dict[str, str]:
    pairs = (one.partition(":") for one in element.get("style", "").split(";"))
    own = {name.strip(): value.strip() for name, _, value in pairs if value}
    return {
        name: element.attrib[name] for name in ("font-size", "font-weight", "font-style") if name in element.attrib
    } | own


def _number(text: str, instead: float) -> float:
    found = re.match(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text)
    return float(found[0]) if found else instead


def _length(text: str, size: float, instead: float) -> float:
    """Return a length in pixels; ``em`` and ``%`` are parts of the size of letters."""
    if text.endswith("em"):
        return _number(text, 0.0) * size
    return _number(text, 0.0) * size / 100 if text.endswith("%") else _number(text, instead)


def outlined(svg: str, families: str) -> str:
    """Return an SVG whose letters are outlines; each text is the label of its group for machines that read.

    Args:
        svg: A figure as Plotly writes it.
        families: Names of fonts as in CSS, the best first.

    Raises:
        NoFontError: fontTools or fontconfig is missing, or knows no such font.
    """
    for prefix, name in _NAMESPACES.items():
        ET.register_namespace(prefix, name)
    root = ET.fromstring(svg)  # noqa: S314 - Plotly has written it
    for element in root.iter(_TEXT):
        _outline(element, families)
    return ET.tostring(root, encoding="unicode")


def _outline(element: ET.Element, families: str) -> None:
    """Turn a text into a group of outlines, in its place."""
    setter = _Setter(families)
    pieces = list(setter.pieces(element))
    kept = {name: element.attrib[name] for name in ("class", "transform", "opacity", "fill") if name in element.attrib}
    style = _without_letters(element)
    element.clear()
    element.tag = _GROUP
    element.attrib.update(kept | ({"style": style} if style else {}) | {"role": "img", "aria-label": setter.words})
    for outlines, own in pieces:
        element.append(ET.Element(_PATH, {"d": outlines} | ({"style": own} if own else {})))


def _without_letters(element: ET.Element) -> str:
    return "; ".join(f"{name}: {value}" for name, value in _styles(element).items() if not _OF_LETTERS.match(name))


class _Setter:
    """Sets the letters of one text."""

    def __init__(self, families: str) -> None:
        self._families = families
        self._chunks = [_Chunk()]
        self._y = 0.0

    def pieces(self, text: ET.Element) -> Iterator[tuple[str, str]]:
        """Yield outlines of a text's parts, and the styles of these."""
        self._walk(text, _Style(), "start")
        for chunk in self._chunks:
            left = chunk.x - chunk.anchor * chunk.width
            for letters, after, y, own, style in chunk.parts:
                if found := self._font(style).outlines(letters, left + after, y, style.size):
                    yield found, own

    @property
    def words(self) -> str:
        """The text, with a space between lines."""
        return " ".join("".join(part[0] for part in chunk.parts) for chunk in self._chunks if chunk.parts).strip()

    def _font(self, style: _Style) -> _Font:
        return _font(self._families, style.bold, style.slanted)

    def _walk(self, element: ET.Element, around: _Style, anchor: str) -> None:
        style, given = around.of(element), element.attrib
        anchor = given.get("text-anchor") or _styles(element).get("text-anchor") or anchor
        if "x" in given:
            self._chunks.append(_Chunk(_length(given["x"], style.size, 0.0), _ANCHORS.get(anchor, 0.0)))
        if "y" in given:
            self._y = _length(given["y"], style.size, 0.0)
        self._y += _length(given.get("dy", ""), style.size, 0.0)
        self._chunks[-1].width += _length(given.get("dx", ""), style.size, 0.0)
        own = _without_letters(element) if element.tag == _TSPAN else ""
        self._add(element.text, style, own)
        for child in element:
            self._walk(child, style, anchor)
            self._add(child.tail, style, own)

    def _add(self, text: str | None, style: _Style, own: str) -> None:
        letters = "".join(one for one in text or "" if one not in _INVISIBLE)
        if letters:
            chunk = self._chunks[-1]
            chunk.parts.append((letters, chunk.width, self._y, own, style))
            chunk.width += self._font(style).width(letters, style.size)


class _Font:
    """The outlines of a font, and of others for letters that it lacks."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._first = _read_font(*_file_of(pattern))
        self._others: dict[str, Any] = {}

    def width(self, letters: str, size: float) -> float:
        """Return the width of letters in pixels."""
        return sum(_width(self._with(one), one, size) for one in letters)

    def outlines(self, letters: str, x: float, y: float, size: float) -> str:
        """Return the outlines of letters as the data of a path.

        Args:
            letters: The letters.
            x: Where they begin, in pixels.
            y: The line on which they stand, in pixels from above.
            size: Their size in pixels.
        """
        from fontTools.pens.svgPathPen import SVGPathPen  # noqa: PLC0415 - an extra
        from fontTools.pens.transformPen import TransformPen  # noqa: PLC0415 - as above

        pen = SVGPathPen(None, ntos=_brief)
        for one in letters:
            font = self._with(one)
            scale = size / font["head"].unitsPerEm
            font.getGlyphSet()[_name(font, one)].draw(TransformPen(pen, (scale, 0, 0, -scale, x, y)))
            x += _width(font, one, size)
        return str(pen.getCommands())

    def _with(self, letter: str) -> Any:
        """Return a font that has a letter; if fontconfig knows none, that of the others, with its sign for it."""
        if ord(letter) in self._first.getBestCmap():
            return self._first
        if letter not in self._others:
            other = _read_font(*_file_of(f"{self._pattern}:charset={ord(letter):x}"))
            self._others[letter] = other if ord(letter) in other.getBestCmap() else self._first
        return self._others[letter]


def _brief(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _name(font: Any, letter: str) -> str:
    return str(font.getBestCmap().get(ord(letter), ".notdef"))


def _width(font: Any, letter: str, size: float) -> float:
    return float(font["hmtx"][_name(font, letter)][0] * size / font["head"].unitsPerEm)


@lru_cache(maxsize=8)
def _font(families: str, bold: bool, slanted: bool) -> _Font:  # noqa: FBT001 - as the cache has them
    names = families.replace("\\", "").replace("-", "\\-").replace("'", "")
    return _Font(names + ":bold" * bold + ":italic" * slanted)


@lru_cache(maxsize=64)
def _file_of(pattern: str) -> tuple[str, int]:
    """Ask fontconfig for the file of a font, and for its number in that file."""
    command = ["fc-match", "--format", "%{file}\\t%{index}", pattern]
    try:
        found = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NoFontError(f"fc-match (of fontconfig) does not work: {error}") from error
    file, _, index = found.partition("\t")
    if not file:
        raise NoFontError(f"fontconfig knows no font for {pattern}")
    return file, int(index or 0) & 0xFFFF  # above these bits is the number of a variant


@lru_cache(maxsize=16)
def _read_font(file: str, index: int) -> Any:
    try:
        from fontTools.ttLib import TTFont, TTLibError  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise NoFontError(f"fonttools is missing: pip install 'cnn-sweep[figures]' ({error})") from error
    try:
        font = TTFont(file, fontNumber=index, lazy=True)
        font.getGlyphSet()
        font.getBestCmap()
    except (OSError, TTLibError, KeyError) as error:
        raise NoFontError(f"the font {file} has no outlines that fonttools reads: {error}") from error
    return font
