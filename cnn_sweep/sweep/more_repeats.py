"""Repeats that some configurations get beyond what the sweep asks for: the first line of a frozen revision.

A revision that adds repeats is the sweep before it, unchanged in meaning, behind one line that says which. So it is
created exclusively like any other revision, and a sweep file of the user's stays the study's own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

_MARK: Final = "# cnn-sweep repeat "


@dataclass(frozen=True)
class MoreRepeats:
    """What a revision adds.

    Attributes:
        trials: A trial of each configuration that gets repeats.
        repeats: How many repeats each of them has then, in all.
    """

    trials: tuple[int, ...]
    repeats: int

    def before(self, text: str) -> str:
        """Return a sweep's text behind the line that says this."""
        return f"{_MARK}{json.dumps(asdict(self))}\n{text_of(text)}"


def read_more_repeats(text: str) -> MoreRepeats | None:
    """Return what a frozen revision adds; None if it is a sweep of its own."""
    if not text.startswith(_MARK):
        return None
    data = json.loads(text.partition("\n")[0].removeprefix(_MARK))
    return MoreRepeats(tuple(data["trials"]), data["repeats"])


def text_of(text: str) -> str:
    """Return a frozen revision's text without such a line."""
    return text.partition("\n")[2] if text.startswith(_MARK) else text
