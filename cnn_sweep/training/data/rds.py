"""The source ``rds``: R lists of images made by the R package imager.

An image (class ``cimg``) is an array of doubles: width, height, depth, channels. The Python package rdata reads them:
https://rdata.readthedocs.io
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.messages import in_bytes
from cnn_sweep.regular_files import read_regular
from cnn_sweep.training.data.arrays import MAX_RATIO, is_bomb
from cnn_sweep.training.data.dataset import UNLABELLED, Item
from cnn_sweep.training.data.image_decoder import BadImage
from cnn_sweep.training.data.raw_images import InMemory, Part, Source, in_form
from cnn_sweep.training.data.splits import Labelled, divide
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import RdsData
    from cnn_sweep.training.data.raw_images import Array

_PACKED: Final[dict[bytes, Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_BLOCK_BYTES: Final = 2**20  # unpacked at once
_MAX_SEQUENCE: Final = 100_000_000  # numbers
_SPLITS = ("train", "validation", "test")
_EXACT = 1e-6  # a value that came from 8 bits, times 255, differs from a whole number by less


@dataclass(frozen=True)
class RdsImages(InMemory):
    """The images of several files; uint8 if all values came from 8 bits, else float32.

    Attributes:
        items: Origin of each image.
    """

    items: tuple[Item, ...]

    def item(self, index: int) -> Item:
        """Return the origin of an image."""
        return self.items[index]


def rds_files(spec: RdsData) -> list[str]:
    """Return the names of all files."""
    named = [getattr(files, split) for files in spec.classes.values() for split in _SPLITS]
    return [name for name in (*named, spec.unlabelled) if name is not None]


def rds_shape(spec: RdsData, folder: Path) -> tuple[int, int, int]:
    """Return (height, width, channels) of an image; reads the first file unless the sweep sets size and colour.

    Raises:
        InputError: The first file cannot be read, or contains no images.
    """
    if spec.image_size is not None and spec.color is not None:
        return (*spec.image_size, 3 if spec.color == "rgb" else 1)
    path = path_in(folder, next(iter(spec.classes.values())).train)
    try:
        return _first_shape(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


@lru_cache(maxsize=8)
def _first_shape(path: Path, _changed: int) -> tuple[int, int, int]:
    for _, value in read_list(path):
        if isinstance(value, np.ndarray) and value.ndim == 4:
            width, height, _, channels = value.shape
            return height, width, channels
    raise InputError(f"{path}: no image among its elements; an image is an array of width x height x 1 x channels")


def read_rds_source(spec: RdsData, folder: Path) -> Source:
    """Read all files.

    Raises:
        InputError: A file cannot be read, or only some classes have a file for a split.
        EnvironmentFault: The package rdata is missing.
    """
    bad: list[BadImage] = []
    found: dict[str, list[tuple[int, Item, Array]]] = {}
    for split in _SPLITS:
        files = {name: getattr(splits, split) for name, splits in spec.classes.items()}
        missing = [name for name, file in files.items() if file is None]
        if missing and len(missing) < len(files):
            raise InputError(f"the class {', '.join(missing)} has no {split} file, but others have; give all or none")
        for label, file in enumerate(files.values()):
            if file is not None:
                found.setdefault(split, []).extend(_images(file, folder, label, bad))
    if spec.unlabelled is not None:
        found[UNLABELLED] = _images(spec.unlabelled, folder, -1, bad)
    images, labels, places = _together(found, bad)
    form = in_form(images, spec)
    splits = {name: Part(form, index, labels[index]) for name, index in places.items()}
    return Source(_divided(splits, spec), tuple(spec.classes), bad=tuple(bad))


def read_list(path: Path) -> list[tuple[str, Any]]:
    """Return names ("" if unnamed) and values of an R list's elements; a single object counts as a list of one.

    Raises:
        InputError: The file cannot be read.
        EnvironmentFault: The package rdata is missing.
    """
    try:
        import rdata  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise EnvironmentFault(".rds files need the package rdata: pip install 'cnn-sweep[rds]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown R classes such as cimg, whose plain array is wanted
            content: Any = _unpacked(read_regular(path))
            parsed = rdata.parser.parse_data(content, extension=".rds", altrep_constructor_dict=_bounded(rdata))
            return _elements(parsed, rdata)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path} is not an .rds file that can be read: {error or type(error).__name__}") from error


def _unpacked(content: bytes) -> bytes | bytearray:
    """Return the bytes that R compressed, as `readRDS` does.

    Raises:
        ValueError: They are too many for the size of the file.
    """
    opening = next((way for mark, way in _PACKED.items() if content.startswith(mark)), None)
    if opening is None:
        return content
    unpacked = bytearray()
    with opening(io.BytesIO(content)) as file:
        while part := file.read(_BLOCK_BYTES):
            unpacked += part
            if is_bomb(len(unpacked), len(content)):
                raise ValueError(f"it would unpack to more than {in_bytes(len(unpacked))}, {MAX_RATIO} times its size")
    return unpacked


def _bounded(rdata: Any) -> dict[bytes, Any]:
    """Return rdata's ways to expand what R stores in short form, with a limit for sequences such as 1:1000000000."""

    def limited(expand: Any) -> Any:
        def expanded(state: Any) -> Any:
            if float(state.value[0]) > _MAX_SEQUENCE:
                raise ValueError(f"it has a sequence of {float(state.value[0]):,.0f} numbers")
            return expand(state)

        return expanded

    usual = rdata.parser.DEFAULT_ALTREP_MAP
    return {name: limited(expand) if name.startswith(b"compact_") else expand for name, expand in usual.items()}


