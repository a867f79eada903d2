"""The user's own modules, copied when a study is created, so that editing them does not change a running study."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from cnn_sweep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cnn_sweep.sweep.sweep import Sweep

_MAX_BYTES = 10_000_000


def uses_own_code(sweep: Sweep) -> bool:
    """Tell whether a sweep names a function of the user's."""
    return sweep.sections.build is not None or sweep.objective.function is not None


def snapshot_code(sweep: Sweep, target: Path) -> None:
    """Copy the Python modules beside a sweep file, and the packages there, into ``target``.

    Raises:
        InputError: There is too much of it to be code.
    """
    files = list(_modules(sweep.folder))
    size = sum(path.stat().st_size for path in files)
    if size > _MAX_BYTES:
        raise InputError(
            f"{sweep.folder.resolve()}: {len(files)} Python files of {size:,} bytes stand beside the sweep file; "
            "put it into a folder with the code that it needs"
        )
    for path in files:
        copy = target / path.relative_to(sweep.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.is_file():
            yield path
        elif (path / "__init__.py").is_file():
            yield from sorted(path.rglob("*.py"))
