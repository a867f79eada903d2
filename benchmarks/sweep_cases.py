"""The sweeps that every contender of the throughput benchmark runs: their images, networks and grids."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

SPLITS = ("train", "validation")
_NETWORKS = f"""import sys

sys.path.insert(0, {str(Path(__file__).parent)!r})
from sweep_cases import keras_model


def build(params, image_shape, classes):
    return keras_model("built", params)
"""


@dataclass(frozen=True)
class Case:
    """One sweep.

    Attributes:
        title: What it is, in a heading.
        shape: (height, width, channels) of an image.
        images: Training and validation images.
        classes: Number of classes.
        batch_size: Images of a step.
        epochs: Epochs of a trial.
        grid: Values of each hyperparameter; all combinations are trained.
        network: Section `model` of the sweep file.
    """

    title: str
    shape: tuple[int, int, int]
    images: tuple[int, int]
    classes: int
    batch_size: int
    epochs: int
    grid: dict[str, tuple]
    network: str

    @property
    def configurations(self) -> list[dict[str, object]]:
        """All combinations."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]

    def short(self) -> Case:
        """Give the form for a quick look: two values of the first hyperparameter, two epochs."""
        grid = {name: values[: 2 if k == 0 else 1] for k, (name, values) in enumerate(self.grid.items())}
        return replace(self, epochs=2, grid=grid)

    def write(self, folder: Path) -> None:
        """Write images whose brightness pattern tells their class, in noise, and the sweep file."""
        random = np.random.default_rng(0)
        patterns = random.integers(0, 60, (self.classes, *self.shape))
        for name, count in zip(SPLITS, self.images, strict=True):
            labels = (np.arange(count) % self.classes).astype(np.int32)
            noise = random.integers(0, 196, (count, *self.shape))
            np.save(folder / f"x_{name}.npy", (noise + patterns[labels]).astype(np.uint8))
            np.save(folder / f"y_{name}.npy", labels)
        (folder / "sweep.yaml").write_text(self._sweep(), encoding="utf-8")
        (folder / "networks.py").write_text(_NETWORKS, encoding="utf-8")

    def arrays(self, folder: Path) -> tuple:
        """Return images as floats of 0..1, and labels: x, y, validation x, validation y."""
        loaded = []
        for name in SPLITS:
            loaded.append(np.load(folder / f"x_{name}.npy").astype(np.float32) / 255.0)
            loaded.append(np.load(folder / f"y_{name}.npy"))
        return tuple(loaded)

    def _sweep(self) -> str:
        space = "\n".join(f"  {name}: [{', '.join(map(str, values))}]" for name, values in self.grid.items())
        files = {name: f"{{x: x_{name}.npy, y: y_{name}.npy}}" for name in SPLITS}
        return f"""study: bench
data: {{source: arrays, train: {files["train"]}, validation: {files["validation"]}}}
model:
{self.network}
space:
{space}
search: {{method: grid}}
training:
  epochs: {self.epochs}
  batch_size: {self.batch_size}
  optimizer: {{name: $optimizer, learning_rate: $learning_rate}}
"""


CASES = {
    "bush": Case(
        title="Bush sweep: 24 configurations, 200 images of 50x50x3, 10 epochs",
        shape=(50, 50, 3),
        images=(200, 100),
        classes=2,
        batch_size=10,
        epochs=10,
        grid={
            "dropout": (0.0, 0.25, 0.5),
            "filters": (10, 20),
            "optimizer": ("adam", "rmsprop"),
            "learning_rate": (0.0003, 0.001),
        },
        network="""\
  layers:
    - conv2d: {filters: 50, kernel_size: 3, padding: same, activation: relu}
    - dropout: $dropout
    - pool: {kind: max, size: 3}
    - conv2d: {filters: $filters, kernel_size: 3, padding: same, activation: relu}
    - dropout: $dropout
    - flatten
    - output: {activation: softmax}""",
    ),
    "built": Case(
        title="KerasTuner-style build function: 24 configurations of 3 shapes, 200 images of 50x50x3, 10 epochs",
        shape=(50, 50, 3),
        images=(200, 100),
        classes=2,
        batch_size=10,
        epochs=10,
        grid={
            "dropout": (0.25, 0.5),
            "filters": (10, 15, 20),
            "optimizer": ("adam",),
            "learning_rate": (0.0003, 0.0006, 0.001, 0.002),
        },
        network='  build: "networks:build"',
    ),
    "mnist": Case(
        title="MNIST-shaped sweep: 4 configurations, 12,000 images of 28x28, 2 epochs",
        shape=(28, 28, 1),
        images=(9600, 2400),
        classes=10,
        batch_size=128,
        epochs=2,
        grid={
            "dropout": (0.25, 0.5),
            "filters": (64,),
            "optimizer": ("adam", "rmsprop"),
            "learning_rate": (0.001,),
        },
        network="""\
  layers:
    - conv2d: {filters: 32, kernel_size: 3, activation: relu}
    - pool: {kind: max, size: 2}
    - conv2d: {filters: $filters, kernel_size: 3, activation: relu}
    - pool: {kind: max, size: 2}
    - dropout: $dropout
    - flatten
    - dense: {units: 128, activation: relu}
    - output: {activation: softmax}""",
    ),
}


def keras_model(case: str, params: dict):
    """Build and compile the network as a user of Keras would."""
    import keras

    layers = keras.layers
    dropout, filters = params["dropout"], params["filters"]
    if case in {"bush", "built"}:
        stack = [
            layers.Conv2D(50, 3, padding="same", activation="relu"),
            layers.Dropout(dropout),
            layers.MaxPooling2D(3),
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.Dropout(dropout),
            layers.Flatten(),
        ]
    else:
        stack = [
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(dropout),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
        ]
    spec = CASES[case]
    model = keras.Sequential([keras.Input(spec.shape), *stack, layers.Dense(spec.classes, activation="softmax")])
    kind = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[params["optimizer"]]
    model.compile(kind(params["learning_rate"]), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
