"""Verbs about trained models: ``finalize``, ``confusion``, ``misclassified``, ``model``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.options import RESULTS, Results, StudyName, TableFormat


class Normalize(StrEnum):
    """What a confusion matrix is divided by."""

    true = "true"
    predicted = "predicted"
    all = "all"


class OpenSplit(StrEnum):
    """Images whose classes are known."""

    train = "train"
    validation = "validation"
    test = "test"


Trial = Annotated[str, typer.Option("--trial", metavar="N|best", help="A complete trial.")]
Split = Annotated[OpenSplit, typer.Option(help="Which images; the test set only after `finalize`.")]
Format = Annotated[TableFormat, typer.Option("--format", help="How to write it.")]
Sheet = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the images.", show_default=False)]


def finalize(
    study: StudyName,
    top: Annotated[int, typer.Option(min=1, help="Evaluate the best K trials.")] = 1,
    results: Results = RESULTS,
) -> None:
    """Open the sealed test set and evaluate the best trials on it, once the search is over."""
    from cnn_sweep.cli import finalizing

    finalizing.finalize(results, study, top)


def confusion(
    study: StudyName,
    trial: Trial = "best",
    split: Split = OpenSplit.validation,
    normalize: Annotated[
        Normalize | None,
        typer.Option(help="Shares of each true class, of each predicted class, or of all.", show_default=False),
    ] = None,
    output: Format = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """Show which classes a trial's model takes for which, with precision, recall and F1."""
    from cnn_sweep.cli import predicting

    share = None if normalize is None else normalize.value
    predicting.confusion(results, study, predicting.trial_number(trial), split.value, share, output.value)


def misclassified(
    study: StudyName,
    true: Annotated[str | None, typer.Option(metavar="CLASS", help="Of this class only.", show_default=False)] = None,
    predicted: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Taken for this class only.", show_default=False)
    ] = None,
    sheet: Sheet = None,
    trial: Trial = "best",
    split: Split = OpenSplit.validation,
    output: Format = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """List the images that a trial's model takes for another class, the surest mistakes first."""
    from cnn_sweep.cli import predicting

    number = predicting.trial_number(trial)
    predicting.misclassified(
        results, study, number, split.value, true=true, predicted=predicted, sheet=sheet, output=output.value
    )


def model(
    study: StudyName,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.keras|FILE.h5", help="Where to save it.", show_default=False),
    ],
    trial: Trial = "best",
    results: Results = RESULTS,
) -> None:
    """Save a trial's model as a plain Keras file that takes images as they are, and loads without this package."""
    from cnn_sweep.cli import predicting

    predicting.save(results, study, predicting.trial_number(trial), output)
