"""``misclassified``: lists the images that a trial's model misclassifies."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cnn_sweep.cli.ui.files import short_name
from cnn_sweep.cli.ui.options import (
    RESULTS,
    Format,
    LabelledSplit,
    Results,
    Sheet,
    Split,
    StudyName,
    TableFormat,
    Trial,
    Trust,
    trial_number,
)
from cnn_sweep.cli.ui.tables import print_formatted, print_predictions
from cnn_sweep.execution.models import client as models
from cnn_sweep.report.figures.contact_sheets import contact_sheet, save_picture
from cnn_sweep.report.models.predictions import class_index, misclassified_rows, prediction_table
from cnn_sweep.training.data.dataset import items, load


def misclassified(
    study: StudyName,
    true: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Only images of this class.", show_default=False)
    ] = None,
    predicted: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Only images predicted as this class.", show_default=False)
    ] = None,
    sheet: Sheet = None,
    trial: Trial = "best",
    split: Split = LabelledSplit.validation,
    output: Format = TableFormat.table,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """List the images that a trial's model misclassifies, the most confident mistakes first.

    Examples:
      cnn-sweep misclassified digits --true 8
      cnn-sweep misclassified digits --trial 3 --sheet mistakes.png
    """
    found = models.predict_split(results, study, split.value, trial=trial_number(trial))
    for name in (true, predicted):
        if name is not None:
            class_index(found.class_names, name)
    rows = misclassified_rows(found, true=true, predicted=predicted)
    table = prediction_table(found, items(found.prepared, split.value), rows=rows)
    if sheet is not None and rows:
        images = load(found.prepared, splits=(split.value,)).splits[split.value].x[rows]
        save_picture(contact_sheet(images, [_caption(row) for row in table.rows]), sheet)
        print(sheet, file=sys.stderr)
    if output != "table":
        print_formatted(table, output)
        return
    mistakes = "1 image is" if len(rows) == 1 else f"{len(rows)} images are"
    print(f"trial {found.trial}, {split} set: {mistakes} misclassified", file=sys.stderr)
    print_predictions(table)


def _caption(row: dict[str, object]) -> str:
    return f"{row['true']} read as {row['predicted']}\n{row['probability']:.3f}  {short_name(str(row['image']))}"
