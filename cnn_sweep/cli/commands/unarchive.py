"""``unarchive``: restores a study from an archive, or checks an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.ui.byte_progress import byte_progress
from cnn_sweep.cli.ui.options import RESULTS, Results, Trust
from cnn_sweep.cli.ui.studies import merge_journals
from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.archive_reader import read_archive, read_summary, restore_study
from cnn_sweep.journal.paths import archive_folder, archive_of, archived_studies
from cnn_sweep.journal.trust import check_file
from cnn_sweep.messages import few, near, plural
from cnn_sweep.sweep.identity import STUDY_NAME


def unarchive(
    archive: Annotated[
        str,
        typer.Argument(
            metavar="ARCHIVE|FILE", help="A study in RESULTS/archive, or an archive elsewhere.", show_default=False
        ),
    ],
    check: Annotated[bool, typer.Option("--check", help="Only compare every file with its checksum.")] = False,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Restore a study from an archive, which remains, or check the archive.

    Every file is compared with its checksum first; from a damaged archive nothing is restored.

    Examples:
      cnn-sweep unarchive digits
      cnn-sweep unarchive /backup/digits.tar.gz --check
    """
    file = _archive(results, archive)
    if not check:  # afterwards, the study and its code are this user's
        check_file(file, results)
    total = read_summary(file)["bytes"]
    done = 0
    with byte_progress(file.name) as show:

        def observe(count: int) -> None:
            nonlocal done
            done += count
            show(min(done, total), total)

        if check:
            files = len(read_archive(file, observe=observe).sums)
            study = None
        else:
            study = restore_study(file, results, observe=observe).study
    if study is None:
        print(f"{file} is sound: {plural(files, 'file')}")
        return
    merge_journals(results)
    print(f"{study} is restored from {file}, which remains")


def _archive(results: Path, name: str) -> Path:
    """Return the archive that the user means.

    Raises:
        InputError: There is none; the message names those that exist.
    """
    if Path(name).is_file():
        return Path(name)
    if STUDY_NAME.fullmatch(name) and archive_of(results, name).is_file():
        return archive_of(results, name)
    folder = archive_folder(results)
    names = archived_studies(results)
    there = f"archives in {folder}: {few(names)}" if names else f"there are none in {folder}"
    raise InputError(f"no archive {name!r}{near(name, names)}; {there}")
