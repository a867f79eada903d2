"""The source ``tiles``: one large picture cut into a grid; labelled tiles for training, the others to predict."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from cnn_sweep.errors import InputError, blamed_on
from cnn_sweep.messages import listed, near
from cnn_sweep.regular_files import check_regular
from cnn_sweep.training.data.arrays import MAX_RATIO, is_bomb
from cnn_sweep.training.data.bit_depth import WHOLE, UnreadableDepthError, bits_for, is_deep, narrowed_note
from cnn_sweep.training.data.class_names import class_notes, in_order
from cnn_sweep.training.data.dataset import SPLITS, UNLABELLED, Item, TileGrid
from cnn_sweep.training.data.image_decoder import FORMATS, UnusableImageError, eight_bits, of_any_size, shallow
from cnn_sweep.training.data.image_files import without_validation
from cnn_sweep.training.data.label_tables import check_not_numbers, read_table, without_missing
from cnn_sweep.training.data.metadata import without_metadata
from cnn_sweep.training.data.raw_images import Part, Source, in_form, taken
from cnn_sweep.training.data.splits import Labelled, divide
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import TilesData
    from cnn_sweep.training.data.raw_images import Array, Indices, Labels


_PIXEL_BYTES: Final = 4  # that a pixel of a colour picture takes in Pillow


@dataclass(frozen=True)
class TileImages:
    """The tiles of a picture, row by row.

    Attributes:
        picture: Shape (height, width, channels), uint8.
        grid: Its grid of tiles.
    """

    picture: Array
    grid: TileGrid

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a tile."""
        return (*self.grid.size, self.picture.shape[-1])

    @property
    def is_uint8(self) -> bool:
        """Always true: pictures are read as 8 bits."""
        return True

    def read(self, index: Indices) -> Array:
        """Return the tiles at these indices."""
        height, width = self.grid.size
        down, right = self.grid.stride
        corners = ((int(k) // self.grid.columns * down, int(k) % self.grid.columns * right) for k in index)
        return np.stack([self.picture[y : y + height, x : x + width] for y, x in corners])

    def item(self, index: int) -> Item:
        """Return the row and column of a tile."""
        row, column = divmod(index, self.grid.columns)
        return Item(f"{self.grid.file}[{row},{column}]", row, column)


def tile_classes(spec: TilesData, folder: Path) -> tuple[str, ...]:
    """Return the names of the classes.

    Raises:
        InputError: The table cannot be read.
    """
    if spec.classes is not None:
        return tuple(spec.classes)
    table = path_in(folder, spec.labels.table or "")
    labels, _ = without_missing([label for (label,) in read_table(table, spec.labels, ["label"])], None, table)
    check_not_numbers(labels, table)
    return tuple(in_order({label for label in labels if label}))


def tile_files(spec: TilesData, folder: Path) -> list[Path]:
    """Return the source files of the tiles."""
    names = (spec.picture, spec.labels.mask, spec.labels.table)
    return [path_in(folder, name) for name in names if name is not None]


def read_tiles(spec: TilesData, folder: Path) -> Source:
    """Cut the picture and label its tiles.

    Raises:
        InputError: A file cannot be read, or does not match the picture.
    """
    picture, notes = _read_picture(spec, folder)
    stride = spec.stride or spec.size
    height, width = picture.shape[:2]
    rows, columns = (
        (side - tile) // step + 1 for side, tile, step in zip((height, width), spec.size, stride, strict=True)
    )
    if rows < 1 or columns < 1:
        raise InputError(f"{spec.picture}: {height} x {width} pixels are less than one tile of {spec.size}")
    grid = TileGrid(rows, columns, spec.size, stride, (height, width), spec.picture)
    classes = tile_classes(spec, folder)
    with blamed_on("data", "labels", "mask" if spec.labels.mask else "table"):
        labels, splits = (
            _labels_of_mask(spec, folder, grid)
            if spec.labels.mask
            else _labels_of_table(spec, folder, grid, classes, notes)
        )
    tiles = in_form(TileImages(picture, grid), spec)
    blocks = None if spec.block is None else _blocks(grid, spec.block)
    whole = Part(tiles, np.arange(len(labels)), labels, blocks)
    found = _splits(spec, Labelled(labels, classes, blocks), splits)
    parts = {name: whole.take(index) for name, index in found.items()}
    if UNLABELLED in parts:
        parts[UNLABELLED] = replace(parts[UNLABELLED], groups=None)
    if "train" not in parts:
        raise InputError(f"{spec.labels.mask or spec.labels.table}: no tile is labelled for training")
    if splits is not None:
        notes += without_validation(spec, parts)
    if spec.classes is None:
        notes += class_notes(classes)
    return Source(parts, classes, notes=(*notes, *_notes(spec, grid, stride)), grid=grid)


def _blocks(grid: TileGrid, size: int) -> tuple[str, ...]:
    """Return the block of each tile."""
    return tuple(f"{row // size},{column // size}" for row in range(grid.rows) for column in range(grid.columns))


def _splits(spec: TilesData, tiles: Labelled, splits: Array | None) -> dict[str, Indices]:
    labelled = np.flatnonzero(tiles.y >= 0)
    if splits is not None:
        found = {name: labelled[splits[labelled] == name] for name in SPLITS[:3]}
    else:
        images = Labelled(tiles.y[labelled], tiles.names, taken(tiles.groups, labelled))
        parts = divide(images, validation=spec.validation_set, test=spec.test, seed=spec.seed)
        found = {name: labelled[index] for name, index in parts.items()}
    found[UNLABELLED] = np.flatnonzero(tiles.y < 0)
    return {name: index for name, index in found.items() if len(index)}


def _notes(spec: TilesData, grid: TileGrid, stride: tuple[int, int]) -> list[str]:
    notes = []
    rest = [(side - tile) % step for side, tile, step in zip(grid.picture, grid.size, stride, strict=True)]
    if any(rest):
        notes.append(f"{spec.picture}: {rest[0]} pixels at the bottom and {rest[1]} at the right fill no tile")
    if any(step < tile for step, tile in zip(stride, grid.size, strict=True)):
        notes.append("tiles overlap, so neighbours that are in two sets share pixels")
    return notes


def _read(path: Path, finish: Callable[[Callable[[], Image.Image]], Any], check: Callable[[Image.Image], None]) -> Any:
    """Open a picture without Pillow's limit of its size, and ignore malformed metadata.

    Args:
        path: The picture.
        finish: Reads its pixels; receives a function that opens it.
        check: Is called with the picture, not yet loaded.
    """

    def opened(content: Any) -> Image.Image:
        image = Image.open(content, formats=FORMATS)
        check(image)
        return image

    try:
        check_regular(path)
        with warnings.catch_warnings(), of_any_size():
            warnings.simplefilter("ignore")
            try:
                return finish(lambda: opened(path))
            except (UnusableImageError, UnreadableDepthError):
                raise
            except Exception:
                content = path.read_bytes()
                bare = without_metadata(content)
                if bare == content:
                    raise
                return finish(lambda: opened(io.BytesIO(bare)))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or f'the picture cannot be read: {error}'}") from error
    except (UnusableImageError, UnreadableDepthError) as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path}: the picture cannot be read: {error or type(error).__name__}") from error


