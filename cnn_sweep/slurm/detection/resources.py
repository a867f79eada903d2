"""Sizes the tasks of a profile: time, CPUs, memory and GPUs of one, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnn_sweep.messages import few, plural
from cnn_sweep.slurm.array_plan import array_plan
from cnn_sweep.slurm.cluster import lowest
from cnn_sweep.slurm.detection.settings import Setting, comment
from cnn_sweep.slurm.limits import limits_of
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.slurm.units import sbatch_time

if TYPE_CHECKING:
    from cnn_sweep.slurm.cluster import Cluster, JobLimits
    from cnn_sweep.slurm.detection.partitions import Place

# A pool of this many CPUs has enough workers to share its fixed cost, and still finds room on nodes that are in use.
_CPUS, _CPUS_WITH_GPU = 16, 8
_FEW_CPUS = 8  # a divisor of a node's CPUs below this is too small to be preferred
_WORKERS_PER_GPU = 4
# Memory of one worker: TensorFlow, its graphs and a data set of moderate size.
_WORKER_MB, _WORKER_WITH_GPU_MB = 2048, 4096
_LEAST_MB = 4096
_MINUTES, _MINUTES_WITH_GPU = 8 * 60, 4 * 60
_TASKS, _TASKS_WITH_GPU = 8, 4
_SIGNAL_DELAY_S = 120
_MANY_TRIALS = 1_000_000


@dataclass(frozen=True)
class _Limit:
    """A limit with its source, for the reason."""

    most: int
    source: str


def resource_settings(place: Place, cluster: Cluster) -> list[list[Setting]]:
    """Return the settings of one task, and those of the number of tasks and their end."""
    limits = _limits(place, cluster)
    time = _time(place, limits)
    cpus = _cpus(place, limits)
    workers = _workers(place, _count(cpus))
    task = [time, cpus, *_memory(place, limits, _count(cpus), _count(workers)), *_gpus(place), *_features(place)]
    draft = _draft(place, task, workers)
    return [task, [_array_width(place, cluster, draft), workers, *_ends(place, cluster, int(draft.time_limit))]]


def _limits(place: Place, cluster: Cluster) -> list[JobLimits]:
    gpus = "1" if place.gpu else None
    draft = Profile(partition=place.partition.name, account=place.account, gpus_per_node=gpus)
    return limits_of(draft, cluster)


def _count(setting: Setting) -> int:
    """Return the value of a setting that is a number."""
    return setting.value if isinstance(setting.value, int) else 0


def _lowest(limits: list[JobLimits], name: str) -> _Limit | None:
    """Return the lowest limit on a resource of one task."""
    found = [
        _Limit(amounts[name], f"{name} {limit.source} is limited to {amounts[name]}")
        for limit in limits
        for amounts in (limit.job_resources, limit.total_resources)
        if name in amounts
    ]
    return min(found, key=lambda limit: limit.most, default=None)


def _time(place: Place, limits: list[JobLimits]) -> Setting:
    wanted = _MINUTES_WITH_GPU if place.gpu else _MINUTES
    most = place.partition.max_minutes
    source = f"MaxTime of partition {place.partition.name}"
    for limit in limits:
        if limit.minutes is not None and (most is None or limit.minutes < most):
            most, source = limit.minutes, f"MaxWall {limit.source}"
    if most is not None and most <= wanted:
        return Setting("time_limit", sbatch_time(most), f"{source}; unfinished trials continue in the next job")
    allowed = "without a limit" if most is None else f"up to {sbatch_time(most)} ({source})"
    reason = f"allowed {allowed}; short jobs start sooner, and unfinished trials continue in the next job"
    return Setting("time_limit", sbatch_time(wanted), reason)


def _cpus(place: Place, limits: list[JobLimits]) -> Setting:
    node, name = place.node, place.partition.name
    what = f"nodes of partition {name} have {plural(node.cpus, 'CPU')}{_other_kinds(place)}"
    if place.gpu:
        share = max(1, node.cpus // node.gpus)
        count = min(share, _CPUS_WITH_GPU)
        reason = f"{what} and {plural(node.gpus, 'GPU')}; networks are trained on the GPU, so few CPUs are enough"
    else:
        count = _part_of(node.cpus)
        part = "a whole one" if count == node.cpus else "a part of one starts sooner than a whole one"
        reason = f"{what}; {part}"
    over = [limit for limit in [_lowest(limits, "cpu")] if limit is not None and limit.most < count]
    if place.partition.max_cpus_per_node is not None and place.partition.max_cpus_per_node < count:
        over.append(_Limit(place.partition.max_cpus_per_node, f"MaxCPUsPerNode of partition {name}"))
    if over:
        tightest = min(over, key=lambda limit: limit.most)
        return Setting("cpus", max(1, tightest.most), f"{what}; {tightest.source}")
    return Setting("cpus", count, reason)


def _part_of(cpus: int) -> int:
    """Return how many of a node's CPUs a task requests: if possible a number by which the node can be divided."""
    if cpus <= _CPUS:
        return cpus
    divisor = max(n for n in range(1, _CPUS + 1) if cpus % n == 0)
    return divisor if divisor >= _FEW_CPUS else _CPUS


