"""Plans the array jobs to submit: splits or shrinks them to a cluster's limits, or refuses with a remedy.

This module calls no command; :meth:`cnn_sweep.slurm.commands.SlurmCli.cluster` queries the limits.
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
        tasks: Number of elements, with indices 0 to ``tasks - 1``.
        throttle: Number of elements that may run at the same time.
    """

    tasks: int
    throttle: int


@dataclass(frozen=True)
class ArrayPlan:
    """The arrays to submit, or the reasons why none can be submitted.

    Attributes:
        arrays: One call of sbatch each; empty if the cluster would refuse.
        trials_per_task: Trials after which a task ends; None continues until none is left.
        notes: Deviations from the profile and their reasons, for the user.
        refusals: Reasons why nothing can be submitted.
    """

    arrays: tuple[Array, ...] = ()
    trials_per_task: int | None = None
    notes: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def tasks(self) -> int:
        """Number of elements in all arrays."""
        return sum(array.tasks for array in self.arrays)

    def raise_refusals(self, profile: Profile) -> None:
        """Raise an error if the cluster would refuse.

        Raises:
            SweepFileError: The cluster would refuse; the error lists every reason with its line of the profile.
        """
        if self.refusals:
            problems = [profile.problem(refusal.key, refusal.message) for refusal in self.refusals]
            raise SweepFileError(profile.source, problems)


@dataclass(frozen=True)
class _Cap:
    """An upper limit on the number of tasks, and its reason."""

    tasks: int
    why: str


def array_plan(trials: int, profile: Profile, cluster: Cluster) -> ArrayPlan:
    """Plan the arrays for a number of trials.

    Without ``trials_per_task``, each task is a pool that takes trials until none is left, so fewer tasks do the same
    work. With it, each task takes that many trials; if the cluster allows fewer tasks, each takes more.

    Args:
        trials: Number of trials to run.
        profile: The user's settings.
        cluster: The cluster's limits.
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
    """Return limits on new tasks in the queue, and a refusal if the queue is full."""
    caps, full = [], []
    for limit in limits:
        if limit.submit is None:
            continue
        queued = _counted(limit, cluster)
        free = limit.submit - queued
        why = f"MaxSubmitJobs {limit.source} is {limit.submit} and {queued} of your jobs are queued"
        if free > 0:
            caps.append(_Cap(free, why))
        else:
            cure = "wait until some have ended, cancel some with scancel, or ask for a higher limit"
            full.append(Refusal("array_width", f"{why}, so no more tasks can be submitted; {cure}"))
    if cluster.max_jobs is not None:
        caps.append(
            _Cap(max(1, cluster.max_jobs // 2), f"the controller keeps at most {cluster.max_jobs} jobs (MaxJobCount)")
        )
    return caps, tuple(full)


def _counted(limit: JobLimits, cluster: Cluster) -> int:
    """Return how many of the user's queued jobs count towards a limit."""
    kind, name = limit.scope
    position = ("account", "qos", "partition").index(kind)
    return sum(count for key, count in cluster.queued.items() if name in key[position].split(","))


def _useful(limits: Iterable[JobLimits], profile: Profile) -> list[_Cap]:
    """Return how many pools can run at the same time; any more would start when no trials are left."""
    caps = []
    for limit in limits:
        if limit.running is not None:
            caps.append(
                _Cap(max(1, limit.running), f"MaxJobs {limit.source} lets {limit.running} run at the same time")
            )
        for name, amount in limit.total_resources.items():
            each = task_resources(profile).get(name, 0)
            if each:
                why = f"{name}={amount} for all jobs {limit.source} has room for {amount // each} of these tasks"
                caps.append(_Cap(max(1, amount // each), why))
    return caps


def _throttle_cap(profile: Profile, cluster: Cluster) -> list[_Cap]:
    """Limit the number of arrays: each needs a throttle of at least 1, and together they must not exceed the user's."""
    if profile.array_throttle is None:
        return []
    longest, throttle = _longest(cluster), profile.array_throttle
    why = f"array_throttle = {throttle} allows at most {throttle} arrays of {longest} tasks"
    return [_Cap(throttle * longest, why)]


def _lower(wanted: int, caps: Iterable[_Cap]) -> tuple[int, tuple[str, ...]]:
    """Return the number of tasks after applying the lowest cap, with its reason if it applies."""
    lowest_cap = min(caps, key=lambda cap: cap.tasks, default=_Cap(wanted, ""))
    if lowest_cap.tasks >= wanted:
        return wanted, ()
    return lowest_cap.tasks, (f"{lowest_cap.tasks} tasks instead of {wanted}: {lowest_cap.why}",)


def _longest(cluster: Cluster) -> int:
    """Return how many elements one array may have; indices must be below MaxArraySize."""
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
    return (f"{len(arrays)} arrays: this cluster allows {_longest(cluster)} elements in one (MaxArraySize)",)
