"""The source ``arrays``: images and labels in the user's .npy and .npz files."""

from __future__ import annotations

import io
import math
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.messages import few, in_bytes, near, show
from cnn_sweep.regular_files import check_regular
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Iterator
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
# Photographs shrink to a tenth at best, one-hot labels to a hundredth, and a file made to fill memory to a thousandth.
MAX_RATIO: Final = 300
MAX_UNPACKED: Final = 100_000_000  # bytes up to which any ratio is accepted
_MAX_HEADER: Final = 20_000  # bytes; NumPy reads headers of up to 10,000 characters
MAX_LABELS: Final = 20_000_000
_BLOCK: Final = 2**20  # values of one-hot labels that are read at once
_SHOWN: Final = 20  # names of arrays in a message
_OF_GROUPS: Final = "iubUS"  # kinds of NumPy types: whole numbers, booleans, texts


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


def read_groups(name: str, folder: Path, count: int) -> tuple[str, ...]:
    """Return the group of each image, as text.

    Args:
        name: The file: one number or text for each image.
        folder: Where a relative path starts.
        count: Number of images.

    Raises:
        InputError: The file cannot be read, or does not have one value for each image.
    """
    path, inner = path_of(name, folder)
    array: Any = _open(path, inner)
    if array.shape != (count,) or array.dtype.kind not in _OF_GROUPS:
        raise InputError(
            f"{folder / name}: the groups of {count} images are {count} whole numbers or texts, but this array has the "
            f"shape {array.shape} and the type {array.dtype}"
        )
    values = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    return tuple(map(str, values.tolist()))


def _open(path: Path, inner: str | None) -> Array:
    if inner is not None:
        return _from_archive(path, inner)
    with _errors_of(path, "a .npy file of numbers"):
        check_regular(path)
        with path.open("rb") as file:
            header = _read_header(file, path.stat().st_size)
        if header is None:
            with zipfile.ZipFile(path) as archive:
                names = few(_names(archive), _SHOWN)
            raise InputError(f"{path} is an archive of arrays; say which one, as in {path.name}:NAME. It has {names}")
        order: Any = "F" if header.is_fortran else "C"
        return np.memmap(path, header.dtype, mode="r", offset=header.end, shape=header.shape, order=order)


def _from_archive(path: Path, inner: str) -> Array:
    with _errors_of(path, "a .npz archive of numbers"), _member(path, inner) as (file, size):
        if _read_header(file, size) is None:
            raise ValueError(f"{inner} is no array")
        file.seek(0)
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(path: Path, inner: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array in an archive without unpacking it."""
    with _errors_of(path, "a .npz archive of numbers"), _member(path, inner) as (file, size):
        header = _read_header(file, size)
        if header is None:
            raise ValueError(f"{inner} is no array")
    return header.shape, header.dtype


@contextmanager
def _errors_of(path: Path, kind: str) -> Iterator[None]:
    """Turn what a damaged file can raise, which is anything, into errors that name the file.

    Raises:
        InputError: The block raised an exception.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        raise InputError(f"{path} is not {kind}: {error or type(error).__name__}") from error


@contextmanager
def _member(path: Path, inner: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open an array in an archive; yield it with its size.

    Raises:
        InputError: The archive does not have it, or it is compressed too well for numbers.
    """
    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        names = _names(archive)
        if inner not in names:
            raise InputError(f"{path}: no array {inner!r}{near(inner, names)}; it has {few(names, _SHOWN)}")
        info = archive.getinfo(f"{inner}.npy")
        if is_bomb(info.file_size, info.compress_size):
            raise InputError(
                f"{path}: {inner} would unpack to {in_bytes(info.file_size)}, more than {MAX_RATIO} times its size in "
                "the archive, as no images do; if it is right, save it as .npy"
            )
        with archive.open(info) as file:
            yield file, info.file_size


def is_bomb(unpacked: float, packed: float) -> bool:
    """Return whether a small file would unpack to so many bytes that it may be made to fill memory."""
    return unpacked > MAX_UNPACKED and unpacked > MAX_RATIO * packed


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist()]


class _Header(NamedTuple):
    """The header of an array file; ``end`` is where the numbers begin."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    end: int


def _read_header(file: IO[bytes], size: int) -> _Header | None:
    """Read the header of an array, and check that the file is large enough for it; None for an archive.

    Raises:
        ValueError: The header is damaged, or the array does not hold numbers.
    """
    head = io.BytesIO(file.read(_MAX_HEADER))
    if head.getvalue().startswith(b"PK\x03\x04"):
        return None
    version = np.lib.format.read_magic(head)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(head)
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save numbers of one type")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"its header says the shape {shape}")
    wanted, held = math.prod(shape) * dtype.itemsize, size - head.tell()
    if wanted > held:
        raise ValueError(f"its header says {shape} of {dtype}, {in_bytes(wanted)}, but it holds {in_bytes(held)}")
    return _Header(shape, is_fortran, dtype, head.tell())


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise InputError(
            f"{path}: images must have the shape (n, height, width, channels) or (n, height, width), but got {shape}"
        )
    if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
        raise InputError(f"{path}: images must be uint8 or floating-point numbers, but got {dtype}")


def _labels(array: Array, path: Path) -> tuple[npt.NDArray[np.int32], int, bool]:
    if len(array.shape) and len(array) > MAX_LABELS:
        raise InputError(f"{path}: {len(array):,} labels; a data set can have {MAX_LABELS:,}")
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
    labels = np.empty(len(array), np.int32)
    step = max(1, _BLOCK // array.shape[1])
    for first in range(0, len(array), step):
        block = array[first : first + step]
        ones = block == 1
        wrong = np.flatnonzero((ones.sum(axis=1) != 1) | ((block != 0) & ~ones).any(axis=1))
        if wrong.size:
            raise InputError(
                f"{path}: a row of one-hot labels must hold a single 1 among zeros, "
                f"but row {first + wrong[0]} is {show(block[wrong[0]].tolist())}"
            )
        labels[first : first + step] = ones.argmax(axis=1)
    return labels, int(array.shape[1]), True
