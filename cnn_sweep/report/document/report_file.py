"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, data: str | bytes) -> None:
    """Write aside and rename, so that nobody finds half a file.

    Raises:
        EnvironmentFault: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data.encode(errors="surrogateescape") if isinstance(data, str) else data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from error
