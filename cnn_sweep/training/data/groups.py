"""Groups of images that stay in one split, such as those of one site, patient or plot."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import InputError, SettingError
from cnn_sweep.messages import few, plural, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.training.data.raw_images import FileList, Part

_PIECES: Final = re.compile(r"(\{[^{}/]*\}|\*|\?)")
_KEY: Final = ("data", "group")


def is_pattern(group: str) -> bool:
    """Return whether a sweep's ``group`` is a pattern of paths, and not a column of the label table."""
    return "{" in group


def name_of(group: str) -> str:
    """Return what a sweep's ``group`` stands for: the column, or the name in braces.

    >>> name_of("site"), name_of("{site}_*"), name_of("*/{camera}/*")
    ('site', 'site', 'camera')
    """
    match = re.search(r"\{(.*)\}", group)
    return match[1] if match else group


def by_what(spec: Any) -> str:
    """Return what divides the images of a source, for messages: a column, a pattern, a file, or blocks of tiles."""
    block = getattr(spec, "block", None)
    return f"blocks of {block} x {block} tiles" if block else spec.group or ""


def groups_of_paths(pattern: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the group of each file by its path.

    Args:
        pattern: A name in braces stands for the group, as in ``*/{site}/*``; ``*`` stands for anything but a slash,
            ``?`` for one character. A pattern without a slash is compared with the last part of the path.
        names: Relative paths with slashes.

    Raises:
        SettingError: A path does not match.
    """
    pieces = _PIECES.split(pattern)
    parts = {"*": "[^/]*", "?": "[^/]"}
    text = "".join("([^/]+?)" if piece.startswith("{") else parts.get(piece, re.escape(piece)) for piece in pieces)
    expression = re.compile(text)
    whole = "/" in pattern
    matches = [expression.fullmatch(name if whole else name.rpartition("/")[2]) for name in names]
    others = [name for name, match in zip(names, matches, strict=True) if match is None]
    if others:
        do = plural(len(others), "file does", "files do")
        raise SettingError(f"{do} not match {pattern!r}, such as {others[0]}; each image needs a group", _KEY)
    return tuple(match[1] for match in matches if match is not None)


def times_of(values: Sequence[str]) -> list[float]:
    """Return dates, or numbers, as numbers in the same order.

    >>> times_of(["3", "20"]), times_of(["2024-05-31", "2024:05:31 00:01:40"])
    ([3.0, 20.0], [1717113600.0, 1717113700.0])

    Raises:
        SettingError: A value is neither a date nor a number, or some are dates and others numbers.
    """
    try:
        return [float(value) for value in values]
    except ValueError:
        pass
    found = []
    for value in values:
        try:
            # Cameras write 2024:05:31 08:00:00.
            date = datetime.fromisoformat(re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", value))
        except ValueError:
            raise SettingError(
                f"{show(value)} is neither a date, such as 2024-05-31 or 2024-05-31 08:00, nor a number as the others",
                ("data", "order"),
            ) from None
        found.append((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    return found


def note_on_order(splits: Mapping[str, FileList], order: str) -> str:
    """Return a note with the first and the last date, or number, of each split."""
    parts = []
    for name, files in splits.items():
        if files.groups:
            times = times_of(files.groups)
            first, last = (files.groups[times.index(value)] for value in (min(times), max(times)))
            parts.append(f"{name} from {first} to {last}")
    return f"divided by {name_of(order)}: {', '.join(parts)}"


def check_groups(splits: Mapping[str, FileList] | Mapping[str, Part], group: str) -> list[str]:
    """Check that no group is in two splits.

    Args:
        splits: The images of each split, with their groups.
        group: What divides them, for messages.

    Returns:
        A note with the number of groups of each split.

    Raises:
        InputError: A group is in two splits.
    """
    found = {name: set(files.groups) for name, files in splits.items() if files.groups is not None}
    names = list(found)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if both := found[one] & found[other]:
                are = plural(len(both), "group is", "groups are")
                raise InputError(f"data.group: {are} in the {one} and the {other} set: {few(sorted(both))}")
    counts = ", ".join(f"{len(groups)} in {name}" for name, groups in found.items())
    return [f"groups by {group}: {counts}; none in two sets"]
