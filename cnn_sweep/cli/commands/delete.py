"""``delete``: deletes studies for good."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Force, Results
from cnn_sweep.cli.ui.studies import merge_journals
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import CnnSweepError, EnvironmentFault, InputError
from cnn_sweep.execution.study.in_use import check_unused
from cnn_sweep.execution.study.removal import check_owner, clear_leftovers, find_study, remove_study
from cnn_sweep.messages import few, in_bytes, plural
from cnn_sweep.report.study_list import size_of
from cnn_sweep.study import Study
from cnn_sweep.sweep.states import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.execution.study.removal import Removal
    from cnn_sweep.journal.paths import StudyPaths


def delete(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY...", help="Names of the studies.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Force = False,
    results: Results = RESULTS,
) -> None:
    """Delete studies for good: trials, models, checkpoints and logs. Ask before.

    A study that runs or has jobs in the queue is refused. `cnn-sweep archive` keeps a study as one file instead.

    Examples:
      cnn-sweep delete digits
      cnn-sweep delete first_try second_try --yes
    """
    found = [find_study(results, name) for name in dict.fromkeys(studies)]
    for paths in found:
        check_owner(paths)
        check_unused(paths, force=force)
    merge_journals(results)
    _ask(found, agreed=yes)
    clear_leftovers(results)
    for paths in found:
        print_removal(paths, remove_study(paths), "is deleted")
    merge_journals(results)


def print_removal(paths: StudyPaths, removal: Removal, what: str) -> None:
    """Print what became of a study that was removed.

    Raises:
        EnvironmentFault: Some files could not be removed.
    """
    if removal.problem is not None:
        raise EnvironmentFault(
            f"study {paths.study!r} {what}, but some of its files cannot be removed from {paths.results}: "
            f"{removal.problem}; the next `cnn-sweep list` tries again"
        )
    print(f"{paths.study} {what}")
    if removal.left is not None:
        warn(f"{paths.folder} was a link; the folder {removal.left} is still there")


def _ask(found: Sequence[StudyPaths], *, agreed: bool) -> None:
    """Say what goes, and ask for confirmation.

    Raises:
        InputError: The command is not interactive, or the answer is no.
    """
    if agreed:
        return
    contents = [_contents(paths) for paths in found]
    if not sys.stdin.isatty():
        raise InputError(
            f"nothing is deleted without --yes if nobody can be asked; it would delete {'; '.join(contents)}"
        )
    for line in contents:
        print(line, file=sys.stderr)
    what = few([paths.study for paths in found])
    if not typer.confirm(f"Delete {what} for good?", err=True):
        raise InputError("nothing was deleted")


def _contents(paths: StudyPaths) -> str:
    """Describe what a study has, as far as it can be read."""
    parts = []
    try:
        counts = Study.open(paths.results, paths.study, merge=False).summary()["trials"]
        parts.append(f"trials: {counted(counts) or 'none'}")
    except CnnSweepError:  # a damaged study can be deleted, too
        parts.append("trials unknown")
    parts.append(plural(sum(file.is_file() for file in paths.models.glob("*.keras")), "model"))
    parts.append(in_bytes(size_of(paths.folder)))
    link = f", a link to {paths.folder.resolve()}" if paths.folder.is_symlink() else ""
    return f"{paths.study}{link} ({', '.join(parts)})"
