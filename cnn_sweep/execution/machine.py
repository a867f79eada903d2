"""Cores, memory and GPUs of this machine, found without TensorFlow, and the number of workers that fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
# Slurm's GPU plugin sets the first one, to numbers valid inside the job; the others have the node's own numbers.
_VARIABLES: Final = (VISIBLE, "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_NONE: Final = {"", "-1", "NoDevFiles"}
_DRIVER: Final = Path("/proc/driver/nvidia/gpus")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")
_KILLS: Final = {True: "memory.oom_control", False: "memory.events"}  # version 1 has a tree of memory alone
# Approximate memory of a warm worker, with TensorFlow and its graphs, in bytes.
_WORKER_BYTES: Final = 1.5e9
# Several workers per GPU: while one prepares its next epoch, another one computes.
_WORKERS_PER_GPU: Final = 2


def kernel_memory_kills(root: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return how many processes of this process's control group the kernel has killed for their memory; 0 if unknown.

    Args:
        root: Where the control groups are mounted.
        own: The list of this process's groups, as in cgroups(7).
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    total = 0
    for _, controllers, group in (line.split(":", 2) for line in lines):
        memory = "memory" in controllers.split(",")
        file = root / ("memory" if memory else "") / group.lstrip("/") / _KILLS[memory]
        if (memory or not controllers) and file.is_file():
            words = file.read_text(encoding="utf-8").split()
            total += int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
    return total


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


def default_workers() -> int:
    """Return one worker per usable core, or a few per GPU, as far as memory allows."""
    wanted = min(usable_cores(), most_workers())
    gpus = visible_gpus()
    return max(1, min(wanted, _WORKERS_PER_GPU * len(gpus)) if gpus else wanted)


def most_workers() -> int:
    """Return the number of workers that fit into this machine's memory, at least 1."""
    return max(1, int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _WORKER_BYTES))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def useful_workers(threads: int) -> int:
    """Return the number of workers that keep all usable cores busy, as far as memory allows; 1 if there are GPUs.

    Args:
        threads: Threads of each worker.

    Returns:
        At least 1.
    """
    return 1 if visible_gpus() else max(1, min(usable_cores() // threads, most_workers()))
