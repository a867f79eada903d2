"""``archive``: puts a study into one file that is readable without this program."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnn_sweep.cli.commands.delete import print_removal
from cnn_sweep.cli.ui.byte_progress import byte_progress
from cnn_sweep.cli.ui.options import RESULTS, Force, Results, StudyName
from cnn_sweep.cli.ui.studies import merge_journals
from cnn_sweep.errors import EnvironmentFault, InputError, StudyError
from cnn_sweep.execution.study.archive import Archived, Extras, archive_study, complete_archive
from cnn_sweep.execution.study.in_use import check_unused
from cnn_sweep.execution.study.provenance import package_versions
from cnn_sweep.execution.study.removal import check_owner, clear_leftovers, remove_study
from cnn_sweep.journal.paths import ARCHIVE_SUFFIX, archive_of, existing_study
from cnn_sweep.messages import in_bytes, plural
from cnn_sweep.report import exports
from cnn_sweep.store.overview import overview
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import merge_first

if TYPE_CHECKING:
    from cnn_sweep.journal.paths import StudyPaths

_SUFFIXES = (ARCHIVE_SUFFIX, ".tgz")


def archive(
    study: StudyName,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Archive to write.", show_default="RESULTS/archive/STUDY.tar.gz"),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep/--remove", help="Keep the study's folder, or remove it once the archive is safe.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an older archive.")] = False,
    force: Force = False,
    results: Results = RESULTS,
) -> None:
    """Put a study that does not run into one file with checksums, then remove its folder.

    The file is a plain .tar.gz that can be read without this program: it has all files of the study, the trials and
    epochs as CSV, and a README. `cnn-sweep unarchive` makes it a study again.

    Examples:
      cnn-sweep archive digits
      cnn-sweep archive digits --to /backup/digits.tar.gz --keep
    """
    paths = existing_study(results, study)
    target = _target(paths, to)
    if not keep:
        check_owner(paths)
    check_unused(paths, force=force)
    clear_leftovers(results)
    done = _written_before(paths, target) if target.exists() and not replace else _write(paths, target, replace=replace)
    print(f"{study} is archived in {target}: {plural(done.files, 'file')}, {in_bytes(target.stat().st_size)}")
    if keep:
        return
    removal = remove_study(paths, unchanged=done.has_all_of)
    merge_journals(results)
    print_removal(paths, removal, f"is removed; `cnn-sweep unarchive {study if to is None else target}` restores it")


def _target(paths: StudyPaths, to: Path | None) -> Path:
    """Return the archive to write.

    Raises:
        InputError: The user's file has another suffix or is in the study's own folder.
    """
    if to is None:
        return archive_of(paths.results, paths.study)
    target = to / f"{paths.study}{ARCHIVE_SUFFIX}" if to.is_dir() else to
    if not target.name.endswith(_SUFFIXES):
        raise InputError(f"--to {to}: the name of an archive ends with {' or '.join(_SUFFIXES)}")
    if target.resolve().is_relative_to(paths.folder.resolve()):
        raise InputError(f"--to {to} is in the study's own folder, which is removed; name a file elsewhere")
    return target


def _written_before(paths: StudyPaths, target: Path) -> Archived:
    """Accept an archive of the study as it is now: a command may have been killed before it removed the study.

    Raises:
        StudyError: The archive is of something else.
    """
    if (found := complete_archive(target, paths)) is not None:
        return found
    raise StudyError(
        f"{target} exists and is of another state of {paths.study}; --replace replaces it, --to FILE writes another one"
    )


def _write(paths: StudyPaths, target: Path, *, replace: bool) -> Archived:
    if skipped := merge_first(paths.results):
        raise EnvironmentFault(f"the tables for the archive cannot be written: {skipped}; try again")
    store = StoreReader(paths.results)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as tables, byte_progress(paths.study) as observe:
        exports.export("csv", store, paths.study, tables)
        extras = Extras(_summary(store, paths.study), Path(tables))
        return archive_study(paths, target, extras, replace=replace, observe=observe)


def _summary(store: StoreReader, study: str) -> dict[str, Any]:
    (found,) = [record for record in overview(store) if record["study"] == study]
    names = ("study", "metric", "direction", "planned", "trials", "best", "created", "last_event")
    return {name: found[name] for name in names} | {"versions": package_versions()}
