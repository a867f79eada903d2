"""The files and folders that a data section names: whether they are there, before anything is read."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import SettingError
from cnn_sweep.messages import point_hint
from cnn_sweep.training.data.arrays import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.sweep.spec.data import DataSpec

_FOLDERS = {"folder", "files"}  # sources whose sets are folders


def check_places(spec: DataSpec, folder: Path) -> None:
    """See that each file and folder that a data section names is there.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.

    Raises:
        SettingError: One is not; it has the key that names it.
    """
    for key, name in _named(spec):
        is_folder = spec.source in _FOLDERS and key != ("labels", "table")
        path = path_of(name, folder)[0] if spec.source == "arrays" else folder / Path(name).expanduser()
        if is_folder and not path.is_dir():
            reason = "not a folder" if path.exists() else f"no such folder{point_hint(name)}"
            raise SettingError(f"{path}: {reason}", ("data", *key))
        if not path.exists():
            raise SettingError(f"{path}: {os.strerror(errno.ENOENT)}", ("data", *key))


def _named(spec: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the keys of a data section that name files or folders, below ``data``, and what each has."""
    for key in ("path", "picture", "train", "validation", "test", "unlabelled"):
        value = getattr(spec, key, None)
        if isinstance(value, str):
            yield (key,), value
        elif hasattr(value, "x"):
            yield from (((key, part), getattr(value, part)) for part in ("x", "y"))
    for key in ("table", "mask"):
        if (value := getattr(getattr(spec, "labels", None), key, None)) is not None:
            yield ("labels", key), value
    if spec.source == "rds":
        for name, files in spec.classes.items():
            yield from (
                (("classes", name, part), value) for part, value in files.model_dump().items() if value is not None
            )
