"""Keras's pretrained models as login nodes know them: sizes and counts from a table, without TensorFlow.

``tests/sweep/network/base_table.py`` makes the table from Keras.
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
    """What is known of one model, without its classifying top.

    Attributes:
        preprocessing: What its images go through: none, tf, torch or caffe, as Keras calls them.
        smallest: Least height and width of an image, in pixels.
        windows: How the size of the map follows from that of the image; see ``windows_of`` there.
        channels: Of the output.
        file: Name, address and checksum of the pretrained weights.
        grey: By layer, how many weights (and trainable ones) come with each channel of the image; None where the
            image must have three channels.
        layers: Name, weights and trainable weights of each layer that has any, for images of three channels.
    """

    preprocessing: str
    smallest: int
    windows: Sequence[Sequence[int]]
    channels: int
    file: tuple[str, str, str]
    grey: Mapping[str, tuple[int, int]] | None
    layers: Sequence[tuple[str, int, int]]

    def map_size(self, pixels: int) -> int:
        """Return the height (or width) of the output for that of an image."""
        for step in self.windows:
            if len(step) == 1:
                pixels = -(-pixels // step[0])
            elif len(step) == 2:
                pixels = (pixels - step[0]) // step[1] + 1
            else:
                pixels += step[2]
        return pixels

    def counts(self, channels: int, trainable: bool | str) -> tuple[int, int]:  # noqa: FBT001 - as the sweep file has it
        """Return how many weights there are, and how many are trained.

        Args:
            channels: Of the images.
            trainable: True, False, or the name of the layer from which on weights are trained.
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
    """Return all models by name."""
    text = files(__package__).joinpath("pretrained.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = json.loads(text)
    return {name: Pretrained(**entry) for name, entry in table.items()}