def _check_size(image: Image.Image, path: Path) -> None:
    """Check that a picture's size fits its file's, since a small file may take gigabytes when it is decoded.

    Raises:
        UnusableImageError: It does not.
    """
    width, height = image.size
    if is_bomb(width * height * _PIXEL_BYTES, path.stat().st_size):
        raise UnusableImageError(
            f"{width:,} x {height:,} pixels take more than {MAX_RATIO} times the file's size, as no picture does; if "
            "it is right, save it without compression"
        )


def _read_picture(spec: TilesData, folder: Path) -> tuple[Array, list[str]]:
    """Return the picture, (height, width, channels), and notes about it."""
    mode: Any = "L" if spec.color == "grayscale" else "RGB"
    notes: list[str] = []

    def finish(reopen: Callable[[], Image.Image]) -> Any:
        image = reopen()
        if not is_deep(image):
            image.load()
            return np.atleast_3d(np.asarray(eight_bits(image, mode)))
        picture, peak = shallow(image, reopen, spec.bits)
        if spec.bits is None and peak and bits_for(peak) < WHOLE:
            picture, _ = shallow(reopen(), reopen, bits_for(peak))
            notes[:] = [narrowed_note(f"{spec.picture}: pixels", peak)]
        return np.atleast_3d(np.asarray(eight_bits(picture, mode)))

    path = path_in(folder, spec.picture)
    with blamed_on("data", "picture"):
        return _read(path, finish, lambda image: _check_size(image, path)), notes


