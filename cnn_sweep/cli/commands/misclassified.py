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
from cnn_sweep.report.figures.contact_sheets import contact_sheet, save_picture
from cnn_sweep.report.models.predictions import (
    class_index,
    images_in_words,
    misclassified_rows,
    origins,
    prediction_table,
    predictions_of,
)


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
    found = predictions_of(results, study, split.value, trial=trial_number(trial))
    for name in (true, predicted):
        if name is not None:
            class_index(found.class_names, name)
    rows = misclassified_rows(found, true=true, predicted=predicted)
    names, images = origins(found, results, study)
    table = prediction_table(found, names, rows=rows)
    if sheet is not None and rows:
        save_picture(contact_sheet(images[rows], [_caption(row) for row in table.rows]), sheet)
        print(sheet, file=sys.stderr)
    if output != "table":
        print_formatted(table, output)
        return
    mistakes = "1 image is" if len(rows) == 1 else f"{len(rows)} images are"
    which = images_in_words(found, split.value)
    print(f"trial {found.trial}, {which}: {mistakes} misclassified", file=sys.stderr)
    print_predictions(table)


def _caption(row: dict[str, object]) -> str:
    return f"{row['true']} read as {row['predicted']}\n{row['probability']:.3f}  {short_name(str(row['image']))}"
