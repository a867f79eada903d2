"""``finalize``: evaluates the best trials on the sealed test set, once the search is over."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Calibrated, Refit, Results, Size, StudyName, Trust, profile_option
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.models import client as models
from cnn_sweep.execution.models.mixture import Mixture
from cnn_sweep.execution.models.model_files import best_trials, members_of
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import few, plural
from cnn_sweep.report.leaderboards.leaderboard import Table, mean_in_words
from cnn_sweep.report.models.mixtures import MixtureOptions, mixture_of
from cnn_sweep.report.models.openings import Opening, is_repeated, openings_in
from cnn_sweep.report.models.predictions import class_table, confusion_table
from cnn_sweep.report.models.sealed_score import sealed_score
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.study import Study

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.execution.models.client import Finalized, Predictions
    from cnn_sweep.report.leaderboards.leaderboard import Row


def finalize(
    study: StudyName,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="Evaluate the best K trials.")] = 1,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Evaluate the average of the trials that `ensemble` chooses.")
    ] = False,
    size: Size = 5,
    calibrated: Calibrated = False,
    refit: Refit = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even if the study is not finished.")] = False,
    profile: Annotated[Path | None, profile_option("Do it in a job of one task, and return at once.")] = None,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Evaluate the best trials on the sealed test set, once the search is over.

    Examples:
      cnn-sweep finalize digits
      cnn-sweep finalize digits --top 3
      cnn-sweep finalize digits --ensemble --calibrated
      cnn-sweep finalize digits --profile slurm/cpu.toml
    """
    options = MixtureOptions(size=size if ensemble else None, calibrated=calibrated, refit=refit)
    if top > 1 and options != MixtureOptions():
        raise InputError(f"--top {top} evaluates trials; leave out --ensemble, --calibrated and --refit")
    folder = StudyFolder.open(results, study)
    numbers = best_trials(folder, folder.history(), top)  # raises if there is none
    _ask_if_unfinished(folder, agreed=yes)
    if profile is not None:
        _submit(folder, Profile.load(profile), [*_words(top, options), *(["--yes"] if yes else [])])
        return
    mixture = mixture_of(results, study, options)
    _warn_of_training_here(folder, numbers if mixture is None else mixture)
    _warn_of_reopening(
        Study.open(results, study), [f"trial {n}" for n in numbers] if mixture is None else [str(mixture)]
    )
    done = models.finalize(results, study, top, mixture)
    if mixture is None:
        _print_trials(folder, done)
    else:
        _print_mixture(folder, done, mixture)


def _words(top: int, options: MixtureOptions) -> list[str]:
    """Return the options as somebody types them."""
    words = [] if options.size is None else ["--ensemble", "--size", str(options.size)]
    flags = {"--calibrated": options.calibrated, "--refit": options.refit}
    return ["--top", str(top), *words, *(flag for flag, is_given in flags.items() if is_given)]


def _submit(study: StudyFolder, profile: Profile, words: list[str]) -> None:
    """Submit a job that finalizes the study, and say where its output will be."""
    from cnn_sweep.execution.array_jobs.command_job import submit_command

    job, output = submit_command(study.paths, profile, ["finalize", study.name, *words], SlurmCli())
    print(f"{study.name} {job}")
    warn(
        f"job {job} finalizes {study.name}; its scores will be in {output}, its errors in `cnn-sweep logs {study.name}`"
    )


def _warn_of_training_here(study: StudyFolder, models: Sequence[int] | Mixture) -> None:
    """Warn if models have to be trained again on what may be a login node."""
    if shutil.which("sbatch") is None or "SLURM_JOB_ID" in os.environ:
        return
    if isinstance(models, Mixture):
        files = [study.paths.model(number) for number in models.trained]
        if models.epochs is not None:
            files = [study.paths.refit(models.trial, models.epochs)]
    else:
        history = study.history()
        files = [study.paths.model(n) for number in models for n in members_of(study, history, number)]
    if missing := [file for file in files if not file.is_file()]:
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


def _warn_of_reopening(found: Study, models: Sequence[str]) -> None:
    """Warn loudly if the test set was opened before, for another model or before the study was extended.

    Args:
        found: The study.
        models: What is about to be measured, in words.
    """
    before = openings_in(found.store, found.name)
    now = Opening(tuple(models), found.summary()["revisions"])
    if not before or is_repeated(now, before):
        return
    earlier = few(list(dict.fromkeys(model for one in before for model in one.models)))
    extended = ", and the study was extended since" if before[0].revision < now.revision else ""
    warn(
        f"WARNING: the test set of {found.name} is opened again (opening {len(before) + 1}); it was opened before for "
        f"{earlier}{extended}. Choosing by test scores makes them optimistic; the report and `methods` give the number "
        "of openings"
    )


def _print_trials(folder: StudyFolder, done: Finalized) -> None:
    """Print the measured trials, and the scores and the confusion matrix of the best."""
    found, best = Study.open(folder.paths.results, folder.name), done.best
    table = found.leaderboard_table(None)
    tested = list(_tested(found, done.trials, table))
    names = dict.fromkeys(name for row in tested for name in row if name.startswith("test_"))
    print_table(Table(("rank", "trial", "value", *table.verdict, *names, *found.parameter_columns), tuple(tested)))
    tried = sum(row["rank"] is not None for row in table.rows)
    networks = len(members_of(folder, folder.history(), best.trial))
    _print_scores(found.summary()["metric"], best, tested[done.trials.index(best.trial)], tried, networks=networks)
    _print_classes(best, f"trial {best.trial}")


def _print_mixture(folder: StudyFolder, done: Finalized, model: Mixture) -> None:
    """Print the scores and the confusion matrix of a model that was made of trials."""
    print_table(Table(tuple(done.metrics), (done.metrics,)))
    if (score := sealed_score(done.best, folder.sweep.objective.metric, done.metrics)) is not None:
        print(f"{model}: {score}")
    _print_classes(done.best, model.name)


def _print_classes(best: Predictions, model: str) -> None:
    print_table(confusion_table(best), title=f"{model}, test set: true classes down, predicted ones across")
    print_table(class_table(best))


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
