"""``report``: a study as one page, as Markdown, as images."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.cli.reading import open_merged
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.messages import plural
from cnn_sweep.report.document.report_file import check_replaceable, write_report
from cnn_sweep.report.figures.plots import drawable
from cnn_sweep.report.report_data import ReportData, gather, with_importance

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUFFIXES = {"html": "html", "markdown": "md"}


def report(
    results: Path,
    study: str,
    output: Path | None,
    *,
    form: str,
    images: Path | None,
    trials: Sequence[int],
    predictions: bool,
) -> None:
    """Write a study's report and print its name."""
    file = output if output is not None else Path(f"{study}.{_SUFFIXES[form]}")
    check_replaceable(file, study)
    found = open_merged(results, study)
    with found.store:
        for trial in trials:
            found.trial(trial)  # says which trials there are
        data = gather(found.store, study, found.leaderboard_table(), trials=trials)
    data = with_importance(data)
    data = _with_best_model(results, data, predictions=predictions)
    if images is not None:
        from cnn_sweep.report.figures.plots import write_images

        written = write_images(drawable(data), images, tell=_tell)
        print(f"{plural(len(written), 'image')} in {images}", file=sys.stderr)
    write_report(file, _text(data, file, form, images), study=study)
    for problem in data.problems.found:
        _tell(problem)
    print(file)


def _tell(words: str) -> None:
    print(f"cnn-sweep: {words}", file=sys.stderr, flush=True)


def _text(data: ReportData, file: Path, form: str, images: Path | None) -> str:
    if form == "markdown":
        from cnn_sweep.report.document.markdown import markdown

        beside = None if images is None else os.path.relpath(images.resolve(), file.resolve().parent)
        return markdown(data, images=beside)
    from cnn_sweep.report.document.html import page

    return page(data)


def _with_best_model(results: Path, data: ReportData, *, predictions: bool) -> ReportData:
    """Add the best model's predictions, or the reason why there are none."""
    best = data.best_trial
    if best is None:
        return data
    if not predictions:
        return replace(data, no_model="Left out with --no-predictions.")
    if not StudyPaths(results, data.study).model(best).is_file():
        return replace(data, no_model=f"The model of trial {best} was not kept.")
    _tell("the best model predicts the validation images (--no-predictions leaves it out)")
    from cnn_sweep.report.models.best_model import best_model

    def predicted() -> ReportData:
        try:
            return replace(data, best_model=best_model(results, data.study))
        except CnnSweepError as error:
            return replace(data, no_model=f"The best model could not predict: {error}")

    return data.problems.attempt("predictions", predicted, lambda why: replace(data, no_model=why))