def _elements(parsed: Any, rdata: Any) -> list[tuple[str, Any]]:
    whole = rdata.conversion.convert(parsed)
    if isinstance(whole, dict):
        values = parsed.object.value
        if len(whole) == len(values):
            return [(str(name), value) for name, value in whole.items()]
        # Duplicate names: rdata's dictionary keeps only one element of each.
        return [("", rdata.conversion.convert(value)) for value in values]
    return [("", value) for value in whole] if isinstance(whole, list) else [("", whole)]


def _images(file: str, folder: Path, label: int, bad: list[BadImage]) -> list[tuple[int, Item, Array]]:
    found = []
    elements = read_list(path_in(folder, file))
    if not elements:
        raise InputError(f"{folder / file}: the list is empty")
    for number, (name, value) in enumerate(elements, start=1):
        item = Item(f"{file}#{name or number}")
        reason = _fault(value)
        if reason:
            bad.append(BadImage(item.name, reason))
        else:
            # (width, height, 1, channels) -> (height, width, channels)
            found.append((label, item, value[:, :, 0, :].transpose(1, 0, 2)))
    return found


def _fault(value: Any) -> str | None:
    if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, np.number):
        return "not an array of numbers"
    if value.ndim != 4 or value.shape[2] != 1:
        return f"of the shape {value.shape}, not width x height x 1 x channels"
    return None if np.isfinite(value).all() else "it holds NA, NaN or infinity"


def _together(
    found: Mapping[str, Sequence[tuple[int, Item, Array]]], bad: list[BadImage]
) -> tuple[RdsImages, Any, dict[str, Any]]:
    """Stack the images of all splits into one array; return it with the labels and each split's indices."""
    shape = found["train"][0][2].shape if found["train"] else ()
    rows: list[tuple[int, Item, Array]] = []
    places = {}
    for split, images in found.items():
        first = len(rows)
        for row in images:
            if row[2].shape == shape:
                rows.append(row)
            else:
                bad.append(BadImage(row[1].name, f"{row[2].shape} pixels and channels, but the first has {shape}"))
        places[split] = np.arange(first, len(rows))
    if not len(places["train"]):
        raise InputError(
            "none of the training images can be used: " + "; ".join(f"{b.name}: {b.reason}" for b in bad[:5])
        )
    x = _in_eight_bits(np.stack([pixels for _, _, pixels in rows]))
    return RdsImages(x, tuple(item for _, item, _ in rows)), np.array([y for y, _, _ in rows], np.int32), places


def _in_eight_bits(x: Any) -> Array:
    """Return uint8 if that loses nothing: imager divides 8-bit values by 255 when it reads a file."""
    low, high = float(x.min()), float(x.max())
    factor = 255.0 if high <= 1.0 else 1.0
    if low < 0.0 or high > 255.0:
        return np.asarray(x, np.float32)
    scaled = x * factor
    whole = np.round(scaled)
    return whole.astype(np.uint8) if float(np.abs(scaled - whole).max()) < _EXACT else np.asarray(x, np.float32)


def _divided(splits: dict[str, Part], spec: RdsData) -> dict[str, Part]:
    """Split off those sets that have no files of their own from the training images."""
    train = splits["train"]
    shares = {
        "validation": None if "validation" in splits else spec.validation_set,
        "test": 0.0 if "test" in splits else spec.test,
    }
    labelled = Labelled(train.y, tuple(spec.classes))
    parts = divide(labelled, validation=shares["validation"], test=shares["test"] or 0.0, seed=spec.seed)
    cut = {name: Part(train.images, train.index[index], train.y[index]) for name, index in parts.items()}
    return {**cut, **{name: part for name, part in splits.items() if name != "train"}}
