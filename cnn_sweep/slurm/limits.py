"""Limits of a cluster that apply to a profile's tasks, and the reasons why it would not run them.

``sbatch`` accepts jobs that can never run, and explains its refusals poorly. A refusal found here is certain; anything
that this module does not know is left to ``sbatch``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnn_sweep.messages import listed, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.slurm.cluster import Association, Cluster, JobLimits, NodeKind, Partition
    from cnn_sweep.slurm.profile import Profile

_FEATURE = r"[A-Za-z0-9_.-]+"


@dataclass(frozen=True)
class Refusal:
    """One reason why the cluster would not run the tasks.

    Attributes:
        key: The setting of the profile to change.
        message: The value, the valid choices, and what to do.
    """

    key: str
    message: str


def refusals_of(profile: Profile, cluster: Cluster) -> tuple[Refusal, ...]:
    """Return all reasons why the cluster would not run a profile's tasks."""
    found = [*_account(profile, cluster), *_partitions(profile, cluster)]
    for limit in limits_of(profile, cluster):
        found += _over(profile, limit)
    return tuple(dict.fromkeys(found))


def task_resources(profile: Profile) -> Mapping[str, int]:
    """Return the resources of one task under the names of limits: cpu, mem (MB), node, gres/gpu, gres/gpu:TYPE."""
    used = {"cpu": profile.cpus, "node": 1}
    if profile.memory is not None:
        used["mem"] = profile.memory
    for name, amount in profile.generic_resources.items():
        kind, _, model = name.partition(":")
        used[f"gres/{kind}"] = used.get(f"gres/{kind}", 0) + amount
        if model:
            used[f"gres/{name}"] = amount
    return used


def limits_of(profile: Profile, cluster: Cluster) -> list[JobLimits]:
    """Return the limits that apply to a profile's tasks.

    A limit of the partition's QOS overrides the same limit of the job's QOS, which overrides the user's
    (https://slurm.schedmd.com/resource_limits.html). The shared limits of an account apply in addition.
    """
    if not cluster.enforced & {"limits", "safe"}:
        return []
    association = _association(profile, cluster)
    qos = cluster.qos or {}
    overriding: list[JobLimits] = []
    for partition in _chosen(profile, cluster):
        if partition.own_qos is not None and partition.own_qos in qos:
            limits = qos[partition.own_qos].limits
            overriding.append(replace(limits, scope=("partition", partition.name)))
    own = qos.get(_qos_name(profile, association) or "")
    if own is not None:
        overriding.insert(0 if "OverPartQOS" in own.flags else len(overriding), own.limits)
    if association is None:
        return _first_of_each(overriding)
    shared = cluster.accounts.get(association.account)
    return _first_of_each([*overriding, association.limits]) + ([shared] if shared else [])


def _first_of_each(limits: list[JobLimits]) -> list[JobLimits]:
    kept: list[JobLimits] = []
    for limit in limits:
        kept.append(
            replace(
                limit,
                submit=None if any(k.submit is not None for k in kept) else limit.submit,
                running=None if any(k.running is not None for k in kept) else limit.running,
                minutes=None if any(k.minutes is not None for k in kept) else limit.minutes,
                job_resources={
                    name: amount
                    for name, amount in limit.job_resources.items()
                    if not any(name in k.job_resources for k in kept)
                },
                total_resources={
                    name: amount
                    for name, amount in limit.total_resources.items()
                    if not any(name in k.total_resources for k in kept)
                },
            )
        )
    return kept


def _account(profile: Profile, cluster: Cluster) -> Iterator[Refusal]:
    """Check account and QOS against the user's associations."""
    if cluster.associations is None or not cluster.enforced:
        return
    accounts = sorted({association.account for association in cluster.associations})
    if not accounts:
        cure = "ask its administrators for one"
        yield Refusal("account", f"user {cluster.user} has no account on cluster {cluster.name}: {cure}")
    elif profile.account is not None and profile.account not in accounts:
        yield Refusal("account", unknown("account", profile.account, accounts))
    else:
        association = _association(profile, cluster)
        allowed = association.qos if association else ()
        if profile.qos is not None and allowed and profile.qos not in allowed:
            yield Refusal("qos", unknown("quality of service", profile.qos, allowed))


def _partitions(profile: Profile, cluster: Cluster) -> Iterator[Refusal]:
    """Check the partitions; if several are named, one that fits is enough."""
    if not cluster.partitions:
        return
    valid = list(cluster.partitions)
    wrong = [name for name in _partition_names(profile, cluster) if name not in valid]
    for name in wrong:
        yield Refusal("partition", unknown("partition", name, valid))
    chosen = _chosen(profile, cluster)
    if not chosen and not wrong:
        yield Refusal("partition", f"this cluster has no default partition; choose one of {listed(valid)}")
    reasons = [list(_partition(profile, cluster, partition)) for partition in chosen]
    if reasons and all(reasons):
        for found in reasons:
            yield from found


def _partition(profile: Profile, cluster: Cluster, partition: Partition) -> Iterator[Refusal]:
    name = partition.name
    if partition.state in ("DRAIN", "INACTIVE"):
        yield Refusal("partition", f"partition {name} accepts no jobs now (state {partition.state})")
    account = profile.account or cluster.default_account
    if account is not None and partition.accounts is not None and account not in partition.accounts:
        allowed = listed(sorted(partition.accounts))
        yield Refusal("account", f"{account!r} may not use partition {name}; valid: {allowed}")
    if account is not None and account in partition.denied_accounts:
        yield Refusal("account", f"{account!r} may not use partition {name}")
    qos = _qos_name(profile, _association(profile, cluster))
    if qos is not None and partition.qos is not None and qos not in partition.qos:
        allowed = listed(sorted(partition.qos))
        yield Refusal("qos", f"{qos!r} may not be used in partition {name}; valid: {allowed}")
    used = (cluster.qos or {}).get(qos or "")
    if used is None or "PartitionTimeLimit" not in used.flags:
        yield from _over_time(profile, partition.max_minutes, f"MaxTime of partition {name}")
    yield from _nodes(profile, partition)


