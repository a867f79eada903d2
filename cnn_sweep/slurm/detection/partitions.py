"""Chooses the partition of a profile, the kind of its nodes, and the account and quality of service."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.messages import few, listed, plural, unknown
from cnn_sweep.slurm.detection.settings import Setting
from cnn_sweep.slurm.units import sbatch_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnn_sweep.slurm.cluster import Association, Cluster, NodeKind, Partition


@dataclass(frozen=True)
class Wanted:
    """What the user asks of a profile.

    Attributes:
        partition: The partition; None chooses one.
        gpu: Whether tasks are to have a GPU.
        account: The account to charge; None chooses the default one.
        groups: The user's Unix groups.
    """

    partition: str | None = None
    gpu: bool = False
    account: str | None = None
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Place:
    """Where tasks are to run.

    Attributes:
        partition: The partition.
        node: The kind of its nodes for which tasks are sized.
        account: The account to charge; None without accounting.
        gpu: Whether tasks have a GPU.
        settings: The lines of the profile that say so.
    """

    partition: Partition
    node: NodeKind
    account: str | None
    gpu: bool
    settings: tuple[Setting, ...]


def choose_place(cluster: Cluster, wanted: Wanted) -> Place:
    """Choose where tasks run.

    Raises:
        InputError: The cluster has no such partition or account, or no GPUs where they are wanted.
        EnvironmentFault: The cluster has nothing that this user may use.
    """
    account, account_settings = _account(cluster, wanted)
    partition, why = _partition(cluster, wanted, account)
    fitting = [kind for kind in _usable(partition) if kind.gpus or not wanted.gpu]
    node = _most_common(fitting)
    others = [other for other in _usable_partitions(cluster, wanted, account) if other.name != partition.name]
    reason = f"{why}: {_described(partition)}"
    if others:
        reason += f"; others: {few([f'{other.name} ({_described(other)})' for other in others], 5)}"
    setting = Setting("partition", partition.name, reason)
    settings = (setting, *account_settings, *_qos(cluster, partition, account))
    return Place(partition, node, account, wanted.gpu, settings)


def _partition(cluster: Cluster, wanted: Wanted, account: str | None) -> tuple[Partition, str]:
    """Return the partition and why it was chosen."""
    if wanted.partition is not None:
        named = _named(cluster, wanted, wanted.partition)
        against = _why_not(cluster, named, wanted, account)
        return named, "as you asked" + (f", although it is {against}" if against else "")
    usable = _usable_partitions(cluster, wanted, account)
    if not usable:
        shown = listed(
            f"{name} ({_why_not(cluster, one, wanted, account)})" for name, one in cluster.partitions.items()
        )
        raise EnvironmentFault(f"no partition of cluster {cluster.name} starts your jobs: {shown}")
    fitting = [one for one in usable if not wanted.gpu or _gpu_nodes(one)]
    if not fitting:
        raise InputError(f"--gpu: no partition that you may use has GPUs; partitions: {listed(p.name for p in usable)}")
    default = next((one for one in fitting if one.default), None)
    if default is not None:
        return default, "the default partition" + (", which has GPUs" if wanted.gpu else "")
    if wanted.gpu:
        return max(fitting, key=lambda one: sum(kind.count for kind in _gpu_nodes(one))), "most nodes with GPUs"
    without_gpus = [one for one in fitting if not _gpu_nodes(one)] or fitting
    # Of equally many nodes, those whose jobs are not preempted.
    largest = max(without_gpus, key=lambda one: (sum(kind.count for kind in _usable(one)), not _preemptible(one)))
    default = next((one for one in cluster.partitions.values() if one.default), None)
    absent = f"the default partition {default.name} is unusable" if default else "this cluster has no default partition"
    return largest, f"{absent}, and this one has the most nodes"


def _named(cluster: Cluster, wanted: Wanted, name: str) -> Partition:
    visible = sorted(one.name for one in cluster.partitions.values() if not one.hidden)
    if name not in cluster.partitions:
        raise InputError(f"--partition: {unknown('partition', name, visible)}")
    partition = cluster.partitions[name]
    if not _usable(partition):
        raise InputError(f"--partition: {name} has no node that starts jobs now ({_states(partition)})")
    if wanted.gpu and not _gpu_nodes(partition):
        having = [one.name for one in cluster.partitions.values() if _gpu_nodes(one) and not one.hidden]
        raise InputError(f"--gpu: no usable node of partition {name} has a GPU; partitions with GPUs: {listed(having)}")
    return partition


def _usable_partitions(cluster: Cluster, wanted: Wanted, account: str | None) -> list[Partition]:
    return [one for one in cluster.partitions.values() if _why_not(cluster, one, wanted, account) is None]


def _why_not(cluster: Cluster, partition: Partition, wanted: Wanted, account: str | None) -> str | None:
    """Return why a partition does not start this user's jobs; None if it does, as far as Slurm tells."""
    if partition.state != "UP":
        return partition.state.lower()
    if partition.hidden:
        return "hidden"
    if partition.root_only or (partition.groups is not None and not partition.groups & wanted.groups):
        return "for others"
    if not _takes_account(cluster, partition, account):
        return f"not for account {account}"
    return None if _usable(partition) else f"no node is up: {_states(partition)}"


