"""Verbs about images: ``data prepare``, ``data show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.options import RESULTS, AsJson, Results, SweepFile

app = typer.Typer(help="The images that a sweep is about.", no_args_is_help=True)


@app.command("prepare")
def data_prepare(sweep: SweepFile, json: AsJson = False, results: Results = RESULTS) -> None:
    """Decode, check and store a sweep's images, and say what was found. Goes on where it was stopped.

    `run` and `submit` do this by themselves; here you see it before anything trains.
    """
    from cnn_sweep.cli import preparing

    preparing.prepare(sweep, results, as_json=json)


@app.command("show")
def data_show(
    sweep: SweepFile,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="One image of each class, as augmentation changes it.")
    ] = False,
    samples: Annotated[int, typer.Option(min=1, max=100, help="Images in a row.")] = 8,
    trial: Annotated[int, typer.Option(min=0, help="With --augmented: of this trial's configuration.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="PNG to write.  [default: STUDY-data.png]", show_default=False)
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write a contact sheet: training images of each class."""
    from cnn_sweep.cli import sheets

    sheets.show(sweep, results, trial if augmented else None, samples=samples, output=output)