def _other_kinds(place: Place) -> str:
    sizes: dict[int, int] = {}
    for kind in place.partition.nodes:
        if kind.starts_jobs:
            sizes[kind.cpus] = sizes.get(kind.cpus, 0) + kind.count
    if len(sizes) < 2:
        return ""
    return f" (most of them; {few([f'{count} with {cpus}' for cpus, count in sorted(sizes.items())])})"


def _workers(place: Place, cpus: int) -> Setting:
    if place.gpu:
        count = min(_WORKERS_PER_GPU, cpus)
        return Setting("workers_per_gpu", count, "share the GPU, since a small network does not fill it")
    threads = place.node.threads_per_core
    if threads > 1 and cpus >= threads:
        reason = f"one per core: each core counts as {threads} CPUs here (hyperthreads)"
        return Setting("workers_per_task", cpus // threads, reason)
    return Setting("workers_per_task", cpus, "one per CPU; each trains one trial at a time")


def _memory(place: Place, limits: list[JobLimits], cpus: int, workers: int) -> list[Setting]:
    """Choose the memory of one task; leave it to the cluster if it does not count memory."""
    partition, node = place.partition, place.node
    if node.memory_mb <= 1:  # what Slurm shows if nobody configured it
        return [comment("memory: Slurm does not know how much the nodes have, so none is requested")]
    each = _WORKER_WITH_GPU_MB if place.gpu else _WORKER_MB
    wanted = max(_LEAST_MB, each * workers)
    share = node.memory_mb // node.gpus if place.gpu else node.memory_mb * cpus // node.cpus
    per_cpu = None if partition.max_memory_per_cpu_mb is None else partition.max_memory_per_cpu_mb * cpus
    limited = _lowest(limits, "mem")
    most = lowest(share, per_cpu, partition.max_memory_per_node_mb, limited.most if limited else None) or share
    amount = min(wanted, most)
    has = f"nodes have {node.memory_mb / 1024:.3g} GB"
    if amount < wanted:
        cause = "this task's share of it" if most == share else "as much as a task may have"
        tight = "" if amount >= workers * each // 2 else "; if workers run out of it, lower their number"
        return [Setting("memory", _megabytes(amount), f"{has}; {cause}{tight}")]
    reason = f"{each // 1024} GB per worker, at least {_LEAST_MB // 1024}; {has}{_default_memory(place, cpus)}"
    return [Setting("memory", _megabytes(amount), reason)]


def _default_memory(place: Place, cpus: int) -> str:
    default = place.partition.default_memory_mb
    if default is None:
        return ""
    total = default * cpus if place.partition.default_is_per_cpu else default
    return f", and Slurm gives {_megabytes(total)}B unless asked"


def _megabytes(amount: int) -> str:
    return f"{amount // 1024}G" if amount >= 4096 or amount % 1024 == 0 else f"{amount}M"


def _gpus(place: Place) -> list[Setting]:
    types = sorted({name for kind in place.partition.nodes for name in kind.resources if name.split(":")[0] == "gpu"})
    if place.gpu:
        named = [f"{name.partition(':')[2]}:1" for name in types if ":" in name]
        kinds = f"; for one type: {few(named, 6)}" if named else ""
        return [Setting("gpus_per_node", 1, f"of {place.node.gpus} in a node{kinds}")]
    if types:
        return [comment(f"GPUs: this partition has {few(types, 6)}; `profile detect --gpu` writes a profile with one")]
    return []


def _features(place: Place) -> list[Setting]:
    names = sorted({feature for kind in place.partition.nodes if kind.starts_jobs for feature in kind.features})
    if not names:
        return []
    return [Setting("constraint", names[0], f"features of these nodes: {few(names, 8)}", active=False)]


def _draft(place: Place, task: list[Setting], workers: Setting) -> Profile:
    """Return the profile as far as it is known, for the limits on the number of tasks."""
    values = {setting.key: setting.value for setting in task if setting.key and setting.active}
    tasks = _TASKS_WITH_GPU if place.gpu else _TASKS
    delay = min(_SIGNAL_DELAY_S, Profile.model_fields["signal_delay_s"].default)
    draft = Profile.model_validate(
        {
            "partition": place.partition.name,
            "account": place.account,
            "array_width": tasks,
            "signal_delay_s": delay,
            workers.key: workers.value,
            **values,
        }
    )
    return draft.model_copy(update={"array_width": min(tasks, max(1, _slots(place, draft)))})


def _slots(place: Place, draft: Profile) -> int:
    """Return how many tasks fit on the partition's nodes at once."""
    memory, gpus = draft.memory or 0, draft.gpus
    total = 0
    for kind in place.partition.nodes:
        if kind.starts_jobs:
            fitting = [kind.cpus // draft.cpus]
            fitting += [kind.memory_mb // memory] if memory and kind.memory_mb > 1 else []
            fitting += [kind.gpus // gpus] if gpus else []
            total += kind.count * min(fitting)
    return total


def _array_width(place: Place, cluster: Cluster, draft: Profile) -> Setting:
    slots = plural(_slots(place, draft), "such task fits", "such tasks fit")
    plan = array_plan(_MANY_TRIALS, draft, replace(cluster, queued={}, notes=()))
    arrays = f"arrays of up to {cluster.max_array_size - 1}" if cluster.max_array_size > 1 else "no job arrays"
    reason = "; ".join([f"most tasks at once; {slots} on the partition's nodes", *plan.notes, arrays])
    return Setting("array_width", plan.tasks or draft.array_width, reason)


def _ends(place: Place, cluster: Cluster, minutes: int) -> list[Setting]:
    delay = _SIGNAL_DELAY_S if minutes > 10 else max(5, min(60, minutes * 30))
    signal = Setting("signal_delay_s", delay, "seconds before the end: time for checkpoints")
    return [signal, Setting("requeue", True, _preemption(place, cluster))]


def _preemption(place: Place, cluster: Cluster) -> str:
    mode = place.partition.preempt_mode.replace("GANG,", "").replace(",GANG", "")
    if cluster.preempt_type == "none" or (cluster.preempt_type == "partition_prio" and mode in ("OFF", "GANG")):
        return "after a node failure; jobs here are not preempted"
    if cluster.preempt_type == "qos":
        return "after a node failure, or a preemption by jobs of a higher QOS"
    if mode == "CANCEL":
        return "after a node failure; preempted jobs are cancelled here: type `cnn-sweep resume STUDY` to continue"
    if mode == "SUSPEND":
        return "after a node failure; preempted jobs are suspended here, and continue by themselves"
    return "after a node failure or a preemption, which happens in this partition"