def _takes_account(cluster: Cluster, partition: Partition, account: str | None) -> bool:
    """Return whether a partition takes an account, which the user may have for some partitions only."""
    if account is None:
        return True
    mine = [one.partition for one in cluster.associations or () if one.account == account]
    if mine and None not in mine and partition.name not in mine:
        return False
    return account not in partition.denied_accounts and (partition.accounts is None or account in partition.accounts)


def _usable(partition: Partition) -> list[NodeKind]:
    return [kind for kind in partition.nodes if kind.starts_jobs and kind.cpus]


def _gpu_nodes(partition: Partition) -> list[NodeKind]:
    return [kind for kind in _usable(partition) if kind.gpus]


def _states(partition: Partition) -> str:
    counts: dict[str, int] = {}
    for kind in partition.nodes:
        counts[kind.state] = counts.get(kind.state, 0) + kind.count
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "no nodes"


def _most_common(kinds: Iterable[NodeKind]) -> NodeKind:
    """Return the kind of most nodes; features and states do not matter, and of equally many the smaller one is safe."""
    by_size = sorted(kinds, key=_size)
    groups = [list(group) for _, group in groupby(by_size, key=_size)]
    return max(groups, key=lambda group: sum(kind.count for kind in group))[0]


def _size(kind: NodeKind) -> tuple[int, int, int, list[tuple[str, int]]]:
    return kind.cpus, kind.memory_mb, kind.threads_per_core, sorted(kind.resources.items())


def _described(partition: Partition) -> str:
    nodes = _usable(partition)
    limit = "no time limit" if partition.max_minutes is None else f"up to {sbatch_time(partition.max_minutes)}"
    gpus = sorted({name for kind in nodes for name in kind.resources if name.split(":")[0] == "gpu"})
    parts = [plural(sum(kind.count for kind in nodes), "node"), limit, *gpus]
    if _preemptible(partition):
        parts.append("preemptible")
    return ", ".join(parts)


def _preemptible(partition: Partition) -> bool:
    return partition.preempt_mode not in ("OFF", "GANG")


def _account(cluster: Cluster, wanted: Wanted) -> tuple[str | None, list[Setting]]:
    accounts = accounts_of(cluster)
    if wanted.account is not None and cluster.associations is not None and wanted.account not in accounts:
        raise InputError(f"--account: {unknown('account', wanted.account, accounts)}")
    if wanted.account is not None:
        return wanted.account, [Setting("account", wanted.account, "as you asked")]
    if cluster.associations is None:
        known = "accounting did not answer" if cluster.accounting else "this cluster keeps no accounts"
        return None, [Setting("account", "my-project", f"{known}; if sbatch asks for one", active=False)]
    if not accounts:
        if cluster.enforced:
            raise EnvironmentFault(
                f"user {cluster.user} has no account on cluster {cluster.name}, so sbatch refuses every job; "
                "ask its administrators for one"
            )
        return None, []
    if len(accounts) == 1:
        return accounts[0], [Setting("account", accounts[0], "your only account")]
    chosen = cluster.default_account if cluster.default_account in accounts else accounts[0]
    others = listed(account for account in accounts if account != chosen)
    return chosen, [Setting("account", chosen, f"your default account; others: {others}")]


def accounts_of(cluster: Cluster) -> list[str]:
    """Return the names of the user's accounts, sorted."""
    return sorted({association.account for association in cluster.associations or ()})


def _qos(cluster: Cluster, partition: Partition, account: str | None) -> Iterator[Setting]:
    """Choose a quality of service if the partition does not take the default one; otherwise list those that exist."""
    association = _association(cluster, partition, account)
    mine = association.qos if association else ()
    taken = [name for name in mine if partition.qos is None or name in partition.qos]
    default = association.default_qos if association else None
    if not taken:
        return
    others = [f"{name}{_limits(cluster, name)}" for name in taken]
    if default is not None and default not in taken:
        yield Setting("qos", taken[0], f"partition {partition.name} does not take your default, {default}")
    elif len(taken) > 1:
        chosen = default or ("normal" if "normal" in taken else taken[0])
        yield Setting("qos", chosen, f"yours: {listed(others)}", active=False)


def _association(cluster: Cluster, partition: Partition, account: str | None) -> Association | None:
    mine = [one for one in cluster.associations or () if one.account == account]
    fitting = [one for one in mine if one.partition == partition.name] or [one for one in mine if not one.partition]
    return fitting[0] if fitting else None


def _limits(cluster: Cluster, name: str) -> str:
    qos = (cluster.qos or {}).get(name)
    if qos is None or qos.limits.minutes is None:
        return ""
    return f" (up to {sbatch_time(qos.limits.minutes)})"
