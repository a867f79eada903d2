"""Sizes and colours of a sample of image files, read from their headers."""

from __future__ import annotations

import math
import statistics
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cnn_sweep.regular_files import check_regular
from cnn_sweep.training.data.image_decoder import FORMATS, of_any_size
from cnn_sweep.training.data.metadata import TURNED, orientation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEADERS = 300  # files whose headers are read
_DECODED = 24  # files whose pixels are read, to see whether colours are grey
_THUMBNAIL = 32  # pixels
_LOADED = 40_000_000  # pixels up to which an image is loaded; larger ones count as coloured and upright
_COLOURLESS = 8  # largest difference between channels of a grey image stored as RGB; JPEG adds a little
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"})
_SAME_SHAPE = 1.15  # ratio of two aspect ratios that count as one


@dataclass(frozen=True)
class Appearance:
    """What a sample of images looks like.

    Attributes:
        height: Median, in pixels.
        width: Median, in pixels.
        smallest: (height, width) of the image with the fewest pixels.
        largest: (height, width) of the image with the most pixels.
        is_grey: Whether no image of the sample has colours.
        has_several_shapes: Whether more than a tenth of the images have another ratio of height to width.
        sampled: Number of files that were opened.
        unreadable: Those of them that are not images.
    """

    height: int
    width: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    is_grey: bool = False
    has_several_shapes: bool = False
    sampled: int = 0
    unreadable: tuple[str, ...] = ()

    @classmethod
    def of_arrays(cls, shape: tuple[int, int, int]) -> Appearance:
        """Return the appearance of images that all have one shape, (height, width, channels)."""
        size = shape[:2]
        return cls(*size, size, size, is_grey=shape[2] == 1)


def sample_images(root: Path, names: Sequence[str]) -> Appearance | None:
    """Open a few hundred files, evenly spaced in the list; return None if none of them is an image.

    Args:
        root: The folder of images.
        names: Their paths in it.
    """
    chosen = _spaced(names, _HEADERS)
    headers = {name: header for name in chosen if (header := _header(root / name)) is not None}
    if not headers:
        return None
    sizes = [size for size, _ in headers.values()]
    unreadable = tuple(name for name in chosen if name not in headers)
    in_colour = [name for name, (_, mode) in headers.items() if mode not in _GREY_MODES]
    return Appearance(
        height=round(statistics.median(height for height, _ in sizes)),
        width=round(statistics.median(width for _, width in sizes)),
        smallest=min(sizes, key=lambda size: size[0] * size[1]),
        largest=max(sizes, key=lambda size: size[0] * size[1]),
        is_grey=all(_is_colourless(root / name) for name in _spaced(in_colour, _DECODED)),
        has_several_shapes=_has_several_shapes(sizes),
        sampled=len(chosen),
        unreadable=unreadable,
    )


def size_of(path: Path) -> tuple[int, int] | None:
    """Return (height, width) of an upright image; None if the file is not an image."""
    found = _header(path)
    return None if found is None else found[0]


def _spaced(names: Sequence[str], count: int) -> list[str]:
    """Return so many names, evenly spaced, so that every class is among them."""
    if len(names) <= count:
        return list(names)
    return [names[place * len(names) // count] for place in range(count)]


def _header(path: Path) -> tuple[tuple[int, int], str] | None:
    """Return ((height, width), mode) of an image that is turned upright; None if it is not an image."""
    try:
        check_regular(path)
        with warnings.catch_warnings(action="ignore"), of_any_size(), Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            is_turned = _loads_soon(image) and orientation(image) in TURNED
            return ((width, height) if is_turned else (height, width)), image.mode
    except Exception:  # noqa: BLE001 - damaged files can raise any exception
        return None


def _loads_soon(image: Image.Image) -> bool:
    """Return whether looking into an image costs little; Pillow loads a PNG to look for its EXIF data."""
    return image.format == "JPEG" or math.prod(image.size) <= _LOADED


def _is_colourless(path: Path) -> bool:
    try:
        check_regular(path)
        with warnings.catch_warnings(action="ignore"), of_any_size(), Image.open(path, formats=FORMATS) as image:
            if not _loads_soon(image):
                return False
            image.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
            pixels = np.asarray(image.convert("RGB").resize((_THUMBNAIL, _THUMBNAIL)), np.int16)
    except Exception:  # noqa: BLE001 - damaged files can raise any exception
        return True
    return bool((pixels.max(axis=-1) - pixels.min(axis=-1)).max() <= _COLOURLESS)


def _has_several_shapes(sizes: Sequence[tuple[int, int]]) -> bool:
    ratios = [height / width for height, width in sizes]
    usual = statistics.median(ratios)
    others = sum(not 1 / _SAME_SHAPE <= ratio / usual <= _SAME_SHAPE for ratio in ratios)
    return others > len(ratios) / 10
