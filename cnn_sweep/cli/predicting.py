"""``confusion``, ``misclassified``, ``model``: what trained models make of a study's images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cnn_sweep.cli.tables import print_table
from cnn_sweep.errors import InputError
from cnn_sweep.execution import models
from cnn_sweep.report.formats import WRITERS
from cnn_sweep.report.pictures import contact_sheet, save_picture
from cnn_sweep.report.predictions import (
    class_index,
    class_table,
    confusion_table,
    image_names,
    misclassified_rows,
    prediction_table,
)
from cnn_sweep.training.data.dataset import load

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.report.leaderboard import Table

_FORMATS = (".keras", ".h5")
_SHOWN = 50  # rows of a table on a terminal


def trial_number(text: str) -> int | None:
    """Read ``--trial``: a number, or ``best``, which is None.

    Raises:
        InputError: It is neither.
    """
    if text == "best":
        return None
    if text.isdecimal():
        return int(text)
    raise InputError(f"--trial {text!r} is neither a number nor 'best'")


def confusion(results: Path, study: str, trial: int | None, split: str, share: str | None, output: str) -> None:
    """Print a confusion matrix; as a table, also the scores of each class."""
    found = models.predict_split(results, study, split, trial=trial)
    table = confusion_table(found, share=share)
    if output != "table":
        sys.stdout.write(WRITERS[output](table))
        return
    what = "images" if share is None else f"shares of {'all' if share == 'all' else f'the {share} class'}"
    print_table(table, title=f"trial {found.trial}, {split} set: {what}, true classes down, predicted ones across")
    print_table(class_table(found))


def misclassified(
    results: Path,
    study: str,
    trial: int | None,
    split: str,
    *,
    true: str | None,
    predicted: str | None,
    sheet: Path | None,
    output: str,
) -> None:
    """Print the images that are taken for another class, the surest mistakes first, and draw them."""
    found = models.predict_split(results, study, split, trial=trial)
    for name in (true, predicted):
        if name is not None:
            class_index(found.class_names, name)
    rows = misclassified_rows(found, true=true, predicted=predicted)
    names = image_names(found.prepared, split)
    table = prediction_table(found, names, rows=rows)
    if sheet is not None and rows:
        images = load(found.prepared, splits=(split,)).splits[split].x[rows]
        save_picture(contact_sheet(images, [_caption(row) for row in table.rows]), sheet)
        print(sheet, file=sys.stderr)
    if output != "table":
        sys.stdout.write(WRITERS[output](table))
        return
    print(f"trial {found.trial}, {split} set: {len(rows)} images are taken for another class", file=sys.stderr)
    show_rows(table)


def _caption(row: dict[str, object]) -> str:
    return f"{row['true']} read as {row['predicted']}\n{row['probability']:.3f}  {short_name(str(row['image']))}"


def short_name(name: str) -> str:
    """Return the end of a file's name, which tells images apart."""
    return name.rpartition("/")[2][-24:]


def show_rows(table: Table) -> None:
    """Print the first rows of a table, and say how many there are."""
    if not table.rows:
        return
    print_table(type(table)(table.columns, table.rows[:_SHOWN]))
    if len(table.rows) > _SHOWN:
        print(f"… and {len(table.rows) - _SHOWN} more (`--format csv` gives all)")


def save(results: Path, study: str, trial: int | None, output: Path) -> None:
    """Save a trial's model as a file of the user's.

    Raises:
        InputError: The file's name ends in neither form, or its folder does not exist.
    """
    if output.suffix not in _FORMATS:
        raise InputError(f"--output {output}: the name must end in {' or '.join(_FORMATS)}")
    check_folder(output)
    number = models.save_model(results, study, output, trial=trial)
    print(f"trial {number}: {output}", file=sys.stderr)


def check_folder(file: Path) -> None:
    """Refuse a file whose folder does not exist, before any work is done for it."""
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}")
