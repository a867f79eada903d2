"""Checks of Slurm from a login node: whether it answers, what it allows, and whether it would take a profile."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cnn_sweep.errors import CnnSweepError, EnvironmentFault, SweepFileError
from cnn_sweep.journal.filesystem import judge_mount, mount_of
from cnn_sweep.messages import few
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.environment import overriding_variables
from cnn_sweep.slurm.remedies import remedy_of_fault, remedy_of_refusal
from cnn_sweep.tools.findings import Finding
from cnn_sweep.tools.submission_check import expected_start, problems_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.slurm.cluster import Cluster, Partition
    from cnn_sweep.slurm.profile import Profile

_TIMEOUT_S: Final = 20.0
_OLDEST: Final = (22, 5)  # the oldest version on which the tests run
_SMALL_ARRAY: Final = 100


def examine_slurm(level: Literal["note", "bad"], profile: Profile | None) -> Iterator[Finding]:
    """Check Slurm.

    Args:
        level: Level of the finding that there is no Slurm, which `run` does not need.
        profile: A profile to check against the cluster's limits, or None.
    """
    if shutil.which("sbatch") is None:
        text = "sbatch is not on this machine: `run` works here; `submit` works on a cluster's login node"
        yield Finding(level, "slurm", text)
        return
    slurm = SlurmCli(timeout_s=_TIMEOUT_S)
    try:
        cluster = slurm.cluster()
    except EnvironmentFault as fault:
        text = f"its commands are installed, but no cluster answers: `run` works here, `submit` does not ({fault})"
        yield Finding(level, "slurm", text, remedy_of_fault(str(fault)))
        return
    yield Finding("ok", "slurm", _described(cluster))
    yield from _restrictions(cluster)
    for partition in cluster.partitions.values():
        yield _partition(partition)
    yield from _variables(os.environ)
    yield from _environment()
    if profile is not None:
        yield from _profile(profile, cluster, slurm)


def _described(cluster: Cluster) -> str:
    accounts = sorted({association.account for association in cluster.associations or ()})
    known = f"accounts {', '.join(accounts)}" if accounts else "no accounts"
    waiting = sum(cluster.queued.values())
    version = f" (Slurm {cluster.version})" if cluster.version else ""
    return (
        f"cluster {cluster.name}{version}: {known}; arrays of up to {max(0, cluster.max_array_size - 1)}; "
        f"{waiting} of your jobs queued"
    )


def _restrictions(cluster: Cluster) -> Iterator[Finding]:
    for note in cluster.notes:
        yield Finding("note", "accounting", note, remedy_of_fault(note))
    if not cluster.accounting:
        text = "off, so sacct does not work: why a job ended is only known for some minutes after its end (squeue)"
        yield Finding("note", "accounting", text)
    if cluster.associations == () and cluster.enforced:
        text = f"user {cluster.user} has no account on cluster {cluster.name}, so sbatch refuses every job"
        yield Finding("bad", "account", text, "ask the cluster's administrators for one")
    if cluster.max_array_size < _SMALL_ARRAY:
        most = max(0, cluster.max_array_size - 1)
        text = f"MaxArraySize allows arrays of {most} tasks; wider submissions become several arrays"
        yield Finding("note", "arrays", text, "few tasks with many workers each (`workers_per_task`) need no more")
    numbers = tuple(map(int, re.findall(r"\d+", cluster.version)[:2]))
    if numbers and numbers < _OLDEST:
        text = f"version {cluster.version} is older than {_OLDEST[0]}.{_OLDEST[1]:02}, the oldest one that was tested"
        yield Finding("note", "slurm", text, "if `status` or `resume` cannot read its answers, ask for a newer one")


def _partition(partition: Partition) -> Finding:
    name = f"partition {partition.name}"
    limit = "no time limit" if partition.max_minutes is None else f"up to {partition.max_minutes / 60:g} h"
    count = sum(kind.count for kind in partition.nodes)
    gpus = sorted({name for kind in partition.nodes for name in kind.resources if name.startswith("gpu")})
    text = f"{count} nodes, {limit}, {', '.join(gpus) or 'no GPUs'}"
    up = sum(kind.count for kind in partition.nodes if kind.starts_jobs)
    if partition.state == "DOWN":
        return Finding("note", name, f"{text}; down: it takes jobs and starts none", "use another one, or wait")
    if partition.state != "UP":
        return Finding("note", name, f"{text}; {partition.state.lower()}: it takes no jobs", "use another one")
    if count and not up:
        states = few(sorted({kind.state for kind in partition.nodes}))
        return Finding("note", name, f"{text}; no node starts jobs ({states})", "use another one, or wait")
    if partition.hidden:
        return Finding("note", name, f"{text}; hidden: sinfo shows it with --all only, and it may be for others")
    return Finding("ok", name, text if up == count else f"{text}; {count - up} of them down or drained")


def _variables(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Name variables that change the user's own jobs, but not those of this program."""
    for name, value in overriding_variables(environment).items():
        text = f"{name}={value} changes other jobs of yours; those of cnn-sweep do what the profile says"
        yield Finding("note", "variable", text)


def _environment() -> Iterator[Finding]:
    mount = mount_of(Path(sys.prefix))
    if judge_mount(mount).reason.endswith("local to this machine"):
        yield Finding(
            "note",
            "environment",
            f"{sys.prefix} is on {mount.fstype}, which other machines may not see; jobs start with this Python",
            "if jobs end at once, install into a folder that the nodes share, such as your home",
        )


def _profile(profile: Profile, cluster: Cluster, slurm: SlurmCli) -> Iterator[Finding]:
    """Check whether the cluster would run a profile's tasks."""
    problems = problems_on(cluster, profile)
    for name in (profile.partition or "").split(","):
        partition = cluster.partitions.get(name.strip())
        if partition is not None and partition.state == "DOWN":
            problems.append(profile.problem("partition", f"{partition.name} is down: it takes jobs and starts none"))
    if not problems:
        try:
            yield Finding("ok", "profile", f"{profile.source}: a task {expected_start(profile, slurm)}")
        except SweepFileError as error:
            problems = list(error.problems)
        except CnnSweepError as error:
            yield Finding("bad", "profile", str(error), remedy_of_fault(str(error)))
    for problem in problems:
        where = f"{profile.source}:{problem.line}: {problem.where}: " if problem.line else f"{profile.source}: "
        yield Finding("bad", "profile", f"{where}{problem.message}", remedy_of_refusal(problem.message))
