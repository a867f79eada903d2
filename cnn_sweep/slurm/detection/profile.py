"""Puts a profile together: where tasks run, what each requests, how many there are, and which Python they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.shipped import schemas
from cnn_sweep.slurm.detection.partitions import choose_place
from cnn_sweep.slurm.detection.resources import resource_settings
from cnn_sweep.slurm.detection.settings import profile_text
from cnn_sweep.slurm.profile_schema import schema_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.slurm.cluster import Cluster
    from cnn_sweep.slurm.detection.partitions import Wanted
    from cnn_sweep.slurm.detection.settings import Setting


def detected_profile(cluster: Cluster, wanted: Wanted, *, machine: Iterable[Iterable[Setting]] = ()) -> str:
    """Return the text of a profile for a cluster, each setting with its reason.

    Args:
        cluster: What the cluster allows this user.
        wanted: The partition, GPU and account that the user asks for.
        machine: Groups of settings that follow from this machine: its Python and its scratch folders.

    Raises:
        InputError: The cluster has no such partition or account, or no GPUs where they are wanted.
        EnvironmentFault: The cluster has nothing that this user may use.
    """
    place = choose_place(cluster, wanted)
    version = f" (Slurm {cluster.version})" if cluster.version else ""
    heading = (
        f"Profile for cluster {cluster.name}{version}, written by `cnn-sweep profile detect` for user {cluster.user}. "
        "Each setting has its reason; change what you know better."
    )
    notes = " ".join(f"Note: {note}." for note in cluster.notes)
    groups = [place.settings, *resource_settings(place, cluster), *machine]
    return f"{schema_line(schemas()['profile'])}\n" + profile_text(f"{heading} {notes}".strip(), groups)
