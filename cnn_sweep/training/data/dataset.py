"""A prepared data set: arrays that all workers of a node map into memory, and their description."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnn_sweep.errors import DamagedFileError, EnvironmentFault, InputError
from cnn_sweep.journal.study_files import read_json
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.training.data.image_decoder import ImageOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

META = "meta.json"
FOLDS = "folds.npy"
UNLABELLED = "unlabelled"  # the prediction set: images without labels
SPLITS = ("train", "validation", "test", UNLABELLED)


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        x: Shape (n, height, width, channels); uint8 or float32, as stored, not yet rescaled.
        y: Shape (n,), int32: indices into the class names; -1 in the split ``unlabelled``.
    """

    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Item:
    """The origin of an image.

    Attributes:
        name: Its file, relative to the data set's folder, or its index in an array (``x.npy#17``); names of mirror
            images end in `MIRRORED`.
        row: Row of a tile in its grid, from 0; None if the image is not a tile.
        column: Column of a tile in its grid, from 0; None if the image is not a tile.
    """

    name: str
    row: int | None = None
    column: int | None = None


MIRRORED = " (mirrored)"


@dataclass(frozen=True)
class TileGrid:
    """The grid in which a picture was cut into tiles.

    Attributes:
        rows: Number of rows.
        columns: Number of columns.
        size: Height and width of a tile, in pixels of the picture.
        stride: Pixels from one tile to the next, downwards and to the right.
        picture: Height and width of the picture, in pixels.
        file: The picture.
    """

    rows: int
    columns: int
    size: tuple[int, int]
    stride: tuple[int, int]
    picture: tuple[int, int]
    file: str


