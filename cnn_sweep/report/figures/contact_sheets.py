"""Pictures of images: contact sheets with captions, thumbnails, mosaics of tiles and activation maps."""

from __future__ import annotations

import base64
import io
import math
import os
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnn_sweep.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Images = npt.NDArray[np.generic]

_NO_CHARACTER = "\uffff"  # drawn as the box that a font has for missing characters
_SMALLEST = 72  # pixels of a thumbnail's longer side: smaller images are enlarged by an integer factor
_LARGEST = 160  # pixels; larger images are reduced to this size
_MARGIN = 6
_FONT_SIZE = 12
_MOST_PIXELS = 200_000_000  # most programs cannot open larger pictures

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(images: Images, captions: Sequence[str]) -> Image.Image:
    """Arrange images in rows, each with its caption below.

    Args:
        images: Shape (n, height, width, channels), one or three channels; floating-point values are scaled as a whole.
        captions: One per image; lines wider than the images widen the cells.

    Raises:
        InputError: There are no images, or too many for one picture.
    """
    if not len(images):
        raise InputError("there is no image to show")
    size = _thumbnail_size(images.shape[1], images.shape[2])
    font = load_font(_FONT_SIZE)
    captions = [drawable(caption, font) for caption in captions]
    widest = max(int(font.getlength(line)) for caption in captions for line in caption.split("\n"))
    lines = max(caption.count("\n") + 1 for caption in captions)
    cell = (max(size[0], widest) + 2 * _MARGIN, size[1] + lines * (_FONT_SIZE + 3) + _MARGIN)
    columns = min(len(images), max(1, round(math.sqrt(len(images) * cell[1] / cell[0] * 1.4))))
    rows = -(-len(images) // columns)
    sheet = _canvas("RGB", (columns * cell[0] + _MARGIN, rows * cell[1] + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (picture, caption) in enumerate(zip(_thumbnails(images), captions, strict=True)):
        x, y = _MARGIN + place % columns * cell[0], _MARGIN + place // columns * cell[1]
        sheet.paste(picture, (x, y))
        draw.multiline_text((x, y + size[1] + 1), caption, "black", font, spacing=2)
    return sheet


def sheet_of_rows(rows: Mapping[str, Images]) -> Image.Image:
    """Arrange images in titled rows; their form is that in :func:`contact_sheet`."""
    pictures = iter(_thumbnails(np.concatenate(list(rows.values()))))
    found = {title: [next(pictures) for _ in images] for title, images in rows.items()}
    sizes = [picture.size for row in found.values() for picture in row]
    width, height = (max(side) for side in zip(*sizes, strict=True))
    columns, row_height = max(map(len, found.values())), _FONT_SIZE + 2 * _MARGIN + height
    sheet = _canvas("RGB", (_MARGIN + columns * (width + _MARGIN), _MARGIN + len(found) * row_height), "white")
    draw, font = ImageDraw.Draw(sheet), load_font(_FONT_SIZE)
    for number, (title, row) in enumerate(found.items()):
        top = _MARGIN + number * row_height
        draw.text((_MARGIN, top), drawable(title, font), "black", font)
        for column, picture in enumerate(row):
            sheet.paste(picture, (_MARGIN + column * (width + _MARGIN), top + _FONT_SIZE + _MARGIN))
    return sheet


def thumbnail_uris(images: Images) -> list[str]:
    """Return thumbnails as ``data:`` URIs of PNGs; the form of images is that in :func:`contact_sheet`."""
    return [_data_uri(picture) for picture in _thumbnails(images)] if len(images) else []


def _data_uri(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def _thumbnails(images: Images) -> Iterator[Image.Image]:
    low, high = _limits(images)
    size = _thumbnail_size(images.shape[1], images.shape[2])
    how = Image.Resampling.NEAREST if size[0] >= images.shape[2] else Image.Resampling.LANCZOS
    return (_picture(image, low, high).resize(size, how) for image in images)


def mosaic(
    images: Images, places: Sequence[tuple[int, int]], opacity: npt.NDArray[np.floating], *, step: tuple[float, float]
) -> Image.Image:
    """Put tiles back into their picture, each with its own opacity.

    Args:
        images: The tiles, shape (n, height, width, channels).
        places: Row and column of each.
        opacity: Shape (n,), from 0 (invisible) to 1.
        step: Distance between neighbouring tiles, down and to the right, in pixels of the tiles.

    Returns:
        A picture with an alpha channel, transparent where there is no tile.
    """
    height, width = images.shape[1:3]
    corners = [(round(row * step[0]), round(column * step[1])) for row, column in places]
    bottom, right = (max(corner[axis] for corner in corners) for axis in (0, 1))
    whole = _canvas("RGBA", (right + width, bottom + height), (0, 0, 0, 0))
    low, high = _limits(images)
    for image, (top, left), share in zip(images, corners, opacity, strict=True):
        tile = _picture(image, low, high).convert("RGBA")
        tile.putalpha(round(255 * float(np.clip(share, 0.0, 1.0))))
        whole.paste(tile, (left, top))
    return whole


def activation_maps(values: npt.NDArray[np.floating], *, channel: int | None = None) -> Image.Image:
    """Show a layer's output for one image: one channel, or all of them side by side.

    Each channel is scaled from black (its smallest value) to white.

    Args:
        values: Shape (height, width, channels); or (units,), where each unit becomes a square.
        channel: Index of the channel; None for all.

    Raises:
        InputError: The layer has no such channel.
    """
    maps = np.moveaxis(values, -1, 0) if values.ndim == 3 else values.reshape(-1, 1, 1)
    if channel is not None and not 0 <= channel < len(maps):
        raise InputError(f"no channel {channel}; the layer has {len(maps)}, numbered from 0")
    if values.ndim == 3:
        lowest = maps.min(axis=(1, 2), keepdims=True)
        spread = np.ptp(maps, axis=(1, 2), keepdims=True)
    else:
        lowest, spread = maps.min(), np.ptp(maps)
    grey = np.round(255 * (maps - lowest) / np.where(spread > 0, spread, 1)).astype(np.uint8)[..., np.newaxis]
    wanted = range(len(maps)) if channel is None else [channel]
    numbers = [str(number) if values.ndim == 3 else f"{number}: {values[number]:.3g}" for number in wanted]
    return contact_sheet(grey[list(wanted)], numbers)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format of the file's suffix; the file appears complete or not at all.

    Raises:
        InputError: Pillow does not know the format.
        EnvironmentFault: The file cannot be written.
    """
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        picture.save(aside)
        aside.replace(path)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: {path.suffix or 'no suffix'} is not a picture format; use .png") from error
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def _thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Return the (width, height) of thumbnails, in pixels."""
    longer = max(height, width)
    factor = min(1.0, _LARGEST / longer) if longer >= _SMALLEST else math.ceil(_SMALLEST / longer)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _limits(images: Images) -> tuple[float, float]:
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return float(images.min()), float(images.max())


def _picture(image: Images, low: float, high: float) -> Image.Image:
    pixels: Any = image
    if image.dtype != np.uint8:
        pixels = np.round(255 * (np.asarray(image, float) - low) / ((high - low) or 1.0)).astype(np.uint8)
    # Only the first channel is shown unless there are three.
    return Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]))


def _canvas(mode: str, size: tuple[int, int], color: Any) -> Image.Image:
    if size[0] * size[1] > _MOST_PIXELS:
        raise InputError(f"the picture would have {size[0]} x {size[1]} pixels; show fewer images")
    return Image.new(mode, size, color)


def load_font(size: int) -> Font:
    """Load DejaVu Sans (Debian: fonts-dejavu-core), or Pillow's own font, which has little more than ASCII."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def drawable(text: str, font: Font) -> str:
    """Replace characters that the font lacks with unaccented letters or question marks."""
    box = bytes(font.getmask(_NO_CHARACTER))
    return "".join(
        character if character.isascii() or bytes(font.getmask(character)) != box else _plain(character)
        for character in unicodedata.normalize("NFC", text)
    )


def _plain(character: str) -> str:
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"
