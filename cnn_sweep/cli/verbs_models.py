"""Verbs about trained models, from ``finalize`` to ``predict``."""

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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, also of a study that is not finished.")] = False,
    results: Results = RESULTS,
) -> None:
    """Open the sealed test set and evaluate the best trials on it, once the search is over."""
    from cnn_sweep.cli import finalizing

    finalizing.finalize(results, study, top, agreed=yes)


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


def predict(
    study: StudyName,
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE|FOLDER]...", help="Image files, or folders of them.", show_default=False),
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="The unlabelled images of the study's data.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write a table.", show_default=False)] = None,
    sheet: Sheet = None,
    mosaic: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Put unlabelled tiles back to their places: a picture per class, each tile as opaque as it is likely.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        int | None,
        typer.Option(min=1, help="Tiles of a row, where the data do not say it (R lists).", show_default=False),
    ] = None,
    trial: Trial = "best",
    output: Format = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """Predict the classes of images with a trial's model."""
    from cnn_sweep.cli import predicting

    wanted = predicting.Wanted(csv=csv, sheet=sheet, mosaic=mosaic, columns=columns, output=output.value)
    number = predicting.trial_number(trial)
    code = predicting.predict(results, study, number, tuple(images or ()), unlabelled=unlabelled, wanted=wanted)
    raise typer.Exit(code)


def activations(
    study: StudyName,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image file.", show_default=False)],
    layer: Annotated[str, typer.Option(help="The layer's number, from 1, or name.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.png", help="The picture.", show_default=False)
    ],
    channel: Annotated[
        int | None, typer.Option(min=0, help="One channel, from 0.  [default: all]", show_default=False)
    ] = None,
    trial: Trial = "best",
    results: Results = RESULTS,
) -> None:
    """Draw what a layer of a trial's model makes of an image."""
    from cnn_sweep.cli import predicting

    predicting.activations(results, study, predicting.trial_number(trial), image, layer, channel, output)


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
