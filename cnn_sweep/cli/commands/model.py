"""``model``: saves a trial's model as a plain Keras file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.ui.files import check_model_file
from cnn_sweep.cli.ui.options import RESULTS, Calibrated, Refit, Results, StudyName, Trial, Trust, trial_number
from cnn_sweep.execution.models import client as models


def model(
    study: StudyName,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.keras|FILE.h5", help="File to write.", show_default=False)
    ],
    trial: Trial = "best",
    calibrated: Calibrated = False,
    refit: Refit = False,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Save a trial's model as a plain Keras file, which takes raw images and loads without this package.

    Examples:
      cnn-sweep model digits --output digits.keras
      cnn-sweep model digits --calibrated --output calibrated.keras
    """
    wanted = trial_number(trial)
    check_model_file(output)
    mixture = None
    if calibrated or refit:
        from cnn_sweep.report.models.mixtures import MixtureOptions, mixture_of

        mixture = mixture_of(results, study, MixtureOptions(calibrated=calibrated, refit=refit, trial=wanted))
    number = models.save_model(results, study, output, trial=wanted, mixture=mixture)
    print(f"{mixture or f'trial {number}'}: {output}", file=sys.stderr)
