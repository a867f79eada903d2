"""``rename``: gives a study another name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Force, Results
from cnn_sweep.cli.ui.studies import merge_journals
from cnn_sweep.execution.study.in_use import check_unused
from cnn_sweep.execution.study.removal import check_free_name, check_owner, find_study, rename_study
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.sweep_files import read_provenance

if TYPE_CHECKING:
    from pathlib import Path


def rename(
    old: Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NAME", help="New name.", show_default=False)],
    force: Force = False,
    results: Results = RESULTS,
) -> None:
    """Give a study that does not run another name. Its results stay as they are, and it can be resumed.

    Examples:
      cnn-sweep rename digits digits_first_try
    """
    found, renamed = find_study(results, old), StudyPaths(results, new)
    check_free_name(renamed)
    check_owner(found)
    check_unused(found, force=force)
    rename_study(found, renamed)
    merge_journals(results)
    print(f"{old} is now {new}")
    print(f"to run or extend it with {_source(renamed)}, write `study: {new}` there")


def _source(paths: StudyPaths) -> Path | str:
    """Return the user's own sweep file, as far as it is known."""
    return str(read_provenance(paths).get("source", "your sweep file"))
