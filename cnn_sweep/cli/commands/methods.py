"""``methods``: writes the methods section of a paper about a study."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.journal.paths import data_root
from cnn_sweep.report.methods import methods as describe
from cnn_sweep.report.report_data import gather, with_correction
from cnn_sweep.training.data.prepare import last_report


class MethodsFormat(StrEnum):
    """Format of the output."""

    markdown = "markdown"
    latex = "latex"
    bibtex = "bibtex"


def methods(
    study: StudyName,
    output: Annotated[
        MethodsFormat,
        typer.Option("--format", help="Text with references as Pandoc or LaTeX has them, or their BibTeX entries."),
    ] = MethodsFormat.markdown,
    results: Results = RESULTS,
) -> None:
    """Write the methods section of a paper: data, training, search, choice, software, with references.

    Examples:
      cnn-sweep methods digits
      cnn-sweep methods digits --format bibtex
    """
    opened = open_merged(results, study)
    with opened.store:
        data = gather(opened.store, study, opened.leaderboard_table("trial"), shown=0)
    data = with_correction(data, results)
    sweep = opened.sweep
    report = last_report(sweep.data, sweep.folder, data_root(results))
    found = describe(data, sweep, report["images"] if report else None)
    print({"latex": found.latex, "bibtex": found.bibtex}.get(output, found.text))
