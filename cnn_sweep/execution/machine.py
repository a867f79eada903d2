"""Cores, memory and GPUs of this machine, found without TensorFlow, and the number of workers that fit."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
# Slurm's GPU plugin sets the first one, to numbers valid inside the job; the others have the node's own numbers.
_VARIABLES: Final = (VISIBLE, "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_NONE: Final = {"", "-1", "NoDevFiles"}
_DRIVER: Final = Path("/proc/driver/nvidia/gpus")
_MEMORY: Final = Path("/proc/meminfo")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")
_KILLS: Final = {True: "memory.oom_control", False: "memory.events"}  # version 1 has a tree of memory alone
_LIMITS: Final = {True: "memory.limit_in_bytes", False: "memory.max"}
_AVAILABLE: Final = re.compile(r"^MemAvailable: *(\d+) kB", re.MULTILINE)
# Memory of a warm worker, in bytes: its share of TensorFlow (0.1 GB), graphs, a batch with its activations. It is a
# guess for networks that a CPU trains; `plan --probe` measures.
WORKER_BYTES: Final = 1e9
# Several workers per GPU: while one prepares its next epoch, another one computes.
_WORKERS_PER_GPU: Final = 2


def kernel_memory_kills(root: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return how many processes of this process's control group the kernel has killed for their memory; 0 if unknown.

    Args:
        root: Where the control groups are mounted.
        own: The list of this process's groups, as in cgroups(7).
    """
    total = 0
    for _, group, is_first_version in _memory_groups(root, own):
        words = _words(group / _KILLS[is_first_version])
        total += int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
    return total


def usable_memory(root: Path = _CGROUPS, own: Path = _OWN_CGROUPS, environment: Mapping[str, str] | None = None) -> int:
    """Return how much memory this process and its children may use, in bytes.

    It is what the machine has available, or less if a control group (of a job, a container or a user) or the request of
    the Slurm job allows less.

    Args:
        root: Where the control groups are mounted.
        own: The list of this process's groups, as in cgroups(7).
        environment: Environment variables; by default those of this process.
    """
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError):
        found += [int(kb) * 1024 for kb in _AVAILABLE.findall(_MEMORY.read_text(encoding="utf-8"))]
    for top, group, is_first_version in _memory_groups(root, own):
        for folder in (group, *group.parents[: len(group.relative_to(top).parts)]):
            found += [int(word) for word in _words(folder / _LIMITS[is_first_version]) if word.isdigit()]
    return min(found + _requested(os.environ if environment is None else environment))


def _requested(environment: Mapping[str, str]) -> list[int]:
    """Return the memory of this Slurm job on this machine, in bytes; it limits, too, where no control group does."""
    megabytes = [environment.get("SLURM_MEM_PER_NODE", "")]
    each, cpus = environment.get("SLURM_MEM_PER_CPU", ""), environment.get("SLURM_CPUS_ON_NODE", "")
    if each.isdigit() and cpus.isdigit():
        megabytes.append(str(int(each) * int(cpus)))
    return [int(amount) << 20 for amount in megabytes if amount.isdigit() and int(amount)]  # 0 is all of a node


def _memory_groups(root: Path, own: Path) -> Iterator[tuple[Path, Path, bool]]:
    """Yield the tree, this process's group in it, and whether it is of version 1, where memory has its own tree."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for _, controllers, group in (line.split(":", 2) for line in lines):
        is_first_version = "memory" in controllers.split(",")
        if is_first_version or not controllers:
            top = root / "memory" if is_first_version else root
            yield top, top / group.lstrip("/"), is_first_version


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []


def visible_gpus(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the GPUs that this process may use: those in the environment (from Slurm), else all of the NVIDIA driver.

    Args:
        environment: Environment variables; by default those of this process.
    """
    variables = os.environ if environment is None else environment
    for variable in _VARIABLES:
        if variable in variables:
            names = (name.strip() for name in variables[variable].split(","))
            return [name for name in names if name not in _NONE]
    try:
        return [str(number) for number, _ in enumerate(_DRIVER.iterdir())]
    except OSError:
        return []


def gpu_of(worker: int, gpus: list[str]) -> str | None:
    """Return the GPU of a pool's worker number; GPUs are assigned in turn. None on a machine without GPUs."""
    return gpus[worker % len(gpus)] if gpus else None


def default_workers(threads: int = 1, memory: float | None = None) -> int:
    """Return the number of workers that keep all usable cores or GPUs busy, as far as memory allows, at least 1.

    Args:
        threads: Threads of each worker.
        memory: Bytes that may be used; by default :func:`usable_memory`, which changes from moment to moment.
    """
    return min(wanted_workers(threads), workers_in_memory(memory))


def wanted_workers(threads: int = 1) -> int:
    """Return the number of workers that keep all usable cores busy, or a few for each GPU, at least 1."""
    cores, gpus = usable_cores() // threads, visible_gpus()
    return max(1, min(cores, _WORKERS_PER_GPU * len(gpus)) if gpus else cores)


def workers_in_memory(memory: float | None = None) -> int:
    """Return the number of workers that fit into the memory that may be used (by default, read now), at least 1."""
    return max(1, int((usable_memory() if memory is None else memory) / WORKER_BYTES))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
