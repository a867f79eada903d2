"""Classes and groups in the names of files: finds the pattern of names such as ``site3_fox_0012.jpg``."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.first_sweep.findings import Choice, Group, group_of
from cnn_sweep.training.data.class_names import FilePattern, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SEPARATOR = re.compile(r"([_\-. ()]+)")
_LETTERS_THEN_DIGITS = re.compile(r"([^\d]*[^\W\d])(\d+)")
# Names without a fixed number of parts, such as golden_retriever_12.jpg; tried in this order.
_LOOSE: Final = (
    "{class}_{number}",
    "{class}-{number}",
    "{class}.{number}",
    "{class} {number}",
    "{class} ({number})",
    "{number}_{class}",
    "{number}-{class}",
    "{number}.{class}",
)
_MATCHED = 0.9  # share of the names that a pattern must match
_WILD = re.compile(r"[*?{}]")  # signs with a meaning in patterns
_PARTS_LOOKED_AT = 4  # from the start of a name, for groups


@dataclass(frozen=True)
class NamedClasses:
    """A pattern of file names, and what it finds.

    Attributes:
        pattern: As in the key ``labels``.
        labels: The class of each file, "" if its name does not match.
        listed: Whether the classes must be listed for the pattern to be unambiguous.
    """

    pattern: str
    labels: tuple[str, ...]
    listed: bool = False

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of their numbers."""
        return in_order({label for label in self.labels if label})

    @property
    def choice(self) -> Choice:
        """The pattern as one of several."""
        return Choice(self.pattern, tuple(self.classes))


def patterns_in(names: Sequence[str]) -> list[NamedClasses]:
    """Return the patterns that divide files into classes, the most likely first.

    Args:
        names: Paths of image files.
    """
    bare = [name.rpartition("/")[2] for name in names]
    strict = [found for pattern in _of_parts(bare) if (found := read_pattern(pattern, bare))]
    # A class is a word more often than a code, and has more images than a group.
    strict.sort(key=lambda found: (_has_digits(found.classes), len(found.classes)))
    if strict:
        return strict
    ending = _ending(bare)
    for loose in _LOOSE:
        if found := read_pattern(f"{loose}{ending}", bare):
            return [found]
    return _letters_then_digits(bare, ending)


def read_pattern(pattern: str, names: Sequence[str], classes: Sequence[str] | None = None) -> NamedClasses | None:
    """Apply a pattern; return None unless it matches most names, each in one way, and yields repeated classes.

    Args:
        pattern: As in the key ``labels``.
        names: File names, or paths if the pattern has a slash.
        classes: The classes, for a pattern that is ambiguous without them.
    """
    reader = FilePattern(pattern, classes)
    readings = [reader.labels(name) for name in names]
    if any(len(labels) > 1 for labels in readings):
        return None
    labels = tuple(labels[0] if labels else "" for labels in readings)
    counts = Counter(label for label in labels if label)
    matched = sum(counts.values())
    if len(counts) < 2 or matched < _MATCHED * len(names) or len(counts) > matched / 2:
        return None
    return NamedClasses(pattern, labels, listed=classes is not None)


def group_in(names: Sequence[str], labels: Sequence[str]) -> Group | None:
    """Return the first part of file names that repeats as the name of a site or camera does.

    Args:
        names: Paths of image files.
        labels: The class of each.
    """
    parts = [_SEPARATOR.split(_stem(name.rpartition("/")[2]))[::2] for name in names]
    shortest = min(map(len, parts), default=0)
    for place in range(min(shortest - 1, _PARTS_LOOKED_AT)):  # the last part is a running number
        values = [own[place] for own in parts]
        where = f"part {place + 1} of the file names"
        if found := group_of(where, values, labels):
            return found
    return None


def _of_parts(names: Sequence[str]) -> list[str]:
    """Return a pattern for each part that could be the class, if all names have the same separators."""
    pieces = [_SEPARATOR.split(_stem(name)) for name in names]
    forms = Counter(tuple(own[1::2]) for own in pieces)
    form, count = forms.most_common(1)[0]
    if count < _MATCHED * len(names):
        return []
    parts = [own[::2] for own in pieces if tuple(own[1::2]) == form]
    values = [Counter(own[place] for own in parts) for place in range(len(form) + 1)]
    candidates = [place for place, found in enumerate(values) if _may_be_class(found, len(parts))]
    words = [place for place in candidates if not all(value.isdecimal() for value in values[place])]
    ending = _ending(names)
    # Of numbers, the one with the fewest values; the others count images.
    numbers = sorted(candidates, key=lambda place: len(values[place]))[:1]
    return [_pattern(values, form, place) + ending for place in words or numbers]


def _may_be_class(values: Counter[str], total: int) -> bool:
    return 2 <= len(values) <= total / 2 and "" not in values


def _pattern(values: Sequence[Counter[str]], form: Sequence[str], place: int) -> str:
    """Return a pattern with the class at one place; other parts are literal, ``{number}`` or ``*``."""
    text = ""
    for at, found in enumerate(values):
        only = next(iter(found))
        if at == place:
            text += "{class}"
        elif len(found) == 1 and not _WILD.search(only):
            text += only
        else:
            text += "{number}" if all(value.isdecimal() and value.isascii() for value in found) else "*"
        text += form[at] if at < len(form) else ""
    return text


def _letters_then_digits(names: Sequence[str], ending: str) -> list[NamedClasses]:
    """Read names such as cat12.jpg, whose pattern is unambiguous only with a list of the classes."""
    matches = [_LETTERS_THEN_DIGITS.fullmatch(_stem(name)) for name in names]
    classes = in_order({match[1] for match in matches if match})
    if len(classes) < 2:
        return []
    found = read_pattern(f"{{class}}{{number}}{ending}", names, classes)
    return [found] if found else []


def _ending(names: Iterable[str]) -> str:
    """Return the extension that all names have, or ``.*``."""
    endings = {name[len(_stem(name)) :] for name in names}
    return next(iter(endings)) if len(endings) == 1 else ".*"


def _stem(name: str) -> str:
    before, dot, _ = name.rpartition(".")
    return before if dot else name


def _has_digits(classes: Iterable[str]) -> bool:
    return any(any(sign.isdigit() for sign in name) for name in classes)
