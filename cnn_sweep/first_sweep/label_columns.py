"""Recognizes the columns of a table of labels: file, class, split, and groups such as sites."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.findings import Choice, Group, group_of
from cnn_sweep.messages import few, listed, unknown
from cnn_sweep.training.data.dataset import SPLITS, UNLABELLED
from cnn_sweep.training.data.image_decoder import SUFFIXES
from cnn_sweep.training.data.label_tables import check_not_numbers, read_columns, without_missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_LABEL_WORDS: Final = re.compile(
    r"label|class|category|categories|kategorie|species|spezies|taxon|target|type|genus|gattung|klasse|etikett|^y$"
    r"|^(?:|tier|vogel|pflanzen|baum)art$",
    re.IGNORECASE,
)
_GROUP_WORDS: Final = re.compile(
    r"site|cam|loc|plot|station|deploy|trap|transect|patient|subject|individual|animal|plant|tree|session|sequence"
    r"|burst|event|batch|day|date|year|group|region|observer|kamera|beobachter|datum|jahr|tag$|ort$",
    re.IGNORECASE,
)
_DATE: Final = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}(?:[T ].*)?")
_NAMED = 0.5  # share of a column's values that must be names of images


@dataclass(frozen=True)
class LabelColumns:
    """The columns of a table of labels.

    Attributes:
        filename: Column of the image files.
        label: Column of the classes.
        split: Column of the sets, or None.
        files: The image that each row names, as a path in the folder; "" if there is none.
        labels: The class of each row; "" if it has none.
        sets: The set of each row; "train" without a column.
        choices: All columns that could be the class.
        group: A column whose images belong together, or None.
        notes: Remarks for the user.
    """

    filename: str
    label: str
    split: str | None
    files: tuple[str, ...]
    labels: tuple[str, ...]
    sets: tuple[str, ...]
    choices: tuple[Choice, ...]
    group: Group | None
    notes: tuple[str, ...]


def read_label_columns(table: Path, images: Sequence[str], label: str | None) -> LabelColumns:
    """Find out what each column of a table is.

    Args:
        table: CSV or Parquet.
        images: The images, as paths in their folder.
        label: The column of the classes, or None to find it.

    Raises:
        InputError: No column names the images, or none can be the class.
    """
    columns = read_columns(table)
    filename, files = _file_column(table, columns, images)
    split = split_column({name: values for name, values in columns.items() if name != filename})
    others = {name: values for name, values in columns.items() if name not in (filename, split)}
    chosen, choices = choose_label(table, others, label)
    labels, notes = without_missing(columns[chosen], None, table)
    if split:
        _check_labelled(table, split, columns[split], labels)
    rest = {name: values for name, values in others.items() if name != chosen}
    return LabelColumns(
        filename=filename,
        label=chosen,
        split=split,
        files=tuple(files),
        labels=tuple(labels),
        sets=tuple(columns[split]) if split else ("train",) * len(files),
        choices=choices,
        group=_group_column(rest, labels),
        notes=(*notes, *_missing_notes(table, columns[filename], files), *_split_notes(table, rest)),
    )


def _check_labelled(table: Path, split: str, sets: Sequence[str], labels: Sequence[str]) -> None:
    found = Counter(own for own, label in zip(sets, labels, strict=True) if not label and own != UNLABELLED)
    if found:
        counts = ", ".join(f"{own} {count:,}" for own, count in found.items())
        raise InputError(
            f"{table}: {found.total():,} rows have no class, but the column {split!r} puts them into a set that needs "
            f"one ({counts}). Write {UNLABELLED} in that column, or fill in their classes"
        )


def choose_label(
    table: Path, columns: Mapping[str, Sequence[str]], wanted: str | None
) -> tuple[str, tuple[Choice, ...]]:
    """Return the column of the classes, and all columns that could be it.

    Raises:
        InputError: There is none, or the user named one that does not exist.
    """
    if wanted is not None:
        if wanted not in columns:
            raise InputError(f"--label-column: {table}: {unknown('column', wanted, list(columns))}")
        check_not_numbers(columns[wanted], table)
        return wanted, ()
    able = [name for name, values in columns.items() if _may_be_label(values)]
    if not able:
        raise InputError(
            f"{table}: no column can be the class, which takes at least two words that repeat; its other columns are "
            f"{listed(columns)}. Name one: --label-column COLUMN"
        )
    able.sort(key=lambda name: (not names_labels(name), bool(_GROUP_WORDS.search(name)), _different(columns[name])))
    named = [name for name in able if names_labels(name)]
    choices = named if len(named) == 1 else able
    return able[0], tuple(Choice(name, tuple(sorted(set(columns[name]) - {""}))) for name in choices)


def names_labels(column: str) -> bool:
    """Return whether a column's name says that it holds classes."""
    return _LABEL_WORDS.search(column) is not None


