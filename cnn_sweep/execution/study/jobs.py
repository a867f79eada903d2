"""A study's jobs in Slurm's queue: their states, remedies for stuck ones, and faults of their pools."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.study.provenance import DOES_NOT_TRAIN
from cnn_sweep.journal.decoding import from_json
from cnn_sweep.journal.events import Cancel, Event, Fault, Followed, Submit, Submitting
from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.identity import is_alive
from cnn_sweep.journal.log import read_from
from cnn_sweep.slurm.job_states import LIVING, Incarnation
from cnn_sweep.slurm.remedies import remedy_of_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.job_rows import QueueRow, Visibility

# The clocks of Slurm and of the login node that submitted differ by less than this, in seconds.
CLOCKS_DIFFER_S = 60.0
# A call of sbatch takes less than this, in seconds. A slow controller may queue a job at its beginning or at its end.
SBATCH_TAKES_S = 900.0
# States of jobs that start only if somebody releases them.
_HELD = frozenset({"REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
_THEN = ". Then `cnn-sweep cancel` and `resume`"
# A journal's first line shows whether its process trains; if so, it submits no jobs and journals no faults.
_FIRST_LINE_BYTES = 4096
_DOES_NOT_TRAIN = f'"threads":{DOES_NOT_TRAIN}'.encode()


_Event = TypeVar("_Event", bound=Event)


@dataclass(frozen=True)
class JobState:
    """One array in the queue.

    Attributes:
        job: Its ID.
        tasks: Elements that were submitted.
        states: Elements per state and reason, such as ``PENDING: AssocMaxJobsLimit``, without finished ones.
        stuck: Elements that will not start by themselves.
        cures: What to do about elements for which time alone does nothing.
    """

    job: str
    tasks: int
    states: Mapping[str, int]
    stuck: int = 0
    cures: tuple[str, ...] = ()

    @property
    def ending(self) -> int:
        """Number of elements whose processes are ending, as after `cancel`."""
        return self.states.get("COMPLETING", 0)


class Queue(NamedTuple):
    """A study's part of the queue.

    Attributes:
        jobs: Its arrays.
        running: Job ID and number of restarts of each running element.
        visibility: Asks which jobs Slurm shows, once; None if it shows all.
        others: The same as ``running`` for jobs that were not submitted, such as one in which somebody typed `run`.
        asked: IDs of the jobs about which Slurm was asked; nothing is known about the rest.
    """

    jobs: list[JobState]
    running: frozenset[tuple[str, int]]
    visibility: Callable[[], Visibility] | None = None
    others: frozenset[tuple[str, int]] = frozenset()
    asked: frozenset[int] = frozenset()

    def knows(self, identity: ProcessIdentity) -> bool:
        """Return whether Slurm was asked about the job of a process; True for a process without a job."""
        return not identity.slurm or not jobs_with([identity]) - self.asked

    def hides_jobs_of(self, uid: int | None) -> bool:
        """Return whether the jobs of a user may be missing here, because Slurm does not show them."""
        if uid in {None, os.geteuid()} or self.visibility is None:
            return False
        try:
            return self.visibility().hides_jobs_of(uid)
        except EnvironmentFault:
            return True


class Calls(NamedTuple):
    """A study's calls of sbatch, oldest first.

    Attributes:
        submits: The submitted arrays: one in each, with its own time.
        unsettled: Calls of which no journal says how they ended, so that their jobs may be in the queue.
    """

    submits: list[Submit]
    unsettled: list[Submitting]


def submissions(paths: StudyPaths) -> list[Submit]:
    """Return the submitted arrays of a study, oldest first: one in each, with its own time."""
    return calls_of(paths).submits


def calls_of(paths: StudyPaths) -> Calls:
    """Return a study's calls of sbatch."""
    events = sorted(_journaled(paths, Submit, Submitting), key=lambda event: event.time)
    ended = [event for event in events if isinstance(event, Submit)]
    arrays = [replace(submit, time=float(job["time"]), jobs=[job]) for submit in ended for job in submit.jobs]
    keys = {submit.key for submit in ended}
    return Calls(arrays, [event for event in events if isinstance(event, Submitting) and event.key not in keys])


def is_cancelled_since(paths: StudyPaths, moment: float) -> bool:
    """Return whether the whole study was cancelled after a moment, in seconds since 1970."""
    return any(cancel.trial is None and cancel.time >= moment for cancel in _journaled(paths, Cancel))


