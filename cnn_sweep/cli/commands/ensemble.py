"""``ensemble``: chooses trials whose averaged probabilities are better than those of the best trial."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.ui.files import check_model_file
from cnn_sweep.cli.ui.options import RESULTS, Calibrated, Format, Results, Size, StudyName, TableFormat, Trust
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import InputError
from cnn_sweep.execution.models import client as models
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import plural
from cnn_sweep.report.models.ensembles import Ensemble, Goal, chosen_ensemble, goal_of
from cnn_sweep.report.models.mixtures import mixture_of_ensemble
from cnn_sweep.report.models.paired_tests import told_by_predictions


def ensemble(
    study: StudyName,
    size: Size = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.keras|FILE.h5", help="Save the average as one model.", show_default=False
        ),
    ] = None,
    calibrated: Calibrated = False,
    form: Format = TableFormat.table,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Choose trials whose averaged probabilities are best on the validation images, one after another.

    The cross-fitted score is that of images that did not choose the members: compare it with that of the best trial.

    Examples:
      cnn-sweep ensemble digits
      cnn-sweep ensemble digits --size 10 --output average.keras
    """
    if output is not None:
        check_model_file(output)
    elif calibrated:
        raise InputError("--calibrated is for the model that --output saves; give --output FILE.keras as well")
    objective = StudyFolder.open(results, study).sweep.objective
    made = chosen_ensemble(results, study, objective, size)
    if told_by_predictions(objective.metric) is None:
        warn(f"{objective.metric} does not follow from predictions, so members are chosen by log loss")
    if made.left_out:
        warn(f"{plural(made.left_out, 'trial was', 'trials were')} validated with other images and left out")
    if form == "table":
        _print(made, goal_of(objective), size)
    else:
        print_formatted(made.table, form)
    if output is not None:
        mixture = mixture_of_ensemble(made, calibrated=calibrated)
        models.save_model(results, study, output, mixture=mixture)
        print(f"{mixture}: {output}", file=sys.stderr)


def _print(made: Ensemble, goal: Goal, size: int) -> None:
    images = len(made.members[0].labels)
    print(f"{plural(len(made.table.rows), 'member')}, {goal.metric} on {images} validation images")
    print_table(made.table)
    for what, value, honest in (
        (f"average of {size}", made.value, made.cross_fitted),
        ("best trial", made.best, made.best_cross_fitted),
    ):
        print(f"{what}: {goal.metric} {value:.4f} (optimistic), cross-fitted {honest:.4f}")
