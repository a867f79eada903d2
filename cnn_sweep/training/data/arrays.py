"""The source ``arrays``: images and labels in the user's .npy and .npz files."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.sweep.spec.data import ArrayFiles

    Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Pair:
    """Images and labels from files, checked.

    Attributes:
        x: Shape (n, height, width, channels); uint8, or a floating type.
        y: Shape (n,), int32.
        classes: Number of classes: columns of one-hot labels, or largest label + 1.
        one_hot: Whether the labels were one-hot.
    """

    x: Array
    y: npt.NDArray[np.int32]
    classes: int
    one_hot: bool


_ARCHIVE = ".npz"


def path_of(name: str, folder: Path) -> tuple[Path, str | None]:
    """Split ``data.npz:x_train`` into file and array name; the name is None for a .npy file.

    Relative paths start at ``folder``.
    """
    before, colon, inner = name.rpartition(":")
    if colon and before.lower().endswith(_ARCHIVE):
        return path_in(folder, before), inner
    return path_in(folder, name), None


def files_of(files: ArrayFiles, folder: Path) -> tuple[Path, Path]:
    """Return the files of images and labels."""
    return path_of(files.x, folder)[0], path_of(files.y, folder)[0]


def read_pair(files: ArrayFiles, folder: Path) -> Pair:
    """Read images (memory-mapped from a .npy file) and labels, and check that they match.

    Raises:
        InputError: A file cannot be read, or has an invalid shape, type or content.
    """
    x = open_images(files.x, folder)
    y, classes, one_hot = read_labels(files.y, folder)
    x_path, y_path = folder / files.x, folder / files.y
    if len(x) != len(y):
        raise InputError(f"{x_path} holds {len(x)} images, but {y_path} holds {len(y)} labels")
    if not len(x):
        raise InputError(f"{x_path} holds no images")
    return Pair(x, y, classes, one_hot)


def open_images(name: str, folder: Path) -> Array:
    """Read images, (n, height, width, channels), memory-mapped from a .npy file.

    Raises:
        InputError: The file cannot be read, or does not contain images.
    """
    path, inner = path_of(name, folder)
    array = _open(path, inner)
    _check_images(array.shape, array.dtype, folder / name)
    return array[..., np.newaxis] if array.ndim == 3 else array


def image_shape(name: str, folder: Path) -> tuple[int, int, int]:
    """Return (height, width, channels) of the images in a file; reads only its header.

    Raises:
        InputError: See `open_images`.
    """
    path, inner = path_of(name, folder)
    if inner is None:
        shape, dtype = (array := _open(path, inner)).shape, array.dtype
    else:
        shape, dtype = _header(path, inner)
    _check_images(shape, dtype, folder / name)
    height, width, channels = (*shape[1:], 1)[:3]
    return height, width, channels


def read_labels(name: str, folder: Path) -> tuple[npt.NDArray[np.int32], int, bool]:
    """Return labels (n,), the number of classes, and whether they were one-hot.

    Raises:
        InputError: The file cannot be read, or does not contain labels.
    """
    path, inner = path_of(name, folder)
    return _labels(_open(path, inner), folder / name)


def _open(path: Path, inner: str | None) -> Array:
    if inner is not None:
        return _from_archive(path, inner)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is not a .npy file of numbers: {error}") from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(array, np.ndarray):
        names = ", ".join(array.files)
        raise InputError(f"{path} is an archive of arrays; say which one, as in {path.name}:NAME. It has {names}")
    return array


def _from_archive(path: Path, inner: str) -> Array:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if inner not in archive.files:
                raise InputError(f"{path}: no array {inner!r}; it has {', '.join(archive.files)}")
            array: Array = archive[inner]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a .npz archive of numbers: {error}") from error
    return array


def _header(path: Path, inner: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array in an archive without unpacking it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if inner not in names:
                raise InputError(f"{path}: no array {inner!r}; it has {', '.join(names)}")
            with archive.open(f"{inner}.npy") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is not a .npz archive of numbers: {error}") from error
    return shape, dtype


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise InputError(
            f"{path}: images must have the shape (n, height, width, channels) or (n, height, width), but got {shape}"
        )
    if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
        raise InputError(f"{path}: images must be uint8 or floating-point numbers, but got {dtype}")


def _labels(array: Array, path: Path) -> tuple[npt.NDArray[np.int32], int, bool]:
    if array.ndim == 2 and array.shape[1] > 1:
        return _from_one_hot(np.asarray(array), path)
    flat: Any = np.asarray(array).reshape(-1) if array.ndim == 2 else np.asarray(array)
    if flat.ndim != 1:
        raise InputError(f"{path}: labels must have the shape (n,), or (n, classes) if one-hot, but got {array.shape}")
    if np.issubdtype(flat.dtype, np.floating) and np.isfinite(flat).all() and (flat == np.round(flat)).all():
        flat = flat.astype(np.int64)  # NumPy reads whole numbers from text as floats
    if flat.dtype != bool and not np.issubdtype(flat.dtype, np.integer):
        fraction = "; networks here classify and cannot predict numbers" * (flat.dtype.kind == "f")
        raise InputError(f"{path}: labels must be integers, or one-hot, but got {flat.dtype}{fraction}")
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
