"""Parsers for the output of squeue and sacct; :mod:`cnn_sweep.slurm.job_states` interprets their rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cnn_sweep.slurm.units import memory_mb

# squeue appends the character after the colon and then does not truncate the value.
_QUEUE_FIELDS = "JobArrayID,JobID,State,Reason,RestartCnt,SubmitTime,StartTime,EndTime,exit_code,NodeList,Partition"
QUEUE_FORMAT = ",".join(f"{name}:|" for name in _QUEUE_FIELDS.split(","))
OWN_JOB_FORMAT = "SubmitTime:|,State:|,EndTime:|,PreemptTime:|"
# Not DerivedExitCode: for a requeued job it includes earlier incarnations.
ACCOUNTING_FORMAT = "JobID,JobIDRaw,State,ExitCode,Submit,Start,End,NodeList"
STEPS_FORMAT = "JobIDRaw,State,ExitCode,Submit,ReqMem,MaxRSS"

_NAME = re.compile(r"(?P<job>\d+)(?:_(?:(?P<task>\d+)|\[(?P<tasks>[\d,:-]+)(?:%\d+)?\]))?")
_OUT_OF_MEMORY = 125  # Slurm's own signal number for "out of memory"
_ALMOST_ALL = 0.95  # fraction of the memory limit; Slurm polls, so it misses the peak that killed the step


@dataclass(frozen=True)
class QueueRow:
    """A job, or the waiting elements of an array that squeue shows in one row.

    Attributes:
        jobs: Names such as ``123`` or ``123_4``.
        raw_id: The job's own ID, also for an array element.
        state: State in squeue's words.
        reason: Why it waits, or why it ended.
        restarts: Number of requeues.
        submitted: Time of submission or requeue, in seconds since 1970; None if not shown.
        started: Start time; None if it has not started.
        ended: End time; for a running job, the latest possible one.
        exit_code: Exit code of the job's script, 0-255.
        signal: Signal that ended the job's script, or 0.
        nodes: Nodes that it runs or ran on.
        partition: Partition that it was submitted to.
        comment: Its comment; empty if it was not asked for.
    """

    jobs: tuple[str, ...]
    raw_id: int
    state: str
    reason: str
    restarts: int
    submitted: int | None
    started: int | None
    ended: int | None
    exit_code: int
    signal: int
    nodes: str
    partition: str
    comment: str = ""


@dataclass(frozen=True)
class OwnJob:
    """What a job asks about itself.

    Attributes:
        submitted: Time of submission or requeue, in seconds since 1970; it and the job's ID identify this incarnation.
        state: State in squeue's words.
        ends: When Slurm will end it, in seconds since 1970; a suspended job and changed limits move it.
        preempted: Whether it is being preempted.
    """

    submitted: int | None
    state: str
    ends: int | None
    preempted: bool


@dataclass(frozen=True)
class AccountingRow:
    """One incarnation of a job, as sacct shows it; times and names are as in :class:`QueueRow`.

    Attributes:
        jobs: Names such as ``123`` or ``123_4``.
        raw_id: The job's own ID.
        state: First word of sacct's state.
        exit_code: Exit code of the job's script, minus 128 if it came from a signal.
        signal: Signal that ended the job, or 0.
        submitted: Time of this incarnation's submission or requeue.
        started: Start time.
        ended: End time.
        nodes: Nodes that it ran on.
    """

    jobs: tuple[str, ...]
    raw_id: int
    state: str
    exit_code: int
    signal: int
    submitted: int | None
    started: int | None
    ended: int | None
    nodes: str


@dataclass(frozen=True)
class StepEnds:
    """How the steps of an incarnation ended.

    Attributes:
        signals: Signals that ended at least one step.
        out_of_memory: Whether a step was killed for its memory, or used all of it.
    """

    signals: frozenset[int] = frozenset()
    out_of_memory: bool = False


@dataclass(frozen=True)
class Visibility:
    """Which jobs Slurm shows to this user; the absence of others proves nothing.

    Attributes:
        cluster: Name of the cluster that answers.
        only_uid: Numeric ID of the only user whose jobs are shown (``PrivateData=jobs``); None if all are.
    """

    cluster: str
    only_uid: int | None = None

    def hides_jobs_of(self, uid: int | None) -> bool:
        """Return whether the jobs of a user are hidden."""
        return self.only_uid is not None and uid is not None and uid != self.only_uid


def read_queue(text: str) -> list[QueueRow]:
    """Read the rows of ``squeue --Format=QUEUE_FORMAT``; other lines are ignored."""
    rows = []
    for line in text.splitlines():
        values = [value.strip() for value in line.split("|")]
        if len(values) < 11 or not (jobs := names(values[0])):
            continue
        status = int(values[8]) if values[8].isdigit() else 0  # as returned by wait()
        row = QueueRow(
            jobs=jobs,
            raw_id=int(values[1]),
            state=values[2],
            reason="" if values[3] == "None" else values[3],
            restarts=int(values[4]) if values[4].isdigit() else 0,
            submitted=_seconds(values[5]),
            started=_seconds(values[6]),
            ended=_seconds(values[7]),
            exit_code=status >> 8,
            signal=status & 0x7F,
            nodes=values[9],
            partition=values[10],
            comment="|".join(values[11:-1]),
        )
        rows.append(row)
    return rows


def read_own_job(text: str) -> OwnJob | None:
    """Read ``squeue --Format=OWN_JOB_FORMAT`` for one job; None if it has no such line."""
    for line in text.splitlines():
        values = [value.strip() for value in line.split("|")]
        if len(values) >= 4:
            preempted = _seconds(values[3])
            return OwnJob(_seconds(values[0]), values[1], _seconds(values[2]), bool(preempted))
    return None


def read_accounting(text: str) -> list[AccountingRow]:
    """Read the rows of ``sacct --format=ACCOUNTING_FORMAT``; other lines are ignored."""
    rows = []
    for line in text.splitlines():
        values = line.split("|")
        if len(values) < 8 or not (jobs := names(values[0])):
            continue
        code, signal = _exit(values[3])
        row = AccountingRow(
            jobs=jobs,
            raw_id=int(values[1]),
            state=values[2].split(" ")[0],  # "CANCELLED by 1000"
            exit_code=code,
            signal=signal,
            submitted=_seconds(values[4]),
            started=_seconds(values[5]),
            ended=_seconds(values[6]),
            nodes="" if values[7] == "None assigned" else values[7],
        )
        rows.append(row)
    return rows


def read_steps(text: str) -> dict[tuple[int, int], StepEnds]:
    """Read ``sacct --format=STEPS_FORMAT``: how steps ended, by the job's raw ID and submit time.

    Each job's steps follow it.
    """
    found: dict[tuple[int, int], StepEnds] = {}
    job, limit = (0, 0), 0
    for line in text.splitlines():
        name, state, exits, submitted, requested, used = (line.split("|") + [""] * 6)[:6]
        if "." not in name:
            job, limit = (int(name) if name.isdigit() else 0, _seconds(submitted) or 0), megabytes(requested)
            continue
        before, signal = found.get(job, StepEnds()), _exit(exits)[1]
        used_up = limit > 0 and megabytes(used) >= limit * _ALMOST_ALL
        full = state == "OUT_OF_MEMORY" or signal == _OUT_OF_MEMORY or used_up
        found[job] = StepEnds(before.signals | {signal} - {0}, before.out_of_memory or full)
    return found


def names(text: str) -> tuple[str, ...]:
    """Return the names of all jobs in one row.

    >>> names("12"), names("12_3"), names("12_[3-5,8%2]"), names("12_[0-8:4]")
    (('12',), ('12_3',), ('12_3', '12_4', '12_5', '12_8'), ('12_0', '12_4', '12_8'))
    """
    match = _NAME.fullmatch(text)
    if match is None:
        return ()
    job = match["job"]
    if match["task"] is not None:
        return (f"{job}_{int(match['task'])}",)
    if match["tasks"] is None:
        return (job,)
    found: list[str] = []
    for part in match["tasks"].split(","):
        span, _, step = part.partition(":")
        low, _, high = span.partition("-")
        found += [f"{job}_{task}" for task in range(int(low), int(high or low) + 1, int(step or 1))]
    return tuple(found)


def _seconds(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _exit(text: str) -> tuple[int, int]:
    code, _, signal = text.partition(":")
    return (int(code) if code.isdigit() else 0, int(signal) if signal.isdigit() else 0)


def megabytes(text: str) -> int:
    """Read an amount of memory in MB; 0 if there is none."""
    try:
        return memory_mb(text)
    except ValueError:
        return 0
