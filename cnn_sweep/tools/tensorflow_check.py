"""Starts TensorFlow as a worker does, and judges what happened: here by `doctor`, on a node by its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import plural
from cnn_sweep.tools.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT_S: Final = 180.0
# Runs in a separate process, because TensorFlow crashes on a CPU that lacks its instructions.
SCRIPT: Final = """
import json, time
began = time.monotonic()
from cnn_sweep.training.session import configure
configure(1)
import tensorflow as tf
gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
print(json.dumps({"version": tf.__version__, "seconds": time.monotonic() - began, "gpus": gpus}))
"""


def tensorflow_finding(found: Mapping[str, Any], *, where: str = "") -> Finding:
    """Judge the start of TensorFlow.

    Args:
        found: Result of :func:`cnn_sweep.tools.node_probe.tensorflow`.
        where: Where it was, as words that go on; empty for this machine.
    """
    if "timeout_s" in found:
        text = f"did not start within {found['timeout_s']:g} s{where}"
        cure = "a file system this slow makes every worker wait: use another one"
        return Finding("bad", "tensorflow", text, cure)
    if "error" in found:
        text = f"does not start{where} (exit {found['exit']}): {found['error']}"
        return Finding("bad", "tensorflow", text, "install the versions of constraints.txt; it needs a CPU with AVX")
    return Finding("ok", "tensorflow", f"{found['version']} starts in {found['seconds']:.1f} s{where}")


def gpu_finding(
    usable: Sequence[str], present: Sequence[str], *, wanted: int = 0, why: str = "", where: str = " on this machine"
) -> Finding:
    """Judge the GPUs of a machine.

    Args:
        usable: GPUs that TensorFlow sees.
        present: GPUs that the driver sees.
        wanted: GPUs that a task requests; 0 if it works without.
        why: Why the driver sees none.
        where: Where they are, as words that go on.
    """
    if usable and len(usable) >= wanted:
        return Finding("ok", "gpu", f"{len(usable)} usable by TensorFlow{where}")
    if usable:
        text = f"{len(usable)} usable by TensorFlow{where}, {wanted} requested"
        return Finding("bad", "gpu", text, "lower the request in the profile, or ask the help desk")
    if present:
        text = f"{len(present)}{where}, none usable by TensorFlow"
        return Finding("bad", "gpu", text, 'install the CUDA libraries: pip install "cnn-sweep[cuda]"')
    if wanted:
        said = f" ({why})" if why else ""
        text = f"no NVIDIA driver answers{where}{said}, and the profile requests {plural(wanted, 'GPU')}"
        return Finding("bad", "gpu", text, "request nodes whose GPUs are from NVIDIA, or tell the help desk")
    return Finding("note", "gpu", f"none{where}; networks are trained on its cores")
