"""The source ``arrays``: images and labels in .npy files of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from cnn_sweep.sweep.data_spec import ArrayFiles

    Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Pair:
    """Images and labels as they stand in their files, checked.

    Attributes:
        x: Shape (n, height, width, channels); uint8, or a floating type.
        y: Shape (n,), int32.
        classes: Number of classes that the labels can name: columns of one-hot labels, or largest label + 1.
        one_hot: Whether the labels were one-hot.
    """

    x: Array
    y: npt.NDArray[np.int32]
    classes: int
    one_hot: bool


def files_of(files: ArrayFiles, folder: Path) -> tuple[Path, Path]:
    """Return the paths of images and labels; relative ones are found from ``folder``."""
    return folder / Path(files.x).expanduser(), folder / Path(files.y).expanduser()


def read_pair(files: ArrayFiles, folder: Path) -> Pair:
    """Read images (memory-mapped) and labels, and check that they fit each other.

    Raises:
        InputError: A file cannot be read, or its shape, type or content is not what is needed.
    """
    x_path, y_path = files_of(files, folder)
    x = _images(_open(x_path), x_path)
    y, classes, one_hot = _labels(_open(y_path), y_path)
    if len(x) != len(y):
        raise InputError(f"{x_path} holds {len(x)} images, but {y_path} holds {len(y)} labels")
    if not len(x):
        raise InputError(f"{x_path} holds no images")
    return Pair(x, y, classes, one_hot)


def _open(path: Path) -> Array:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays (.npz); save each array with numpy.save")
    return array


def _images(array: Array, path: Path) -> Array:
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or 0 in array.shape[1:]:
        raise InputError(
            f"{path}: images must have the shape (n, height, width, channels) or (n, height, width), "
            f"but got {array.shape}"
        )
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{path}: images must be uint8 or floating-point numbers, but got {array.dtype}")
    return array


def _labels(array: Array, path: Path) -> tuple[npt.NDArray[np.int32], int, bool]:
    if array.ndim == 2 and array.shape[1] > 1:
        return _from_one_hot(np.asarray(array), path)
    flat: Any = np.asarray(array).reshape(-1) if array.ndim == 2 else np.asarray(array)
    if flat.ndim != 1:
        raise InputError(f"{path}: labels must have the shape (n,), or (n, classes) if one-hot, but got {array.shape}")
    if flat.dtype != bool and not np.issubdtype(flat.dtype, np.integer):
        raise InputError(f"{path}: labels must be integers, or one-hot, but got {flat.dtype}")
    if flat.size and int(flat.min()) < 0:
        raise InputError(f"{path}: labels must be 0, 1, 2, ..., but got {int(flat.min())}")
    classes = int(flat.max()) + 1 if flat.size else 0
    if classes > max(65_536, flat.size):
        raise InputError(f"{path}: labels must be indices of classes, but one of them is {classes - 1}")
    return flat.astype(np.int32), classes, False


def _from_one_hot(array: Any, path: Path) -> tuple[npt.NDArray[np.int32], int, bool]:
    ones = array == 1
    wrong = np.flatnonzero((ones.sum(axis=1) != 1) | ((array != 0) & ~ones).any(axis=1))
    if wrong.size:
        raise InputError(
            f"{path}: a row of one-hot labels must hold a single 1 among zeros, "
            f"but row {wrong[0]} is {array[wrong[0]].tolist()}"
        )
    return ones.argmax(axis=1).astype(np.int32), int(array.shape[1]), True
