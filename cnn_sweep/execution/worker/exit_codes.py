"""How a worker process ends of its own accord, as its exit code tells the pool."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

# How the last line of a worker begins that ends with a message.
OWN_WORDS: Final = "cnn-sweep: "


class Ending(IntEnum):
    """Why a worker ends.

    Attributes:
        DONE: It was told to stop, or found nothing to claim.
        OUT_OF_MEMORY: A trial ran out of memory, and shall be tried once more with the device to itself.
        GROWN: It has grown too large; another one takes its place.
    """

    DONE = 0
    OUT_OF_MEMORY = 75
    GROWN = 76
