"""A contact sheet: rows of small images with a title each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CELL = 112  # pixels of an image's longer side on the sheet; small images are enlarged by whole numbers
_GAP = 4
_TITLE = 18


def contact_sheet(rows: Mapping[str, Any], path: Path, *, factor: float) -> None:
    """Write a PNG.

    Args:
        rows: Title of each row, and its images, (n, height, width, channels).
        path: Where to.
        factor: What brings floating-point values to 0..1.

    Raises:
        EnvironmentFault: The file cannot be written.
    """
    pictures = {title: [_picture(image, factor) for image in images] for title, images in rows.items()}
    sizes = [picture.size for row in pictures.values() for picture in row]
    width, height = (max(side) for side in zip(*sizes, strict=True))
    columns = max(len(row) for row in pictures.values())
    row_height = _TITLE + height + _GAP
    sheet = Image.new("RGB", (_GAP + columns * (width + _GAP), _GAP + len(pictures) * row_height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for number, (title, row) in enumerate(pictures.items()):
        top = _GAP + number * row_height
        draw.text((_GAP, top), title, fill="black", font=font)
        for column, picture in enumerate(row):
            sheet.paste(picture, (_GAP + column * (width + _GAP), top + _TITLE))
    try:
        sheet.save(path, format="PNG")
    except OSError as error:
        raise EnvironmentFault(f"{path}: the sheet cannot be written: {error.strerror or error}") from error


def _picture(image: Any, factor: float) -> Image.Image:
    if image.dtype != np.uint8:
        image = np.clip(image * factor * 255.0, 0, 255).astype(np.uint8)
    if image.shape[-1] not in (1, 3):  # channels that are no colours: their mean
        image = image.mean(axis=-1, keepdims=True).astype(np.uint8)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    enlarge = _CELL // max(picture.size)
    if enlarge > 1:
        return picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST)
    picture.thumbnail((_CELL, _CELL))
    return picture
