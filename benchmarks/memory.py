"""Memory of four workers that train on one data set of 1 GB, beside four that train on next to nothing.

What counts is the proportional set size: a page that four processes share is a quarter of a page in each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from results_page import write_section

WORKERS = 4
IMAGES = 22_000  # of 128 x 128 x 3 bytes: 1.08 GB

WORKER = """
import sys
from pathlib import Path
import numpy as np
from cnn_sweep.training.session import configure
configure(threads=1)
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.spec.trial import TrialSpec
from cnn_sweep.training.engines import device_data
from cnn_sweep.training.data.dataset import Dataset, Split
from cnn_sweep.training.trial.trainer import Trainer

how, file = sys.argv[1:]
x = np.load(file, mmap_mode="r")
if how == "bare":
    x = np.array(x[:64])
if how == "copied":
    device_data._mapped = lambda x: device_data.tf.constant(np.asarray(x))
y = (np.arange(len(x)) % 2).astype(np.int32)
data = Dataset(
    splits={"train": Split(x, y), "validation": Split(x[:64], y[:64])},
    info=ImageInfo(image_shape=x.shape[1:], class_names=("0", "1")), rescale=1 / 255, fingerprint="",
)
layers = ({"kind": "conv2d", "filters": 4, "kernel_size": 8, "strides": 8}, {"kind": "global_pool"}, {"kind": "output"})

class Monitor:
    def epoch(self, *_): pass
    def checkpoint(self, *_): pass
    def should_stop(self): return False

outcome = Trainer(data).train(TrialSpec(params={}, layers=layers, training={"epochs": 1}), 0, Monitor())
print(outcome.state, flush=True)
sys.stdin.read()
"""


def pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def total_mb(how: str, file: Path) -> float:
    """Return what all workers hold together, each having gone through its data once."""
    command = [sys.executable, "-c", WORKER, how, str(file)]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8")
        for _ in range(WORKERS)
    ]
    try:
        said = [worker.stdout.readline().strip() for worker in workers]
        assert said == ["complete"] * WORKERS, said
        return sum(pss_mb(worker.pid) for worker in workers)
    finally:
        for worker in workers:
            worker.communicate()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.npy"
        x = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(IMAGES, 128, 128, 3))
        x[:] = np.random.default_rng(0).integers(0, 255, x.shape[1:], dtype=np.uint8)
        x.flush()
        size = x.nbytes / 2**20
        totals = {how: total_mb(how, file) for how in ("bare", "mapped", "copied")}
    names = {"bare": "64 images", "mapped": f"{size:,.0f} MB, mapped (as we do)", "copied": f"{size:,.0f} MB, copied"}
    rows = [(names[how], f"{total:,.0f}", f"{total - totals['bare']:,.0f}") for how, total in totals.items()]
    header = (f"{WORKERS} workers on", "MB in all", "more than bare")
    write_section("Memory of workers on one data set", header, rows, note="Proportional set size after one epoch.")


if __name__ == "__main__":
    main()
