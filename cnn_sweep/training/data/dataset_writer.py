"""Writes a prepared data set: arrays, labels, the origin of each image, and a report."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.training.data.dataset import FOLDS, META, MIRRORED, UNLABELLED, Item, array_file, items_file
from cnn_sweep.training.data.image_decoder import content_digest
from cnn_sweep.training.data.raw_images import options_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.training.data.dataset import TileGrid
    from cnn_sweep.training.data.image_decoder import BadImage, ImageOptions, Remark
    from cnn_sweep.training.data.raw_images import Labels, Part, Source

FORM = 2  # version of the prepared folder's layout; part of the folder's name
# Version of decoding. Version 1 cut 16-bit colours to their high bytes, made 12-bit values in 16-bit files nearly
# black, and rejected images with malformed metadata. It decoded all other images as version 2 does.
DECODING = 2
REPORT = "report.json"
_BLOCK_BYTES = 2**24  # images in memory at once


@dataclass(frozen=True)
class Stored:
    """A split whose images are written.

    Attributes:
        y: Labels of all its images, including mirror images.
        items: Origin of each image.
        digests: One digest of the content per image, without mirror images.
        groups: Group of each image, if images of one group stay in one split; without mirror images.
    """

    y: Labels
    items: Sequence[Item]
    digests: Sequence[str]
    groups: tuple[str, ...] | None = None

    def mirrored(self) -> Stored:
        """Return the description with mirror images, which follow after the last image."""
        added = [Item(item.name + MIRRORED, item.row, item.column) for item in self.items]
        return replace(self, y=np.concatenate([self.y, self.y]), items=[*self.items, *added])

    @property
    def originals(self) -> Labels:
        """Labels without those of mirror images."""
        return self.y[: len(self.digests)]


@dataclass(frozen=True)
class DatasetInfo:
    """Description of a data set after all images are written.

    Attributes:
        shape: (height, width, channels).
        is_uint8: Whether values are whole numbers from 0 to 255.
        class_names: In the order of the labels.
        fingerprint: SHA-256 of the labelled images.
        options: How each image was converted; None if images are stored unchanged.
        grid: Grid of tiles, or None.
        notes: Remarks for the user.
        bad: By split, the images that could not be used.
        converted: By split, the images that were changed beyond resizing.
        folds: The fold of each training image in each partition, shape (partitions, n), without mirror images; None
            without cross-validation.
        fold_table: Description of each fold of the first partition.
    """

    shape: tuple[int, int, int]
    is_uint8: bool
    class_names: tuple[str, ...]
    fingerprint: str
    options: ImageOptions | None
    grid: TileGrid | None
    notes: tuple[str, ...]
    bad: Mapping[str, Sequence[BadImage]]
    converted: Mapping[str, Sequence[Remark]] = field(default_factory=dict)
    folds: npt.NDArray[np.int16] | None = None
    fold_table: Sequence[Mapping[str, Any]] = ()

    def with_folds(self, drawn: npt.NDArray[np.int16], table: Sequence[Mapping[str, Any]]) -> DatasetInfo:
        """Add folds, which are a part of the fingerprint: results on other folds cannot be ranked together."""
        digest = hashlib.sha256(f"{self.fingerprint} folds {drawn.shape}\n".encode() + drawn.tobytes())
        return replace(self, fingerprint=digest.hexdigest(), folds=drawn, fold_table=table)


def store_arrays(source: Source, work: Path, *, mirror: bool, observe: Callable[[int, int], None]) -> dict[str, Stored]:
    """Write the images of all splits.

    Raises:
        InputError: Floating-point images hold NaN or infinity.
        OSError: The disk is full or fails.
    """
    total = sum(len(part.index) for part in source.splits.values())
    done = 0
    stored = {}
    for name, part in source.splits.items():
        digests = []
        for count, texts in _store_part(name, part, work, mirror=mirror and name == "train"):
            digests += texts
            done += count
            observe(min(done, total), total)
        items = [part.images.item(int(k)) for k in part.index]
        whole = Stored(part.y, items, digests, part.groups)
        stored[name] = whole.mirrored() if mirror and name == "train" else whole
    return stored


def _store_part(name: str, part: Part, work: Path, *, mirror: bool) -> Any:
    count = len(part.index)
    dtype = np.uint8 if part.images.is_uint8 else np.float32
    shape = (count * (2 if mirror else 1), *part.images.shape)
    array = np.lib.format.open_memmap(array_file(work, "x", name), mode="w+", dtype=dtype, shape=shape)
    block = max(1, _BLOCK_BYTES // max(1, int(np.prod(part.images.shape)) * array.itemsize))
    for first in range(0, count, block):
        images = np.asarray(part.images.read(part.index[first : first + block]), dtype, order="C")
        if dtype == np.float32 and not np.isfinite(images).all():
            raise InputError(f"the images of the {name} set hold NaN or infinity")
        array[first : first + len(images)] = images
        if mirror:
            array[count + first : count + first + len(images)] = images[:, :, ::-1]
        yield len(images), [content_digest(image.tobytes()) for image in images]
    array.flush()


def fingerprint(work: Path, stored: Mapping[str, Stored]) -> str:
    """Return the SHA-256 of all labelled images and their labels."""
    digest = hashlib.sha256()
    for name, split in stored.items():
        if name == UNLABELLED:
            continue
        x: Any = np.load(array_file(work, "x", name), mmap_mode="r")
        for which, array in (("x", x), ("y", np.ascontiguousarray(split.y))):
            digest.update(f"{which} {name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()


def finish(
    work: Path, stored: Mapping[str, Stored], info: DatasetInfo, *, rescale: float | None, seconds: float
) -> None:
    """Write labels, items and the report; last the description, without which the folder is not valid.

    Raises:
        OSError: The disk is full or fails.
    """
    for name, split in stored.items():
        np.save(array_file(work, "y", name), np.ascontiguousarray(split.y, np.int32), allow_pickle=False)
        _write_items(items_file(work, name), split)
    if info.folds is not None:
        np.save(work / FOLDS, info.folds, allow_pickle=False)
    report = {
        "images": {name: _counts(split.y, info.class_names) for name, split in stored.items()},
        "bad": _remarks(info.bad),
        "converted": _remarks(info.converted),
        **({"folds": list(info.fold_table)} if info.folds is not None else {}),
        "notes": list(info.notes),
        "seconds": round(seconds, 2),
    }
    _write_json(work / REPORT, report)
    default = 1.0 / 255.0 if info.is_uint8 else 1.0
    meta = {
        "form": FORM,
        "decoding": DECODING,
        "image_shape": list(info.shape),
        "class_names": list(info.class_names),
        "rescale": default if rescale is None else rescale,
        "sizes": {name: len(split.y) for name, split in stored.items()},
        "fingerprint": info.fingerprint,
        "image": info.options and info.options.to_data(),
        "grid": info.grid and asdict(info.grid),
        "folds": len(info.fold_table) or None,
    }
    _write_json(work / META, meta)


def info_of(source: Source, work: Path, stored: Mapping[str, Stored], notes: Sequence[str]) -> DatasetInfo:
    """Return the description of a source whose images are written."""
    images = source.splits["train"].images
    options = options_for(images.shape, size=None, fit="stretch", color=None) if images.is_uint8 else None
    return DatasetInfo(
        shape=images.shape,
        is_uint8=images.is_uint8,
        class_names=source.class_names,
        fingerprint=fingerprint(work, stored),
        options=getattr(images, "options", options),
        grid=source.grid,
        notes=(*source.notes, *notes),
        bad={"": source.bad} if source.bad else {},
    )


def _remarks(images: Mapping[str, Sequence[Remark]]) -> list[dict[str, str]]:
    return [
        {"split": split, "file": image.name, "reason": image.reason}
        for split, remarks in images.items()
        for image in remarks
    ]


def _counts(y: npt.NDArray[np.int32], names: Sequence[str]) -> dict[str, int]:
    if len(y) and int(y.min()) < 0:
        return {"(none)": len(y)}
    return dict(zip(names, np.bincount(y, minlength=len(names)).tolist(), strict=True))


def _write_items(path: Path, split: Stored) -> None:
    items = split.items
    positions = [[item.row, item.column] for item in items] if any(item.row is not None for item in items) else None
    data: dict[str, Any] = {"names": [item.name for item in items], "positions": positions}
    if split.groups is not None:
        data["groups"] = list(split.groups)
    path.write_text(json.dumps(data), encoding="utf-8")


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
