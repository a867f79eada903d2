"""Class names from file names, their order, and notes about suspicious names."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PIECES = re.compile(r"(\{class\}|\{number\}|\*|\?)")


class FilePattern:
    """A pattern of file names, such as ``{class}_{number}.jpg``; no part of it matches a slash.

    Args:
        pattern: ``{class}`` stands for the class, ``{number}`` for digits, ``*`` for anything, ``?`` for a character.
        classes: The user's class names; other ways to split a file name are ignored.
    """

    def __init__(self, pattern: str, classes: Sequence[str] | None) -> None:
        self._whole_path = "/" in pattern
        self._pieces = _PIECES.split(pattern)
        self._classes = classes
        # A name matches in only one way if the shortest and longest matches of class and wildcards agree.
        self._readings = [
            self._expression(f"[^/]+{least}", f"[^/]*{rest}") for least, rest in product(("?", ""), repeat=2)
        ]

    def labels(self, name: str) -> list[str]:
        """Return the possible classes of a file by its path; empty if it does not match."""
        text = name if self._whole_path else name.rpartition("/")[2]
        matches = [reading.fullmatch(text) for reading in self._readings]
        found = list(dict.fromkeys(match["label"] for match in matches if match))
        if len(found) < 2 or self._classes is None:
            return found
        known = [label for label in self._classes if self._expression(re.escape(label), "[^/]*").fullmatch(text)]
        return known or found[:1]  # an unknown class; the caller ignores such images

    def _expression(self, label: str, rest: str) -> re.Pattern[str]:
        parts = {"{class}": f"(?P<label>{label})", "{number}": "[0-9]+", "*": rest, "?": "[^/]"}
        return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in self._pieces))


def class_notes(names: Sequence[str]) -> list[str]:
    """Return notes about classes that may be the same, and about the order of numeric names.

    >>> class_notes(["DOG", "dog"])
    ['the classes DOG, dog differ only in how they are written; if they are one, give them one name']
    """
    alike = defaultdict(list)
    for name in names:
        alike[_normalized(name)].append(name)
    notes = [_twins_note(twins) for twins in alike.values() if twins[1:]]
    if all(name.isdecimal() for name in names) and list(names) != sorted(names, key=int):
        notes.append(
            f"the classes are in the order of text, not of numbers: {', '.join(names[:8])}{', …' * (len(names) > 8)}; "
            "where the order counts, list them: classes: [...]"
        )
    return notes


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names by code points, the same in every locale: capitals, small letters, then umlauts.

    Composed (Linux, Windows) and decomposed (macOS) letters sort alike.

    >>> in_order(["zebra", "\u00e4rger", "Zoo", "apfel", "a\u0308rger"])
    ['Zoo', 'apfel', 'zebra', 'a\u0308rger', '\u00e4rger']
    """
    return sorted(names, key=lambda name: (unicodedata.normalize("NFC", name), name))


def _twins_note(twins: Sequence[str]) -> str:
    if len({unicodedata.normalize("NFC", name) for name in twins}) < len(twins):
        shown = ", ".join(f"{name} ({name!a})" for name in twins)
        return (
            f"the classes {shown} look the same and are different Unicode, as files from macOS may be beside others; "
            "if they are one, give them one name"
        )
    return f"the classes {', '.join(twins)} differ only in how they are written; if they are one, give them one name"


def _normalized(name: str) -> str:
    """Return a form that is the same for all spellings of a name."""
    try:
        return repr(float(name.replace(",", ".")))
    except ValueError:
        return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name.casefold())).strip()
