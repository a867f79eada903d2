"""MNIST, Fashion-MNIST and CIFAR-10, from the user's archive or from Keras's downloads.

Keras downloads in a process of its own (`download`), so that TensorFlow is not loaded here.
"""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.sweep.spec.data import ArrayFiles
from cnn_sweep.training.data.arrays import read_pair
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from cnn_sweep.sweep.spec.data import BenchmarkData
    from cnn_sweep.training.data.raw_images import Array, Labels


@dataclass(frozen=True)
class BenchmarkSet:
    """A data set, and the files in which Keras 3 stores it.

    Attributes:
        shape: (height, width, channels).
        class_names: In the order of the labels.
        files: Paths below Keras's folder ``datasets``.
    """

    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    files: tuple[str, ...]


_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_CIFAR_FOLDER = "cifar-10-batches-py-target/cifar-10-batches-py"
_BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
SETS = {
    "mnist": BenchmarkSet((28, 28, 1), tuple("0123456789"), ("mnist.npz",)),
    "fashion_mnist": BenchmarkSet((28, 28, 1), _FASHION, tuple(f"fashion-mnist/{name}-ubyte.gz" for name in _IDX)),
    "cifar10": BenchmarkSet((32, 32, 3), _CIFAR, tuple(f"{_CIFAR_FOLDER}/{name}" for name in _BATCHES)),
}


def benchmark_files(spec: BenchmarkData, folder: Path) -> list[Path]:
    """Return the paths of a data set's files, whether or not they exist."""
    if spec.path is not None:
        return [path_in(folder, spec.path)]
    return [keras_folder() / "datasets" / name for name in SETS[spec.source].files]


def fetch(spec: BenchmarkData, folder: Path) -> None:
    """Download a data set with Keras, unless its files exist; needs internet.

    Raises:
        EnvironmentFault: The download failed.
    """
    if spec.path is not None or all(file.is_file() for file in benchmark_files(spec, folder)):
        return
    if (words := download(f"import keras; keras.datasets.{spec.source}.load_data()")) is not None:
        raise EnvironmentFault(f"{spec.source} cannot be downloaded: {words}\n{missing_message(spec, folder)}")


def read_benchmark(
    spec: BenchmarkData, folder: Path
) -> tuple[tuple[Array, Labels], tuple[Array, Labels], tuple[str, ...]]:
    """Return (images, labels) for training, the same for the test, and the class names.

    Raises:
        InputError: The files are missing or damaged.
    """
    files = benchmark_files(spec, folder)
    if not all(file.is_file() for file in files):
        raise InputError(missing_message(spec, folder))
    found = SETS[spec.source]
    if spec.path is not None or spec.source == "mnist":
        train, test = (
            read_pair(ArrayFiles(x=f"{files[0]}:x_{split}", y=f"{files[0]}:y_{split}"), folder)
            for split in ("train", "test")
        )
        pairs: Any = (train.x, train.y), (test.x, test.y)
    else:
        pairs = _idx_files(files) if spec.source == "fashion_mnist" else _cifar_batches(files)
    for x, y in pairs:
        if x.shape[1:] != found.shape or int(y.max()) >= len(found.class_names):
            raise InputError(
                f"{files[0]}: not {spec.source}: images of {x.shape[1:]} and labels up to {int(y.max())}, "
                f"but it has {found.shape} and {len(found.class_names)} classes"
            )
    return (*pairs, found.class_names)


def missing_message(spec: BenchmarkData, folder: Path) -> str:
    """Return the message for a missing data set: the missing file and what to do."""
    missing = next(file for file in benchmark_files(spec, folder) if not file.is_file())
    if spec.path is not None:
        return f"{missing}: no such file"
    return (
        f"{spec.source} is missing: {missing} does not exist. Run `cnn-sweep data prepare` on a machine with internet "
        f"to download it, or write data: {{path: FILE.npz}} for a file with the arrays x_train, y_train, x_test, y_test"
    )


def _idx_files(files: list[Path]) -> Any:
    """Read Fashion-MNIST's files: the IDX format, big-endian, 16 bytes before images and 8 before labels."""
    try:
        parts = [np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8) for file in files]
        x_train, y_train, x_test, y_test = (part[16 if k % 2 == 0 else 8 :] for k, part in enumerate(parts))
        shape = SETS["fashion_mnist"].shape
        train, test = x_train.reshape(len(y_train), *shape), x_test.reshape(len(y_test), *shape)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{files[0].parent}: the files are damaged: {error}") from error
    return (train, y_train.astype(np.int32)), (test, y_test.astype(np.int32))


class _NumbersOnly(pickle.Unpickler):  # noqa: S301 - find_class is what makes it safe
    """Reads CIFAR-10's pickles, which contain only arrays; refuses anything that could run code."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "scalar"})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # Python 3's encoding of bytes for Python 2
            return super().find_class(module, name)
        if module.split(".", maxsplit=1)[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)  # its name in NumPy 2
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def _cifar_batches(files: list[Path]) -> Any:
    batches = []
    for file in files:
        try:
            with file.open("rb") as opened:
                batch = _NumbersOnly(opened, encoding="bytes").load()
            x = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            batches.append((x, np.asarray(batch[b"labels"], np.int32)))
        except Exception as error:  # a damaged pickle can raise any exception
            raise InputError(f"{file}: the file is damaged: {error}") from error
    train = tuple(np.concatenate(arrays) for arrays in zip(*batches[:-1], strict=True))
    return train, batches[-1]


def keras_folder() -> Path:
    """Return the folder of Keras's downloads."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def download(code: str) -> str | None:
    """Run Python code that downloads something with Keras; return the error message, or None.

    A separate process runs it, because it imports TensorFlow, which login-node commands must not load.
    """
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else None
