"""``predict``: predicts the classes of images with a trial's model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnn_sweep.cli.ui.files import check_folder, file_name, short_name, write_text
from cnn_sweep.cli.ui.options import RESULTS, Format, Results, Sheet, StudyName, TableFormat, Trial, Trust, trial_number
from cnn_sweep.cli.ui.tables import print_formatted, print_predictions, warn_of_formulas
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import InputError
from cnn_sweep.execution.models import client as models
from cnn_sweep.report.figures.contact_sheets import contact_sheet, mosaic, save_picture
from cnn_sweep.report.leaderboards.formats import to_csv
from cnn_sweep.report.models.predictions import origins, prediction_table
from cnn_sweep.report.models.requested_images import choose_images
from cnn_sweep.training.data.dataset import UNLABELLED, Item, grid

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Outputs:
    """The files to write and the format to print.

    Attributes:
        csv: File for the table.
        sheet: File for a contact sheet.
        mosaic: Folder for one picture per class.
        columns: Tiles per row, if the data do not record their positions.
        table: Format of the printed table; ``table`` prints nothing if a file is written.
    """

    csv: Path | None = None
    sheet: Path | None = None
    mosaic: Path | None = None
    columns: int | None = None
    table: TableFormat = TableFormat.table

    @property
    def files(self) -> list[Path]:
        """The files and folders to write."""
        return [file for file in (self.csv, self.sheet, self.mosaic) if file is not None]


def predict(
    study: StudyName,
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE|FOLDER", help="Image files, or folders of them.", show_default=False),
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Predict the unlabelled images of the study's data.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write a table.", show_default=False)] = None,
    sheet: Sheet = None,
    mosaic: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Reassemble unlabelled tiles: a picture per class, each tile as opaque as it is probable.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        int | None,
        typer.Option(min=1, help="Tiles per row, if the data do not record it (R lists).", show_default=False),
    ] = None,
    trial: Trial = "best",
    output: Format = TableFormat.table,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Predict the classes of images with a trial's model. The exit code is 1 if a file cannot be read.

    Examples:
      cnn-sweep predict digits three.png scans/
      cnn-sweep predict digits --unlabelled --csv classes.csv
    """
    number = trial_number(trial)
    outputs = Outputs(csv=csv, sheet=sheet, mosaic=mosaic, columns=columns, table=output)
    _check(images, outputs, unlabelled=unlabelled)
    if unlabelled:
        found = models.predict_split(results, study, UNLABELLED, trial=number)
        names, x = origins(found, results, study)
        _write_predictions(found, x, names, outputs)
        return
    chosen = choose_images(results, study, tuple(images or ()))
    found = models.predict_images(results, study, chosen.x, trial=number)
    for image in chosen.bad:
        warn(f"{image.name}: {image.reason}")
    _write_predictions(found, chosen.x, tuple(map(Item, chosen.names)), outputs)
    if chosen.bad:
        raise typer.Exit(1)


def _check(images: list[str] | None, outputs: Outputs, *, unlabelled: bool) -> None:
    """Check the options before any work is done.

    Raises:
        InputError: Neither images nor ``--unlabelled`` are given, or both; or a file has no folder.
    """
    if bool(images) == unlabelled:
        raise InputError("give either image files and folders, or --unlabelled")
    if outputs.mosaic is not None and not unlabelled:
        raise InputError("--mosaic shows the unlabelled tiles of the study's data: add --unlabelled")
    for file in outputs.files:
        check_folder(file)


def _write_predictions(found: models.Predictions, x: Any, names: Sequence[Item], outputs: Outputs) -> None:
    table = prediction_table(found, names)
    if outputs.csv is not None:
        write_text(outputs.csv, to_csv(table))
        warn_of_formulas(table)
    if outputs.sheet is not None:
        captions = [f"{row['predicted']}  {row['probability']:.3f}\n{short_name(row['image'])}" for row in table.rows]
        save_picture(contact_sheet(x, captions), outputs.sheet)
    if outputs.mosaic is not None:
        _draw_mosaics(found, x, names, outputs.mosaic, outputs.columns)
    for file in outputs.files:
        print(file, file=sys.stderr)
    if outputs.table != "table":
        print_formatted(table, outputs.table)
    elif not outputs.files:
        print_predictions(table)


def _draw_mosaics(found: models.Predictions, x: Any, names: Sequence[Item], folder: Path, columns: int | None) -> None:
    """Draw a picture per class, with each tile at its place and as opaque as it is probable."""
    cut = None if found.prepared is None else grid(found.prepared)
    if cut is not None:
        places = [(item.row or 0, item.column or 0) for item in names]
        step = tuple(n * s / size for n, s, size in zip(x.shape[1:3], cut.stride, cut.size, strict=True))
    elif columns is not None:
        places, step = [divmod(number, columns) for number in range(len(names))], x.shape[1:3]
    else:
        raise InputError(
            "--mosaic: the study's data do not record the tiles' positions; give the tiles per row with --columns"
        )
    folder.mkdir(exist_ok=True)
    files = [file_name(name) for name in found.class_names]
    if len({file.lower() for file in files}) < len(files):
        files = [f"{number}_{file}" for number, file in enumerate(files)]
    for number, file in enumerate(files):
        picture = mosaic(x, places, found.probabilities[:, number], step=(step[0], step[1]))
        save_picture(picture, folder / f"{file}.png")
