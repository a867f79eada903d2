"""From what there is to do and what a cluster allows to arrays: split, narrowed, or refused with the cure.

Nothing here asks Slurm: :meth:`cnn_sweep.slurm.commands.SlurmCli.cluster` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.errors import SweepFileError
from cnn_sweep.slurm.cluster import lowest
from cnn_sweep.slurm.limits import Refusal, limits_of, refusals_of, task_resources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.slurm.cluster import Cluster, JobLimits
    from cnn_sweep.slurm.profile import Profile


@dataclass(frozen=True)
class Array:
    """One array job.

    Attributes:
        tasks: Number of elements; their indices are 0 to ``tasks - 1``.
        throttle: How many may run at the same time.
    """

    tasks: int
    throttle: int


@dataclass(frozen=True)
class ArrayPlan:
    """What to submit.

    Attributes:
        arrays: One call of sbatch each; empty where the cluster would refuse.
        trials_per_task: Trials after which a task ends; None goes on until nothing is left.
        notes: What differs from the profile and why, for the user to see.
        refusals: Why nothing can be submitted.
    """

    arrays: tuple[Array, ...] = ()
    trials_per_task: int | None = None
    notes: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def tasks(self) -> int:
        """Number of elements of all arrays."""
        return sum(array.tasks for array in self.arrays)

    def raise_refusals(self, profile: Profile) -> None:
        """End here if the cluster would refuse.

        Raises:
            SweepFileError: With every reason, at the line of the profile that caused it.
        """
        if self.refusals:
            problems = [profile.problem(refusal.key, refusal.message) for refusal in self.refusals]
            raise SweepFileError(profile.source, problems)


@dataclass(frozen=True)
class _Cap:
    """A number of tasks that is not to be exceeded, and why."""

    tasks: int
    why: str


def array_plan(trials: int, profile: Profile, cluster: Cluster) -> ArrayPlan:
    """Plan the arrays for a number of trials.

    Without ``trials_per_task`` tasks are pools, which take trials until none is left: fewer tasks do the same
    work. With it each task takes so many trials; where the cluster takes fewer tasks, each takes more trials.

    Args:
        trials: Trials that are to be run.
        profile: What the user wants.
        cluster: What the cluster allows.
    """
    refusals = refusals_of(profile, cluster)
    limits = limits_of(profile, cluster)
    room, full = _room(limits, cluster)
    if refusals or full or trials < 1:
        return ArrayPlan(notes=cluster.notes, refusals=(*refusals, *full))
    if profile.trials_per_task is None:
        return _pools(trials, profile, cluster, [*room, *_useful(limits, profile)])
    return _batches(trials, profile.trials_per_task, profile, cluster, room)


def _pools(trials: int, profile: Profile, cluster: Cluster, caps: Iterable[_Cap]) -> ArrayPlan:
    wanted = min(profile.array_width, math.ceil(trials / profile.workers))
    tasks, notes = _lower(wanted, [*caps, *_throttle_cap(profile, cluster)])
    arrays = _split(tasks, profile, cluster)
    return ArrayPlan(arrays=arrays, notes=(*cluster.notes, *notes, *_split_note(arrays, cluster)))


def _batches(trials: int, each: int, profile: Profile, cluster: Cluster, caps: Iterable[_Cap]) -> ArrayPlan:
    wanted = math.ceil(trials / each)
    most, notes = _lower(wanted, [*caps, *_throttle_cap(profile, cluster)])
    if most < wanted:
        each = math.ceil(trials / most)
        notes = (*notes, f"so each task takes up to {each} trials instead of {profile.trials_per_task}")
    arrays = _split(math.ceil(trials / each), profile, cluster)
    notes = (*cluster.notes, *notes, *_split_note(arrays, cluster))
    return ArrayPlan(arrays=arrays, trials_per_task=each, notes=notes)


def _room(limits: Iterable[JobLimits], cluster: Cluster) -> tuple[list[_Cap], tuple[Refusal, ...]]:
    """Return how many more tasks may be put into the queue, and a refusal where it is none."""
    caps, full = [], []
    for limit in limits:
        if limit.submit is None:
            continue
        queued = _counted(limit, cluster)
        free = limit.submit - queued
        why = f"MaxSubmitJobs {limit.source} is {limit.submit} and {queued} of your jobs are in the queue"
        if free > 0:
            caps.append(_Cap(free, why))
        else:
            cure = "wait until some have ended, cancel some with scancel, or ask for a higher limit"
            full.append(Refusal("array_width", f"{why}: no task more is taken; {cure}"))
    if cluster.max_jobs is not None:
        caps.append(_Cap(max(1, cluster.max_jobs // 2), f"the controller keeps {cluster.max_jobs} jobs (MaxJobCount)"))
    return caps, tuple(full)


def _counted(limit: JobLimits, cluster: Cluster) -> int:
    """Return how many of the user's jobs in the queue count for a limit."""
    kind, name = limit.scope
    position = ("account", "qos", "partition").index(kind)
    return sum(count for key, count in cluster.queued.items() if name in key[position].split(","))


def _useful(limits: Iterable[JobLimits], profile: Profile) -> list[_Cap]:
    """Return how many pools can run at the same time: more would find nothing left to do."""
    caps = []
    for limit in limits:
        if limit.running is not None:
            caps.append(_Cap(max(1, limit.running), f"MaxJobs {limit.source} lets {limit.running} run at a time"))
        for name, amount in limit.total_resources.items():
            each = task_resources(profile).get(name, 0)
            if each:
                why = f"{name}={amount} for all jobs {limit.source} is room for {amount // each} of these tasks"
                caps.append(_Cap(max(1, amount // each), why))
    return caps


def _throttle_cap(profile: Profile, cluster: Cluster) -> list[_Cap]:
    """Each array has a throttle of its own, of 1 at least: more arrays than that would exceed the user's."""
    if profile.array_throttle is None:
        return []
    longest, throttle = _longest(cluster), profile.array_throttle
    why = f"array_throttle = {throttle} is shared by {throttle} arrays of {longest} tasks at most"
    return [_Cap(throttle * longest, why)]


def _lower(wanted: int, caps: Iterable[_Cap]) -> tuple[int, tuple[str, ...]]:
    """Return the number of tasks under the lowest cap, with the reason if it is one."""
    lowest_cap = min(caps, key=lambda cap: cap.tasks, default=_Cap(wanted, ""))
    if lowest_cap.tasks >= wanted:
        return wanted, ()
    return lowest_cap.tasks, (f"{lowest_cap.tasks} tasks instead of {wanted}: {lowest_cap.why}",)


def _longest(cluster: Cluster) -> int:
    """Return how many elements one array may have; MaxArraySize is what the index must stay below."""
    return max(1, lowest(cluster.max_array_size, cluster.max_array_tasks) or 1)


def _split(tasks: int, profile: Profile, cluster: Cluster) -> tuple[Array, ...]:
    longest = _longest(cluster)
    sizes = [min(longest, tasks - first) for first in range(0, tasks, longest)]
    if profile.array_throttle is None:
        return tuple(Array(size, size) for size in sizes)
    share, rest = divmod(profile.array_throttle, len(sizes))
    return tuple(Array(size, min(size, share + (i < rest))) for i, size in enumerate(sizes))


def _split_note(arrays: tuple[Array, ...], cluster: Cluster) -> tuple[str, ...]:
    if len(arrays) < 2:
        return ()
    return (f"{len(arrays)} arrays: one has at most {_longest(cluster)} elements here (MaxArraySize)",)
