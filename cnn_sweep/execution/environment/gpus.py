"""The GPUs that a process may use, found without TensorFlow, and which of them each worker of a pool gets."""

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