def found_in_queue(study: str, calls: Calls, slurm: SlurmCli) -> list[Submit]:
    """Return the live jobs of unsettled calls of sbatch, with one call of squeue if there are any.

    Raises:
        EnvironmentFault: Slurm does not answer.
    """
    rows = slurm.queue_of_name(study) if calls.unsettled else []
    # Where the profile sets a comment, all its jobs have the same one.
    known = {int(submit.jobs[0]["job"]) for submit in calls.submits}
    found = []
    for call in calls.unsettled:
        own = [row for row in rows if row.comment == call.comment and row.state in LIVING and _began(call, row)]
        if numbers := {_array(row) for row in own} - known:
            number, submitted = min(numbers), float(own[0].submitted or 0)
            known.add(number)
            job = {"job": str(number), "tasks": call.tasks, "time": submitted}
            found.append(Submit(submitted, [job], call.profile, call.cluster, call.key))
    return found


def _array(row: QueueRow) -> int:
    return int(row.jobs[0].partition("_")[0])


def _began(call: Submitting, row: QueueRow) -> bool:
    """Return whether a row was submitted while sbatch ran."""
    return row.submitted is not None and -CLOCKS_DIFFER_S <= row.submitted - call.time <= SBATCH_TAKES_S


def faults_of(paths: StudyPaths) -> list[str]:
    """Return the faults of a study's pools since the newest submission, without duplicates."""
    since = max((submit.time for submit in submissions(paths)), default=0.0)
    faults = sorted(_journaled(paths, Fault), key=lambda fault: fault.time)
    return list(dict.fromkeys(fault.message for fault in faults if fault.time >= since))


def followed(paths: StudyPaths, end: str) -> list[Followed]:
    """Return the events of the commands that follow one end of a study, oldest first."""
    return sorted((event for event in _journaled(paths, Followed) if event.end == end), key=lambda event: event.time)


def outcomes(paths: StudyPaths, end: str) -> list[dict[str, Any]]:
    """Return how the commands that follow one end of a study are doing: step, state, file, message and time of each."""
    newest = {event.step: event for event in followed(paths, end)}
    return [
        {
            "step": event.step,
            "state": event.outcome,
            "file": None if event.file is None else str(paths.folder / event.file),
            "message": event.message,
            "time": event.time,
        }
        for event in newest.values()
    ]


def pools_that_go_on(paths: StudyPaths, slurm: SlurmCli) -> int:
    """Return the number of pools in the queue that have not journaled why they end.

    A pool that journals its fault first and asks then is the last one if this is 0, even if others end meanwhile.

    Raises:
        EnvironmentFault: Slurm does not answer.
    """
    submits = submissions(paths)
    if not submits:
        return 0
    ended = {fault.job for fault in _journaled(paths, Fault) if fault.time >= submits[-1].time}
    jobs = {int(job["job"]): submit for submit in submits for job in submit.jobs}
    rows = slurm.queue(jobs)
    living = {name for job, submit in jobs.items() for row in _living_rows(job, submit, rows) for name in row.jobs}
    return len(living - ended)


def _journaled(paths: StudyPaths, *kinds: type[_Event]) -> Iterator[_Event]:
    """Yield the events of some kinds from commands and pools, without reading the journals of workers.

    Raises:
        EnvironmentFault: A journal cannot be read, so that jobs might be missing.
    """
    beginnings = tuple(f'{{"type":"{kind.type}"'.encode() for kind in kinds)
    for name, _ in journal_sizes(paths):
        journal = paths.journal(name)
        chunk = read_from(journal, limit=_FIRST_LINE_BYTES)
        if chunk.fault is not None:
            raise EnvironmentFault(f"{journal}: {chunk.fault}; it may name jobs of the study, so try again")
        if not chunk.bodies or _DOES_NOT_TRAIN not in chunk.bodies[0]:
            continue
        events = (from_json(body) for body in read_from(journal, 0).bodies if body.startswith(beginnings))
        yield from (event for event in events if isinstance(event, kinds))


def jobs_in_queue(paths: StudyPaths, slurm: SlurmCli) -> list[JobState]:
    """Return the states of a study's unfinished jobs, with one call of squeue.

    Raises:
        EnvironmentFault: Slurm does not answer.
    """
    return queue_of(paths, slurm).jobs


def queue_of(paths: StudyPaths, slurm: SlurmCli, workers: Iterable[ProcessIdentity] = ()) -> Queue:
    """Return a study's unfinished jobs and their running elements, with one call of squeue.

    If the outcome of a call of sbatch is not known, a second call of squeue looks for its job.

    Args:
        paths: Files of the study.
        slurm: Slurm's commands.
        workers: Processes about whose jobs Slurm is asked as well: somebody may have typed `run` inside a job.

    Raises:
        EnvironmentFault: Slurm does not answer.
    """
    calls = calls_of(paths)
    found = found_in_queue(paths.study, calls, slurm)
    return queues_of({paths.study: [*calls.submits, *found]}, slurm, {paths.study: workers})[paths.study]


