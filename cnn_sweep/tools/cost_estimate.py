"""What a study will cost: the hours of workers, cores and GPUs, and the time from its first job to its end."""

from __future__ import annotations

import heapq
import math
import statistics
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cnn_sweep.search.rungs import Ladder
from cnn_sweep.sweep.spec.search import AshaSpec
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cnn_sweep.execution.array_jobs.submission import Submission
    from cnn_sweep.journal.history import History
    from cnn_sweep.search.plan import PlannedTrial
    from cnn_sweep.sweep.sweep import Sweep
    from cnn_sweep.tools.epoch_times import EpochTimes, Shapes

_HOUR_S: Final = 3600.0
# Before its workers start, a pool's own Python starts, in about half of the time of theirs, which loads TensorFlow.
_POOL_START: Final = 0.5
_POOL_END_S: Final = 3.0  # a pool looks so often whether its workers have ended
_FEW_GRAPHS: Final = 64  # with more, the order of graphs is simplified
_ENOUGH_ENDED: Final = 5  # finished trials that tell how early a pruner or early stopping ends trials


@dataclass(frozen=True)
class TrialWork:
    """What is left to train of a trial.

    Attributes:
        graph: Key of its compiled graph.
        seconds: Expected time of its epochs.
        most_s: The same if it trains all its epochs.
        epochs: Expected number of epochs.
    """

    graph: str
    seconds: float
    most_s: float
    epochs: float


@dataclass(frozen=True)
class Allocation:
    """The jobs in which the trials run.

    Attributes:
        tasks: Number of tasks.
        at_once: Number of tasks that run at the same time.
        workers: Workers of a task.
        cpus: CPUs of a task.
        gpus: GPUs of a task.
        run_s: Seconds of a task until it writes checkpoints because of its time limit; None without a limit.
    """

    tasks: int
    at_once: int
    workers: int
    cpus: int
    gpus: int = 0
    run_s: float | None = None

    @classmethod
    def of(cls, submission: Submission) -> Allocation:
        """Return the jobs of a planned submission."""
        arrays, profile = submission.arrays, submission.profile
        return cls(
            tasks=arrays.tasks,
            at_once=sum(array.throttle for array in arrays.arrays),
            workers=profile.workers,
            cpus=profile.cpus,
            gpus=profile.gpus,
            run_s=profile.time_limit * 60.0 - profile.signal_delay_s,
        )

    def with_limit(self, minutes: int, signal_delay_s: int) -> Allocation:
        """Return the same jobs with another time limit."""
        return replace(self, run_s=minutes * 60.0 - signal_delay_s)


@dataclass(frozen=True)
class Estimate:
    """An estimate of the cost.

    Attributes:
        worker_s: Seconds of all workers, from their starts to their last trials.
        wall_s: Seconds from the first job's start to the study's end, without the time in the queue.
        task_s: Seconds of all tasks, which a cluster charges.
        core_hours: Hours of all allocated CPUs.
        gpu_hours: Hours of all allocated GPUs.
        restarts: How often a task starts again after its time limit.
        fits: Whether a task can do anything before its time limit.
    """

    worker_s: float
    wall_s: float
    task_s: float
    core_hours: float
    gpu_hours: float
    restarts: int
    fits: bool = True


def works_of(
    sweep: Sweep, left: Iterable[PlannedTrial], history: History, shapes: Shapes, times: EpochTimes
) -> list[TrialWork]:
    """Return what is left to train of each unfinished trial.

    Trials under rungs train to a rung and go on with the share that the rung promotes. Where a study has finished
    trials, other rules that end trials early are expected to do so as early as there.
    """
    share = _share_trained(sweep, history)
    works = []
    for trial in left:
        known = history.trials.get(trial.number)
        stages = shapes.of(trial) if known is None or known.params is None else shapes.of_params(known.params)
        done = max((attempt.last_epoch for attempt in known.attempts.values()), default=0) if known else 0
        total = sum(stage.epochs for stage in stages)
        most_s = 0.0
        for stage in stages:
            skipped = min(done, stage.epochs)
            done -= skipped
            most_s += (stage.epochs - skipped) * times.epoch_s(stage)
        expected = min(share, 1.0) * expected_epochs(sweep, trial, total) / total
        works.append(TrialWork(stages[0].graph, most_s * expected, most_s, total * expected))
    budget = sweep.search.epochs
    planned = sum(work.epochs for work in works)
    if budget is not None and planned > budget > 0:
        part = budget / planned
        works = [replace(work, seconds=work.seconds * part, epochs=work.epochs * part) for work in works]
    return works


