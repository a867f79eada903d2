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
from cnn_sweep.report.document.importance_estimates import with_importance
from cnn_sweep.report.document.report_file import write_whole
from cnn_sweep.report.figures.all_figures import drawable
from cnn_sweep.report.report_data import Material, gather

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
    found = open_merged(results, study)
    with found.store:
        for trial in trials:
            found.trial(trial)  # says which trials there are
        material = gather(found.store, study, found.leaderboard_table(), trials=trials)
    material = with_importance(material)
    material = _with_best_model(results, material, predictions=predictions)
    file = output if output is not None else Path(f"{study}.{_SUFFIXES[form]}")
    if images is not None:
        # Their writing takes a browser: asked for only here.
        from cnn_sweep.report.figures.image_files import write_images

        written = write_images(drawable(material), images, tell=_tell)
        print(f"{plural(len(written), 'image')} in {images}", file=sys.stderr)
    write_whole(file, _text(material, file, form, images))
    for problem in material.problems.found:
        _tell(problem)
    print(file)


def _tell(words: str) -> None:
    print(f"cnn-sweep: {words}", file=sys.stderr, flush=True)


def _text(material: Material, file: Path, form: str, images: Path | None) -> str:
    if form == "markdown":
        from cnn_sweep.report.document.markdown import markdown

        beside = None if images is None else os.path.relpath(images.resolve(), file.resolve().parent)
        return markdown(material, images=beside)
    from cnn_sweep.report.document.html import page

    return page(material)


def _with_best_model(results: Path, material: Material, *, predictions: bool) -> Material:
    """Let the best model predict, if it was kept; otherwise say why it does not."""
    best = material.best_trial
    if best is None:
        return material
    if not predictions:
        return replace(material, no_model="Left out with --no-predictions.")
    if not StudyPaths(results, material.study).model(best).is_file():
        return replace(material, no_model=f"The model of trial {best} was not kept.")
    _tell("the best model predicts the validation images (--no-predictions leaves it out)")
    from cnn_sweep.report.models.best_model import best_model

    def predicted() -> Material:
        try:
            return replace(material, best_model=best_model(results, material.study))
        except CnnSweepError as error:
            return replace(material, no_model=f"The best model's predictions cannot be had: {error}")

    return material.problems.attempt("predictions", predicted, lambda why: replace(material, no_model=why))
