"""Rows of squeue and sacct: what Slurm says of jobs, before anything is concluded from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cnn_sweep.execution.slurm_units import memory_mb

# The character after the colon is put after the value, which is then not cut.
_QUEUE_FIELDS = "JobArrayID,JobID,State,Reason,RestartCnt,SubmitTime,StartTime,EndTime,exit_code,NodeList,Partition"
QUEUE_FORMAT = ",".join(f"{name}:|" for name in _QUEUE_FIELDS.split(","))
ACCOUNTING_FORMAT = "JobID,JobIDRaw,State,ExitCode,DerivedExitCode,Submit,Start,End,NodeList"
MEMORY_FORMAT = "JobIDRaw,Submit,ReqMem,MaxRSS"

_NAME = re.compile(r"(?P<job>\d+)(?:_(?:(?P<task>\d+)|\[(?P<tasks>[\d,:-]+)(?:%\d+)?\]))?")
_ALMOST_ALL = 0.95  # of its memory: Slurm polls, so the highest that it saw is a little less than what killed


@dataclass(frozen=True)
class QueueRow:
    """A job, or the elements of an array that still wait together, as squeue shows them.

    Attributes:
        jobs: Names such as ``123`` or ``123_4``.
        raw_id: The id that is the job's own also in an array.
        state: As squeue says it.
        reason: Why it waits, or why it ended.
        restarts: How often it was requeued.
        submitted: When it was submitted or requeued, in seconds since 1970; None where that is not told.
        started: When it started; None if it did not.
        ended: When it ended; for a running one, when it will at the latest.
        exit_code: Of the job's script, 0-255.
        signal: That ended the job's script, or 0.
        nodes: Where it runs or ran.
        partition: Where it was put.
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


@dataclass(frozen=True)
class AccountingRow:
    """One incarnation of a job, as sacct shows it; times and names are as in :class:`QueueRow`.

    Attributes:
        jobs: Names.
        raw_id: The job's own id.
        state: The first word of what sacct says.
        exit_code: Of the job's script, 0-255.
        signal: That ended the job's script, or 0.
        derived_signal: That ended the worst of the job's steps, or 0; 125 stands for out of memory.
        submitted: When this incarnation was submitted or requeued.
        started: When it started.
        ended: When it ended.
        nodes: Where it ran.
    """

    jobs: tuple[str, ...]
    raw_id: int
    state: str
    exit_code: int
    signal: int
    derived_signal: int
    submitted: int | None
    started: int | None
    ended: int | None
    nodes: str


def read_queue(text: str) -> list[QueueRow]:
    """Read the rows of ``squeue --Format=QUEUE_FORMAT``; lines that are none are left out."""
    rows = []
    for line in text.splitlines():
        values = [value.strip() for value in line.split("|")]
        if len(values) < 11 or not (jobs := names(values[0])):
            continue
        status = int(values[8]) if values[8].isdigit() else 0  # as wait() gives it
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
        )
        rows.append(row)
    return rows


def read_accounting(text: str) -> list[AccountingRow]:
    """Read the rows of ``sacct --format=ACCOUNTING_FORMAT``; lines that are none are left out."""
    rows = []
    for line in text.splitlines():
        values = line.split("|")
        if len(values) < 9 or not (jobs := names(values[0])):
            continue
        code, signal = _exit(values[3])
        row = AccountingRow(
            jobs=jobs,
            raw_id=int(values[1]),
            state=values[2].split(" ")[0],  # "CANCELLED by 1000"
            exit_code=code,
            signal=signal,
            derived_signal=_exit(values[4])[1],
            submitted=_seconds(values[5]),
            started=_seconds(values[6]),
            ended=_seconds(values[7]),
            nodes="" if values[8] == "None assigned" else values[8],
        )
        rows.append(row)
    return rows


def over_memory(text: str) -> set[tuple[int, int]]:
    """Read ``sacct --format=MEMORY_FORMAT`` with steps: (raw id, submit time) of jobs that used all they had.

    Steps stand below their job; the time is the job's.
    """
    found = set()
    job, limit = (0, 0), 0
    for line in text.splitlines():
        name, submitted, requested, used = (line.split("|") + [""] * 4)[:4]
        if "." not in name:
            job = (int(name), _seconds(submitted) or 0) if name.isdigit() else (0, 0)
            limit = _megabytes(requested)
        elif limit and _megabytes(used) >= limit * _ALMOST_ALL:
            found.add(job)
    return found


def names(text: str) -> tuple[str, ...]:
    """Return the names of the jobs that a row stands for.

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


def _megabytes(text: str) -> int:
    try:
        return memory_mb(text)
    except ValueError:
        return 0