def _labels_of_mask(spec: TilesData, folder: Path, grid: TileGrid) -> tuple[Labels, None]:
    path = path_in(folder, spec.labels.mask or "")

    def check(image: Image.Image) -> None:
        if image.size[::-1] != grid.picture:
            raise UnusableImageError(f"the mask has {image.size[::-1]} pixels, the picture {grid.picture}")

    mask: Any = _read(path, lambda reopen: np.asarray(reopen()), check)
    if mask.ndim != 2:
        raise InputError(f"{path}: a mask has one value per pixel, but this has {mask.shape[-1]} channels")
    values = np.array(list(spec.classes.values()) if isinstance(spec.classes, dict) else [])
    tiles = TileImages(mask[..., np.newaxis], grid)
    labels = np.full(grid.rows * grid.columns, -1, np.int32)
    for k in range(len(labels)):
        shares = (tiles.read(np.array([k])) == values).mean(axis=(0, 1, 2))  # (classes,)
        best = int(shares.argmax())
        if shares[best] >= spec.labels.cover:
            labels[k] = best
    absent = [name for k, name in enumerate(spec.classes or ()) if not (labels == k).any()]
    if absent:
        found = ", ".join(map(str, np.unique(mask)[:12].tolist()))
        raise InputError(
            f"{path}: no tile of the class {', '.join(absent)}; a tile needs {spec.labels.cover:g} of its pixels "
            f"of one class. Values in the mask: {found}"
        )
    return labels, None


def _labels_of_table(
    spec: TilesData, folder: Path, grid: TileGrid, classes: Sequence[str], notes: list[str]
) -> tuple[Labels, Array | None]:
    path = path_in(folder, spec.labels.table or "")
    rows = read_table(path, spec.labels, ("row", "column", "label", "split"), notes)
    cleaned, missing = without_missing([row[2] for row in rows], spec.classes, path)
    notes += missing
    labels = np.full(grid.rows * grid.columns, -1, np.int32)
    splits = np.full(len(labels), "", "U16")
    seen = set()
    for (row, column, _, *split), label in zip(rows, cleaned, strict=True):
        k = _place(row, column, grid, path)
        if k in seen:
            raise InputError(f"{path}: the tile [{row},{column}] is listed twice")
        seen.add(k)
        if not label or split == [UNLABELLED]:
            continue
        if label not in classes:
            raise InputError(f"{path}: tile [{row},{column}]: label {label!r} is not a class; valid: {listed(classes)}")
        if split and split[0] not in SPLITS:
            raise InputError(
                f"{path}: tile [{row},{column}]: unknown split {split[0]!r}{near(split[0], SPLITS)}; "
                f"valid: {listed(SPLITS)}"
            )
        labels[k] = classes.index(label)
        splits[k] = split[0] if split else ""
    return labels, splits if spec.labels.split else None


def _place(row: str, column: str, grid: TileGrid, path: Path) -> int:
    try:
        y, x = int(row), int(column)
    except ValueError as error:
        raise InputError(f"{path}: row and column must be whole numbers, not {row!r} and {column!r}") from error
    if not (0 <= y < grid.rows and 0 <= x < grid.columns):
        raise InputError(f"{path}: no tile [{y},{x}]; the grid has {grid.rows} rows and {grid.columns} columns, from 0")
    return y * grid.columns + x
