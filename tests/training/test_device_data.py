"""Data that is mapped from a file is trained on as it lies there: the same bits, and no copy in the worker."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
from helpers.outcomes import assert_equal, resumed

from cnn_sweep.training.data.dataset import Split


def on_disk(dataset, folder):
    """Return the data set with its images mapped from files."""
    splits = {}
    for name, split in dataset.splits.items():
        np.save(folder / f"{name}.npy", split.x)
        splits[name] = Split(np.load(folder / f"{name}.npy", mmap_mode="r"), split.y)
    return dataclasses.replace(dataset, splits=splits)


def test_mapped_images_give_the_bits_of_images_in_memory(spec, dataset, recorder, tmp_path):
    """A trial on mapped files, stopped at each step, has the metrics and weights of one on arrays."""
    from cnn_sweep.training.trial.trainer import Trainer

    trial = spec(epochs=3, augmentation={"rotation": 10}, steps_per_epoch=7)
    whole = Trainer(dataset).train(trial, 0, recorder())
    mapped = Trainer(on_disk(dataset, tmp_path), chunk_s=0.0)
    assert_equal(resumed(mapped, trial, 0, polls=1, attempts=100), whole)


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from cnn_sweep.training.session import configure
configure(threads=1)
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.training.data.dataset import Dataset, Split
from cnn_sweep.training.engines.device_data import DeviceData
import tensorflow as tf

x = np.load(sys.argv[1], mmap_mode="r")
labels = np.zeros(len(x), np.int32)
info = ImageInfo(image_shape=x.shape[1:], class_names=("0", "1"))
dataset = Dataset(splits={"train": Split(x, labels)}, info=info, rescale=1.0, fingerprint="")

def own_mb():
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024

DeviceData.of(dataset).train.images(tf.range(4))
before = own_mb()
data = DeviceData.of(dataset)
seen = sum(float(tf.reduce_sum(data.train.images(tf.range(k, k + 20)))) for k in range(0, len(x), 20))
assert seen == 20 * len(x) / 20, seen
print(own_mb() - before)
"""


def test_a_worker_holds_no_copy_of_the_data(tmp_path):
    """Having looked at every image of a file of 200 MB, a process has grown by less than a tenth of that."""
    file = tmp_path / "x.npy"
    x = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(4000, 128, 130, 3))
    x[:, 0, 0, 0] = 1  # one pixel of each image; the rest stays a hole in the file
    x.flush()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file)], check=True, capture_output=True, encoding="utf-8", timeout=120
    )
    assert float(done.stdout) < 20
