"""Verbs that make something to look at of a study: ``report``, ``dashboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.options import RESULTS, ReportFormat, Results, StudyName


def report(
    study: StudyName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.  [default: STUDY.html or STUDY.md]", show_default=False),
    ] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="How to write it.")] = ReportFormat.html,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each figure there too, as SVG, PNG and PDF.", show_default=False),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(help="Learning curves of these trials, as in 3,17.  [default: the best]", show_default=False),
    ] = None,
    predictions: Annotated[
        bool, typer.Option(help="Let the best model predict the validation images: its confusion and its mistakes.")
    ] = True,
    results: Results = RESULTS,
) -> None:
    """Write a study as one HTML page that opens anywhere, without a network."""
    from cnn_sweep.cli import reporting

    chosen = _numbers(trials)
    reporting.report(results, study, output, form=form.value, images=figures, trials=chosen, predictions=predictions)


def dashboard(
    study: StudyName,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8080,
    interval: Annotated[float, typer.Option(min=1.0, help="Seconds between looks at the study.")] = 10.0,
    results: Results = RESULTS,
) -> None:
    """Serve optuna-dashboard on a copy of a study that keeps up with it, for this machine only."""
    from cnn_sweep.cli import dashboard as serving

    serving.dashboard(results, study, port, interval)


def _numbers(text: str | None) -> list[int]:
    """Read 3,17 as two numbers."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if wrong := [word for word in words if not word.isdecimal()]:
        raise typer.BadParameter(f"{wrong[0]!r} is no trial's number; write them as in 3,17", param_hint="--trials")
    return [int(word) for word in words]
