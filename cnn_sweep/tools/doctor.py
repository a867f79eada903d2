"""Examines a machine before a study: packages, the results folder, Slurm, a node of the cluster, TensorFlow, GPUs.

Each problem comes with a remedy.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from cnn_sweep.execution.study.provenance import package_versions
from cnn_sweep.journal.filesystem import judge, judge_mount, mount_of
from cnn_sweep.tools import tensorflow_check
from cnn_sweep.tools.findings import Finding
from cnn_sweep.tools.node_probe import gpus_of_driver, tensorflow
from cnn_sweep.tools.slurm_checks import examine_slurm
from cnn_sweep.tools.tensorflow_check import TIMEOUT_S, gpu_finding, tensorflow_finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cnn_sweep.slurm.profile import Profile

# With less free space than this, in bytes, even a small study may fill the disk.
_LITTLE_SPACE = 2 * 10**9
# A study writes a few dozen files, and a prepared data set a few more.
_FEW_FILES = 1000
_TRIED_BYTES = 1 << 20


def examine(results: Path, *, slurm: bool = False, profile: Profile | None = None) -> Iterator[Finding]:
    """Run all checks of this machine, quick ones first.

    Args:
        results: Root of all studies; it need not exist yet.
        slurm: Whether studies are to run on Slurm; then it is ``bad`` if Slurm does not work.
        profile: A profile to check against the cluster's limits.
    """
    versions = package_versions()
    yield Finding("ok", "packages", ", ".join(f"{name} {version}" for name, version in versions.items()))
    yield _processors()
    yield from _folder(results)
    yield _temporary_space()
    yield from examine_slurm("bad" if slurm else "note", profile)
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
    yield _space(there)
    locks = judge(there) if there == results.resolve() else judge_mount(mount_of(there))
    if locks.honest:
        yield Finding("ok", "locks", f"reliable ({locks.reason})")
    else:
        yield Finding(
            "note", "locks", f"unreliable ({locks.reason}); studies work without them, but each merge copies the store"
        )


def _space(folder: Path) -> Finding:
    """Check free space and number of files, and a quota, which only a write can find."""
    system = os.statvfs(folder)
    free = system.f_bavail * system.f_frsize
    cure = "free some, or choose another folder with --results"
    if system.f_files and system.f_favail < _FEW_FILES:
        return Finding("bad", "results", f"{folder}: room for {system.f_favail} more files (inodes)", cure)
    if free < _LITTLE_SPACE:
        return Finding("bad", "results", f"{folder}: {free / 1e9:.1f} GB free", cure)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        quota = "your quota is used up" if error.errno == errno.EDQUOT else (error.strerror or str(error))
        return Finding("bad", "results", f"{folder} takes no file: {quota}", cure)
    return Finding("ok", "results", f"{folder}: {free / 1e9:.1f} GB free")


def _temporary_space() -> Finding:
    cure = "set TMPDIR to a folder with space on this machine"
    asked = os.environ.get("TMPDIR", "")
    if asked and not os.access(asked, os.W_OK | os.X_OK):
        return Finding("bad", "temporary", f"TMPDIR={asked} is no folder that can be written to", cure)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    little = free < _LITTLE_SPACE / 4
    return Finding(
        "bad" if little else "ok", "temporary", f"{folder}: {free / 1e9:.1f} GB free", cure if little else ""
    )


def _tensorflow() -> Iterator[Finding]:
    """Start TensorFlow as a worker does."""
    found = tensorflow(tensorflow_check.SCRIPT, TIMEOUT_S)
    yield tensorflow_finding(found)
    if "gpus" in found:
        yield gpu_finding(found["gpus"], gpus_of_driver()["driver"])
