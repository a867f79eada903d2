"""``activations``: draws the output of a layer for an image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.ui.files import check_folder
from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName, Trial, Trust, trial_number
from cnn_sweep.errors import InputError
from cnn_sweep.execution.models import client as models
from cnn_sweep.report.figures.contact_sheets import activation_maps, save_picture
from cnn_sweep.report.models.requested_images import choose_images


def activations(
    study: StudyName,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Image file.", show_default=False)],
    layer: Annotated[
        str, typer.Option(metavar="LAYER", help="Number of the layer, from 1, or its name.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.png", help="Picture to write.", show_default=False)
    ],
    channel: Annotated[
        int | None,
        typer.Option(metavar="CHANNEL", min=0, help="Draw only this channel, from 0.", show_default="all channels"),
    ] = None,
    trial: Trial = "best",
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Draw the activations of a layer of a trial's model for an image.

    Examples:
      cnn-sweep activations digits three.png --layer 1 --output maps.png
    """
    number = trial_number(trial)
    check_folder(output)
    chosen = choose_images(results, study, [image])
    if len(chosen.names) != 1:
        raise InputError(f"{image}: give one image file; this is a folder of {len(chosen.names)} images")
    values = models.activations(results, study, chosen.x, layer, trial=number)[0]
    save_picture(activation_maps(values, channel=channel), output)
    print(output, file=sys.stderr)
