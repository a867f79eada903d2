"""Repeats that some configurations get beyond what the sweep asks for: the first line of a frozen revision.

A revision that adds repeats is the sweep before it, unchanged in meaning, behind one line that says which. So it is
created exclusively like any other revision, and a sweep file of the user's stays the study's own.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Mapping


_WIDTH = 4096  # characters before a line is broken


def with_search(text: str, settings: Mapping[str, Any]) -> str:
    """Return a sweep file's text with other settings of its search.

    Args:
        text: The file, without problems.
        settings: Key of ``search`` to its new value.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    data = yaml.load(text)
    data.setdefault("search", {}).update(settings)
    written = io.StringIO()
    yaml.dump(data, written)
    return written.getvalue()


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
