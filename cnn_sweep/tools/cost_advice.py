"""Advice on a profile, with numbers: less memory or time, fewer workers, or another partition."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import EnvironmentFault, SweepFileError
from cnn_sweep.messages import duration, plural
from cnn_sweep.slurm.billing import billing_units
from cnn_sweep.slurm.limits import refusals_of
from cnn_sweep.slurm.units import sbatch_time
from cnn_sweep.tools.cost_estimate import Allocation, estimate
from cnn_sweep.tools.submission_check import expected_start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.execution.array_jobs.submission import Submission
    from cnn_sweep.slurm.cluster import Cluster, Partition
    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.profile import Profile
    from cnn_sweep.tools.cost_estimate import Estimate, TrialWork
    from cnn_sweep.tools.epoch_times import EpochTimes
    from cnn_sweep.tools.submission_check import ExpectedStart

POOL_MB: Final = 300  # memory of a pool's own processes, in MB
_SPARE: Final = 1.2  # times the measured memory
_MB_PER_GB: Final = 1024
_WORTH: Final = 0.75  # a smaller request is advised below this share of the present one
_WORTH_CORES: Final = 0.9  # fewer tasks are advised if they take at most this share of the core hours
_SOONER_S: Final = 300.0  # an earlier start that is worth a change
_LIMITS_MIN: Final = (60, 240)  # time limits to try, besides the one in which the study would end
_ROUND_LIMIT_MIN: Final = 10
_LIMIT_SPARE: Final = 1.25
_MOST_PARTITIONS: Final = 5
_START_SHARE: Final = 0.05  # a time limit is short if starting takes more than this share of it


@dataclass(frozen=True)
class Plan:
    """A planned submission with its estimate.

    Attributes:
        submission: The submission.
        works: What is left to train.
        times: How long everything takes.
        cost: The estimate for the profile as it is.
        start: When its first task would start; None if sbatch did not say.
    """

    submission: Submission
    works: Sequence[TrialWork]
    times: EpochTimes
    cost: Estimate
    start: ExpectedStart | None

    @property
    def memory_mb(self) -> int | None:
        """Memory that a task needs, in MB; None if it was not measured."""
        each = self.times.memory_mb
        return None if each is None else math.ceil(POOL_MB + self.submission.profile.workers * each)


def advice(plan: Plan, slurm: SlurmCli) -> Iterator[str]:
    """Yield sentences about what could be cheaper or start sooner; asks sbatch a few times.

    Args:
        plan: The submission.
        slurm: Slurm's commands.
    """
    yield from _on_idle_workers(plan)
    yield from _on_fewer_tasks(plan)
    yield from _on_memory(plan)
    if not plan.cost.fits:
        yield f"time_limit: {sbatch_time(plan.submission.profile.time_limit)} ends before a worker has started"
    yield from _on_limits(plan, slurm)
    yield from _on_partitions(plan, slurm)


def _on_idle_workers(plan: Plan) -> Iterator[str]:
    profile, tasks, trials = plan.submission.profile, plan.submission.arrays.tasks, len(plan.works)
    idle = tasks * profile.workers - trials
    each = math.ceil(trials / tasks)
    if idle > 0 and each < profile.workers and profile.workers_per_gpu is None:
        cpus = f", cpus = {each * profile.worker_threads}" if not profile.gpus else ""
        all_of = plural(tasks * profile.workers, "worker")
        yield f"{idle} of {all_of} would idle: {plural(trials, 'trial')}; workers_per_task = {each}{cpus} does the same"


def _on_fewer_tasks(plan: Plan) -> Iterator[str]:
    jobs, tasks = Allocation.of(plan.submission), plan.submission.arrays.tasks
    found = None
    while (tasks := tasks // 2) >= 1:
        fewer = estimate(plan.works, plan.times, replace(jobs, tasks=tasks, at_once=min(tasks, jobs.at_once)))
        if fewer.core_hours > _WORTH_CORES * plan.cost.core_hours or fewer.wall_s > 2 * plan.cost.wall_s:
            break
        found = tasks, fewer
    if found is not None:
        saved = 1 - found[1].core_hours / plan.cost.core_hours
        longer = found[1].wall_s / plan.cost.wall_s
        yield f"array_width = {found[0]} takes {longer:.2g} times as long and saves {saved:.0%} of the core hours"


def _on_memory(plan: Plan) -> Iterator[str]:
    needed, asked = plan.memory_mb, plan.submission.profile.memory
    if needed is None or asked is None:
        return
    wanted = math.ceil(needed * _SPARE / _MB_PER_GB)
    if needed > asked:
        yield f'memory: a task needs about {in_gb(needed)} and would be killed at {in_gb(asked)}; memory = "{wanted}G"'
    elif wanted * _MB_PER_GB <= _WORTH * asked:
        yield f'memory = "{wanted}G" is enough: a task needs about {in_gb(needed)} of {in_gb(asked)}'


def in_gb(megabytes: float) -> str:
    """Return an amount of memory in GB."""
    return f"{megabytes / _MB_PER_GB:.3g} GB"


def _on_limits(plan: Plan, slurm: SlurmCli) -> Iterator[str]:
    """Try shorter time limits; as trials continue exactly, only the restarts cost something."""
    profile, base = plan.submission.profile, plan.start.wait_s if plan.start else None
    if base is None or base < _SOONER_S or not profile.requeue:
        return
    whole = (plan.cost.wall_s * _LIMIT_SPARE + profile.signal_delay_s) / 60
    enough = math.ceil(whole / _ROUND_LIMIT_MIN) * _ROUND_LIMIT_MIN
    jobs = Allocation.of(plan.submission)
    for minutes in sorted({enough, *_LIMITS_MIN}):
        changed = jobs.with_limit(minutes, profile.signal_delay_s)
        if minutes >= profile.time_limit or plan.times.start_s > _START_SHARE * (changed.run_s or 0.0):
            continue
        start = _start(profile.model_copy(update={"time_limit": minutes}), slurm)
        if start is None or base - start < _SOONER_S:
            continue
        cost = estimate(plan.works, plan.times, changed)
        more = f"{cost.core_hours / plan.cost.core_hours - 1:.1%} more core hours" if cost.restarts else "nothing"
        times = f" ({plural(cost.restarts, 'restart')} that continue exactly)" if cost.restarts else ""
        earlier = f"would start {duration(base - start)} earlier"
        yield f'time_limit = "{sbatch_time(minutes)}" {earlier} and costs {more}{times}'


def _on_partitions(plan: Plan, slurm: SlurmCli) -> Iterator[str]:
    profile, cluster = plan.submission.profile, plan.submission.cluster
    base = plan.start.wait_s if plan.start else None
    here = partition_of(profile, cluster)
    if base is None or here is None:
        return
    units, tried = billing_units(profile, here, cluster), 0
    for partition in cluster.partitions.values():
        elsewhere = profile.model_copy(update={"partition": partition.name})
        usable = partition.name != here.name and not partition.hidden and not partition.root_only
        if not usable or tried == _MOST_PARTITIONS or refusals_of(elsewhere, cluster):
            continue
        tried += 1
        start = _start(elsewhere, slurm)
        ratio = billing_units(elsewhere, partition, cluster) / units if units else 1.0
        if start is not None and (base - start >= _SOONER_S or (ratio < _WORTH and start - base < _SOONER_S)):
            risk = (
                "" if partition.preempt_mode == "OFF" else f", where jobs may be preempted ({partition.preempt_mode})"
            )
            sooner = f"{duration(base - start)} earlier" if base - start >= _SOONER_S else "as soon"
            yield f'partition = "{partition.name}" would start {sooner}, for {ratio:.2g} times the billing units{risk}'


def partition_of(profile: Profile, cluster: Cluster) -> Partition | None:
    """Return the partition of a profile, the first of several; None if it is unknown."""
    names = profile.partition.split(",") if profile.partition else []
    default = [partition.name for partition in cluster.partitions.values() if partition.default]
    return next((cluster.partitions[n.strip()] for n in names or default if n.strip() in cluster.partitions), None)


def _start(profile: Profile, slurm: SlurmCli) -> float | None:
    """Return the seconds until a task would start; None if sbatch would refuse it or does not say."""
    try:
        return expected_start(profile, slurm).wait_s
    except (EnvironmentFault, SweepFileError):
        return None
