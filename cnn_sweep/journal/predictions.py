"""Predictions that complete trials keep: of the validation images after their best epoch, in 16 bits each.

Each worker appends to a file of its own, ``predictions/<writer>.bin``. A record has everything that is needed to judge
the predictions: magic, sizes of header and arrays, CRC-32 of sizes and header, the header (JSON), the arrays, their
CRC-32. A damaged or incomplete record is skipped. Numbers are little endian.

What is kept is the natural logarithm of a probability, as a half-precision float. Its relative error is at most 2^-11,
also for probabilities near 0 and 1, where that of the probability itself would make different images equal.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

from cnn_sweep.journal.filesystem import keeping_mode_in
from cnn_sweep.journal.study_files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedReader

    import numpy.typing as npt

    from cnn_sweep.journal.paths import StudyPaths

    Logs = npt.NDArray[np.float16]
    Indices = npt.NDArray[np.int32]

LARGEST: Final = 4 << 20  # bytes of one trial's predictions; more are not kept
_MOST_CLASSES: Final = 1 << 16
_MAGIC: Final = b"\x93cnn-sweep predictions 1\n"
_SIZES: Final = struct.Struct("<III")  # bytes of header and arrays; CRC-32 of both numbers and the header
_CRC: Final = struct.Struct("<I")
_LARGEST_HEADER: Final = 16 << 20
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class KeptPredictions:
    """A trial's predictions of the images with which it was validated.

    Attributes:
        epoch: The trial's best epoch, from 1.
        split: The split that has the images.
        rows: Indices of the images in the split, shape (n,).
        labels: Indices of their true classes, shape (n,).
        class_names: Names of the classes.
        logs: Logarithms of the probabilities, shape (n, classes), or (n, 1) with that of the second of two classes.
    """

    epoch: int
    split: str
    rows: Indices
    labels: Indices
    class_names: tuple[str, ...]
    logs: Logs

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """Probability of each class, shape (n, classes)."""
        logs = self.logs.astype(np.float32)
        if logs.shape[1] == 1:
            return np.concatenate([-np.expm1(logs), np.exp(logs)], axis=1)
        return np.exp(logs)


def fits(images: int, units: int) -> bool:
    """Return whether predictions are small enough to be kept."""
    return 0 < 2 * images * units <= LARGEST and units < _MOST_CLASSES


def logs_of(probabilities: npt.NDArray[np.floating]) -> Logs:
    """Return the logarithms of probabilities, of shape (n, units), in 16 bits; the predicted classes stay the same."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: Logs = np.log(np.maximum(probabilities, 0.0)).astype(np.float16)
    if logs.shape[1] == 1:
        wanted = probabilities[:, 0] > 0.5
        wrong = (np.exp(logs[:, 0].astype(np.float32)) > 0.5) != wanted
        logs[wrong, 0] = np.nextafter(logs[wrong, 0], np.where(wanted[wrong], np.inf, -np.inf).astype(np.float16))
        return logs
    best = probabilities.argmax(axis=1)
    wrong_rows = np.flatnonzero(logs.argmax(axis=1) != best)
    highest = logs[wrong_rows].max(axis=1)
    logs[wrong_rows, best[wrong_rows]] = np.nextafter(highest, np.float16(np.inf))
    return logs


