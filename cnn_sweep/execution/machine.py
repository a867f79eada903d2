"""What this machine offers to workers: cores, memory and GPUs, found without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
# Slurm's plugin for GPUs sets the first one, to names that hold inside the job; the others are the node's own numbers.
_GRANTED: Final = (VISIBLE, "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_NONE: Final = {"", "-1", "NoDevFiles"}
_DRIVER: Final = Path("/proc/driver/nvidia/gpus")
# A warm worker holds TensorFlow and its graphs: about this much memory, in bytes.
_WORKER_BYTES: Final = 1.5e9
# While one of them prepares its next epoch, another one computes.
_WORKERS_PER_GPU: Final = 2


def visible_gpus(environment: Mapping[str, str] | None = None) -> list[str]:
    """Name the GPUs: as the environment does (Slurm sets it), else by number all that NVIDIA's driver knows.

    Args:
        environment: That of this process by default.
    """
    given = os.environ if environment is None else environment
    for variable in _GRANTED:
        if variable in given:
            names = (name.strip() for name in given[variable].split(","))
            return [name for name in names if name not in _NONE]
    try:
        return [str(number) for number, _ in enumerate(_DRIVER.iterdir())]
    except OSError:
        return []


def gpu_of(worker: int, gpus: list[str]) -> str | None:
    """Return the GPU of a pool's worker: they take turns, and there may be none."""
    return gpus[worker % len(gpus)] if gpus else None


def default_workers() -> int:
    """One worker a usable core, as far as memory allows; on GPUs a few for each of them."""
    wanted = min(usable_cores(), most_workers())
    gpus = visible_gpus()
    return max(1, min(wanted, _WORKERS_PER_GPU * len(gpus)) if gpus else wanted)


def most_workers() -> int:
    """Workers that fit into this machine's memory, at least one."""
    return max(1, int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _WORKER_BYTES))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def useful_workers(threads: int) -> int:
    """Workers of so many threads that keep all usable cores busy, as far as memory allows; on GPUs cores hardly matter.

    Returns:
        At least 1.
    """
    return 1 if visible_gpus() else max(1, min(usable_cores() // threads, most_workers()))