def queues_of(
    submits: Mapping[str, Sequence[Submit]],
    slurm: SlurmCli,
    workers: Mapping[str, Iterable[ProcessIdentity]] | None = None,
) -> dict[str, Queue]:
    """Return the parts of the queue of several studies, by name, with one call of squeue.

    Args:
        submits: The submissions of each study, by its name.
        slurm: Slurm's commands.
        workers: By study, as for :func:`queue_of`.

    Raises:
        EnvironmentFault: Slurm does not answer.
    """
    asked = {study: _ids(submitted) | jobs_with((workers or {}).get(study, ())) for study, submitted in submits.items()}
    rows = slurm.queue(jobs) if (jobs := set().union(*asked.values())) else []
    visibility = cache(slurm.visibility)  # rarely called, since most studies have workers of one user
    return {
        study: queue_from(submitted, rows, asked[study])._replace(visibility=visibility)
        for study, submitted in submits.items()
    }


def _ids(submits: Sequence[Submit]) -> set[int]:
    return {int(job["job"]) for submit in submits for job in submit.jobs}


def jobs_with(workers: Iterable[ProcessIdentity]) -> set[int]:
    """Return the IDs of the jobs in which processes run, or ran."""
    return {Incarnation.from_slurm(worker.slurm).asked_id for worker in workers if worker.slurm}


def queue_from(submits: Sequence[Submit], rows: list[QueueRow], asked: Iterable[int]) -> Queue:
    """Pick one study's part from the rows of squeue.

    Args:
        submits: The study's submissions.
        rows: What squeue says.
        asked: IDs of the study's jobs about which it was asked, also of those that were not submitted.
    """
    asked = frozenset(asked)
    submitted = {int(job["job"]): (job, submit) for submit in submits for job in submit.jobs}
    living = {number: list(_living_rows(number, submit, rows)) for number, (_, submit) in submitted.items()}
    jobs = [_state(number, int(submitted[number][0]["tasks"]), ours) for number, ours in living.items() if ours]
    others = [row for row in rows if row.state in LIVING and _array(row) in asked - submitted.keys()]
    running = _running(row for ours in living.values() for row in ours)
    return Queue(jobs, running, others=_running(others), asked=asked)


def _running(rows: Iterable[QueueRow]) -> frozenset[tuple[str, int]]:
    return frozenset((job, row.restarts) for row in rows if row.state != "PENDING" for job in row.jobs)


def is_running(identity: ProcessIdentity, queue: Queue | None) -> bool | None:
    """Return whether a process runs, by this machine's process table or Slurm's queue; None if unknown."""
    alive = is_alive(identity)
    if alive is not None or queue is None or not identity.slurm:
        return alive
    job = Incarnation.from_slurm(identity.slurm)
    if not queue.knows(identity):
        return None
    running = (job.job, job.restarts) in queue.running | queue.others
    return None if not running and queue.hides_jobs_of(job.uid) else running


def _state(number: int, tasks: int, rows: list[QueueRow]) -> JobState:
    states: Counter[str] = Counter()
    cures: dict[str, None] = {}
    stuck = 0
    for row in rows:
        is_held = row.state in _HELD
        waits = (is_held or row.state == "PENDING") and row.reason not in {"None", ""}
        states[f"{row.state}: {row.reason}" if waits else row.state] += len(row.jobs)
        remedy = remedy_of_reason(row.reason, row.jobs[0] if len(row.jobs) == 1 else str(number))
        if waits and remedy.needs != "time":
            cures[f"{row.reason}: {remedy.text}{_THEN if remedy.needs == 'change' else ''}"] = None
        if is_held or (waits and remedy.needs in {"change", "release"}):
            stuck += len(row.jobs)
    return JobState(str(number), tasks, dict(states), stuck, tuple(cures))


def _living_rows(job: int, submit: Submit, rows: list[QueueRow]) -> Iterator[QueueRow]:
    return (row for row in own_rows(job, submit, rows) if row.state in LIVING)


def was_submitted_with(submit: Submit, submitted: float, restarts: int = 0) -> bool:
    """Return whether a job with our ID that was submitted, or requeued, at some time is ours."""
    late = submitted - submit.time
    return -SBATCH_TAKES_S <= late <= CLOCKS_DIFFER_S or (restarts > 0 and late > 0)


def own_rows(job: int, submit: Submit, rows: Sequence[QueueRow]) -> Iterator[QueueRow]:
    """Yield the rows of a job that were submitted when ours was, because Slurm reuses job IDs."""
    for row in rows:
        if _array(row) == job and row.submitted is not None and was_submitted_with(submit, row.submitted, row.restarts):
            yield row


def count_pools(jobs: Iterable[JobState]) -> int:
    """Return the number of pools that run, or wait and will start by themselves."""
    return sum(sum(job.states.values()) - job.stuck - job.ending for job in jobs)
