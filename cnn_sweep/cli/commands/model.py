"""``model``: saves a trial's model as a plain Keras file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from cnn_sweep.cli.ui.files import check_folder
from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName, Trial, Trust, trial_number
from cnn_sweep.errors import InputError
from cnn_sweep.execution.models import client as models

_SUFFIXES: Final = (".keras", ".h5")


def model(
    study: StudyName,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.keras|FILE.h5", help="File to write.", show_default=False)
    ],
    trial: Trial = "best",
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Save a trial's model as a plain Keras file, which takes raw images and loads without this package.

    Examples:
      cnn-sweep model digits --output digits.keras
    """
    wanted = trial_number(trial)
    if output.suffix not in _SUFFIXES:
        raise InputError(f"--output {output}: the name must end in {' or '.join(_SUFFIXES)}")
    check_folder(output)
    number = models.save_model(results, study, output, trial=wanted)
    print(f"trial {number}: {output}", file=sys.stderr)