def _over(profile: Profile, limit: JobLimits) -> Iterator[Refusal]:
    """Check one task against the limits of one job and those of all jobs."""
    yield from _over_time(profile, limit.minutes, f"MaxWall {limit.source}")
    if limit.running == 0 or limit.submit == 0:
        yield Refusal("account", f"no jobs are allowed: MaxJobs or MaxSubmitJobs {limit.source} is 0")
    for name, wanted in task_resources(profile).items():
        for limits, words in ((limit.job_resources, "one job"), (limit.total_resources, "all jobs")):
            if wanted > limits.get(name, wanted):
                over = f"{name}={wanted} for a task exceeds {name}={limits[name]}"
                yield Refusal(_key(name, profile), f"{over} for {words} {limit.source}")


def _over_time(profile: Profile, most: int | None, what: str) -> Iterator[Refusal]:
    if most is not None and profile.time_limit > most:
        cure = f"request at most {most}; unfinished trials continue in the next job"
        yield Refusal("time_limit", f"{profile.time_limit} min exceeds the {what}, {most} min; {cure}")


def _nodes(profile: Profile, partition: Partition) -> Iterator[Refusal]:
    """Check that at least one node of a partition can hold a task."""
    nodes = partition.nodes
    if not nodes:
        return
    known = sorted({feature for node in nodes for feature in node.features})
    missing = [feature for feature in _features(profile) if feature not in known]
    found = [Refusal("constraint", unknown("feature", feature, known)) for feature in missing]
    generic = {name: n for name, n in task_resources(profile).items() if name.startswith("gres/")}
    wanted = {"cpu": profile.cpus, "mem": profile.memory or 0, **generic}
    for name, amount in wanted.items():
        most = max(_has(node, name) for node in nodes)
        if amount > most:
            words = f"{_shown(name, amount)} is more than any node in partition {partition.name} has"
            found.append(Refusal(_key(name, profile), f"{words}; it has {_inventory(nodes)}"))
    if not found and not any(all(_has(node, name) >= n for name, n in wanted.items()) for node in nodes):
        together = ", ".join(_shown(name, n) for name, n in wanted.items() if n)
        words = f"no node in partition {partition.name} has all of {together}"
        found.append(Refusal("cpus", f"{words}; it has {_inventory(nodes)}"))
    yield from found


def _has(node: NodeKind, name: str) -> int:
    if name == "cpu":
        return node.cpus
    if name == "mem":
        return node.memory_mb
    wanted = name.removeprefix("gres/")
    return sum(n for have, n in node.resources.items() if have == wanted or have.startswith(f"{wanted}:"))


def _shown(name: str, amount: int) -> str:
    words = {"cpu": f"{amount} cpus", "mem": f"{amount} MB of memory"}
    return words.get(name, f"{name.removeprefix('gres/')}:{amount}")


def _inventory(nodes: tuple[NodeKind, ...]) -> str:
    kinds: dict[str, int] = {}
    for node in nodes:
        generic = [f"{name}:{amount}" for name, amount in node.resources.items()]
        what = ", ".join([f"{node.cpus} cpus", f"{node.memory_mb} MB", *generic])
        kinds[what] = kinds.get(what, 0) + node.count
    return "; ".join(f"{count} node{'s' * (count > 1)} with {what}" for what, count in kinds.items())


def _features(profile: Profile) -> list[str]:
    """Return the features of a simple constraint; anything more complex is left to sbatch."""
    constraint = profile.constraint or ""
    return re.findall(_FEATURE, constraint) if re.fullmatch(rf"{_FEATURE}([&|,]{_FEATURE})*", constraint) else []


def _key(name: str, profile: Profile) -> str:
    keys = {"cpu": "cpus", "mem": "memory", "node": "partition"}
    return keys.get(name, "gpus_per_node" if profile.gpus_per_node is not None else "gres")


def _partition_names(profile: Profile, cluster: Cluster) -> list[str]:
    if profile.partition is not None:
        return [name.strip() for name in profile.partition.split(",")]
    return [partition.name for partition in cluster.partitions.values() if partition.default]


def _chosen(profile: Profile, cluster: Cluster) -> list[Partition]:
    names = _partition_names(profile, cluster)
    return [cluster.partitions[name] for name in names if name in cluster.partitions]


def _association(profile: Profile, cluster: Cluster) -> Association | None:
    """Return the association that applies to a task; one for its partition takes precedence."""
    account = profile.account or cluster.default_account
    names = _partition_names(profile, cluster)
    mine = [a for a in cluster.associations or () if a.account == account]
    fitting = [a for a in mine if a.partition in names] or [a for a in mine if a.partition is None]
    return fitting[0] if fitting else None


def _qos_name(profile: Profile, association: Association | None) -> str | None:
    if profile.qos is not None or association is None:
        return profile.qos
    if association.default_qos is not None:
        return association.default_qos
    if len(association.qos) == 1:
        return association.qos[0]
    return "normal" if "normal" in association.qos else None
