"""How a study's jobs ended, with the likely cause and its cure.

Squeue remembers ended jobs for some minutes, and accounting for years; where neither knows a job, its log may.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.study.jobs import SBATCH_TAKES_S, own_rows, was_submitted_with
from cnn_sweep.messages import few
from cnn_sweep.slurm.job_states import LIVING
from cnn_sweep.slurm.remedies import NO_LOG, SETUP_FAILED, remedy_of_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cnn_sweep.journal.events import Submit
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.job_rows import AccountingRow, QueueRow

# State of a job that neither squeue nor accounting knows any more.
UNKNOWN = "UNKNOWN"
# What srun and slurmstepd add below the words of the program that failed.
_NOISE = re.compile(r"(srun|slurmstepd): |$")
_TELLING = re.compile(rf"{SETUP_FAILED}|this pool cannot work")
_LOG_END_BYTES = 16_384


@dataclass(frozen=True)
class JobEnds:
    """Elements of one array that ended alike.

    Attributes:
        job: ID of the array.
        tasks: Number of elements.
        state: Slurm's final state, such as ``FAILED``; ``UNKNOWN`` if Slurm no longer knows them.
        exit_code: Exit code of their script.
        signal: Signal that ended it, or 0.
        nodes: Where they ran.
        ended: When the last one ended, in seconds since 1970; None if unknown.
        element: Name of the last one, such as ``17_3``.
        log: Its log file; None if there is none.
        cause: Its likely cause, for an end other than that of finished work; may be empty.
        cure: What to do about it; may be empty.
    """

    job: str
    tasks: int
    state: str
    exit_code: int
    signal: int
    nodes: tuple[str, ...]
    ended: float | None
    element: str
    log: str | None
    cause: str
    cure: str

    def __str__(self) -> str:
        """Return how they ended, without cause and cure."""
        how = f"0:{self.signal}" if self.signal else str(self.exit_code)  # as sacct shows it
        code = f" (exit code {how})" if self.signal or self.exit_code else ""
        where = f" on {few(self.nodes, 3)}" if self.nodes and self.state != "COMPLETED" else ""
        if self.state == UNKNOWN:
            return f"{self.tasks} ended; Slurm no longer knows how"
        return f"{self.tasks} {self.state}{code}{where}"


class _End(NamedTuple):
    """The end of one element; fields as in :class:`JobEnds`."""

    element: str
    state: str = UNKNOWN
    exit_code: int = 0
    signal: int = 0
    nodes: str = ""
    ended: float | None = None


def ends_of_jobs(
    paths: StudyPaths, submits: Sequence[Submit], queue: Sequence[QueueRow], slurm: SlurmCli
) -> list[JobEnds]:
    """Return how jobs ended since the newest submission; asks accounting only about what squeue does not know.

    Args:
        paths: Files of the study.
        submits: Its submissions, oldest first.
        queue: squeue's rows for all their jobs.
        slurm: Slurm's commands.
    """
    if not submits:
        return []
    newest = [submit for submit in submits if submit is submits[-1] or (submit.key and submit.key == submits[-1].key)]
    elements = [name for submit in newest for name in _elements(submit)]
    rows = _own_rows(submits, queue)
    since = min(submit.time for submit in newest)
    ends = [_end(name, row) for name, row in rows.items() if row.state not in LIVING]
    ends = [end for end in ends if end.element in set(elements) or (end.ended or 0.0) >= since]
    if missing := [name for name in elements if name not in rows]:
        known = _ends_in_accounting(newest, slurm)
        ends += [known.get(name) or _End(name) for name in missing]
    return list(_alike(paths, ends))


def _elements(submit: Submit) -> Iterator[str]:
    """Yield the name of every submitted element; a job of one task is no array."""
    for job in submit.jobs:
        tasks = int(job["tasks"])
        yield from (f"{job['job']}_{task}" for task in range(tasks)) if tasks > 1 else (str(job["job"]),)


def _array(element: str) -> str:
    return element.partition("_")[0]


def _own_rows(submits: Sequence[Submit], queue: Sequence[QueueRow]) -> dict[str, QueueRow]:
    """Return squeue's row of every element that it knows."""
    by_array: dict[int, list[QueueRow]] = {}
    for row in queue:
        by_array.setdefault(int(_array(row.jobs[0])), []).append(row)
    return {
        name: row
        for submit in submits
        for job in submit.jobs
        for row in own_rows(int(job["job"]), submit, by_array.get(int(job["job"]), []))
        for name in row.jobs
    }


def _ends_in_accounting(submits: Sequence[Submit], slurm: SlurmCli) -> dict[str, _End]:
    """Return how elements ended by accounting; nothing if there is none, or it does not answer."""
    arrays = {str(job["job"]): submit for submit in submits for job in submit.jobs}
    since = min(submit.time for submit in submits) - SBATCH_TAKES_S
    try:
        records = slurm.accounting(map(int, arrays), since=since) or []
    except EnvironmentFault:
        return {}
    incarnations: dict[str, list[AccountingRow]] = {}
    for record in sorted(records, key=lambda record: record.submitted or 0):
        for name in record.jobs:
            incarnations.setdefault(name, []).append(record)
    return {
        name: _end(name, runs[-1])
        for name, runs in incarnations.items()
        # Slurm reuses IDs of jobs; the first run of ours was submitted when we did.
        if was_submitted_with(arrays[_array(name)], runs[0].submitted or 0) and runs[-1].state not in LIVING
    }


def _end(name: str, row: QueueRow | AccountingRow) -> _End:
    # squeue gives a number of slurmd's own as a signal with a meaningless exit code.
    return _End(name, row.state, 0 if row.signal else row.exit_code, row.signal, row.nodes, row.ended)


def _alike(paths: StudyPaths, ends: Iterable[_End]) -> Iterator[JobEnds]:
    """Group the ends of each array by how they ended; cause and cure are those of the last one."""
    groups: dict[tuple[str, str, int, int], list[_End]] = {}
    for end in ends:
        groups.setdefault((_array(end.element), end.state, end.exit_code, end.signal), []).append(end)
    for (job, state, exit_code, signal), alike in sorted(groups.items()):
        last = max(alike, key=lambda end: end.ended or 0.0)
        log = paths.job_log(last.element)
        words = telling_line(log, sure=state == UNKNOWN) if log.is_file() else NO_LOG
        cause, cure = remedy_of_end(state, exit_code=exit_code, signal=signal, words=words, study=paths.study)
        yield JobEnds(
            job=job,
            tasks=len(alike),
            state=state,
            exit_code=exit_code,
            signal=signal,
            nodes=tuple(node for node, _ in Counter(end.nodes for end in alike if end.nodes).most_common()),
            ended=last.ended,
            element=last.element,
            log=str(log) if log.is_file() else None,
            cause=cause,
            cure=cure,
        )


def telling_line(log: Path, *, sure: bool = False) -> str:
    """Return the last line of a log that says why its job ended; empty if there is none.

    Args:
        log: The file.
        sure: Whether to return only a line with which this program ends a job that failed.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END_BYTES))
            lines = [line.strip() for line in file.read().decode("utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    if told := [line for line in lines if _TELLING.search(line)]:
        return told[-1]
    words = [line for line in lines if not _NOISE.match(line)] or [line for line in lines if line]
    return words[-1] if words and not sure else ""
