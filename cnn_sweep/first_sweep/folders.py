"""Looks at a folder of images: finds out where the classes and the sets are."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.file_names import NamedClasses, group_in, patterns_in, read_pattern
from cnn_sweep.first_sweep.findings import Findings, Group, shown_counts, suffixes_of
from cnn_sweep.first_sweep.label_columns import LabelColumns, read_label_columns
from cnn_sweep.messages import few, listed, plural
from cnn_sweep.training.data.class_names import in_order
from cnn_sweep.training.data.dataset import UNLABELLED
from cnn_sweep.training.data.image_decoder import SUFFIXES, cures_of
from cnn_sweep.training.data.image_files import subfolders, walk
from cnn_sweep.training.data.image_headers import Appearance, sample_images
from cnn_sweep.training.data.label_tables import PARQUET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

TABLES: Final = (".csv", ".tsv", *PARQUET)
_LABEL_COLUMN = re.compile(
    r"label|class|category|categories|kategorie|species|spezies|taxon|gattung|klasse|tierart", re.IGNORECASE
)
_SET_WORDS: Final = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("pred", "predict", "unlabelled", "unlabeled"), UNLABELLED),
}


@dataclass(frozen=True)
class LabelWishes:
    """What the user says about labels.

    Attributes:
        pattern: A pattern of file names, or None.
        table: A table of labels, or None.
        column: The table's column of classes, or None.
    """

    pattern: str | None = None
    table: Path | None = None
    column: str | None = None


def look_in_folder(root: Path, wishes: LabelWishes) -> Findings:
    """Find classes and sets in a folder of images.

    Raises:
        InputError: There are no images, or no classes; the message says what was looked for.
    """
    images = images_in(root)
    if not images:
        raise InputError(_no_images(root))
    if wishes.pattern is not None:
        return _by_pattern(root, images, wishes.pattern)
    if wishes.table is not None:
        return by_table(wishes.table, root, images, wishes.column)
    inner = unwrapped(root)
    sets = set_folders(inner)
    tables = _tables_in(root, inner, *sets.values())
    if (table := _label_table(tables, root, images, wishes.column)) is not None:
        return by_table(table, root, images, wishes.column)
    if sets:
        return _in_sets(root, sets)
    return _class_folders(root, inner) if len(_with_images(inner)) > 1 else _flat(root, images, tables)


def images_in(root: Path) -> list[str]:
    """Return the image files below a folder, sorted, as relative paths."""
    return [name for name in walk(root) if name.lower().endswith(SUFFIXES)]


def unwrapped(root: Path) -> Path:
    """Return the folder itself, or the one inside that alone has folders, as in seg_train/seg_train/forest."""
    while len(inside := subfolders(root)) == 1 and not _files_in(root) and subfolders(root / inside[0]):
        root /= inside[0]
    return root


def set_folders(root: Path) -> dict[str, Path]:
    """Return the folders of training, validation, test and unlabelled images; empty if they are not divided so."""
    found: dict[str, Path] = {}
    for name in subfolders(root):
        words = {_SET_WORDS[word] for word in re.split(r"[_\-. ]+", name.casefold()) if word in _SET_WORDS}
        if len(words) != 1:
            continue
        (word,) = words
        if word in found:
            return {}
        found[word] = root / name
    return found if "train" in found and len(found) > 1 else {}


def by_table(table: Path, root: Path, images: Sequence[str], column: str | None) -> Findings:
    """Read the classes of images from a table.

    Raises:
        InputError: The table cannot be used.
    """
    columns = read_label_columns(table, images, column)
    files = [file for file in columns.files if file]
    folder = _common_folder(files)
    labels: dict[str, Any] = {"table": table, "filename": columns.filename, "label": columns.label}
    if columns.split:
        labels["split"] = columns.split
    rows = [
        (label, kind) for file, label, kind in zip(columns.files, columns.labels, columns.sets, strict=True) if file
    ]
    counts = Counter(label for label, kind in rows if label and kind == "train")
    sets = Counter(kind if label else UNLABELLED for label, kind in rows)
    sets.pop("train", None)
    train = root / folder
    notes = list(columns.notes)
    if others := sorted(set(images) - set(files)):
        notes.append(f"{plural(len(others), 'image is', 'images are')} not in {table.name}, so not used")
    return Findings(
        name=root.resolve().name,
        what=f"{plural(len(files), 'image file')} whose classes are in the column {columns.label!r} of {table.name}",
        data={"source": "files", "train": train, "labels": labels},
        counts={name: counts[name] for name in in_order(counts)},
        look=_look(root, files),
        sets=dict(sets),
        choices=columns.choices,
        group=columns.group or _group_of_files(columns),
        notes=tuple(notes),
    )


def _group_of_files(columns: LabelColumns) -> Group | None:
    pairs = [(file, label) for file, label in zip(columns.files, columns.labels, strict=True) if file and label]
    return group_in([file for file, _ in pairs], [label for _, label in pairs])


def _label_table(tables: Sequence[Path], root: Path, images: Sequence[str], column: str | None) -> Path | None:
    """Return the table in the folder that says what the classes are; None if none does, so that folders may.

    Raises:
        InputError: The user named a column, but there is no table.
    """
    if column is not None:
        if not tables:
            raise InputError(f"--label-column {column}: no table in {root}; name one: --labels TABLE.csv")
        return tables[0]
    for table in tables:
        with contextlib.suppress(InputError):  # a table of something else
            if _LABEL_COLUMN.search(read_label_columns(table, images, None).label):
                return table
    return None


def _in_sets(root: Path, sets: Mapping[str, Path]) -> Findings:
    """Read a folder with a folder of its own for each set."""
    train = unwrapped(sets["train"])
    if len(_with_images(train)) < 2:
        return _flat_sets(root, {**sets, "train": train})
    found = _class_folders(root, train)
    data, counts, notes = dict(found.data), dict[str, int](), list(found.notes)
    for name, folder in sets.items():
        if name == "train":
            continue
        place, inside = unwrapped(folder), images_in(folder)
        own = name if name == UNLABELLED or subfolders(place) else UNLABELLED if name == "test" else ""
        if not inside or not own or own in data:
            reason = "has no images" if not inside else "has no class folders"
            notes.append(f"{folder.name} {reason}, so it is not used")
            continue
        if own != UNLABELLED:
            _check_classes(place, found.counts)
        elif name != UNLABELLED:
            notes.append(f"{folder.name} has no class folders, so its images are taken as unlabelled, to be predicted")
        data[own], counts[own] = place, len(inside)
    what = f"{found.what}, in folders for {listed(['training', *counts])}"
    return replace(found, what=what, data=data, sets=counts, notes=tuple(notes))


def _check_classes(folder: Path, known: Mapping[str, int]) -> None:
    unknown = [name for name in _with_images(folder) if name not in known]
    if unknown:
        raise InputError(
            f"{folder}: class folders that the training set lacks: {few(unknown)}; those of the training set are "
            f"{few(list(known))}. Give a class the same name in each set"
        )


def _flat_sets(root: Path, sets: Mapping[str, Path]) -> Findings:
    """Read folders for sets in which classes are in the names of files."""
    images = images_in(sets["train"])
    patterns = patterns_in(images) if images else []
    if not patterns:
        raise InputError(_no_classes(sets["train"], images))
    best = patterns[0]
    data, counts, notes = _data_of(best, sets["train"]), dict[str, int](), list[str]()
    for name, folder in sets.items():
        inside = images_in(folder)
        if name == "train" or not inside:
            continue
        found = read_pattern(best.pattern, inside, best.classes if best.listed else None)
        own = name if found and set(found.classes) <= set(best.classes) else UNLABELLED
        if own != name and (name == "validation" or own in data):
            notes.append(f"{folder.name}: its files do not match {best.pattern!r}, so it is not used")
            continue
        data[own], counts[own] = folder, len(inside)
    return replace(_named(root, sets["train"], images, patterns), data=data, sets=counts, notes=tuple(notes))


@dataclass(frozen=True)
class _Classes:
    """Class folders: the images of each, and the key ``classes`` if it is needed."""

    files: dict[str, list[str]]
    groups: dict[str, list[str]] | list[str] | None = None
    group: Group | None = None
    notes: list[str] = field(default_factory=list)


def _class_folders(root: Path, train: Path) -> Findings:
    """Read a folder with a folder for each class."""
    classes = _nested(train) or _one_level(train)
    files = [file for own in classes.files.values() for file in own]
    labels = [label for label, own in classes.files.items() for _ in own]
    data: dict[str, Any] = {"source": "folder", "train": train}
    if classes.groups is not None:
        data["classes"] = classes.groups
    if loose := [name for name in _files_in(train) if name.lower().endswith(SUFFIXES)]:
        many = plural(len(loose), "image is", "images are")
        classes.notes.append(f"{many} in no class folder, so not used: {few(loose, 3)}")
    if odd := [name for name in walk(train) if "/" in name and not name.lower().endswith(SUFFIXES)]:
        kinds = shown_counts(suffixes_of(odd))
        many = plural(len(odd), "other file is", "other files are")
        cures = "".join(f"; {cure}" for cure in cures_of(suffixes_of(odd)))
        classes.notes.append(f"{many} among the images ({kinds}); `cnn-sweep data prepare` leaves them out{cures}")
    return Findings(
        name=root.resolve().name,
        what=f"{len(files):,} image files in {len(classes.files):,} class folders",
        data=data,
        counts={name: len(own) for name, own in classes.files.items()},
        look=_look(train, files),
        group=classes.group or group_in(files, labels),
        notes=tuple(classes.notes),
    )


def _one_level(train: Path) -> _Classes:
    """Take each folder as a class, with all images below it."""
    files = _with_images(train)
    empty = [name for name in subfolders(train) if name not in files]
    notes = []
    if empty:
        notes.append(f"{plural(len(empty), 'folder has', 'folders have')} no images, so left out: {few(empty)}")
    inner = {file.split("/")[1].casefold() for own in files.values() for file in own if file.count("/") > 1}
    if len(inner) > 1 and inner <= set(_SET_WORDS):
        notes.append(
            f"the class folders have folders for sets ({listed(sorted(inner))}), which are not read: all images of a "
            "class are divided anew. To keep the sets, make them the outer folders: train/CLASS, test/CLASS"
        )
    return _Classes(files, list(files) if empty else None, notes=notes)


def _nested(train: Path) -> _Classes | None:
    """Read site1/fox, site1/deer, site2/fox: the inner folders are the classes if most of them recur."""
    files = _with_images(train)
    pairs: dict[str, list[str]] = {}
    for outer, own in files.items():
        inner = dict.fromkeys(file.split("/")[1] for file in own if file.count("/") > 1)
        if not inner or any(file.count("/") == 1 for file in own):
            return None
        for name in inner:
            pairs.setdefault(name, []).append(f"{outer}/{name}")
    recurring = sum(len(places) > 1 for places in pairs.values())
    if len(pairs) < 2 or recurring <= len(pairs) / 2 or {name.casefold() for name in pairs} <= set(_SET_WORDS):
        return None
    groups = {name: pairs[name] for name in in_order(pairs)}
    every = [file for own in files.values() for file in own]
    by_class = {name: [file for file in every if file.split("/")[1] == name] for name in groups}
    group = Group("the outer folder", tuple(list(files)[:3]), len(files))
    note = f"the inner folders ({few(list(groups), 4)}) are the classes, since they recur in {few(list(files), 3)}"
    return _Classes(by_class, groups, group, [note])


def _flat(root: Path, images: Sequence[str], tables: Sequence[Path]) -> Findings:
    """Read images that are all in one folder: classes from a table, or from the names of the files."""
    if patterns := patterns_in(images):
        return _named(root, root / _common_folder(images), images, patterns)
    if len(tables) == 1:
        return by_table(tables[0], root, images, None)  # its message says why it cannot be used
    raise InputError(_no_classes(root, images))


def _by_pattern(root: Path, images: Sequence[str], pattern: str) -> Findings:
    names = [name.rpartition("/")[2] for name in images] if "/" not in pattern else images
    found = read_pattern(pattern, names)
    if found is None:
        raise InputError(
            f"--labels {pattern!r} does not divide the {plural(len(images), 'image')} in {root} into classes: it must "
            f"match nearly all names in one way each, and give classes that repeat. The first are {few(images, 3)}"
        )
    return _named(root, root if "/" in pattern else root / _common_folder(images), images, [found])


def _named(root: Path, train: Path, images: Sequence[str], patterns: Sequence[NamedClasses]) -> Findings:
    """Return the findings about files whose names have their classes."""
    best = patterns[0]
    counts = Counter(label for label in best.labels if label)
    unmatched = [name for name, label in zip(images, best.labels, strict=True) if not label]
    notes = []
    if unmatched:
        verb = plural(len(unmatched), "name does", "names do")
        notes.append(f"{verb} not match {best.pattern!r}, so not used: {few(unmatched, 3)}")
    return Findings(
        name=root.resolve().name,
        what=f"{plural(len(images), 'image file')} whose classes are in their names: {best.pattern}",
        data=_data_of(best, train),
        counts={name: counts[name] for name in best.classes},
        look=_look(train, _relative(images, root, train)),
        choices=tuple(found.choice for found in patterns) if len(patterns) > 1 else (),
        group=group_in(images, best.labels),
        notes=tuple(notes),
    )


def _data_of(found: NamedClasses, train: Path) -> dict[str, Any]:
    data: dict[str, Any] = {"source": "files", "train": train, "labels": {"pattern": found.pattern}}
    return data | ({"classes": found.classes} if found.listed else {})


def _relative(images: Sequence[str], root: Path, train: Path) -> list[str]:
    """Return paths from the folder of training images; those that already are such paths stay."""
    inner = train.relative_to(root).as_posix() if train.is_relative_to(root) else "."
    start = "" if inner == "." else f"{inner}/"
    return [name.removeprefix(start) for name in images]


def _look(root: Path, files: Sequence[str]) -> Appearance:
    look = sample_images(root, files)
    if look is None:
        raise InputError(f"{root}: none of the images can be read; the first are {few(files, 3)}")
    return look


def _with_images(root: Path) -> dict[str, list[str]]:
    """Return the images below each folder that has some, as paths from ``root``."""
    found: dict[str, list[str]] = {}
    for name in images_in(root):
        if "/" in name:
            found.setdefault(name.partition("/")[0], []).append(name)
    return {name: found[name] for name in in_order(found)}


def _files_in(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_file() and not entry.name.startswith("."))


def _tables_in(*folders: Path) -> list[Path]:
    """Return the tables in folders, in the order of the folders."""
    found = [folder / name for folder in folders for name in _files_in(folder) if name.lower().endswith(TABLES)]
    return list(dict.fromkeys(found))


def _common_folder(files: Iterable[str]) -> str:
    return os.path.commonpath([os.path.dirname(name) for name in files] or [""])  # noqa: PTH120 - of each of 25,000 names


def _no_images(root: Path) -> str:
    names = walk(root)
    message = f"{root}: no images found; looked for files ending in {listed(SUFFIXES)}, in capitals too"
    if not names:
        return f"{message}. The folder has no files"
    kinds = suffixes_of(names)
    return ". ".join(
        [f"{message}. It has {plural(len(names), 'other file')} ({shown_counts(kinds)})", *cures_of(kinds)]
    )


def _no_classes(root: Path, images: Sequence[str]) -> str:
    return (
        f"{root}: {plural(len(images), 'image')}, but no two classes: there are no two folders with images, no table "
        f"with the names of files, and the file names (such as {few([name.rpartition('/')[2] for name in images], 3)}) "
        "show no class. Put the images of each class into a folder of its own; or name a table: --labels labels.csv; "
        "or a pattern of file names: --labels '{class}_{number}.jpg'"
    )
