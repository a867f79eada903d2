"""Verbs about trained models: ``finalize``."""

from __future__ import annotations

from typing import Annotated

import typer

from cnn_sweep.cli.options import RESULTS, Results, StudyName


def finalize(
    study: StudyName,
    top: Annotated[int, typer.Option(min=1, help="Evaluate the best K trials.")] = 1,
    results: Results = RESULTS,
) -> None:
    """Open the sealed test set and evaluate the best trials on it, once the search is over."""
    from cnn_sweep.cli import finalizing

    raise typer.Exit(finalizing.finalize(results, study, top))
