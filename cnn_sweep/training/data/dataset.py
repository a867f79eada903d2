"""A prepared data set: arrays that all workers of a node map, and what is known about them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.sweep.trial import ImageInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

META = "meta.json"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        x: Shape (n, height, width, channels); uint8 or float32, as stored, not yet rescaled.
        y: Shape (n,), int32: indices into the class names.
    """

    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Dataset:
    """The splits that were asked for.

    Attributes:
        splits: By name; a split that the data set lacks, or that was not asked for, is missing.
        info: Shape of an image and names of the classes.
        rescale: What a stored value is multiplied by before the network sees it.
        fingerprint: SHA-256 of all arrays, the test set's included.
    """

    splits: Mapping[str, Split]
    info: ImageInfo
    rescale: float
    fingerprint: str

    @property
    def train(self) -> Split:
        """The training images."""
        return self.splits["train"]

    @property
    def validation(self) -> Split | None:
        """The validation images, if any."""
        return self.splits.get("validation")


def load(path: Path, *, splits: Sequence[str] = ("train", "validation")) -> Dataset:
    """Map a prepared folder into memory.

    Args:
        path: What `prepare` returned.
        splits: Names of the splits to load. The test set is opened only by name.

    Raises:
        EnvironmentFault: The folder is not one that `prepare` made, or is damaged.
    """
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
        wanted = [name for name in splits if name in meta["sizes"]]
        return Dataset(
            splits={name: _map(path, name) for name in wanted},
            info=ImageInfo(image_shape=tuple(meta["image_shape"]), class_names=tuple(meta["class_names"])),
            rescale=meta["rescale"],
            fingerprint=meta["fingerprint"],
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise EnvironmentFault(
            f"the prepared data in {path} cannot be read ({type(error).__name__}: {error}); "
            "remove the folder and it will be made again"
        ) from error


def array_file(path: Path, which: str, split: str) -> Path:
    """Return the file of the array ``x`` or ``y`` of a split."""
    return path / f"{which}_{split}.npy"


def _map(path: Path, split: str) -> Split:
    x: Any = np.load(array_file(path, "x", split), mmap_mode="r", allow_pickle=False)
    y: Any = np.load(array_file(path, "y", split), mmap_mode="r", allow_pickle=False)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} images but {len(y)} labels in the {split} split")
    return Split(x, y)
