"""Reads the sweep file that a command names, with its ``--set`` options, and the profile that a job runs with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.journal.trust import check_file
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.sweep.file.changes import parse_changes
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def load_profile(file: Path, results: Path) -> Profile:
    """Read a profile whose commands will be run in the user's name.

    Raises:
        EnvironmentFault: Others can change the file.
    """
    check_file(file, results)
    return Profile.load(file)


def load_sweep(file: Path, settings: Sequence[str]) -> Sweep:
    """Read a sweep file; each changed key is shown on standard error with its old and new value, then remarks.

    Args:
        file: The sweep file.
        settings: Values of ``--set``.
    """
    sweep = Sweep.load(file, parse_changes(settings))
    for line in (*sweep.changed, *sweep.notes):
        warn(line)
    return sweep
