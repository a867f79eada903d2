"""``confusion``, ``misclassified``, ``predict``, ``activations``, ``model``: trained models at work."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.cli.tables import print_table
from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.execution.models import client as models
from cnn_sweep.report.figures.contact_sheets import activation_maps, contact_sheet, mosaic, save_picture
from cnn_sweep.report.leaderboards.formats import WRITERS
from cnn_sweep.report.models.predictions import (
    class_index,
    class_table,
    confusion_table,
    misclassified_rows,
    prediction_table,
)
from cnn_sweep.report.models.requested_images import choose_images
from cnn_sweep.training.data.dataset import UNLABELLED, Item, grid, items, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Table

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
    table = prediction_table(found, items(found.prepared, split), rows=rows)
    if sheet is not None and rows:
        images = load(found.prepared, splits=(split,)).splits[split].x[rows]
        save_picture(contact_sheet(images, [_caption(row) for row in table.rows]), sheet)
        print(sheet, file=sys.stderr)
    if output != "table":
        sys.stdout.write(WRITERS[output](table))
        return
    mistakes = "1 image is" if len(rows) == 1 else f"{len(rows)} images are"
    print(f"trial {found.trial}, {split} set: {mistakes} taken for another class", file=sys.stderr)
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


@dataclass(frozen=True)
class Wanted:
    """What ``predict`` is to give.

    Attributes:
        csv: File for the table.
        sheet: File for a contact sheet.
        mosaic: Folder for a picture per class.
        columns: Tiles of a row, where the data do not say it.
        output: How to print the table; nothing is printed where a file is wanted and this is ``table``.
    """

    csv: Path | None = None
    sheet: Path | None = None
    mosaic: Path | None = None
    columns: int | None = None
    output: str = "table"


def predict(
    results: Path, study: str, trial: int | None, words: tuple[str, ...], *, unlabelled: bool, wanted: Wanted
) -> int:
    """Predict images; return the exit code: 1 if a file could not be read.

    Raises:
        InputError: No images, or both kinds of them, are asked for.
    """
    if bool(words) == unlabelled:
        raise InputError("name image files or folders, or ask for --unlabelled: one of the two")
    if wanted.mosaic is not None and not unlabelled:
        raise InputError("--mosaic shows the unlabelled tiles of the study's data: add --unlabelled")
    for file in (wanted.csv, wanted.sheet, wanted.mosaic):
        if file is not None:
            check_folder(file)
    if unlabelled:
        found = models.predict_split(results, study, UNLABELLED, trial=trial)
        x, names = load(found.prepared, splits=(UNLABELLED,)).splits[UNLABELLED].x, items(found.prepared, UNLABELLED)
        unread = 0
    else:
        chosen = choose_images(results, study, words)
        found = models.predict_images(results, study, chosen.x, trial=trial)
        x, names, unread = chosen.x, tuple(map(Item, chosen.names)), len(chosen.bad)
        for image in chosen.bad:
            print(f"cnn-sweep: {image.name}: {image.reason}", file=sys.stderr)
    _write_predictions(found, x, names, wanted)
    return int(unread > 0)


def _write_predictions(found: models.Predictions, x: Any, names: Sequence[Item], wanted: Wanted) -> None:
    table = prediction_table(found, names)
    if wanted.csv is not None:
        write_text(wanted.csv, WRITERS["csv"](table))
    if wanted.sheet is not None:
        captions = [f"{row['predicted']}  {row['probability']:.3f}\n{short_name(row['image'])}" for row in table.rows]
        save_picture(contact_sheet(x, captions), wanted.sheet)
    if wanted.mosaic is not None:
        _draw_mosaics(found, x, names, wanted.mosaic, wanted.columns)
    for file in (wanted.csv, wanted.sheet, wanted.mosaic):
        if file is not None:
            print(file, file=sys.stderr)
    if wanted.output != "table":
        sys.stdout.write(WRITERS[wanted.output](table))
    elif wanted.csv is None and wanted.sheet is None and wanted.mosaic is None:
        show_rows(table)


def _draw_mosaics(found: models.Predictions, x: Any, names: Sequence[Item], folder: Path, columns: int | None) -> None:
    """Draw a picture per class."""
    cut = grid(found.prepared)
    if cut is not None:
        places = [(item.row or 0, item.column or 0) for item in names]
        step = tuple(n * s / size for n, s, size in zip(x.shape[1:3], cut.stride, cut.size, strict=True))
    elif columns is not None:
        places, step = [divmod(number, columns) for number in range(len(names))], x.shape[1:3]
    else:
        raise InputError(
            "--mosaic: the study's data do not say where tiles are; say with --columns how many make a row"
        )
    folder.mkdir(exist_ok=True)
    files = [file_name(name) for name in found.class_names]
    if len({file.lower() for file in files}) < len(files):
        files = [f"{number}_{file}" for number, file in enumerate(files)]
    for number, file in enumerate(files):
        picture = mosaic(x, places, found.probabilities[:, number], step=(step[0], step[1]))
        save_picture(picture, folder / f"{file}.png")


def file_name(text: str) -> str:
    """Return a text as a name of a file: what could be a path is replaced."""
    return "".join(character if character.isalnum() or character in "-_. " else "_" for character in text)


def write_text(file: Path, text: str) -> None:
    """Write a file of the user's.

    Raises:
        EnvironmentFault: It cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise EnvironmentFault(f"cannot write {file}: {error.strerror or error}") from error


def activations(
    results: Path, study: str, trial: int | None, image: str, layer: str, channel: int | None, output: Path
) -> None:
    """Draw what a layer makes of an image."""
    check_folder(output)
    chosen = choose_images(results, study, [image])
    if len(chosen.names) != 1:
        raise InputError(f"{image}: activations are drawn of one image, these are {len(chosen.names)}")
    values = models.activations(results, study, chosen.x, layer, trial=trial)[0]
    save_picture(activation_maps(values, channel=channel), output)
    print(output, file=sys.stderr)


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
