"""``copy``: writes the sweep of a study, or of another file, as a new file with changes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.ui.files import check_folder, create_text
from cnn_sweep.cli.ui.options import RESULTS, Results, Set
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.user_code import uses_user_code
from cnn_sweep.journal.paths import existing_study
from cnn_sweep.journal.sweep_files import newest_revision
from cnn_sweep.shipped import schemas
from cnn_sweep.sweep.file.changes import parse_changes
from cnn_sweep.sweep.file.schema import schema_line
from cnn_sweep.sweep.sweep import Sweep

_SUFFIXES = (".yaml", ".yml")


def copy(
    source: Annotated[
        str, typer.Argument(metavar="STUDY|SWEEP.yaml", help="Study or sweep file to copy.", show_default=False)
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW.yaml", help="File to write.", show_default=False)],
    changes: Set = [],  # noqa: B006 - typer copies it
    results: Results = RESULTS,
) -> None:
    """Write the sweep of a study as a new file, with changes. The new file's name becomes the study's name.

    Examples:
      cnn-sweep copy digits longer.yaml --set training.epochs=50
      cnn-sweep copy sweeps/digits.yaml mine.yaml --set space.filters=[16,32]
    """
    check_folder(new)
    if new.suffix not in _SUFFIXES:
        raise InputError(f"{new}: the name of a sweep file ends in .yaml, such as {new.name}.yaml")
    if os.path.lexists(new):
        raise InputError(f"{new} exists already and is not replaced; give another name")
    found = _sweep(source, results)
    copied = found.copied(new, parse_changes(changes))
    text = re.sub(r"\A# yaml-language-server: .*", lambda _: schema_line(schemas()["sweep"]), copied.text)
    create_text(new, text)
    for line in copied.changed:
        warn(line)
    warn(f"the sweep of {found.study!r} is in {new}, as the study {copied.study!r}; next: cnn-sweep plan {new}")
    if uses_user_code(copied) and found.folder.resolve() != copied.folder.resolve():
        warn(
            f"its functions must be in {copied.folder.resolve()}: copy your Python files from {found.folder.resolve()}"
        )


def _sweep(source: str, results: Path) -> Sweep:
    """Return the sweep of a file or, if there is none of this name, the newest one of a study."""
    file = Path(source)
    if file.suffix in _SUFFIXES or file.is_file():
        return Sweep.load(file)
    return newest_revision(existing_study(results, source))
