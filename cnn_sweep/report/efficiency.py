"""What a study's jobs asked for and what they used, and the lines of the profile to change.

Slurm's accounting knows processor time, memory, GPUs, energy and the time in the queue; the journals know what workers
did meanwhile. Either is shown without the other.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import Row, Table
from cnn_sweep.slurm.job_states import LIVING
from cnn_sweep.slurm.units import sbatch_time
from cnn_sweep.store import queries, report_queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.job_usage import JobUsage
    from cnn_sweep.store.queries import Record
    from cnn_sweep.store.reader import StoreReader

COLUMNS: Final = ("part", "unit", "asked", "used", "share", "profile")

_HOUR_S: Final = 3600.0
_KWH_J: Final = 3.6e6
_MB_PER_GB: Final = 1024
# A job that Slurm shows with our ID is ours if it was submitted within this time of our submission, in seconds.
_SAME_JOB_S: Final = 3600.0
# Peaks are samples, and the next study differs a little: ask for this many times what was used.
_MEMORY_SPARE: Final = 1.2
_TIME_SPARE: Final = 1.5
_CPU_SPARE: Final = 1.2
_WORTH_CHANGING: Final = 0.75  # a smaller request is advised below this share of the present one
_ALMOST_ALL: Final = 0.95  # more memory is advised above this share
_MORE_MEMORY: Final = 1.5
_IDLE: Final = 0.25  # fewer workers are advised above this share of time without a trial
_IDLE_GPU: Final = 0.5  # more workers per GPU are advised below this utilization
_ROUND_LIMIT_MIN: Final = 10
_DIGITS: Final = 4


@dataclass(frozen=True)
class StudyUsage:
    """The measurements of one study.

    Attributes:
        study: The study's name.
        attempts: See :func:`cnn_sweep.store.report_queries.time_of_attempts`.
        workers: Processes that trained, see :func:`cnn_sweep.store.queries.list_workers`; with the start of the first
            attempt, ``first``, in seconds since 1970.
        runs: Incarnations of its jobs that have ended.
        newest: Those of the newest submission that has any; its profile is the one to change.
        profile: File of that profile; empty if there is none.
        running: Number of incarnations that run or wait.
        queued_s: Seconds from the submission to the first worker, by the journals; None if never submitted.
        missing: Why Slurm's measurements are missing; empty if they are there.
    """

    study: str
    attempts: Record
    workers: list[Record]
    runs: tuple[JobUsage, ...] = ()
    newest: tuple[JobUsage, ...] = ()
    profile: str = ""
    running: int = 0
    queued_s: float | None = None
    missing: str = ""

    @property
    def busy_s(self) -> float:
        """Seconds of all attempts."""
        return float(sum(self.attempts[name] for name in ("counted", "repeated", "failed", "between")))

    @property
    def start_s(self) -> float:
        """Seconds from each worker's start to its first attempt, summed."""
        return float(sum(max(0.0, one["first"] - one["started"]) for one in self.workers))

    @property
    def idle_s(self) -> float:
        """Seconds in which workers had no trial, or a job had cores for a worker that it did not have, summed."""
        alive = float(sum(max(0.0, one["last_event"] - one["started"]) for one in self.workers))
        room = sum(one.elapsed_s * min(self.workers_per_task, one.cpus // self.threads) for one in self.runs)
        return max(0.0, max(alive, room) - self.start_s - self.busy_s)

    @property
    def threads(self) -> int:
        """Threads of one worker."""
        return statistics.mode(one["threads"] for one in self.workers) if self.workers else 1

    @property
    def workers_per_task(self) -> int:
        """Most workers of one incarnation of a job; those that replaced another count, too."""
        of_run = Counter(
            (one["job"], (one["identity"].get("slurm") or {}).get("restart_count"))
            for one in self.workers
            if one["job"]
        )
        return max(of_run.values(), default=1)


def study_usage(store: StoreReader, study: str, slurm: SlurmCli) -> StudyUsage:
    """Read the journals' part from the store, and ask sacct for Slurm's part, if the study was submitted.

    Args:
        store: The store with the study.
        study: The study's name.
        slurm: Slurm's commands.
    """
    attempts = report_queries.attempt_times(store, study)
    workers = [
        one | {"first": min((began for began, _ in attempts.get(one["writer"], ())), default=one["last_event"])}
        for one in queries.list_workers(store, study)
        if one["threads"] and one["last_event"] is not None
    ]
    found = StudyUsage(study, report_queries.time_of_attempts(store, study), workers)
    jobs = report_queries.list_jobs(store, study)
    if not jobs:
        return _without_slurm(found, jobs, "The study was not submitted to Slurm")
    try:
        known = slurm.usage(int(job["job"]) for job in jobs)
    except EnvironmentFault as fault:
        return _without_slurm(found, jobs, f"Slurm's accounting does not answer ({fault})")
    if known is None:
        return _without_slurm(found, jobs, "This cluster keeps no accounting")
    ours = [(job, _incarnations(job, known)) for job in jobs]
    if not any(own for _, own in ours):
        clusters = ", ".join(sorted({job["cluster"] for job in jobs}))
        return _without_slurm(found, jobs, f"sacct knows no job of the study here; they ran on cluster {clusters}")
    return _with_slurm(found, ours)


def _without_slurm(found: StudyUsage, jobs: Sequence[Record], why: str) -> StudyUsage:
    submitted = min((job["time"] for job in jobs), default=None)
    began = min((one["started"] for one in found.workers if one["job"]), default=None)
    queued = None if submitted is None or began is None else max(0.0, began - submitted)
    missing = f"{why}, so processor time, memory, energy and time in the queue are unknown"
    return StudyUsage(found.study, found.attempts, found.workers, queued_s=queued, missing=missing)


def _with_slurm(found: StudyUsage, ours: Sequence[tuple[Record, list[JobUsage]]]) -> StudyUsage:
    ended = [(job, [one for one in own if one.state not in LIVING and one.elapsed_s]) for job, own in ours]
    last = max((job["time"] for job, own in ended if own), default=0.0)
    # The arrays of one submission have the same profile, and are journaled within seconds of each other.
    newest = [(job, own) for job, own in ended if own and last - job["time"] <= _SAME_JOB_S]
    newest = [(job, own) for job, own in newest if job["profile"] == newest[-1][0]["profile"]]
    return StudyUsage(
        study=found.study,
        attempts=found.attempts,
        workers=found.workers,
        runs=tuple(one for _, own in ended for one in own),
        newest=tuple(one for _, own in newest for one in own),
        profile=newest[-1][0]["profile"] if newest else "",
        running=sum(one.state in LIVING for _, own in ours for one in own),
    )


def _incarnations(job: Record, known: Iterable[JobUsage]) -> list[JobUsage]:
    """Return the incarnations of a submitted job; Slurm reuses IDs, and a requeued job keeps its ID."""
    named = [one for one in known if one.jobs[0].partition("_")[0] == job["job"] and one.cluster == job["cluster"]]
    since = [one for one in named if one.submitted is not None and one.submitted >= job["time"] - _SAME_JOB_S]
    begun = any((one.submitted or 0) <= job["time"] + _SAME_JOB_S for one in since)
    return since if begun else []


def efficiency_table(usage: StudyUsage) -> Table:
    """Return a row for each resource and each use of the workers' time; its notes are sentences for people."""
    rows = [*(_slurm_rows(usage) if usage.runs else _queue_row(usage)), *_worker_rows(usage)]
    rounded = ({name: _rounded(value) for name, value in row.items()} for row in rows)
    return Table(COLUMNS, tuple(rounded), notes=tuple(_notes(usage)))


def _rounded(value: float | str | None) -> float | str | None:
    return round(value, _DIGITS) if isinstance(value, float) else value


def _row(part: str, unit: str, used: float | None, asked: float | None = None, profile: str | None = None) -> Row:
    share = None if used is None or not asked else used / asked
    return {"part": part, "unit": unit, "asked": asked, "used": used, "share": share, "profile": profile}


def _slurm_rows(usage: StudyUsage) -> Iterator[Row]:
    runs, newest = usage.runs, usage.newest
    cores = sum(one.elapsed_s * one.cpus for one in runs) / _HOUR_S
    yield _row("cores", "core h", sum(one.cpu_s for one in runs) / _HOUR_S, cores, fewer_cores(usage))
    peak, memory = max(one.peak_mb for one in newest), max(one.memory_mb for one in newest)
    yield _row("memory", "GB a task", peak / _MB_PER_GB or None, memory / _MB_PER_GB, other_memory(newest))
    yield from _gpu_rows(usage)
    limits = [one.limit_min for one in newest if one.limit_min]
    if limits:
        longest = max(one.elapsed_s for one in newest)
        yield _row("time limit", "h at most", longest / _HOUR_S, max(limits) / 60, shorter_limit(newest))
    waits = [one.wait_s / _HOUR_S for one in runs if one.wait_s is not None]
    yield _row("queue", "h, median", statistics.median(waits) if waits else None)
    yield _row("queue", "h at most", max(waits, default=None))
    yield _row("billing", "unit h", sum(one.billing * one.elapsed_s for one in runs) / _HOUR_S)
    if energy := sum(one.energy_j for one in runs):
        yield _row("energy", "kWh", energy / _KWH_J)


def _gpu_rows(usage: StudyUsage) -> Iterator[Row]:
    asked = sum(one.elapsed_s * one.gpus for one in usage.runs) / _HOUR_S
    if not asked:
        return
    known = [one for one in usage.runs if one.gpus and one.gpu_percent is not None]
    used = None
    if known:
        weights = [one.elapsed_s * one.gpus for one in known]
        used = asked * statistics.fmean([(one.gpu_percent or 0.0) / 100 for one in known], weights)
    line = None
    if used is not None and used < _IDLE_GPU * asked:
        gpus = max(one.gpus for one in usage.newest)
        line = f"workers_per_gpu = {2 * max(1, usage.workers_per_task // max(1, gpus))}"
    yield _row("GPUs", "GPU h", used, asked, line)


def _queue_row(usage: StudyUsage) -> Iterator[Row]:
    if usage.queued_s is not None:
        yield _row("queue", "h", usage.queued_s / _HOUR_S)


def _worker_rows(usage: StudyUsage) -> Iterator[Row]:
    parts = {
        "counted epochs": usage.attempts["counted"],
        "repeated epochs": usage.attempts["repeated"],
        "failed trials": usage.attempts["failed"],
        "between epochs": usage.attempts["between"],
        "start of workers": usage.start_s,
        "no trial": usage.idle_s,
    }
    total = sum(parts.values())
    for part, seconds in parts.items():
        yield _row(part, "worker h", seconds / _HOUR_S) | {"share": seconds / total if total else None}


def fewer_cores(usage: StudyUsage) -> str | None:
    """Return the line that leaves fewer cores idle, or None."""
    newest, workers = usage.newest, usage.workers_per_task
    idle = usage.idle_s / (usage.idle_s + usage.start_s + usage.busy_s or 1.0)
    tasks = len({one.jobs for one in newest})
    if idle > _IDLE and tasks > 1:
        return f"array_width = {max(1, round(tasks * (1 - idle)))}"
    if idle > _IDLE and workers > 1:
        return f"workers_per_task = {max(1, round(workers * (1 - idle)))}"
    busy = sum(one.cpu_s for one in newest) / max(1, sum(one.elapsed_s for one in newest))
    needed = max(math.ceil(_CPU_SPARE * busy), workers * usage.threads)
    cpus = max(one.cpus for one in newest)
    return f"cpus = {needed}" if busy and needed <= _WORTH_CHANGING * cpus else None


def other_memory(runs: Sequence[JobUsage]) -> str | None:
    """Return the line for as much memory as runs used and a reserve; None if the request is about right."""
    asked, peak = max(one.memory_mb for one in runs), max(one.peak_mb for one in runs)
    full = any(one.state == "OUT_OF_MEMORY" for one in runs) or peak > _ALMOST_ALL * asked > 0
    wanted = math.ceil((asked * _MORE_MEMORY if full else peak * _MEMORY_SPARE) / _MB_PER_GB)
    if full or (peak and wanted * _MB_PER_GB <= _WORTH_CHANGING * asked):
        return f'memory = "{wanted}G"'
    return None


def shorter_limit(runs: Sequence[JobUsage]) -> str | None:
    """Return the line for a time limit that the longest run would have kept; None if that is no shorter."""
    limit = max(one.limit_min or 0 for one in runs)
    longest = max(one.elapsed_s for one in runs) / 60
    wanted = math.ceil(longest * _TIME_SPARE / _ROUND_LIMIT_MIN) * _ROUND_LIMIT_MIN
    return f'time_limit = "{sbatch_time(wanted)}"' if wanted <= _WORTH_CHANGING * limit else None


def _notes(usage: StudyUsage) -> Iterator[str]:
    if usage.missing:
        yield usage.missing
    if usage.running:
        runs = plural(usage.running, "job that waits or runs is", "jobs that wait or run are")
        yield f"{runs} not counted, because sacct measures a job at its end"
    failed = Counter(one.state for one in usage.runs if one.state not in {"COMPLETED", "REQUEUED"})
    if failed:
        lost: dict[str, float] = defaultdict(float)
        for one in usage.runs:
            lost[one.state] += one.elapsed_s * one.cpus / _HOUR_S
        yield "jobs ended early: " + ", ".join(
            f"{count} {state} ({lost[state]:.3g} core hours)" for state, count in failed.items()
        )
    if usage.attempts["repeated_epochs"]:
        again = plural(usage.attempts["repeated_epochs"], "epoch")
        yield f"{again} had to be trained again after workers were lost between two checkpoints"