def keep(paths: StudyPaths, writer: str, key: tuple[int, int], found: KeptPredictions) -> None:
    """Append the predictions of a trial's attempt to a worker's file.

    They are not flushed to disk: a loss of power may cost predictions, which the model can give again.

    Args:
        paths: Files of the study.
        writer: Name of the worker's journal.
        key: The numbers of trial and attempt.
        found: The predictions.

    Raises:
        OSError: The disk is full or fails; the file is as before.
    """
    path = paths.predictions(writer)
    path.parent.mkdir(mode=keeping_mode_in(paths.results) | 0o077, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            view = memoryview(_record(key, found))
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def find(paths: StudyPaths, wanted: Mapping[int, int]) -> dict[int, KeptPredictions]:
    """Return predictions by trial; trials without any, or whose record is damaged, are left out.

    Args:
        paths: Files of the study.
        wanted: By trial, the number of the attempt whose predictions count.
    """
    found: dict[int, KeptPredictions] = {}
    for path in sorted(paths.predictions_folder.glob("[!.]*.bin")):
        with suppress(OSError), open_file(path) as file:
            for trial, one in _read(file, wanted):
                found.setdefault(trial, one)
    return found


def _record(key: tuple[int, int], found: KeptPredictions) -> bytes:
    images, units = found.logs.shape
    is_all = np.array_equal(found.rows, np.arange(images))
    trial, attempt = key
    facts = {"trial": trial, "attempt": attempt, "epoch": found.epoch, "split": found.split, "images": images}
    header = json.dumps(facts | {"units": units, "all": is_all, "classes": list(found.class_names)}).encode()
    rows = b"" if is_all else found.rows.astype("<i4").tobytes()
    arrays = b"".join((rows, found.labels.astype("<u2").tobytes(), found.logs.astype("<f2").tobytes()))
    sizes = struct.pack("<II", len(header), len(arrays))
    return b"".join((_MAGIC, sizes, _CRC.pack(crc32(sizes + header)), header, arrays, _CRC.pack(crc32(arrays))))


def _read(file: BufferedReader, wanted: Mapping[int, int]) -> Iterator[tuple[int, KeptPredictions]]:
    """Yield the wanted records of a file; arrays of others are not read."""
    size = os.fstat(file.fileno()).st_size
    start: int | None = 0
    while start is not None and start < size:
        file.seek(start)
        facts = _header(file, size)
        if facts is None:
            start = _next_magic(file, start + 1)
            continue
        arrays_at, length = file.tell(), facts["bytes"]
        if wanted.get(facts["trial"]) == facts["attempt"]:
            arrays = file.read(length)
            if file.read(_CRC.size) == _CRC.pack(crc32(arrays)):
                yield facts["trial"], _predictions(facts, arrays)
        start = arrays_at + length + _CRC.size


def _header(file: BufferedReader, size: int) -> dict[str, Any] | None:
    """Read a record's header; None if there is none, or it is damaged or the record incomplete."""
    if file.read(len(_MAGIC)) != _MAGIC:
        return None
    sizes = file.read(_SIZES.size)
    if len(sizes) < _SIZES.size:
        return None
    length, arrays, checksum = _SIZES.unpack(sizes)
    if length > _LARGEST_HEADER or file.tell() + length + arrays + _CRC.size > size:
        return None
    header = file.read(length)
    if crc32(sizes[: -_CRC.size] + header) != checksum:
        return None
    try:
        facts = json.loads(header)
        return {**facts, "bytes": arrays} if _is_sound(facts, arrays) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_sound(facts: dict[str, Any], arrays: int) -> bool:
    numbers = [facts[name] for name in ("trial", "attempt", "epoch", "images", "units")]
    if not all(type(number) is int and number >= 0 for number in numbers):
        return False
    classes, images, units = facts["classes"], facts["images"], facts["units"]
    if not isinstance(facts["split"], str) or not isinstance(classes, list):
        return False
    is_named = all(isinstance(name, str) for name in classes)
    fits_classes = units == len(classes) or (units, len(classes)) == (1, 2)
    return is_named and images > 0 and fits_classes and arrays == images * (2 + 2 * units + 4 * (not facts["all"]))


def _predictions(facts: dict[str, Any], arrays: bytes) -> KeptPredictions:
    images, units, offset = facts["images"], facts["units"], 0
    rows = np.arange(images, dtype=np.int32)
    if not facts["all"]:
        rows = np.frombuffer(arrays, "<i4", images).astype(np.int32)
        offset = 4 * images
    labels = np.frombuffer(arrays, "<u2", images, offset).astype(np.int32)
    logs = np.frombuffer(arrays, "<f2", images * units, offset + 2 * images).astype(np.float16)
    names = tuple(facts["classes"])
    return KeptPredictions(facts["epoch"], facts["split"], rows, labels, names, logs.reshape(images, units))


def _next_magic(file: BufferedReader, start: int) -> int | None:
    """Return where the next record may begin."""
    overlap = len(_MAGIC) - 1
    while True:
        file.seek(start)
        block = file.read(_BLOCK)
        place = block.find(_MAGIC)
        if place >= 0:
            return start + place
        if len(block) < _BLOCK:
            return None
        start += len(block) - overlap
