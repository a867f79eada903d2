"""Failure detection: finds attempts of dead processes in this machine's process table and through Slurm.

An attempt is declared ``lost`` only if its process is certainly dead: by process ID, start time and boot for a process
of this machine, or by Slurm's answer about exactly that incarnation of the job. ``unknown`` never means dead.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cnn_sweep.journal.claims import Claims, Owner
from cnn_sweep.journal.events import Lost
from cnn_sweep.journal.identity import current, is_alive, new_writer_name
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.job_states import Incarnation, JobStatus, job_statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.slurm.job_rows import QueueRow


class Death(NamedTuple):
    """Why a process is dead: the cause in one word, and a sentence."""

    cause: str
    message: str


class Attempt(NamedTuple):
    """An attempt without an end."""

    trial: int
    number: int


class FailureDetector(Protocol):
    """Finds dead processes of one kind."""

    def deaths(self, owners: Mapping[Attempt, Owner]) -> Mapping[Attempt, Death]:
        """Return the attempts whose owners are certainly dead; the others may be alive or dead."""

    def unseen(self, owners: Mapping[Attempt, Owner]) -> set[Attempt]:
        """Return the attempts whose owners this detector can call neither dead nor alive."""


class LocalDetector:
    """Finds dead processes of this machine in its process table.

    Args:
        exits: How child processes ended, by process ID; the caller adds entries.
        own_job: Whether to judge only processes of this process's job (or of none, outside a job). Slurm knows more
            about those of other jobs.
    """

    def __init__(self, exits: Mapping[int, Death] | None = None, *, own_job: bool = False) -> None:
        self._exits = {} if exits is None else exits
        self._own_job = own_job

    def deaths(self, owners: Mapping[Attempt, Owner]) -> dict[Attempt, Death]:
        """Return the attempts whose process has ended."""
        return {
            attempt: self._death(owner.identity)
            for attempt, owner in owners.items()
            if owner.identity is not None and is_alive(owner.identity) is False and self._may_judge(owner.identity)
        }

    def unseen(self, owners: Mapping[Attempt, Owner]) -> set[Attempt]:
        """Return the attempts whose process cannot be looked up in the process table."""
        return {a for a, owner in owners.items() if owner.identity is None or is_alive(owner.identity) is None}

    def _may_judge(self, identity: ProcessIdentity) -> bool:
        return not self._own_job or identity.slurm == current().slurm

    def _death(self, identity: ProcessIdentity) -> Death:
        gone = Death("killed", f"process {identity.pid} on {identity.host} is gone")
        return self._exits.get(identity.pid, gone)


class SlurmDetector:
    """Asks Slurm about processes of other jobs that are not alive on this machine, in as few calls as possible.

    Args:
        slurm: Slurm's commands.
        queue: squeue's rows for all jobs that will be asked about, if the caller already has them.
    """

    def __init__(self, slurm: SlurmCli, queue: list[QueueRow] | None = None) -> None:
        self._slurm = slurm
        self._queue = queue

    def deaths(self, owners: Mapping[Attempt, Owner]) -> dict[Attempt, Death]:
        """Return the attempts whose incarnation of a job is over, with Slurm's cause."""
        return {
            attempt: Death(found.cause or "gone", f"job {job.job}: {found.detail}")
            for attempt, (job, found) in self._ask(owners).items()
            if found.state == "dead"
        }

    def unseen(self, owners: Mapping[Attempt, Owner]) -> set[Attempt]:
        """Return the attempts that belong to no job, or to a job of which Slurm cannot say whether it is over."""
        return set(owners) - {attempt for attempt, (_, found) in self._ask(owners).items() if found.state != "unknown"}

    def _ask(self, owners: Mapping[Attempt, Owner]) -> dict[Attempt, tuple[Incarnation, JobStatus]]:
        ours = current().slurm
        asked = {
            attempt: Incarnation.from_slurm(owner.identity.slurm, started=owner.written)
            for attempt, owner in owners.items()
            if owner.identity is not None
            and owner.identity.slurm
            and owner.identity.slurm != ours
            and is_alive(owner.identity) is not True
        }
        found = job_statuses(self._slurm, asked.values(), queue=self._queue)
        return {attempt: (job, found[job]) for attempt, job in asked.items()}


