"""Examines a machine before a study: packages, TensorFlow, GPUs, the results folder, Slurm.

Each problem comes with a remedy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.study.provenance import package_versions
from cnn_sweep.journal.filesystem import judge, judge_mount, mount_of
from cnn_sweep.slurm.commands import SlurmCli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.slurm.cluster import Cluster, Partition

_TENSORFLOW_TIMEOUT_S = 180.0
# With less free space than this, in bytes, even a small study may fill the disk.
_LITTLE_SPACE = 2 * 10**9
# Runs in a separate process, because TensorFlow crashes on a CPU that lacks its instructions.
_TENSORFLOW = """
import json, time
began = time.monotonic()
from cnn_sweep.training.session import configure
configure(1)
import tensorflow as tf
gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
print(json.dumps({"version": tf.__version__, "seconds": time.monotonic() - began, "gpus": gpus}))
"""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        level: ``ok``; ``note`` if it works with a restriction; ``bad`` if something will not work.
        subject: What was checked.
        text: What was found.
        cure: What to do about it; empty if nothing.
    """

    level: Literal["ok", "note", "bad"]
    subject: str
    text: str
    cure: str = ""


def examine(results: Path, *, slurm: bool = False) -> Iterator[Finding]:
    """Run all checks, quick ones first.

    Args:
        results: Root of all studies; it need not exist yet.
        slurm: Whether studies are to run on Slurm; then it is ``bad`` if Slurm does not work.
    """
    versions = package_versions()
    yield Finding("ok", "packages", ", ".join(f"{name} {version}" for name, version in versions.items()))
    yield _processors()
    yield from _folder(results)
    yield _temporary_space()
    yield from _slurm("bad" if slurm else "note")
    yield from _tensorflow()


def _processors() -> Finding:
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    return Finding("ok", "processors", f"{usable} of {all_cores} cores may be used by this process")


def _folder(results: Path) -> Iterator[Finding]:
    """Check the results folder, or the place where it would be created."""
    there = results.resolve()
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Finding(
            "bad",
            "results",
            f"{there} cannot be written to",
            "choose another folder with --results, or with CNN_SWEEP_RESULTS",
        )
        return
    free = shutil.disk_usage(there).free
    cure = "free some, or choose another folder with --results" if free < _LITTLE_SPACE else ""
    yield Finding("bad" if cure else "ok", "results", f"{there}: {free / 1e9:.1f} GB free", cure)
    locks = judge(there) if there == results.resolve() else judge_mount(mount_of(there))
    if locks.honest:
        yield Finding("ok", "locks", f"reliable ({locks.reason})")
    else:
        yield Finding(
            "note", "locks", f"unreliable ({locks.reason}); studies work without them, but each merge copies the store"
        )


def _temporary_space() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    cure = "set TMPDIR to a folder with space on this machine" if free < _LITTLE_SPACE / 4 else ""
    return Finding("bad" if cure else "ok", "temporary", f"{folder}: {free / 1e9:.1f} GB free", cure)


def _slurm(level: Literal["note", "bad"]) -> Iterator[Finding]:
    """Check Slurm.

    Args:
        level: Level of the finding that there is no Slurm, which `run` does not need.
    """
    if shutil.which("sbatch") is None:
        text = "sbatch is not on this machine: `run` works here; `submit` works on a cluster's login node"
        yield Finding(level, "slurm", text)
        return
    try:
        cluster = SlurmCli(timeout_s=20.0).cluster()
    except EnvironmentFault as fault:
        text = f"its commands are installed, but no cluster answers: `run` works here, `submit` does not ({fault})"
        yield Finding(level, "slurm", text, "to submit, ask again later; if it stays so, ask the cluster's help desk")
        return
    yield Finding("ok", "slurm", _described(cluster))
    for partition in cluster.partitions.values():
        yield Finding("ok", f"partition {partition.name}", _described_partition(partition))
    for note in cluster.notes:
        yield Finding("note", "slurm", note)
    mount = mount_of(Path(sys.prefix))
    if judge_mount(mount).reason.endswith("local to this machine"):
        yield Finding(
            "note",
            "environment",
            f"{sys.prefix} is on {mount.fstype}, which other machines may not see; jobs start with this Python",
            "if jobs end at once, install into a folder that the nodes share, such as your home",
        )


def _described(cluster: Cluster) -> str:
    accounts = sorted({association.account for association in cluster.associations or ()})
    known = f"accounts {', '.join(accounts)}" if accounts else "no accounting"
    waiting = sum(cluster.queued.values())
    return (
        f"cluster {cluster.name}: {known}; arrays of up to {cluster.max_array_size - 1}; {waiting} of your jobs queued"
    )


def _described_partition(partition: Partition) -> str:
    limit = "no time limit" if partition.max_minutes is None else f"up to {partition.max_minutes / 60:g} h"
    nodes = sum(kind.count for kind in partition.nodes)
    gpus = sorted({name for kind in partition.nodes for name in kind.resources if name.startswith("gpu")})
    return f"{nodes} nodes, {limit}, {', '.join(gpus) or 'no GPUs'}"


def _tensorflow() -> Iterator[Finding]:
    """Start TensorFlow as a worker does."""
    command = [sys.executable, "-P", "-c", _TENSORFLOW]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=_TENSORFLOW_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        text = f"did not start within {_TENSORFLOW_TIMEOUT_S:g} s"
        yield Finding("bad", "tensorflow", text, "a file system this slow makes every worker wait: use another one")
        return
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        text = f"does not start (exit {done.returncode}): {words[-1] if words else 'it was killed'}"
        yield Finding("bad", "tensorflow", text, "install the versions of constraints.txt; it needs a CPU with AVX")
        return
    found = json.loads(done.stdout.splitlines()[-1])
    yield Finding("ok", "tensorflow", f"{found['version']} starts in {found['seconds']:.1f} s")
    yield _gpus(found["gpus"])


def _gpus(usable: list[str]) -> Finding:
    if usable:
        return Finding("ok", "gpu", f"{len(usable)} usable by TensorFlow")
    present = _gpus_of_driver()
    if not present:
        return Finding("note", "gpu", "none on this machine; networks are trained on its cores")
    cure = 'install the CUDA libraries: pip install "cnn-sweep[cuda]"'
    return Finding("bad", "gpu", f"{len(present)} in this machine, none usable by TensorFlow", cure)


def _gpus_of_driver() -> list[str]:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in done.stdout.splitlines() if line.startswith("GPU ")] if done.returncode == 0 else []
