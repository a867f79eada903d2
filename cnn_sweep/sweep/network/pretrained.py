"""Sizes and parameter counts of Keras's pretrained models, from a table, without TensorFlow.

``tests/sweep/network/base_table.py`` creates the table from Keras.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Pretrained:
    """One pretrained model, without its classification layers (top).

    Attributes:
        preprocessing: Preprocessing of its images, by Keras's name: none, tf, torch or caffe.
        smallest: Minimum height and width of an image, in pixels.
        windows: Steps from the size of the image to that of the feature map; see ``base_table.windows_of``.
        channels: Channels of the output.
        file: Name, URL and checksum of the file of pretrained weights.
        grey: For each layer that depends on the image's channels, its weights (and trainable weights) per channel;
            None if images must have three channels.
        layers: Name, number of weights and of trainable weights of each layer with weights, for three channels.
    """

    preprocessing: str
    smallest: int
    windows: Sequence[Sequence[int]]
    channels: int
    file: tuple[str, str, str]
    grey: Mapping[str, tuple[int, int]] | None
    layers: Sequence[tuple[str, int, int]]

    def map_size(self, pixels: int) -> int:
        """Return the height (or width) of the feature map for that of an image, in pixels."""
        for step in self.windows:
            if len(step) == 1:
                pixels = -(-pixels // step[0])
            elif len(step) == 2:
                pixels = (pixels - step[0]) // step[1] + 1
            else:
                pixels += step[2]
        return pixels

    def counts(self, channels: int, trainable: bool | str) -> tuple[int, int]:  # noqa: FBT001 - as the sweep file has it
        """Return the numbers of weights and of trained weights.

        Args:
            channels: Channels of the images.
            trainable: True, False, or the name of the first layer whose weights are trained.
        """
        total = trained = 0
        begun = trainable is True
        for name, every, own in self.layers:
            begun = begun or name == trainable
            extra, extra_own = (self.grey or {}).get(name, (0, 0))
            total += every + (channels - 3) * extra
            trained += own + (channels - 3) * extra_own if begun else 0
        return total, trained

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers with weights, from the image to the output."""
        return tuple(name for name, _, _ in self.layers)


@cache
def pretrained() -> Mapping[str, Pretrained]:
    """Return all pretrained models by name."""
    text = files(__package__).joinpath("pretrained.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = json.loads(text)
    return {name: Pretrained(**entry) for name, entry in table.items()}
