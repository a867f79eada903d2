"""Images with more than 8 bits per channel: detecting them, reading them, and scaling them to 8 bits."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cnn_sweep.regular_files import check_regular

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Values = npt.NDArray[np.uint16]

_ROWS = 256  # rows of an image that are converted at once
WHOLE = 16  # bits per value in the file
_RANGES = (8, 10, 12, 14, WHOLE)  # bit depths of cameras and scanners
_BITS = 258  # TIFF tag: bits of each channel
_PLANAR = 284  # TIFF tag: 2 if each channel is stored separately
_NATIVE_SWAPPED = "B" if sys.byteorder == "little" else "L"
# Pillow keeps only the high byte of each 16-bit colour value. Read with the byte order swapped, it keeps the low byte,
# so two reads give the whole value.
_SWAPPED = {"B": "L", "L": "B", "N": _NATIVE_SWAPPED}
_EXACT = ("RGB", "RGBA", "RGBX")


class UnreadableDepthError(Exception):
    """Pixel values that cannot be scaled to 8 bits without guessing; the message is the reason."""


def is_deep(image: Image.Image) -> bool:
    """Return whether an opened, not yet loaded, image has more than 8 bits per channel."""
    stored: Any = getattr(image, "tag_v2", {}).get(_BITS, 0)
    most = max(stored) if isinstance(stored, tuple) else stored
    return image.mode.startswith("I") or ";16" in _raw_mode(image) or most == WHOLE


def is_deep_file(content: Any) -> bool:
    """Return whether a file, or its bytes, is an image of more than 8 bits per channel; reads its header only."""
    try:
        if isinstance(content, str):
            check_regular(content)
        with Image.open(content) as image:
            return is_deep(image)
    except Exception:  # noqa: BLE001 - damaged files can raise any exception
        return False


def bits_for(peak: int) -> int:
    """Return the smallest usual bit depth that can hold a value.

    >>> bits_for(4095), bits_for(4096), bits_for(65535)
    (12, 14, 16)
    """
    return next((bits for bits in _RANGES if peak < 2**bits), WHOLE)


def narrowed_note(what: str, peak: int) -> str:
    """Return a note that 16-bit files use fewer than 16 bits."""
    bits = bits_for(peak)
    return (
        f"{what} of 16 bits have no value above {peak}, so {2**bits - 1} is taken for white, as with bits: {bits}; "
        f"if white is {2**WHOLE - 1}, write bits: {WHOLE} in the data section"
    )


def read_deep(image: Image.Image, reopen: Callable[[], Image.Image]) -> Values | None:
    """Return an image's values, (height, width, channels); None if Pillow can read only their high bytes.

    Args:
        image: Opened, not yet loaded.
        reopen: Opens the same file once more.

    Raises:
        UnreadableDepthError: The values are outside 0 to 65535, or stored in a layout that Pillow misreads.
    """
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.size and (levels.min() < 0 or levels.max() >= 2**WHOLE):
            raise UnreadableDepthError("32-bit pixels; save it with 8 or 16 bits")
        return levels.astype(np.uint16)[..., np.newaxis]
    if getattr(image, "tag_v2", {}).get(_PLANAR) == 2:
        raise UnreadableDepthError("16-bit colours in separate planes; save it with 8 bits, or with interleaved planes")
    layout, _, order = _raw_mode(image).partition(";16")
    if layout == "LA":  # Pillow has no 16-bit LA, so the two bytes of grey and of alpha are read as RGBA
        pairs = np.asarray(_as(image, lambda _: "RGBA")).astype(np.uint16)
        return np.asarray(pairs[..., 0::2] * 256 + pairs[..., 1::2])
    if layout not in _EXACT or order not in _SWAPPED:
        return None
    low = _as(reopen(), lambda mode: mode.replace(f";16{order}", f";16{_SWAPPED[order]}"))
    values = np.asarray(image).astype(np.uint16)
    values <<= 8
    values += np.asarray(low)
    return values


def to_eight_bits(values: Values, bits: int, clear: Any = None) -> Image.Image:
    """Scale values from 0..2**bits - 1 to 0..255; larger values become 255.

    Args:
        values: Shape (height, width, channels): grey, grey and alpha, colours, or colours and alpha.
        bits: Bits that the values use; alpha always uses all 16.
        clear: The grey level or RGB colour that is transparent, if any.
    """
    if clear is not None:
        is_seen = (values != np.array(clear)).any(axis=-1, keepdims=True)
        values = np.concatenate([values, is_seen * np.uint16(2**WHOLE - 1)], axis=-1)
    channels = values.shape[-1]
    whites = np.full(channels, 2**bits - 1.0)
    if channels in {2, 4}:
        whites[-1] = 2**WHOLE - 1
    eight = np.empty(values.shape, np.uint8)
    for first in range(0, len(values), _ROWS):  # floating-point numbers of a whole image may take gigabytes
        rows = slice(first, first + _ROWS)
        eight[rows] = np.round(np.minimum(values[rows] / (whites / 255.0), 255.0))
    return Image.fromarray(eight[..., 0] if channels == 1 else eight)


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name for the file's pixel layout, such as ``RGB;16B``."""
    tiles = getattr(image, "tile", None)
    arguments: Any = tiles[0].args if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _as(image: Any, other: Callable[[str], str]) -> Image.Image:
    """Make Pillow read an image as if its pixels had another layout."""
    tiles = []
    for tile in image.tile:
        arguments = tile.args
        changed = other(arguments) if isinstance(arguments, str) else (other(arguments[0]), *arguments[1:])
        tiles.append(tile._replace(args=changed))
    image.tile = tiles
    return image  # type: ignore[no-any-return]
