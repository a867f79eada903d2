"""Checks a proposed sweep file with what will read it, before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.errors import InputError, SettingError, SweepFileError
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.image_files import list_files
from cnn_sweep.training.data.sources import describe

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.search.plan import Plan


def check_text(text: str, file: Path) -> Plan:
    """Read a sweep file's text, list its images and plan its trials.

    Args:
        text: The sweep file.
        file: Where it will be.

    Raises:
        InputError: The images cannot be used; the message begins with the key that names the cause, not with a line,
            since there is no file yet.
    """
    try:
        sweep = Sweep.parse(text, source=str(file), folder=file.absolute().parent)
        if sweep.data.source in ("folder", "files"):
            list_files(sweep.data, sweep.folder)
        return make_plan((sweep,), describe(sweep.data, sweep.folder))
    except SweepFileError as error:
        raise InputError("\n".join(f"{one.where}: {one.message}" for one in error.problems)) from error
    except SettingError as error:
        raise InputError(str(error)) from error
