"""``threshold``: finds the score of a class from which its precision, or its recall, reaches a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, StudyName, TableFormat, Trial, Trust, trial_number
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.errors import InputError
from cnn_sweep.messages import plural
from cnn_sweep.report.models.thresholds import threshold_of
from cnn_sweep.report.models.validated import groups_of, validated

if TYPE_CHECKING:
    from cnn_sweep.report.models.thresholds import Measure


def threshold(
    study: StudyName,
    class_name: Annotated[str, typer.Argument(metavar="CLASS", help="Name of the class.", show_default=False)],
    precision: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="This share of the images taken is to be of the class.", show_default=False),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="This share of the class's images is to be taken.", show_default=False),
    ] = None,
    trial: Trial = "best",
    output: Format = TableFormat.table,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Find the score from which images can be taken for those of a class, on the validation images.

    The scores are the probabilities p_CLASS that `predict` gives. Intervals are 95% ones. With cross-validation, the
    trial stands for all folds of its configuration.

    Examples:
      cnn-sweep threshold digits 8 --precision 0.99
      cnn-sweep threshold digits 8 --recall 0.9 --trial 3
    """
    measure, wanted = _wanted(precision, recall)
    (found,) = validated(results, study, [trial_number(trial)])
    made = threshold_of(found, class_name, measure, wanted, groups=groups_of(results, study, found))
    if output != "table":
        print_formatted(made.table, output)
        return
    print(f"{found.name}, class {class_name}: {measure} {wanted:g} on {len(found.labels)} validation images")
    print_table(made.table)
    print(
        f"{plural(made.taken, 'image')} taken; {plural(made.below, 'image')} below, {made.missed} of them {class_name}"
    )


def _wanted(precision: float | None, recall: float | None) -> tuple[Measure, float]:
    """Return which of the two options was given.

    Raises:
        InputError: Both or none were given, or the value is no share.
    """
    if (precision is None) == (recall is None):
        raise InputError("give either --precision or --recall, such as --precision 0.95")
    measure: Measure = "recall" if precision is None else "precision"
    wanted = recall if precision is None else precision
    if wanted is None or not 0 < wanted <= 1:
        raise InputError(f"--{measure} {wanted:g} is no share above 0 and at most 1, such as 0.95")
    return measure, wanted
