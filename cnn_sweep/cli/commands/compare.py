"""``compare``: tests whether two trials differ by more than chance, from the images that each gets right."""

from __future__ import annotations

from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, StudyName, TableFormat, Trust, trial_number
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.report.models.paired_tests import compare_trials


def compare(
    study: StudyName,
    one: Annotated[str, typer.Argument(metavar="A", help="Number of a complete trial, or best.", show_default=False)],
    other: Annotated[str, typer.Argument(metavar="B", help="The trial to compare it with.", show_default=False)],
    output: Format = TableFormat.table,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Compare two trials image by image, with McNemar's exact test and 95% bootstrap intervals for A minus B.

    With cross-validation, each trial stands for all folds of its configuration.

    Examples:
      cnn-sweep compare digits 3 7
      cnn-sweep compare digits best 7 --format csv
    """
    objective = StudyFolder.open(results, study).sweep.objective.metric
    found = compare_trials(results, study, trial_number(one, "A"), trial_number(other, "B"), objective=objective)
    if output != "table":
        print_formatted(found.table, output)
        return
    for line in found.in_words():
        print(line)
    print_table(found.table)
