"""Cancels a study or a trial, and ends trials that will never run. Running trials write a checkpoint first."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.execution.attempts.candidates import why_nothing_is_left
from cnn_sweep.execution.attempts.liveness import Death, journal_deaths, reconcile
from cnn_sweep.execution.attempts.take_over import unseen_attempts
from cnn_sweep.execution.study.jobs import jobs_in_queue
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Cancel, End, Start
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cnn_sweep.execution.attempts.liveness import Attempt
    from cnn_sweep.execution.attempts.take_over import Unseen
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.plan import PlannedTrial
    from cnn_sweep.slurm.commands import SlurmCli

CANCELLED = "cancelled"


class Cancellation(NamedTuple):
    """What was cancelled.

    Attributes:
        nothing: Why there was nothing to stop (nothing is journaled then); None if the study was cancelled.
        jobs: IDs of the cancelled jobs.
        trouble: Why jobs in the queue could not be cancelled; None if there is no trouble.
        unseen: Attempts whose owners cannot be seen from here; those of silent owners are ended in the records.
    """

    nothing: str | None
    jobs: list[str]
    trouble: str | None = None
    unseen: Sequence[Unseen] = ()


def cancel_study(study: StudyFolder, slurm: SlurmCli | None) -> Cancellation:
    """Stop all pools of a study, on this machine and in the queue; unfinished trials can be resumed.

    Args:
        study: The study.
        slurm: Slurm's commands; None without Slurm.
    """
    history = study.history()
    unseen: list[Unseen] = []
    if (nothing := why_nothing_is_left(study, history)) is None:
        unseen = unseen_attempts(study)
        with study.journal("login") as journal:
            journal.append(Cancel(time=time.time()))
            journal_deaths(_ends_of_silent(unseen), journal)
    try:
        jobs = [job.job for job in jobs_in_queue(study.paths, slurm)] if slurm else []
        if slurm and jobs:
            slurm.run("scancel", *jobs)
    except EnvironmentFault as fault:
        return Cancellation(nothing, [], str(fault), unseen)
    return Cancellation(nothing, jobs, unseen=unseen)


def _ends_of_silent(unseen: Iterable[Unseen]) -> dict[Attempt, Death]:
    """Return ends of the attempts of silent owners; a live one that was wrongly thought silent journals its own."""
    return {one.attempt: Death(CANCELLED, one.why) for one in unseen if one.is_silent}


class TrialCancellation(NamedTuple):
    """What became of a cancelled trial.

    Attributes:
        is_running: Whether it runs, so that its worker ends it within seconds.
        unseen: Its attempt, if the owner cannot be seen from here; that of a silent owner is ended in the records.
    """

    is_running: bool
    unseen: Unseen | None = None


def cancel_trial(study: StudyFolder, number: int) -> TrialCancellation:
    """Cancel one trial for good.

    Raises:
        StudyError: There is no such trial, or it is finished.
    """
    if not 0 <= number < len(study.plan.trials):
        last = len(study.plan.trials) - 1
        raise StudyError(f"no trial {number} in study {study.name!r}; trials are 0 to {last}")
    reconcile(study)  # a dead worker would not end its trial
    history = study.history()
    trial = history.trials.get(number)
    if trial is not None and trial.state in FINISHED:
        raise StudyError(f"trial {number} is already {trial.state}")
    unseen = next((one for one in unseen_attempts(study) if one.attempt.trial == number), None)
    writer = new_writer_name()
    with study.journal("login", writer=writer) as journal:
        journal.append(Cancel(time=time.time(), trial=number))
        journal_deaths(_ends_of_silent([unseen] if unseen else []), journal)
        history.refresh()
        trial = history.trials.get(number)
        attempt = trial.next_attempt if trial else 0
        running = trial is not None and trial.state == "running"
        if running or not Claims(study.paths, writer, current()).claim(number, attempt):
            return TrialCancellation(is_running=True, unseen=unseen)
        end = End(time=time.time(), trial=number, attempt=attempt, state="failed", cause=CANCELLED)
        end_untrained(study.plan.trials[number], trial, journal, end)
    return TrialCancellation(is_running=False, unseen=unseen)


def end_untrained(planned: PlannedTrial, trial: TrialHistory | None, journal: JournalWriter, end: End) -> None:
    """Journal the end of a trial, in a claimed attempt without training.

    Args:
        planned: The trial.
        trial: Its history; None if it never began.
        journal: Journal of the process that owns the attempt.
        end: The end without its number of epochs.
    """
    if (trial is None or trial.start is None) and planned.params is not None:  # so that readers know its parameters
        journal.append(
            Start(
                time=end.time,
                trial=planned.number,
                attempt=end.attempt,
                configuration=configuration_id(planned.params),
                repeat=planned.repeat,
                seed=planned.seed,
                params=planned.params,
                source=planned.source,
            )
        )
    epochs = 0 if trial is None else max(attempt.last_epoch for attempt in trial.attempts.values())
    journal.append(replace(end, epochs=epochs))
