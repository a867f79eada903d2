"""The revisions of a study's sweep in its folder: ``sweep.yaml``, ``sweep.2.yaml`` and so on.

The name of the folder is the name of the study, whatever ``study:`` says in these files. Therefore a study is renamed
by renaming its folder, and none of its files changes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.sweep.repeats import read_more_repeats
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from cnn_sweep.journal.paths import StudyPaths


def read_revisions(paths: StudyPaths) -> tuple[Sweep, ...]:
    """Read the revisions of a study's sweep, oldest first, including repeats that ``repeat`` added."""
    folder = _original_folder(paths)
    return tuple(_read_revision(paths, file, folder) for file in paths.revisions())


def newest_revision(paths: StudyPaths) -> Sweep:
    """Read only the newest revision of a study's sweep."""
    return _read_revision(paths, paths.revisions()[-1], _original_folder(paths))


def _read_revision(paths: StudyPaths, file: Path, folder: Path) -> Sweep:
    text = file.read_text(encoding="utf-8")
    sweep = Sweep.parse(text, source=str(file), folder=folder)
    return replace(sweep, more_repeats=read_more_repeats(text)).named(paths.study)


def _original_folder(paths: StudyPaths) -> Path:
    """Return the folder of the user's sweep file; relative paths in the file start there.

    If ``provenance.json`` is lost or damaged, it is the study's own folder: results can still be read.
    """
    try:
        return Path(json.loads(paths.provenance.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return paths.folder
