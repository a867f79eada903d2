"""Makes ``cnn_sweep/sweep/network/pretrained.json``: Keras's pretrained models for login nodes, without TensorFlow.

Run ``python tests/sweep/network/base_table.py`` with the Keras to describe (some minutes, 6 GB) and commit the result;
tests compare it with Keras.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import keras
import numpy as np

import cnn_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = Path(cnn_sweep.__file__).parent / "sweep" / "network" / "pretrained.json"
_PREPROCESSING: dict[str, Any] = {
    "none": lambda x: x,
    "tf": lambda x: x / 127.5 - 1.0,
    "torch": lambda x: (x / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    "caffe": lambda x: x[..., ::-1] - [103.939, 116.779, 123.68],
}


def names() -> dict[str, Any]:
    """Return the functions of ``keras.applications`` that build models, by name, with their modules."""
    found: dict[str, Any] = {}
    for module in vars(keras.applications).values():
        if inspect.ismodule(module) and hasattr(module, "preprocess_input"):
            found |= {name: module for name, one in vars(module).items() if callable(one) and name[0].isupper()}
    found |= dict.fromkeys(("MobileNetV3Large", "MobileNetV3Small"), keras.applications.mobilenet_v3)
    # ResNet50 stands in two modules.
    return dict(sorted(found.items()))


def described(name: str, module: Any) -> dict[str, Any]:
    """Return all that a login node must know of one model.

    Returns:
        ``preprocessing`` (none, tf, torch or caffe, as Keras calls them); ``smallest`` (pixels); ``windows`` (see
        `windows_of`); ``channels`` of the output; ``file`` (name, address and checksum of the pretrained weights);
        ``grey`` (by layer, the weights and trainable ones that come with each channel of the input; null where there
        must be three); ``layers`` (name, weights, trainable ones).
    """
    build = getattr(keras.applications, name)
    source = Path(inspect.getfile(inspect.unwrap(build))).read_text(encoding="utf-8")
    file: list[list[str]] = []

    def note(fname: str, origin: str, **checks: Any) -> str:
        file.append([fname, origin, checks.get("file_hash") or checks.get("md5_hash") or ""])
        return fname

    # The model as it is with pretrained weights, without reading any.
    with (
        mock.patch("keras.src.utils.file_utils.get_file", note),
        mock.patch("keras.Model.load_weights"),
    ):
        size = 331 if name == "NASNetLarge" else 224
        model = build(include_top=False, weights="imagenet", input_shape=(size, size, 3))
    smallest = re.search(r"min_size=(\d+)", source)
    entry = {
        "preprocessing": _preprocessing(module),
        "smallest": int(smallest[1]) if smallest else 32,
        "windows": windows_of(model),
        "channels": int(model.output_shape[-1]),
        "file": file[0],
        "grey": None,
        "layers": [
            [layer.name, layer.count_params(), _trainable(layer)] for layer in model.layers if layer.count_params()
        ],
    }
    try:
        grey = build(include_top=False, weights=None, input_shape=(size, size, 1))
        pairs = list(zip(_weighted(model), _weighted(grey), strict=True))
        entry["grey"] = {
            rgb.name: [(a - b) // 2 for a, b in zip(_counts(rgb), _counts(one), strict=True)]
            for rgb, one in pairs
            if _counts(rgb) != _counts(one)
        }
    except ValueError:
        pass
    keras.backend.clear_session()
    return entry


def _weighted(model: Any) -> list[Any]:
    return [layer for layer in model.layers if layer.count_params()]


def _counts(layer: Any) -> tuple[int, int]:
    return layer.count_params(), _trainable(layer)


def _trainable(layer: Any) -> int:
    return int(sum(np.prod(variable.shape) for variable in layer.trainable_variables))


def _preprocessing(module: Any) -> str:
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3))
    wanted = np.asarray(module.preprocess_input(pixels.astype(np.float32).copy()))
    return next(kind for kind, how in _PREPROCESSING.items() if np.allclose(how(pixels), wanted, atol=1e-3))


def windows_of(model: Any) -> list[list[int]]:
    """Return how the size of the map follows from the size of the image: one step after the other.

    ``[stride]`` stands for windows with padding "same", ``[size, stride]`` for windows without padding, and
    ``[0, 0, pixels]`` for padding (negative: cropping) of both sides together. All ways through a network give one
    size, so that of its layers is told that lie on one way.
    """
    steps: list[list[int]] = []
    for layer in reversed(list(_way(model))):
        for step in _steps(layer):
            asymmetric = steps and steps[-1][:3] == [0, 0, -1]
            if asymmetric and len(step) == 2:
                steps[-1] = [step[1]]  # pads by 1 less where the size is even, which is padding "same"
            elif step not in ([1], [1, 1], [0, 0, 0]):
                steps.append(step)
    return steps


def _way(model: Any) -> Iterator[Any]:
    """Yield the layers on one way from the output back to the input."""
    tensor = model.outputs[0]
    while True:
        layer = tensor._keras_history.operation
        yield layer
        inputs = layer._inbound_nodes[0].arguments.keras_tensors
        if not inputs:
            return
        tensor = max(inputs, key=lambda one: one.shape[1] or 0 if len(one.shape) == 4 else 0)


def _steps(layer: Any) -> Iterator[list[int]]:
    if hasattr(layer, "layers"):
        for inner in layer.layers:
            yield from _steps(inner)
    elif isinstance(layer, keras.layers.ZeroPadding2D):
        before, after = layer.padding[0]
        yield [0, 0, before + after] if before == after else [0, 0, -1]
    elif isinstance(layer, keras.layers.Cropping2D):
        yield [0, 0, -sum(layer.cropping[0]) - 1]
    elif hasattr(layer, "strides") and not layer.name.startswith("global"):
        window = getattr(layer, "kernel_size", None) or layer.pool_size
        yield [layer.strides[0]] if layer.padding == "same" else [window[0], layer.strides[0]]


def main() -> None:
    """Describe all models; those that are told on the command line anew, or all."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if sys.argv[1:] else {}
    for name, module in names().items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            sys.stderr.write(f"{name}\n")
            table[name] = described(name, module)
            TABLE.write_text(_text(table), encoding="utf-8")


def _text(table: dict[str, Any]) -> str:
    """Write one model a line, so that versions can be compared."""
    lines = [f"{json.dumps(name)}: {json.dumps(table[name], separators=(',', ':'))}" for name in sorted(table)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