def _different(values: Sequence[str]) -> int:
    return len(set(values) - {""})


def _may_be_label(values: Sequence[str]) -> bool:
    counts = Counter(value for value in values if value)
    if len(counts) < 2 or len(counts) > sum(counts.values()) / 2 or _are_dates(counts):
        return False
    try:
        check_not_numbers(values, "")
    except InputError:
        return False
    return not any("." in value and _is_number(value) for value in counts)


def _are_dates(values: Iterable[str]) -> bool:
    return all(_DATE.fullmatch(value) for value in values if value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _file_column(table: Path, columns: Mapping[str, Sequence[str]], images: Sequence[str]) -> tuple[str, list[str]]:
    """Return the column that names the images, and the image of each row."""
    known = _by_name(images)
    found = {name: [_image(value, known) for value in values] for name, values in columns.items()}
    best = max(found, key=lambda name: sum(map(bool, found[name])))
    if sum(map(bool, found[best])) < _NAMED * len(found[best]):
        first = {name: values[0] for name, values in columns.items()}
        raise InputError(
            f"{table}: no column names the images beside it (such as {few(list(images), 3)}); its columns, each with "
            f"its first value, are {few([f'{name} ({value})' for name, value in first.items()])}"
        )
    return best, found[best]


def _by_name(images: Sequence[str]) -> dict[str, str]:
    """Return images by their names in small letters, with and without folder and extension; "" if not unique."""
    known: dict[str, str] = {}
    for image in images:
        folded = image.casefold()
        name = folded.rpartition("/")[2]
        for key in {folded, _stem(folded), name, _stem(name)}:
            known[key] = image if known.get(key, image) == image else ""
    return known


def _image(value: str, known: Mapping[str, str]) -> str:
    path = value.replace("\\", "/").casefold()
    name = path.rpartition("/")[2]
    return known.get(path.removeprefix("./")) or known.get(name) or (known.get(_stem(name)) or "")


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if name.endswith(SUFFIXES) else name


def split_column(columns: Mapping[str, Sequence[str]]) -> str | None:
    """Return the first column whose values are names of sets, or None."""
    return next((name for name, values in columns.items() if len(set(values)) > 1 and set(values) <= set(SPLITS)), None)


def _split_notes(table: Path, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a note about a column that would be the split, but for its words."""
    words = {"train", "training", "val", "valid", "validation", "test", "testing", "dev", UNLABELLED}
    notes = []
    for name, values in columns.items():
        found = {value for value in values if value}
        if len(found) > 1 and {value.casefold() for value in found} <= words:
            notes.append(
                f"{table}: the column {name!r} seems to hold the sets, but is not used, since its values are "
                f"{listed(sorted(found))}; write {listed(SPLITS)}"
            )
    return notes


def _missing_notes(table: Path, names: Sequence[str], files: Sequence[str]) -> list[str]:
    absent = [name for name, file in zip(names, files, strict=True) if not file]
    if not absent:
        return []
    return [f"{table}: {len(absent):,} of {len(files):,} rows name no image that is there: {few(absent, 3)}"]


def _group_column(columns: Mapping[str, Sequence[str]], labels: Sequence[str]) -> Group | None:
    for name, values in sorted(columns.items(), key=lambda column: _are_dates(column[1])):  # places before days
        if _GROUP_WORDS.search(name) and (found := group_of(f"the column {name!r}", values, labels)):
            return found
    return None
