"""``finalize``: evaluates the best trials on the sealed test set, once the search is over."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName, Trust, profile_option
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.models import client as models
from cnn_sweep.execution.models.model_files import best_trials, members_of
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import Table, mean_in_words
from cnn_sweep.report.models.predictions import class_table, confusion_table
from cnn_sweep.report.models.sealed_score import sealed_score
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.study import Study

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.execution.models.client import Predictions
    from cnn_sweep.report.leaderboards.leaderboard import Row


def finalize(
    study: StudyName,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="Evaluate the best K trials.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even if the study is not finished.")] = False,
    profile: Annotated[Path | None, profile_option("Do it in a job of one task, and return at once.")] = None,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Evaluate the best trials on the sealed test set, once the search is over.

    Examples:
      cnn-sweep finalize digits
      cnn-sweep finalize digits --top 3
      cnn-sweep finalize digits --profile slurm/cpu.toml
    """
    folder = StudyFolder.open(results, study)
    _ask_if_unfinished(folder, agreed=yes)
    if profile is not None:
        _submit(folder, Profile.load(profile), top, agreed=yes)
        return
    _warn_of_training_here(folder, top)
    numbers, best = models.finalize(results, study, top)
    _warn_of_earlier(StudyFolder.open(results, study), numbers)
    found = Study.open(results, study)
    table = found.leaderboard_table(None)
    tested = list(_tested(found, numbers, table))
    names = dict.fromkeys(name for row in tested for name in row if name.startswith("test_"))
    print_table(Table(("rank", "trial", "value", *table.verdict, *names, *found.parameter_columns), tuple(tested)))
    tried = sum(row["value"] is not None for row in table.rows)
    networks = len(members_of(folder, folder.history(), best.trial))
    _print_scores(found.summary()["metric"], best, tested[numbers.index(best.trial)], tried, networks=networks)
    print_table(confusion_table(best), title=f"trial {best.trial}, test set: true classes down, predicted ones across")
    print_table(class_table(best))


def _submit(study: StudyFolder, profile: Profile, top: int, *, agreed: bool) -> None:
    """Submit a job that finalizes the study, and say where its output will be."""
    best_trials(study, study.history(), top)  # raises if there is none
    from cnn_sweep.execution.array_jobs.command_job import submit_command

    words = ["finalize", study.name, "--top", str(top), *(["--yes"] if agreed else [])]
    job, output = submit_command(study.paths, profile, words, SlurmCli())
    print(f"{study.name} {job}")
    warn(
        f"job {job} finalizes {study.name}; its scores will be in {output}, its errors in `cnn-sweep logs {study.name}`"
    )


def _warn_of_training_here(study: StudyFolder, top: int) -> None:
    """Warn if models have to be trained again on what may be a login node."""
    if shutil.which("sbatch") is None or "SLURM_JOB_ID" in os.environ:
        return
    history = study.history()
    needed = [n for number in best_trials(study, history, top) for n in members_of(study, history, number)]
    missing = [n for n in needed if not study.paths.model(n).is_file()]
    if missing:
        warn(
            f"{plural(len(missing), 'model was', 'models were')} not kept and must be trained again, here on "
            f"{platform.node()}; `cnn-sweep finalize {study.name} --profile PROFILE.toml` trains in a job"
        )


def _ask_if_unfinished(study: StudyFolder, *, agreed: bool) -> None:
    """Ask for confirmation if the search is not over.

    Raises:
        InputError: The command is not interactive, or the answer is no.
    """
    history = study.history()
    left, name = len(left_to_do(study, history)), study.paths.study
    if not left or agreed:
        return
    why = f"{plural(left, 'trial')} of {name} {'is' if left == 1 else 'are'} not finished"
    if not sys.stdin.isatty():
        raise InputError(
            f"the test set stays sealed: {why}, and a score on it must not decide how the search goes on. "
            f"`cnn-sweep resume {name}` finishes the study; --yes opens the test set now"
        )
    warn(f"{why}; a score on the test set must not decide how the search goes on")
    if not typer.confirm("Open the test set for the best trials so far?", err=True):
        raise InputError("the test set stays sealed")


def _warn_of_earlier(study: StudyFolder, numbers: Sequence[int]) -> None:
    """Warn if the test set was opened before for other trials."""
    history = study.history()
    if others := sorted(set(history.finalized).difference(numbers)):
        which = f"trial{'s' if len(others) > 1 else ''} {', '.join(map(str, others))}"
        warn(
            f"the test set of {study.paths.study} was opened before, for {which}; "
            "choosing by test scores makes them optimistic"
        )


def _tested(found: Study, numbers: Sequence[int], table: Table) -> Iterator[Row]:
    """Yield the trials' rows with their test scores and, with repeats, the rank and mean of their configurations.

    Meanwhile, the leaderboard may show another trial for such a configuration.

    Raises:
        EnvironmentFault: The store could not be updated, so it lacks the scores.
    """
    own = {row["trial"]: row for row in found.leaderboard_table("trial").rows}
    boards = {row["configuration"]: row for row in table.rows}
    for number in numbers:
        tests = found.trial(number)["trial"]["test_metrics"] if number in own else None
        if tests is None:
            raise EnvironmentFault(
                f"the test scores of {found.name} are journaled, and the store cannot take them now; "
                f"`cnn-sweep show {found.name} {number}` has them once it can"
            )
        row = own[number]
        yield row | boards.get(row["configuration"], {}) | {"trial": number, "value": row["value"]} | tests


def _print_scores(metric: str, best: Predictions, picked: Row, tried: int, *, networks: int) -> None:
    """Print the picked trial's scores; the validation score is the best of many, so optimistic."""
    several = picked.get("n", 1) > 1
    kind = "configurations by mean" if several else "trials"
    choice = f", best of {tried} {kind}, so optimistic (selection bias)" if tried > 1 else ""
    print(f"trial {best.trial}: {metric} {picked['value']:.4f}{'' if several else choice}")
    if several:
        print(f"its configuration: {metric} {mean_in_words(picked, others=0)}{choice}")
    if (score := sealed_score(best, metric, picked)) is not None:
        who = f"the mean of its {networks} networks" if networks > 1 else f"trial {best.trial}"
        print(f"{who}: {score}")
