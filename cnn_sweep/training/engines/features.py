"""Features of a frozen base for all images: computed once, stored with the prepared data, and memory-mapped."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.training.data.dataset import Split
from cnn_sweep.training.data.ownership import owned
from cnn_sweep.training.engines.graph_engine import evaluation_batch
from cnn_sweep.training.network.base_weights import require_weights
from cnn_sweep.training.network.transfer import apply_base, build_base

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.sweep.network.layers import Base
    from cnn_sweep.training.data.dataset import Dataset
    from cnn_sweep.training.outcome import Weights

_FORM = 1  # version of the folder's layout and of the computation


def extracted(dataset: Dataset, base: Base, root: Path) -> tuple[Dataset, Weights]:
    """Return the features of all images as a data set, and the base's weights.

    One process computes them while others wait; if it dies, another one starts again.

    Args:
        dataset: The images.
        base: A frozen base, with weights from a file.
        root: Folder of prepared data.

    Raises:
        InputError: The base's weights are missing or do not match.
        EnvironmentFault: The weights were not downloaded, or ``root`` cannot be written.
    """
    model = build_base(base, dataset.info)
    key = _key(dataset, base)
    path, work = root / f"features-{key}", root / f".features-{key}.work"
    try:
        if not path.exists():
            work.mkdir(parents=True, exist_ok=True)
            with owned(work, path.exists) as mine:
                if mine:
                    _compute(dataset, base, model, work)
                    work.rename(path)
        shutil.rmtree(work, ignore_errors=True)
        splits = {
            name: Split(np.load(_file(path, name), mmap_mode="r"), split.y) for name, split in dataset.splits.items()
        }
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{path}: the features of {base.name} cannot be stored or read: {error}") from error
    shape: Any = splits["train"].x.shape[1:]
    info = ImageInfo(image_shape=shape, class_names=dataset.info.class_names)
    return replace(dataset, splits=splits, info=info, rescale=1.0), tuple(model.get_weights())


def _key(dataset: Dataset, base: Base) -> str:
    """Return a hash of everything that determines the features: images, splits, model, and its weights."""
    file = require_weights(base)
    if file is None:
        raise ValueError("random weights have no features that trials could share")
    with file.open("rb") as opened:
        weights = hashlib.file_digest(opened, "sha256").hexdigest()
    labels = {name: hashlib.sha256(split.y.tobytes()).hexdigest() for name, split in dataset.splits.items()}
    parts = [_FORM, keras.version(), dataset.fingerprint, dataset.rescale, labels, base.name, weights]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _file(path: Path, split: str) -> Path:
    return path / f"{split}.npy"


def _compute(dataset: Dataset, base: Base, model: Any, work: Path) -> None:
    inputs = keras.Input(dataset.info.image_shape)
    whole = keras.Model(inputs, apply_base(model, base, inputs))
    batch, scale = evaluation_batch(whole), np.float32(255.0 * dataset.rescale)
    shape = tuple(whole.output_shape[1:])
    for name, split in dataset.splits.items():
        file = np.lib.format.open_memmap(_file(work, name), mode="w+", dtype=np.float32, shape=(len(split.y), *shape))
        for start in range(0, len(split.y), batch):
            images = np.asarray(split.x[start : start + batch], np.float32) * scale
            file[start : start + batch] = _features(whole, images)
        file.flush()


def _features(model: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    made: npt.NDArray[np.float32] = model(tf.constant(images), training=False).numpy()
    return made
