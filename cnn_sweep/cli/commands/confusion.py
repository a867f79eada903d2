"""``confusion``: shows the confusion matrix of a trial's model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import (
    RESULTS,
    Format,
    LabelledSplit,
    Results,
    Split,
    StudyName,
    TableFormat,
    Trial,
    Trust,
    trial_number,
)
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.report.models.predictions import class_table, confusion_table, images_in_words, predictions_of


class Normalize(StrEnum):
    """The sum by which counts are divided."""

    true = "true"
    predicted = "predicted"
    all = "all"


def confusion(
    study: StudyName,
    trial: Trial = "best",
    split: Split = LabelledSplit.validation,
    normalize: Annotated[
        Normalize | None,
        typer.Option(
            help="Show shares of each true class, of each predicted class, or of all images.", show_default=False
        ),
    ] = None,
    output: Format = TableFormat.table,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Show the confusion matrix of a trial's model, with precision, recall and F1 of each class.

    Examples:
      cnn-sweep confusion digits
      cnn-sweep confusion digits --trial 3 --normalize true
    """
    found = predictions_of(results, study, split.value, trial=trial_number(trial))
    table = confusion_table(found, share=None if normalize is None else normalize.value)
    if output != "table":
        print_formatted(table, output)
        return
    cells = "images"
    if normalize is not None:
        cells = f"shares of {'all' if normalize == 'all' else f'the {normalize} class'}"
    images = images_in_words(found, split.value)
    print_table(table, title=f"trial {found.trial}, {images}: {cells}, true classes down, predicted ones across")
    print_table(class_table(found))
