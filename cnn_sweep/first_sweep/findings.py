"""What was found out about somebody's images before a sweep file is proposed for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.training.data.image_headers import Appearance

LABEL_OPTIONS = "--labels and --label-column"
ORDINARY = frozenset({".csv", ".tsv", ".txt", ".md", ".json", ".xml", ".yaml", ".yml", ".py", ".r", ".log", ".html"})


@dataclass(frozen=True)
class ArrayIn:
    """An array in a file.

    Attributes:
        path: A .npy or .npz file.
        name: Of the array in an .npz file; "" for a .npy file.
    """

    path: Path
    name: str = ""


@dataclass(frozen=True)
class Choice:
    """One way to read the classes, of several.

    Attributes:
        name: As the user gives it: a pattern of file names, or a column of the table.
        classes: Some of the classes that it yields.
    """

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Images that belong together, so that one may give away the class of another: of one site, camera or day.

    Attributes:
        where: What tells them apart, such as ``the column 'site'``.
        examples: Some values.
        count: Number of different values.
    """

    where: str
    examples: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Findings:
    """What is known about a data set.

    Attributes:
        name: Of the data, for the study and its file.
        what: What was found, in a few words.
        data: Keys of the section ``data``; files are `Path` and `ArrayIn`.
        counts: Labelled images of each class that can be trained with, in the order of the classes.
        look: Their sizes and colours.
        sets: Number of images of sets that have their own files: validation, test, unlabelled.
        choices: The ways to read the classes, if there are several; the first one was taken.
        group: Images that belong together, or None.
        notes: Remarks for the user.
    """

    name: str
    what: str
    data: Mapping[str, Any]
    counts: Mapping[str, int]
    look: Appearance
    sets: Mapping[str, int] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    group: Group | None = None
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Labelled images that can be trained with, before shares are split off."""
        return sum(self.counts.values())


def suffixes_of(names: Iterable[str]) -> dict[str, int]:
    """Return the extensions of files and how often each occurs, the commonest first.

    >>> suffixes_of(["a.HEIC", "b.heic", "c"])
    {'.heic': 2, 'none': 1}
    """
    counts: dict[str, int] = {}
    for name in names:
        suffix = Path(name).suffix.lower() or "none"
        counts[suffix] = counts.get(suffix, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def shown_counts(counts: Mapping[str, int], most: int = 6) -> str:
    """Return counts as ``.heic 12, .mp4 3``."""
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:most]]
    return ", ".join([*shown, *(["…"] if len(counts) > most else [])])


def group_of(where: str, values: Sequence[str], labels: Sequence[str]) -> Group | None:
    """Return a group if values repeat as those of a site or camera do; None if they do not, or if they name the class.

    Args:
        where: What the values are.
        values: One per image; "" for none.
        labels: The class of each image.
    """
    if len(set(zip(values, labels, strict=True))) == len(values):
        return None  # a running number in each class
    images_of: dict[str, int] = {}
    classes_of: dict[str, set[str]] = {}
    for value, label in zip(values, labels, strict=True):
        images_of[value] = images_of.get(value, 0) + 1
        classes_of.setdefault(value, set()).add(label)
    count = len(images_of)
    is_class = all(len(found) == 1 for found in classes_of.values()) and count <= len(set(labels))
    if count < 2 or count > len(values) / 4 or is_class or images_of.get("", 0) > len(values) / 10:
        return None
    return Group(where, tuple(sorted(value for value in images_of if value)[:3]), count)
