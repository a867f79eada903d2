"""``report``: writes a report on a study as an HTML page, as Markdown, or as images."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from cnn_sweep.cli.ui.live_page import keep_live
from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName, Trust, split_names
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.messages import plural
from cnn_sweep.report.document.report_file import check_replaceable, write_report
from cnn_sweep.report.figures.paper import CAPTIONS, DEFAULT_FONT, DEFAULT_WIDTH, Paper, write_images
from cnn_sweep.report.figures.plots import all_figures
from cnn_sweep.report.report_data import ReportData, gather, with_correction, with_efficiency, with_importance
from cnn_sweep.slurm.commands import SlurmCli


class ReportFormat(StrEnum):
    """Format of a report."""

    html = "html"
    markdown = "markdown"


_SUFFIXES: Final = {"html": "html", "markdown": "md"}


def report(
    study: StudyName,
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="File to write; with --watch, a folder.",
            show_default="STUDY.html, STUDY.md or STUDY-live",
        ),
    ] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="Output format.")] = ReportFormat.html,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write each figure here, as SVG, PNG and PDF.", show_default=False),
    ] = None,
    width: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help="Width of the figures in DIR, as in 85mm.", show_default=DEFAULT_WIDTH),
    ] = None,
    font: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Size of letters in them, as in 8pt.", show_default=DEFAULT_FONT),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(
            metavar="TRIALS", help="Trials whose learning curves are drawn, as in 3,17.", show_default="the best trials"
        ),
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1.0,
            help="Write a live page, and renew it this often until the study is finished.",
            show_default=False,
        ),
    ] = None,
    socket: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --watch, also serve the page through this UNIX socket, for ssh -L.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        bool, typer.Option(help="Predict the validation images with the best model, and show its mistakes.")
    ] = True,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Write a report on a study: one HTML page that needs no network, or Markdown.

    Examples:
      cnn-sweep report digits
      cnn-sweep report digits --format markdown --figures figures
      cnn-sweep report digits --figures figures --width 85mm --font 8pt
      cnn-sweep report digits --watch 60
      cnn-sweep report digits --watch 60 --socket ~/digits.socket
    """
    numbers = _trial_numbers(trials)
    if figures is None and (width or font):
        raise typer.BadParameter("--width and --font are for --figures DIR")
    paper = Paper.of(width or DEFAULT_WIDTH, font or DEFAULT_FONT)
    if watch is not None:
        if figures is not None or form != "html":
            raise typer.BadParameter("--watch writes an HTML page only, without --figures")
        keep_live(results, study, output or Path(f"{study}-live"), watch, numbers, socket)
        return
    if socket is not None:
        raise typer.BadParameter("--socket is for --watch SECONDS")
    file = output if output is not None else Path(f"{study}.{_SUFFIXES[form]}")
    found = open_merged(results, study)
    check_replaceable(file, study)  # checked first, because predictions and figures may take minutes
    with found.store:
        for trial in numbers:
            found.trial(trial)  # raises for an unknown number, with a list of the known ones
        data = gather(found.store, study, found.leaderboard_table(), trials=numbers)
        data = with_efficiency(data, found.store, SlurmCli())
    data = with_correction(data, results)
    data = _with_best_model(results, with_importance(data), predictions=predictions)
    if figures is not None:
        _write_figures(data, figures, paper)
    write_report(file, _text(data, file, form, figures), study=study)
    for problem in data.problems.found:
        warn(problem)
    print(file)


def _trial_numbers(text: str | None) -> list[int]:
    """Read trial numbers, as in 3,17."""
    words = split_names(text)
    if wrong := [word for word in words if not word.isdecimal()]:
        raise typer.BadParameter(f"{wrong[0]!r} is not a trial number; write them as in 3,17", param_hint="--trials")
    return [int(word) for word in words]


def _write_figures(data: ReportData, folder: Path, paper: Paper) -> None:
    written = write_images(all_figures(data), folder, paper, tell=warn)
    print(f"{plural(len(written), 'image')} and {CAPTIONS} in {folder}", file=sys.stderr)


def _text(data: ReportData, file: Path, form: ReportFormat, images: Path | None) -> str:
    if form == "markdown":
        from cnn_sweep.report.document.markdown import markdown

        beside = None if images is None else os.path.relpath(images.resolve(), file.resolve().parent)
        return markdown(data, images=beside)
    from cnn_sweep.report.document.html import page

    return page(data)


def _with_best_model(results: Path, data: ReportData, *, predictions: bool) -> ReportData:
    """Add the predictions of the best model, or the reason why there are none."""
    best = data.best_trial
    if best is None:
        return data
    if not predictions:
        return replace(data, no_model="Left out with --no-predictions.")
    from cnn_sweep.report.models.best_model import best_model
    from cnn_sweep.report.models.predictions import kept_of

    def predicted() -> ReportData:
        try:
            kept = kept_of(results, data.study)
            if kept is None:
                if not StudyPaths(results, data.study).model(best).is_file():
                    return replace(data, no_model=f"Neither predictions nor the model of trial {best} were kept.")
                warn("the best model predicts the validation images (--no-predictions leaves it out)")
            return replace(data, best_model=best_model(results, data.study, kept))
        except CnnSweepError as error:
            return replace(data, no_model=f"The best model could not predict: {error}")

    return data.problems.attempt("predictions", predicted, lambda why: replace(data, no_model=why))
