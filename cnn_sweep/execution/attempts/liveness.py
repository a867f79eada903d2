"""Which open attempts are dead: processes of this machine are looked up, those of Slurm jobs are asked for.

An attempt is declared ``lost`` only by someone who knows: by process id, start time and boot of this machine, or by
Slurm's word on that very incarnation of the job. ``unknown`` never means dead.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Lost
from cnn_sweep.journal.identity import current, is_alive, new_writer_name
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.job_states import Incarnation, job_statuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.claims import Owner
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.journal.log import JournalWriter


class Death(NamedTuple):
    """What is known of a dead process: the cause in one word, and a sentence."""

    cause: str
    message: str


class Attempt(NamedTuple):
    """An attempt without an end."""

    trial: int
    number: int


class FailureDetector(Protocol):
    """Knows of some processes that they are dead."""

    def deaths(self, owners: Mapping[Attempt, Owner]) -> Mapping[Attempt, Death]:
        """Return those that are dead for certain; of the others nothing is said."""


class LocalDetector:
    """Looks processes of this machine up.

    Args:
        exits: Process id to how it ended, of those whose parent this process was; the caller adds to it.
    """

    def __init__(self, exits: Mapping[int, str] | None = None) -> None:
        self._exits = {} if exits is None else exits

    def deaths(self, owners: Mapping[Attempt, Owner]) -> dict[Attempt, Death]:
        """Return those whose process is gone."""
        return {
            attempt: Death("killed", self._words(owner.identity))
            for attempt, owner in owners.items()
            if owner.identity is not None and is_alive(owner.identity) is False
        }

    def _words(self, identity: ProcessIdentity) -> str:
        return self._exits.get(identity.pid, f"process {identity.pid} on {identity.host} is gone")


class SlurmDetector:
    """Asks Slurm, in as few calls as possible, for processes of jobs that cannot be looked up here."""

    def __init__(self, slurm: SlurmCli) -> None:
        self._slurm = slurm

    def deaths(self, owners: Mapping[Attempt, Owner]) -> dict[Attempt, Death]:
        """Return those whose incarnation of a job is over, with Slurm's cause."""
        asked = {
            attempt: Incarnation.from_slurm(owner.identity.slurm, started=owner.written)
            for attempt, owner in owners.items()
            if owner.identity is not None and owner.identity.slurm
        }
        found = job_statuses(self._slurm, asked.values())
        return {
            attempt: Death(found[job].cause or "gone", f"job {job.job}: {found[job].detail}")
            for attempt, job in asked.items()
            if found[job].state == "dead"
        }


def declare_lost(
    history: History, claims: Claims, journal: JournalWriter, detectors: tuple[FailureDetector, ...]
) -> int:
    """Journal ``lost`` for every attempt whose process is known to be dead.

    Args:
        history: What the journals say, just refreshed.
        claims: Names the owners of attempts, also of those that never started.
        journal: Where the declarations are written.
        detectors: Asked one after the other, each for those of whom the ones before know nothing.

    Returns:
        How many attempts were declared lost.
    """
    owners = dict(_open_attempts(history, claims))
    lost = 0
    for detector in detectors:
        if not owners:
            break
        for (trial, number), (cause, message) in detector.deaths(owners).items():
            journal.append(Lost(time=time.time(), trial=trial, attempt=number, cause=cause, message=message))
            del owners[Attempt(trial, number)]
            lost += 1
    return lost


def reconcile(study: StudyFolder) -> int:
    """Declare lost what nobody else declared, from a login node; return how many attempts that were."""
    history, writer = study.history(), new_writer_name()
    claims = Claims(study.paths, writer, current())
    if not dict(_open_attempts(history, claims)):
        return 0
    with study.journal("login", writer=writer) as journal:
        return declare_lost(history, claims, journal, failure_detectors())


def _open_attempts(history: History, claims: Claims) -> Iterator[tuple[Attempt, Owner]]:
    """Yield every attempt that runs, and every claim that nobody has spoken of yet, with its owner where known."""
    for attempt in _open_numbers(history, claims):
        owner = claims.owner(*attempt)
        if owner is not None:
            yield attempt, owner


def _open_numbers(history: History, claims: Claims) -> Iterator[Attempt]:
    for trial in history.trials.values():
        if trial.state == "running":
            yield Attempt(trial.number, trial.last.number)
    for number, attempt in sorted(claims.taken()):
        begun = history.trials.get(number)
        if begun is None or attempt >= begun.next_attempt:
            yield Attempt(number, attempt)


def failure_detectors(exits: Mapping[int, str] | None = None) -> tuple[FailureDetector, ...]:
    """Return who can be asked from here: Slurm where there is one, since it knows causes, and the process table.

    Args:
        exits: As of `LocalDetector`.
    """
    local = LocalDetector(exits)
    return (SlurmDetector(SlurmCli()), local) if shutil.which("squeue") else (local,)
