"""Billing units of a task, by the weights of its partition (``TRESBillingWeights`` in slurm.conf(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.slurm.limits import task_resources

if TYPE_CHECKING:
    from cnn_sweep.slurm.cluster import Cluster, Partition
    from cnn_sweep.slurm.profile import Profile


def billing_units(profile: Profile, partition: Partition, cluster: Cluster) -> float:
    """Return the billing units of one task; without weights, each CPU is one.

    Args:
        profile: Resources of the task.
        partition: Where it runs.
        cluster: Whether the resources' units are added, or only the largest counts.
    """
    used = dict(task_resources(profile))
    if "mem" not in used and partition.default_memory_mb is not None:
        used["mem"] = partition.default_memory_mb * (profile.cpus if partition.default_is_per_cpu else 1)
    if not partition.billing_weights:
        return float(used["cpu"])
    units = [weight * used.get(name, 0) for name, weight in partition.billing_weights.items()]
    return max(units) if cluster.billing_is_largest else sum(units)
