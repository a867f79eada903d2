"""Small data and small networks; one thread, so that results repeat bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers.outcomes import Recorder

from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.spec.trial import TrialSpec
from cnn_sweep.training.data.dataset import Dataset, Split
from cnn_sweep.training.session import configure

if TYPE_CHECKING:
    from collections.abc import Callable

LAYERS = (
    {"kind": "conv2d", "filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"},
    {"kind": "pool"},
    {"kind": "flatten"},
    {"kind": "dense", "units": 6, "activation": "relu"},
    {"kind": "output"},
)


def make_spec(layers: Any = LAYERS, *, objective: Any = None, params: Any = None, **training: Any) -> TrialSpec:
    """Return a trial of two epochs, or as ``training`` says."""
    return TrialSpec(
        params=params or {},
        layers=layers,
        training={"epochs": 2, "batch_size": 8, **training},
        objective=objective or {},
    )


def make_dataset(classes: int = 3, *, size: int = 45, seed: int = 0) -> Dataset:
    """Return images whose brightness tells their class, in noise; sizes leave a rest after batches of 8."""
    random = np.random.default_rng(seed)

    def split(count: int) -> Split:
        y = random.integers(0, classes, count).astype(np.int32)
        y[:classes] = np.arange(classes)
        noise = random.integers(0, 120, (count, 6, 6, 1))
        return Split((noise + y[:, None, None, None] * 40).astype(np.uint8), y)

    return Dataset(
        splits={"train": split(size), "validation": split(20), "test": split(10)},
        info=ImageInfo(image_shape=(6, 6, 1), class_names=tuple(str(k) for k in range(classes))),
        rescale=1 / 255,
        fingerprint=f"made {classes} {size} {seed}",
    )


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    configure(threads=1)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Three classes of small images."""
    return make_dataset()


@pytest.fixture(scope="session")
def recorder() -> Callable[..., Recorder]:
    """Make monitors that remember."""
    return Recorder


@pytest.fixture
def spec() -> Callable[..., TrialSpec]:
    """Make trials."""
    return make_spec


@pytest.fixture
def datasets() -> Callable[..., Dataset]:
    """Make data sets."""
    return make_dataset


@pytest.fixture
def tiny_base(monkeypatch) -> str:
    """A model of keras.applications that is small: two convolutions with normalisation and a dropout of its own."""
    import keras

    from cnn_sweep.sweep.network.pretrained import Pretrained, pretrained

    def tiny(*, include_top: bool, weights: str | None, input_shape: Any, name: str) -> Any:
        assert not include_top
        assert weights is None
        inputs = values = keras.Input(input_shape)
        for k in (1, 2):
            values = keras.layers.Conv2D(4 * k, 3, name=f"conv{k}")(values)
            values = keras.layers.BatchNormalization(name=f"bn{k}")(values)
        return keras.Model(inputs, keras.layers.Dropout(keras.applications.Tiny.rate, seed=1)(values), name=name)

    tiny.rate = 0.3  # type: ignore[attr-defined]
    entry = Pretrained(
        preprocessing="caffe",
        smallest=5,
        windows=((3, 1), (3, 1)),
        channels=8,
        file=("tiny.h5", "https://nowhere.invalid/tiny.h5", "0" * 32),
        grey={"conv1": (36, 36)},
        layers=(("conv1", 112, 112), ("bn1", 16, 8), ("conv2", 296, 296), ("bn2", 32, 16)),
    )
    monkeypatch.setitem(pretrained(), "Tiny", entry)
    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    return "Tiny"