class Fold(NamedTuple):
    """The images of one trial.

    Attributes:
        train: Indices of the images that it trains with, in ``Dataset.train``; int32.
        validation: Indices of the images that validate it, in ``Dataset.validation``; int32.
    """

    train: npt.NDArray[np.int32]
    validation: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Dataset:
    """The loaded splits of a data set.

    Attributes:
        splits: By name; contains only splits that were requested and exist.
        info: Shape of an image and names of the classes.
        rescale: Factor by which stored values are multiplied before the network sees them.
        fingerprint: SHA-256 of all labelled images, including the test set, and of the folds.
        folds: With cross-validation, the fold of each image in each partition, shape (partitions, n); mirror images,
            which follow after the n images, belong to the folds of their originals, but never validate.
        fold_count: Number of folds; 1 without cross-validation.
    """

    splits: Mapping[str, Split]
    info: ImageInfo
    rescale: float
    fingerprint: str
    folds: npt.NDArray[np.int16] | None = None
    fold_count: int = 1

    @property
    def train(self) -> Split:
        """The training images."""
        return self.splits["train"]

    @property
    def validation(self) -> Split | None:
        """The validation images, if any; with cross-validation those of all folds, which are the training images."""
        return self.splits.get("validation") if self.folds is None else self.train

    def fold(self, number: int) -> Fold:
        """Return the images of a trial.

        Args:
            number: Number of the trial's repeat. Each partition is used up, fold after fold, before the next one.
        """
        count = len(self.train.y)
        if self.folds is None:
            validating = 0 if self.validation is None else len(self.validation.y)
            return Fold(np.arange(count, dtype=np.int32), np.arange(validating, dtype=np.int32))
        partition = self.folds[number // self.fold_count % len(self.folds)]
        validates = partition == number % self.fold_count
        mirrors = count // len(partition)
        train, validation = np.flatnonzero(np.tile(~validates, mirrors)), np.flatnonzero(validates)
        return Fold(train.astype(np.int32), validation.astype(np.int32))

    def of_fold(self, number: int) -> Dataset:
        """Return a data set with copies of a trial's images as its training and validation set."""
        if self.folds is None:
            return self
        chosen = self.fold(number)
        splits = {
            "train": Split(self.train.x[chosen.train], self.train.y[chosen.train]),
            "validation": Split(self.train.x[chosen.validation], self.train.y[chosen.validation]),
        }
        return replace(self, splits={**self.splits, **splits}, folds=None, fold_count=1)

    def joined(self, *, mirror: bool) -> Dataset:
        """Return a data set that trains with all images but those of the test set.

        The images that validate it are among them: those of the split ``validation``, or of the first fold.

        Args:
            mirror: Whether to add the mirror images of a split ``validation``, as the training images have theirs.
        """
        validation = self.of_fold(0).splits["validation"]
        if self.folds is not None:
            train = self.train
        else:
            more = [validation.x, validation.x[:, :, ::-1]] if mirror else [validation.x]
            y = [self.train.y, *[validation.y] * len(more)]
            train = Split(np.concatenate([self.train.x, *more]), np.concatenate(y))
        return replace(self, splits={"train": train, "validation": validation}, folds=None, fold_count=1)


def load(path: Path, *, splits: Sequence[str] = ("train", "validation")) -> Dataset:
    """Map a prepared folder into memory.

    Args:
        path: Folder that `prepare` returned.
        splits: Names of the splits to load; the test set and unlabelled images must be named explicitly.

    Raises:
        EnvironmentFault: `prepare` did not make the folder, or it is damaged.
    """
    with _readable(path):
        meta = read_meta(path)
        wanted = [name for name in splits if name in meta["sizes"]]
        return Dataset(
            splits={name: _map(path, name) for name in wanted},
            info=ImageInfo(image_shape=tuple(meta["image_shape"]), class_names=tuple(meta["class_names"])),
            rescale=meta["rescale"],
            fingerprint=meta["fingerprint"],
            folds=np.load(path / FOLDS, allow_pickle=False) if meta.get("folds") else None,
            fold_count=meta.get("folds") or 1,
        )


def items(path: Path, split: str) -> tuple[Item, ...]:
    """Return the origin of each image of a split, in order.

    Raises:
        InputError: The data set has no such split.
        EnvironmentFault: The folder is damaged.
    """
    with _readable(path):
        _check_split(path, split)
        data = read_json(items_file(path, split), _again(path))
        positions = data["positions"] or [(None, None)] * len(data["names"])
        return tuple(Item(name, *position) for name, position in zip(data["names"], positions, strict=True))


def image_groups(path: Path, split: str) -> tuple[str, ...] | None:
    """Return the group of each image of a split, such as its site; None if the data have no groups.

    Raises:
        InputError: The data set has no such split.
        EnvironmentFault: The folder is damaged.
    """
    with _readable(path):
        _check_split(path, split)
        found = read_json(items_file(path, split), _again(path)).get("groups")
        return None if found is None else tuple(map(str, found))


def image_options(path: Path) -> ImageOptions | None:
    """Return how each image was converted, to convert new files likewise; None for arrays stored unchanged.

    Raises:
        EnvironmentFault: The folder is damaged.
    """
    with _readable(path):
        data = read_meta(path)["image"]
        return None if data is None else ImageOptions.from_data(data)


def grid(path: Path) -> TileGrid | None:
    """Return the grid of tiles; None if the images are not tiles.

    Raises:
        EnvironmentFault: The folder is damaged.
    """
    with _readable(path):
        data = read_meta(path)["grid"]
        if data is None:
            return None
        pairs = {key: tuple(data[key]) for key in ("size", "stride", "picture")}
        return TileGrid(rows=data["rows"], columns=data["columns"], file=data["file"], **pairs)


def read_meta(path: Path) -> dict[str, Any]:
    """Return the content of a prepared data set's description file.

    Raises:
        DamagedFileError: The file is missing or damaged.
    """
    meta: dict[str, Any] = read_json(path / META, _again(path))
    return meta


def _again(path: Path) -> str:
    return f"remove the folder {path}, and it will be prepared again"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedFileError as error:
        raise EnvironmentFault(str(error)) from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError) as error:
        raise EnvironmentFault(
            f"the prepared data in {path} cannot be read ({type(error).__name__}: {error}); "
            "remove the folder, and it will be prepared again"
        ) from error


def _check_split(path: Path, split: str) -> None:
    sizes = read_meta(path)["sizes"]
    if split not in sizes:
        raise InputError(f"the data set has no {split} images; it has {', '.join(sizes)}")


def items_file(path: Path, split: str) -> Path:
    """Return the file with the names of a split's images."""
    return path / f"items_{split}.json"


def array_file(path: Path, which: str, split: str) -> Path:
    """Return the file of the array ``x`` or ``y`` of a split."""
    return path / f"{which}_{split}.npy"


def _map(path: Path, split: str) -> Split:
    x: Any = np.load(array_file(path, "x", split), mmap_mode="r", allow_pickle=False)
    y: Any = np.load(array_file(path, "y", split), mmap_mode="r", allow_pickle=False)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} images but {len(y)} labels in the {split} split")
    return Split(x, y)
