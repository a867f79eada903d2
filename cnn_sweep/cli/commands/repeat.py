"""``repeat``: adds seeds to the best configurations, to find out which one is better."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cnn_sweep.cli.commands.leaderboard import print_leaderboard
from cnn_sweep.cli.commands.resume import resume_on_cluster
from cnn_sweep.cli.commands.run import LocalOptions, train_here
from cnn_sweep.cli.ui.image_preparation import prepare_images
from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName, Threads, Trust, Workers, profile_option
from cnn_sweep.cli.ui.terminal import print_words, warn
from cnn_sweep.errors import InputError, Interrupted, StudyError
from cnn_sweep.execution.attempts.candidates import remaining
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.study.threads import threads_of
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.trust import check_study
from cnn_sweep.messages import few, plural
from cnn_sweep.report.leaderboards.leaderboard import mean_in_words
from cnn_sweep.report.leaderboards.rounds import Limits, judge
from cnn_sweep.search.budget import Budget
from cnn_sweep.study import Study
from cnn_sweep.sweep.repeats import MoreRepeats, selection_repeats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.leaderboards.rounds import Verdict

_REPEATS: Final = 5
_AT_MOST: Final = 10
_TOP: Final = 10  # rows of the leaderboard at the end
_AGAIN: Final = "the same command continues"


@dataclass(frozen=True)
class _Rounds:
    """What ``--until-decided`` asks for.

    Attributes:
        limits: How many configurations are compared, with how many repeats.
        profile: The cluster on which rounds run; None for this machine.
        here: Options of training on this machine.
    """

    limits: Limits
    profile: Path | None
    here: LocalOptions


def repeat(
    study: StudyName,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="Repeat the best K configurations.")] = 10,
    repeats: Annotated[
        int | None, typer.Option(min=2, help="Total repeats of each of them.", show_default=str(_REPEATS))
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="Add and train seeds in rounds until the best is told from the rest."),
    ] = False,
    at_most: Annotated[
        int | None,
        typer.Option(min=3, help="With --until-decided: largest total of repeats.", show_default=str(_AT_MOST)),
    ] = None,
    profile: Annotated[Path | None, profile_option("With --until-decided: submit each round to the cluster.")] = None,
    workers: Workers = None,
    threads: Threads = None,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Add repeats with new seeds to the best configurations of a study; `resume` runs them, or workers that run now.

    With --until-decided, seeds are added and trained in rounds. Each round compares the configurations that are left,
    and those that are worse leave. On this machine the command goes on until one is left, or --at-most repeats are
    reached or would probably tell hardly any more apart; with a profile it submits one round, and judges it when it is
    typed again. After an interruption, the same command continues. In at most 5% of studies any configuration is called
    worse wrongly.

    Examples:
      cnn-sweep repeat digits --top 3 --repeats 5
      cnn-sweep repeat digits --until-decided --at-most 8
      cnn-sweep repeat digits --until-decided --profile slurm/cpu.toml
    """
    if not until_decided:
        only = {"--at-most": at_most, "--profile": profile, "--workers": workers, "--threads": threads}
        _refuse("is for --until-decided; without it, `resume` trains what `repeat` adds", only)
        _add(study, top, repeats or _REPEATS, results)
        return
    _refuse("is not for --until-decided, which stops by itself; --at-most limits it", {"--repeats": repeats})
    if profile is not None:
        _refuse(
            "applies to this machine; on a cluster, set it in the profile", {"--workers": workers, "--threads": threads}
        )
    check_study(StudyPaths(results, study))
    rounds = _Rounds(Limits(top, at_most or _AT_MOST), profile, LocalOptions(workers, threads))
    found = StudyFolder.open(results, study)
    _check_ended(found)
    if profile is None:
        _decide_here(found, rounds)
    else:
        _decide_on_cluster(found, rounds, profile)


