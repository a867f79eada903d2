"""Brings any source into one form: a folder of arrays that workers map into memory."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.training.data.arrays import files_of
from cnn_sweep.training.data.dataset import META, array_file

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.sweep.data_spec import DataSpec
    from cnn_sweep.training.data.sources import Source

_FORM = 1  # of the prepared folder; another form gets another key


def prepare(spec: DataSpec, folder: Path, root: Path) -> Path:
    """Store the splits of a data set under ``root`` and return their folder; at once if that was done before.

    The folder's name follows from ``spec`` and from the files' sizes and times, so changed data gets a new one.
    It appears complete or not at all; two callers at the same time are fine.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.
        root: Folder of prepared data sets; made if missing.

    Raises:
        InputError: The data is not what it should be; the message says which file and why.
        EnvironmentFault: ``root`` cannot be written.
    """
    path = root / _key(spec, folder)
    if (path / META).exists():
        return path
    # scikit-learn takes longer to import than most workers, which find the data prepared, take to start.
    from cnn_sweep.training.data.sources import read_source  # noqa: PLC0415

    source = read_source(spec, folder)
    aside = root / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        aside.mkdir(parents=True)
        _store(source, spec, aside)
        aside.rename(path)
    except OSError as error:
        # Another process may have been faster.
        if not (path / META).exists():
            raise EnvironmentFault(f"{path}: the prepared data cannot be stored: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return path


def _key(spec: DataSpec, folder: Path) -> str:
    description: dict[str, Any] = {"form": _FORM, "spec": spec.model_dump(mode="json"), "files": []}
    for files in _files(spec):
        for path in files_of(files, folder):
            try:
                status = path.stat()
            except OSError as error:
                raise InputError(f"{path}: {error.strerror or error}") from error
            description["files"].append([str(path.resolve()), status.st_size, status.st_mtime_ns])
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return f"{spec.source}-{digest[:12]}"


def _files(spec: DataSpec) -> list[Any]:
    if spec.source == "digits":
        return []
    return [files for files in (spec.train, spec.validation, spec.test) if hasattr(files, "x")]


def _store(source: Source, spec: DataSpec, path: Path) -> None:
    digest = hashlib.sha256()
    for name, split in source.splits.items():
        x = np.asarray(split.x if split.x.dtype == np.uint8 else split.x.astype(np.float32), order="C")
        if x.dtype != np.uint8 and not np.isfinite(x).all():
            raise InputError(f"the images of the {name} set hold NaN or infinity")
        for which, array in (("x", x), ("y", np.ascontiguousarray(split.y))):
            np.save(array_file(path, which, name), array, allow_pickle=False)
            digest.update(f"{which} {name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.data)
    train = source.splits["train"].x
    default = 1.0 / 255.0 if train.dtype == np.uint8 else 1.0
    meta = {
        "form": _FORM,
        "image_shape": list(train.shape[1:]),
        "class_names": list(source.class_names),
        "rescale": default if spec.rescale is None else spec.rescale,
        "sizes": {name: len(split.y) for name, split in source.splits.items()},
        "fingerprint": digest.hexdigest(),
    }
    (path / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
