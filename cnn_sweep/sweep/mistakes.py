"""Collects the mistakes of one sweep file, each with its line."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import Problem, SweepFileError
from cnn_sweep.sweep.yaml import dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.sweep.yaml import Document, Path

_SHOWN = 60  # characters of a value in a message


def show(value: Any) -> str:
    """Write a value for a message: as in the file, and not too long."""
    text = repr(_plain(value))
    text = {"None": "nothing", "True": "true", "False": "false"}.get(text, text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def listed(choices: Iterable[Any]) -> str:
    """Write the valid choices for a message."""
    names = [str(choice) for choice in choices]
    return ", ".join(names) if names else "(none)"


def amount(count: int, one: str, several: str) -> str:
    """Write a count with its noun, and its verb.

    >>> amount(1, "image is", "images are")
    '1 image is'
    """
    return f"{count} {one if count == 1 else several}"


def closest(name: Any, choices: Iterable[Any]) -> str | None:
    """Return the choice that a name was probably meant to be, or None."""
    names = {str(choice).lower(): str(choice) for choice in choices}
    close = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def near(name: Any, choices: Iterable[Any]) -> str:
    """Return `` (did you mean 'x'?)`` where one of the choices is close, otherwise nothing."""
    close = closest(name, choices)
    return "" if close is None else f" (did you mean {close!r}?)"


def missing(keys: Iterable[str], given: Iterable[str]) -> list[str]:
    """Return the keys that are not given, not even misspelt."""
    given = list(given)
    keys = list(keys)
    meant = {closest(name, keys) for name in given if name not in keys}
    return [key for key in keys if key not in given and key not in meant]


def unknown(what: str, name: Any, choices: Sequence[Any]) -> str:
    """Write that a name is none of the valid ones."""
    return f"unknown {what} {show(name)}{near(name, choices)}; valid: {listed(choices)}"


class Mistakes:
    """The mistakes found so far in one file."""

    def __init__(self, document: Document, source: str, found: Iterable[Problem] = ()) -> None:
        self._document = document
        self._source = source
        self._problems = dict.fromkeys(found)

    def __len__(self) -> int:
        return len(self._problems)

    def add(self, path: Path, message: str) -> None:
        """Note a mistake at the value with this path, or at what is nearest to it in the file."""
        found, line = self._document.locate(path)
        self._problems[Problem(line, dotted(found) or "file", message)] = None

    def line(self, path: Path) -> int:
        """Return the 1-based line of the value with this path, or of what is nearest to it in the file."""
        return self._document.locate(path)[1]

    def mapping(self, value: Any, path: Path, keys: Sequence[str]) -> Mapping[str, Any]:
        """Return a mapping's known keys; everything else about it is a mistake.

        Args:
            value: What the file has there.
            path: Where.
            keys: The valid keys.
        """
        if not isinstance(value, dict):
            self.add(path, f"must be a mapping with the keys {listed(keys)}, not {show(value)}")
            return {}
        for key in value:
            if key not in keys:
                self.add((*path, key), unknown("key", key, keys))
        return {key: value[key] for key in value if key in keys}

    def raise_any(self) -> None:
        """End here if there are mistakes.

        Raises:
            SweepFileError: With all of them.
        """
        if self._problems:
            raise SweepFileError(self._source, list(self._problems))