def _refuse(why: str, options: Mapping[str, object]) -> None:
    """Refuse options that do not go with the others.

    Raises:
        InputError: One of them was given.
    """
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name} {why}")


def _add(study: str, top: int, repeats: int, results: Path) -> None:
    board = Study.open(results, study).leaderboard_table("configuration")
    best = tuple(row["trial"] for row in board.rows if row["rank"] is not None)[:top]
    if not best:
        raise StudyError(f"study {study!r} has no complete trial yet, so there is nothing to repeat")
    opened = StudyFolder.open(results, study)
    _check_budget(opened)
    found, added = opened.extend_repeats(MoreRepeats(best, repeats))
    which = "the best configuration has" if len(best) == 1 else f"the best {len(best)} configurations have"
    if not added:
        print(f"{study}: {which} {repeats} repeats already")
        return
    print(f"{study}: added {plural(added, 'trial')}, so that {which} {repeats} repeats")
    if (folds := found.sweep.fold_count) > 1:
        print_words(f"each repeat is a whole cross-validation, with {folds} trainings on a new partition of the images")
    which = "it" if added == 1 else "them"
    trials = Study.open(results, study, merge=False).leaderboard_table("trial").rows
    configurations = {row["trial"]: row["configuration"] for row in trials}
    print(f"`cnn-sweep resume {study}` runs {which}; {_seeds_of_means(found, configurations)}")


def _seeds_of_means(study: StudyFolder, configurations: dict[int, str]) -> str:
    """Return a sentence on whether the means can leave out the seeds by which the newest revision chose."""
    before = selection_repeats(study.revisions[:-1], configurations)
    after = selection_repeats(study.revisions, configurations)
    more = study.revisions[-1].more_repeats
    chosen = [chose[-1] for name, chose in after.items() if chose != before.get(name)]
    wanted = 0 if more is None else more.repeats * study.sweep.fold_count
    if wanted - min(chosen, default=wanted) > 1:
        return "the means will leave out the old seeds once two new ones are complete"
    return "with one new seed the means still include seeds by which `repeat` chose"


def _check_ended(study: StudyFolder) -> None:
    """Check that a test may begin or go on: the search is over, and its budget lets repeats begin.

    Raises:
        StudyError: It is not over, or the budget is spent.
    """
    _check_budget(study)
    left = len(remaining(study.plan, study.history()))
    if left and not _is_testing(study):
        words = f"{plural(left, 'trial')} of study {study.name!r} have not ended, so its best are not known yet"
        raise StudyError(f"{words}; `cnn-sweep resume {study.name}` first")


def _check_budget(study: StudyFolder) -> None:
    """Check that repeats could begin.

    Raises:
        StudyError: The budget is spent.
    """
    if (limit := Budget(study.sweep, study.history()).reached()) is not None:
        ended = f"study {study.name!r} was ended by its budget, which also ends repeats"
        raise StudyError(f"{ended}: {limit}; {limit.cure}")


def _is_testing(study: StudyFolder) -> bool:
    more = study.sweep.more_repeats
    return more is not None and more.round is not None


def _decide_here(found: StudyFolder, rounds: _Rounds) -> None:
    """Train, judge and add rounds until the best is told from the rest, or no repeat is left.

    Raises:
        Interrupted: The user asked to stop.
        typer.Exit: Others hold trials of the round.
    """
    threads_of(found.paths, found.sweep, rounds.here.threads)
    prepare_images(found.sweep, found.paths.results)
    extended: StudyFolder | None = found
    while extended is not None:
        found = _train_round(extended, rounds.here)
        extended = _add_round(found, rounds)
    print_leaderboard(found.paths.results, found.name, _TOP)


def _train_round(found: StudyFolder, here: LocalOptions) -> StudyFolder:
    """Train what is left of a round; return the study as it is then."""
    if not remaining(found.plan, found.history()):
        return found
    try:
        train_here(found, here)
    except Interrupted:
        raise Interrupted(f"{found.name}: stopped in the middle of a round; {_AGAIN}") from None
    found = found.newest()
    if left := len(remaining(found.plan, found.history())):
        warn(f"{found.name}: {plural(left, 'trial')} of the round left; when nobody else trains them, {_AGAIN}")
        raise typer.Exit(1)
    return found