def expected_epochs(sweep: Sweep, trial: PlannedTrial, total: int) -> float:
    """Return how many epochs a trial trains on average; all of them unless the study has rungs."""
    ladder = Ladder.of(sweep.pruner)
    if ladder is None or trial.repeat:
        return float(total)
    if isinstance(sweep.pruner, AshaSpec) and sweep.pruner.min_epochs == "auto":
        # It is chosen later. On the curves of benchmarks/curves.py, `auto` trains about twice as much as rungs from 1.
        ladder = replace(ladder, min_epochs=round(ladder.reduction))
    bracket, rung, reached, expected, share = ladder.bracket(trial.number), 0, 0, 0.0, 1.0
    while reached < total:
        level = min(total, ladder.level(bracket, rung))
        expected += share * (level - reached)
        reached, share, rung = level, share / ladder.reduction, rung + 1
    return expected


def _share_trained(sweep: Sweep, history: History) -> float:
    """Return the mean share of their epochs that finished trials trained; 1 if unknown, or if rungs decide."""
    stages = sweep.pruner is None or Ladder.of(sweep.pruner) is None
    ended = [trial for trial in history.trials.values() if trial.state in FINISHED and trial.params is not None]
    if not stages or len(ended) < _ENOUGH_ENDED:
        return 1.0
    shares = []
    for trial in ended:
        training = sweep.resolve(trial.params or {}).training
        if training is not None and trial.state != "failed":
            shares.append(max(trial.counted, default=0) / training.all_epochs)
    return statistics.fmean(shares) if shares else 1.0


def estimate(works: Sequence[TrialWork], times: EpochTimes, jobs: Allocation) -> Estimate:
    """Estimate the cost of trials that the workers of some jobs share.

    Args:
        works: The trials.
        times: How long everything takes.
        jobs: The jobs.
    """
    ends = _finish(works, times, jobs.at_once * jobs.workers)
    begin = times.start_s * (1 + _POOL_START)
    again = begin + times.build_s
    available = math.inf if jobs.run_s is None else jobs.run_s - again
    pools = [max(ends[first : first + jobs.workers]) for first in range(0, len(ends), jobs.workers)]
    fits = available > 0
    restarts = [max(0, math.ceil(end / available) - 1) if fits else 0 for end in pools]
    elapsed = [begin + end + n * again + _POOL_END_S for end, n in zip(pools, restarts, strict=True)]
    task_s = sum(elapsed) + (jobs.tasks - jobs.at_once) * begin
    return Estimate(
        worker_s=sum(ends) + len(ends) * times.start_s,
        wall_s=max(elapsed),
        task_s=task_s,
        core_hours=task_s * jobs.cpus / _HOUR_S,
        gpu_hours=task_s * jobs.gpus / _HOUR_S,
        restarts=max(restarts),
        fits=fits,
    )


def _finish(works: Sequence[TrialWork], times: EpochTimes, workers: int) -> list[float]:
    """Return when each worker ends, if each prefers trials whose network it has compiled, as real ones do."""
    waiting: dict[str, deque[TrialWork]] = {}
    for work in works:
        waiting.setdefault(work.graph, deque()).append(work)
    busy: Counter[str] = Counter()
    warm: list[set[str]] = [set() for _ in range(workers)]
    last = [""] * workers
    free = [(0.0, worker) for worker in range(workers)]
    ends = [0.0] * workers
    while free:
        now, worker = heapq.heappop(free)
        busy[last[worker]] -= 1
        ends[worker] = now
        graph = last[worker] if last[worker] in waiting else _next_graph(waiting, busy, warm[worker])
        if graph is None:
            continue
        work = waiting[graph].popleft()
        if not waiting[graph]:
            del waiting[graph]
        beside = times.trial_s if graph in warm[worker] else max(times.build_s, times.trial_s)
        warm[worker].add(graph)
        last[worker] = graph
        busy[graph] += 1
        heapq.heappush(free, (now + work.seconds + beside, worker))
    return ends


def _next_graph(waiting: dict[str, deque[TrialWork]], busy: Counter[str], warm: set[str]) -> str | None:
    if len(waiting) > _FEW_GRAPHS:
        return next(iter(waiting))
    return min(waiting, key=lambda graph: (graph not in warm, busy[graph]), default=None)