def declare_lost(
    history: History, claims: Claims, journal: JournalWriter, detectors: tuple[FailureDetector, ...]
) -> int:
    """Journal ``lost`` for every attempt whose process is known to be dead.

    Args:
        history: History of the study, just refreshed.
        claims: The claims, which name the owners of attempts, including those that never started.
        journal: Receives the ``lost`` events.
        detectors: Asked in turn, each about the attempts that the previous ones did not find dead.

    Returns:
        Number of attempts declared lost.
    """
    deaths = deaths_among(open_attempts(history, claims), detectors)
    journal_deaths(deaths, journal)
    return len(deaths)


def journal_deaths(deaths: Mapping[Attempt, Death], journal: JournalWriter) -> None:
    """Journal ``lost`` for attempts, with the causes."""
    for (trial, number), (cause, message) in deaths.items():
        journal.append(Lost(time=time.time(), trial=trial, attempt=number, cause=cause, message=message))


def reconcile(study: StudyFolder) -> int:
    """Declare dead attempts lost, from a login node; return their number."""
    history, writer = study.history(), new_writer_name()
    claims = Claims(study.paths, writer, current())
    if not open_attempts(history, claims):
        return 0
    with study.journal("login", writer=writer) as journal:
        return declare_lost(history, claims, journal, failure_detectors())


def owners_of(paths: StudyPaths, attempts: Iterable[Attempt]) -> dict[Attempt, Owner]:
    """Return the owners of attempts, as far as their claims show them."""
    claims = Claims(paths, new_writer_name(), current())
    return {attempt: owner for attempt in attempts if (owner := claims.owner(*attempt)) is not None}


def deaths_among(owners: Mapping[Attempt, Owner], detectors: Iterable[FailureDetector]) -> dict[Attempt, Death]:
    """Return the attempts whose owners are certainly dead, without journaling anything."""
    found: dict[Attempt, Death] = {}
    for detector in detectors:
        found |= detector.deaths({attempt: owner for attempt, owner in owners.items() if attempt not in found})
    return found


def open_attempts(history: History, claims: Claims) -> dict[Attempt, Owner]:
    """Return every running attempt, and every claim that no journal mentions yet, with its owner.

    A running attempt whose claim was deleted belongs to the writer of the journal with its start.
    """
    found = {}
    for attempt in _open_numbers(history, claims):
        owner = claims.owner(*attempt) or _owner_by_journal(history, attempt)
        if owner is not None:
            found[attempt] = owner
    return found


def _owner_by_journal(history: History, attempt: Attempt) -> Owner | None:
    begun = history.trials.get(attempt.trial)
    writer = begun.attempts[attempt.number].writer if begun and attempt.number in begun.attempts else None
    worker = history.workers.get(writer or "")
    if worker is None or worker.worker is None:
        return None
    return Owner(worker.writer, worker.identity, worker.worker.time)


def _open_numbers(history: History, claims: Claims) -> Iterator[Attempt]:
    for trial in history.trials.values():
        if trial.state == "running":
            yield Attempt(trial.number, trial.last.number)
    for number, attempt in sorted(claims.taken()):
        begun = history.trials.get(number)
        if begun is None or attempt >= begun.next_attempt:
            yield Attempt(number, attempt)


def failure_detectors(exits: Mapping[int, Death] | None = None) -> tuple[FailureDetector, ...]:
    """Return the detectors that work here: Slurm if available, because it knows causes, then the process table.

    They are for commands and pools. A worker leaves Slurm to its pool, so that it is asked once for all of them.

    Args:
        exits: See :class:`LocalDetector`.
    """
    local = LocalDetector(exits)
    return (SlurmDetector(SlurmCli()), local) if shutil.which("squeue") else (local,)