def _decide_on_cluster(found: StudyFolder, rounds: _Rounds, profile: Path) -> None:
    """Judge the round if it is complete, and submit the next one; otherwise submit what is left of it."""
    if left := len(remaining(found.plan, found.history())):
        print(f"{found.name}: {plural(left, 'trial')} of the round left")
    elif (extended := _add_round(found, rounds)) is not None:
        found = extended
    else:
        return
    # Training on this machine does not need the code that submits.
    from cnn_sweep.execution.array_jobs.submission import QueueFull

    try:
        resume_on_cluster(found.name, found.paths.results, profile, {}, from_silent=False)
    except QueueFull as full:
        warn(f"{found.name}: {full.why}: they train these trials")
    print_words(f"{found.name}: when they have ended, the same command compares again")


def _add_round(found: StudyFolder, rounds: _Rounds) -> StudyFolder | None:
    """Judge the newest round, say what it showed, and add the next one; return None if there is none.

    Raises:
        InputError: ``--at-most`` leaves no room for the first round.
    """
    study = Study.open(found.paths.results, found.name)
    with study.store:
        board, trials = study.leaderboard_table("configuration"), study.leaderboard_table("trial")
    verdict = judge(board, trials, found.revisions, direction=found.sweep.objective.direction, limits=rounds.limits)
    _print_who_leaves(found.name, verdict)
    following = verdict.next
    if following is None:
        best = verdict.left[0]
        words = f"the best configuration is that of trial {best['trial']}, {mean_in_words(best, others=0)}"
        print_words(f"{found.name}: decided: {words}")
        return None
    if verdict.is_futile:
        _print_futile(found.name, verdict, following.repeats - 1, rounds.limits.at_most)
        return None
    if following.repeats > rounds.limits.at_most:
        _print_undecided(found.name, verdict, following.repeats, rounds.limits.at_most)
        return None
    found, added = found.extend_repeats(following)
    print_words(
        f"{found.name}: round {following.round} compares {_of(verdict.left)}: {plural(added, 'trial')} added, so that "
        f"each has {following.repeats} repeats"
    )
    return found


def _print_who_leaves(study: str, verdict: Verdict) -> None:
    for rows, why in (
        (verdict.worse, "worse than the best, so left out from now on"),
        (verdict.failed, "left out, since fewer than two of their new trials have a value"),
    ):
        if rows:
            print_words(f"{study}: round {verdict.round}: {_of(rows)}: {why}")


def _print_undecided(study: str, verdict: Verdict, needed: int, at_most: int) -> None:
    """Say that no repeats are left for another round.

    Raises:
        InputError: There was no room for a first round.
    """
    if not verdict.round:
        raise InputError(f"--at-most {at_most} is too small: a first round adds two repeats, {needed} in all")
    print_words(
        f"{study}: not decided with {needed - 1} repeats: {_of(verdict.left)} cannot be distinguished; choose among "
        f"them by something else, or go on with --at-most {max(needed, 2 * at_most)}"
    )


def _print_futile(study: str, verdict: Verdict, repeats: int, at_most: int) -> None:
    on = "" if verdict.enough is None else f", or go on with --at-most {verdict.enough}"
    print_words(
        f"{study}: not decided with {repeats} repeats, and {at_most} would probably not be enough: "
        f"{_of(verdict.left)} cannot be distinguished; choose among them by something else{on}"
    )


def _of(rows: Iterable[Row]) -> str:
    numbers = [str(row["trial"]) for row in rows]
    which = "the configuration of trial" if len(numbers) == 1 else f"the {len(numbers)} configurations of trials"
    return f"{which} {few(numbers)}"
