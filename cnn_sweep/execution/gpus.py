"""The GPUs that a process may use, found without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_DRIVER: Final = Path("/proc/driver/nvidia/gpus")


def visible_gpus() -> list[str]:
    """Name the GPUs: as ``CUDA_VISIBLE_DEVICES`` does (Slurm sets it), else all that NVIDIA's driver knows."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    try:
        return sorted(entry.name for entry in _DRIVER.iterdir())
    except OSError:
        return []
