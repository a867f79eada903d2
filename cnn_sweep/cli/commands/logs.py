"""``logs``: shows the last lines of the log files of workers and jobs."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.terminal import warn

_COLORS: Final = re.compile("\x1b\\[[0-9;]*m|\b")  # what Keras's progress bars add to their text


def logs(
    study: StudyName,
    trial: Annotated[
        int | None,
        typer.Argument(metavar="TRIAL", help="Only the workers that trained this trial.", show_default=False),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Number of last lines of each file.")] = 20,
    results: Results = RESULTS,
) -> None:
    """Show the standard error of workers and jobs, the newest file last.

    Examples:
      cnn-sweep logs digits
      cnn-sweep logs digits 3 --lines 100
    """
    found = open_merged(results, study)
    files = found.log_files() if trial is None else found.log_files_of(trial)
    if not files:
        warn(f"there are no logs of {study if trial is None else f'trial {trial}'}")
    for line in found.jobs_without_log() if trial is None else ():
        warn(line)
    for file in files:
        print(f"==> {file} <==")
        for text in file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]:
            print(_COLORS.sub("", text))
