"""``calibration``: shows how far the probabilities of a trial's network can be believed."""

from __future__ import annotations

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, StudyName, TableFormat, Trial, Trust, trial_number
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.report.models.calibration import Calibration, calibration_of
from cnn_sweep.report.models.validated import groups_of, validated


def calibration(
    study: StudyName,
    trial: Trial = "best",
    output: Format = TableFormat.table,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Show how often a trial's network is right by its confidence, and the temperature that would calibrate it.

    Accuracy has a 95% interval. With cross-validation, the trial stands for all folds of its configuration.

    Examples:
      cnn-sweep calibration digits
      cnn-sweep calibration digits --trial 3 --format csv
    """
    (found,) = validated(results, study, [trial_number(trial)])
    made = calibration_of(found, groups_of(results, study, found))
    if output != "table":
        print_formatted(made.bins, output)
        return
    print(f"{found.name}, {len(found.labels)} validation images by confidence")
    print_table(made.bins)
    print(_in_words(made))


def _in_words(found: Calibration) -> str:
    loss, error = found.log_loss, found.error
    words = "too sure" if found.temperature > 1 else "not sure enough"
    told = f"temperature {found.temperature:.3g} ({words} as it is)"
    if found.is_at_bound:
        told = "no temperature calibrates it: all images are right, or the probabilities say nothing"
    return (
        f"{told}\n"
        f"expected calibration error {error[0]:.4f}; with temperature {error[1]:.4f}\n"
        f"log loss {loss[0]:.4f}; with temperature {loss[1]:.4f} (each fifth of the images with that of the others)"
    )
