"""Metadata of image files: turns images upright, and removes malformed metadata so that the pixels can be read."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange width and height
_ORIENTATION = 0x0112  # EXIF tag
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}  # byte orders
# Tags that describe the pixels (TIFF 6.0, and its supplements for JPEG and for planar data).
_TIFF_PIXELS = {
    *(
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        277,
        278,
        279,
        284,
        292,
        293,
        317,
        320,
        322,
        323,
        324,
        325,
        332,
        338,
        339,
        347,
    ),
    *range(512, 522),
    *range(529, 533),
}
_SHORT = 3  # type of TIFF's tags
_JPEG = b"\xff\xd8"
_JPEG_SCAN = 0xDA  # marker before the pixels
_JPEG_PIXELS = {0xE0, 0xEE}  # application segments to keep: JFIF, and Adobe, which holds the colour encoding
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation of an image, 1 for upright; None if the EXIF data cannot be read."""
    if image.format == "JPEG" and "exif" not in image.info:
        return 1
    try:
        with warnings.catch_warnings(action="ignore"):  # about unrelated tags
            found = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - malformed tags can raise any exception
        return None
    return found if found in _METHODS else 1


def turned(image: Image.Image, orientation: int | None) -> Image.Image:
    """Turn an image upright. Unlike Pillow's function, this reads no tag, so malformed ones do no harm."""
    method = _METHODS.get(orientation or 1)
    return image if method is None else image.transpose(method)


def without_metadata(content: bytes) -> bytes:
    """Return a PNG, JPEG or TIFF file reduced to its first image's pixels; other and damaged files unchanged."""
    with contextlib.suppress(struct.error, IndexError):
        if content.startswith(_PNG):
            return _PNG + b"".join(_png_chunks(content))
        if content.startswith(_JPEG):
            return _JPEG + b"".join(_jpeg_segments(content))
        if content[:4] in _TIFF:
            return _tiff_of_pixels(content, _TIFF[content[:4]])
    return content


def _png_chunks(content: bytes) -> Iterator[bytes]:
    at = len(_PNG)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, end = content[at + 4 : at + 8], at + 12 + length
        is_sound = zlib.crc32(content[at + 4 : end - 4]) == int.from_bytes(content[end - 4 : end], "big")
        if kind in _PNG_PIXELS or (kind == b"eXIf" and is_sound):
            yield content[at:end]
        at = end


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    at = len(_JPEG)
    while content[at + 1] != _JPEG_SCAN:
        (length,) = struct.unpack_from(">H", content, at + 2)
        marker, end = content[at + 1], at + 2 + length
        is_metadata = marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in _JPEG_PIXELS)
        if not is_metadata:
            yield content[at:end]
        at = end
    yield content[at:]


def _tiff_of_pixels(content: bytes, order: str) -> bytes:
    """Append a directory with only the tags that pixels need, and make it the first one."""
    (at,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, at)
    entries = []
    for first in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", content, first)
        if tag in _TIFF_PIXELS or (tag == _ORIENTATION and (kind, number) == (_SHORT, 1)):
            entries.append(content[first : first + 12])
    body = content + b"\0" * (len(content) % 2)
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return body[:4] + struct.pack(f"{order}I", len(body)) + body[8:] + directory
