"""``ensemble``: chooses trials whose averaged probabilities are better than those of the best trial."""

from __future__ import annotations

from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, StudyName, TableFormat
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import plural
from cnn_sweep.report.models.ensembles import Goal, ensemble_of
from cnn_sweep.report.models.paired_tests import told_by_predictions
from cnn_sweep.report.models.validated import best_validated, groups_of
from cnn_sweep.sweep.direction import Direction

_LARGEST = 50


def ensemble(
    study: StudyName,
    size: Annotated[
        int, typer.Option("--size", metavar="N", min=1, max=_LARGEST, help="Members, counting those chosen twice.")
    ] = 5,
    output: Format = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """Choose trials whose averaged probabilities are best on the validation images, one after another.

    The cross-fitted score is that of images that did not choose the members: compare it with that of the best trial.

    Examples:
      cnn-sweep ensemble digits
      cnn-sweep ensemble digits --size 10
    """
    objective = StudyFolder.open(results, study).sweep.objective
    goal = Goal("log_loss", Direction.MINIMIZE)
    if (name := told_by_predictions(objective.metric)) is not None:
        goal = Goal(name, objective.direction)
    found = best_validated(results, study)
    made = ensemble_of(found, goal, size=size, groups=groups_of(results, study, found[0]))
    if name is None:
        warn(f"{objective.metric} does not follow from predictions, so members are chosen by log loss")
    if made.left_out:
        warn(f"{plural(made.left_out, 'trial was', 'trials were')} validated with other images and left out")
    if output != "table":
        print_formatted(made.table, output)
        return
    print(f"{plural(len(made.table.rows), 'member')}, {goal.metric} on {len(found[0].labels)} validation images")
    print_table(made.table)
    for what, value, honest in (
        (f"average of {size}", made.value, made.cross_fitted),
        ("best trial", made.best, made.best_cross_fitted),
    ):
        print(f"{what}: {goal.metric} {value:.4f} (optimistic), cross-fitted {honest:.4f}")
