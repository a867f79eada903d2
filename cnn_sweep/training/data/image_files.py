"""Finds image files in folders and labels them by folder, file name or table, without opening an image."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.csv_tables import MISSING
from cnn_sweep.errors import InputError, SettingError, blamed_on
from cnn_sweep.messages import few, listed, near, plural
from cnn_sweep.training.data.class_names import FilePattern, class_notes, in_order
from cnn_sweep.training.data.dataset import SPLITS, UNLABELLED
from cnn_sweep.training.data.groups import groups_of_paths, is_pattern
from cnn_sweep.training.data.image_decoder import SUFFIXES, ImageOptions
from cnn_sweep.training.data.label_tables import Row, check_not_numbers, name_files, read_label_table, table_path
from cnn_sweep.training.data.raw_images import FileList, Listing
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from cnn_sweep.sweep.spec.data import FilesData, FolderData, TilesData

_SHOWN_CLASSES = 6  # classes that a message lists
# Left behind by file managers and archives; hidden files and folders are ignored, too.
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


def options_of(spec: FolderData | FilesData) -> ImageOptions:
    """Return the conversion of each image."""
    height, width = spec.image_size
    return ImageOptions(height, width, fit=spec.fit, color=spec.color, bits=spec.bits, max_pixels=spec.max_pixels)


def file_classes(spec: FolderData | FilesData, folder: Path) -> tuple[str, ...]:
    """Return the names of the classes, from folders, file names or a table.

    Raises:
        InputError: There are fewer than two classes, or a folder or table cannot be read.
    """
    with blamed_on("data", "train"):
        if spec.source == "folder":
            names = _filled_classes(spec, path_in(folder, spec.train))
        else:
            names = spec.classes or _classes_found(spec, folder)
        if len(names) < 2:
            raise InputError(
                f"{folder / spec.train}: two classes are needed, but found {listed(names)}"
                + ("; each class is a subfolder" if spec.source == "folder" else "")
            )
        for name in names:
            check_encoding(name, folder / spec.train)
    return names


def _filled_classes(spec: FolderData, root: Path) -> tuple[str, ...]:
    """Return the names of the classes; one whose folders are empty would stop the training."""
    groups = _class_folders(spec, root)
    empty = [name for name, parts in groups.items() if not any(_has_file(root / part) for part in parts)]
    if empty and len(groups) > 1:
        others = [name for name in groups if name not in empty]
        cure = "put images into its folder, or remove the folder"
        if spec.classes is not None:
            cure = "put images into its folder, or leave it out of classes"
        elif 1 < len(others) <= _SHOWN_CLASSES:
            cure += f", or list the other classes: classes: [{', '.join(others)}]"
        raise InputError(f"{root}: no image of the class {few(empty)} to train with; {cure}")
    return tuple(groups)


def _has_file(folder: Path) -> bool:
    """Return whether a folder or one below it has a file, hidden ones aside; stops at the first."""
    return any(not _is_ignored(name) for _, files in _folders_below(folder) for name in files)


def _classes_found(spec: FilesData, folder: Path) -> tuple[str, ...]:
    if spec.labels.table is None:
        labels = [label for _, label in _labelled_by_name(spec, path_in(folder, spec.train))]
    else:
        labels = [row.label for row in read_label_table(spec, folder)]
        with blamed_on("data", "labels", "label"):
            check_not_numbers(labels, table_path(spec, folder))
    return tuple(in_order({label for label in labels if label}))


def list_files(spec: FolderData | FilesData, folder: Path) -> Listing:
    """Find and label all files of a data set; validation and test shares are not split off yet.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.

    Raises:
        InputError: A folder, table or pattern yields no images; the message names it.
    """
    classes, notes = file_classes(spec, folder), list[str]()
    if spec.classes is None:
        notes += class_notes(classes)
    if spec.source == "files" and spec.labels.table is not None:
        with blamed_on("data", "labels", "table"):
            splits = _splits_of_table(spec, folder, classes, notes)
    else:
        splits = _folders(spec, folder, classes, notes)
    if spec.grouping is not None and is_pattern(spec.grouping):
        splits = {
            name: files if name == UNLABELLED else replace(files, groups=groups_of_paths(spec.grouping, files.names))
            for name, files in splits.items()
        }
    empty = [name for label, name in enumerate(classes) if not (splits["train"].y == label).any()]
    if empty:
        raise InputError(f"{splits['train'].folder}: no image of the class {', '.join(empty)} to train with")
    return Listing(splits, classes, options_of(spec), tuple(notes))


def _folders(
    spec: FolderData | FilesData, folder: Path, classes: Sequence[str], notes: list[str]
) -> dict[str, FileList]:
    splits = {}
    for name in ("train", "validation", "test"):
        place = getattr(spec, name)
        if isinstance(place, str):
            with blamed_on("data", name):
                splits[name] = _labelled_files(spec, folder, place, classes, notes)
                if name != "train" and not splits[name].names:
                    raise InputError(f"{splits[name].folder}: no images for the {name} set")
    if spec.unlabelled is not None:
        splits[UNLABELLED] = _unlabelled(spec, folder, notes)
    return splits


def _unlabelled(spec: FolderData | FilesData, folder: Path, notes: list[str]) -> FileList:
    root = _existing(path_in(folder, spec.unlabelled or ""))
    names = tuple(walk(root))
    if not names:
        notes.append(f"{root}: no images for the {UNLABELLED} set")
    return FileList(root, names, np.full(len(names), -1, np.int32))


def _labelled_files(
    spec: FolderData | FilesData, folder: Path, place: str, classes: Sequence[str], notes: list[str]
) -> FileList:
    root = _existing(path_in(folder, place))
    if (root / "__MACOSX").is_dir():
        notes.append(f"{root}: __MACOSX is ignored: archives from macOS store metadata there, not images")
    if spec.source == "folder":
        return _by_folder(spec, root, classes, notes)
    labelled = _labelled_by_name(spec, root)
    others = [name for name, label in labelled if not label]
    if others:
        notes.append(
            f"{root}: {plural(len(others), 'file does', 'files do')} not match {spec.labels.pattern!r}: {few(others)}"
        )
    found = [(name, label) for name, label in labelled if label]
    return _numbered(root, found, classes, notes, classes_given=spec.classes is not None)


def _by_folder(spec: FolderData, root: Path, classes: Sequence[str], notes: list[str]) -> FileList:
    groups = _class_folders(spec, root)
    used = {part for folders in groups.values() for part in folders}
    others = sorted(name for name in subfolders(root) if not any(_is_in(part, name) for part in used))
    if others and spec.classes is not None:
        notes.append(f"{root}: subfolders that belong to no class are ignored: {few(others)}")
    loose = sorted(path.name for path in root.iterdir() if path.name.lower().endswith(SUFFIXES) and path.is_file())
    if loose:
        notes.append(
            f"{root}: {plural(len(loose), 'image is', 'images are')} in no class folder, so ignored: {few(loose)}"
        )
    unknown = [name for name in groups if name not in classes]
    if unknown:
        raise InputError(
            f"{root}: classes that the training set lacks: {few(unknown)}; those of the training set are "
            f"{listed(classes)}"
        )
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for part in groups.get(name, ()):
            found = [f"{part}/{file}" for file in walk(root / part)]
            names += found
            labels += [label] * len(found)
    return FileList(root, tuple(names), np.array(labels, np.int32))


def _class_folders(spec: FolderData, root: Path) -> dict[str, tuple[str, ...]]:
    """Return each class's folders, relative to ``root``.

    Raises:
        InputError: A folder is missing, or belongs to two classes.
    """
    present = subfolders(_existing(root))
    if spec.classes is None:
        return {name: (name,) for name in present}
    groups: dict[str, tuple[str, ...]]
    groups = {n: (n,) for n in spec.classes} if isinstance(spec.classes, tuple) else dict(spec.classes)
    owners: dict[str, str] = {}
    for name, parts in groups.items():
        for part in parts:
            if not (root / part).is_dir():
                message = f"{root}: no subfolder {part!r}{near(part, present)}; there are {few(present)}"
                raise SettingError(message, ("data", "classes", name))
            for other, owner in owners.items():
                if _is_in(part, other) or _is_in(other, part):
                    raise InputError(f"{root}: the folder {part!r} of class {name!r} is in {other!r} of {owner!r} too")
            owners[part] = name
    return groups


def _labelled_by_name(spec: FilesData, root: Path) -> list[tuple[str, str]]:
    """Return (file, label) for all files of a folder; the label is "" if the name does not match the pattern."""
    pattern = FilePattern(spec.labels.pattern or "", spec.classes)
    names = walk(_existing(root))
    found = [(name, pattern.labels(name)) for name in names]
    doubtful = [(name, labels) for name, labels in found if len(labels) > 1]
    if doubtful:
        name, labels = doubtful[0]
        rest = f" (as with {plural(len(doubtful) - 1, 'other file', 'other files')})" if doubtful[1:] else ""
        raise SettingError(
            f"{root}: {name} fits {spec.labels.pattern!r} in several ways: its class may be {' or '.join(labels)}"
            f"{rest}. "
            "Write {number} where digits stand, as in '{class}_{number}.png', or list the classes: "
            f"classes: [{labels[-1]}, ...]",
            ("data", "labels", "pattern"),
        )
    if not any(labels for _, labels in found):
        raise SettingError(
            f"{root}: none of {len(found)} files matches {spec.labels.pattern!r}; the first are {few(names)}",
            ("data", "labels", "pattern"),
        )
    return [(name, labels[0] if labels else "") for name, labels in found]


def _numbered(
    root: Path, found: Sequence[tuple[str, str]], classes: Sequence[str], notes: list[str], *, classes_given: bool
) -> FileList:
    number = {name: label for label, name in enumerate(classes)}
    others = sorted({label for _, label in found if label not in number})
    if others and not classes_given:
        raise InputError(f"{root}: classes that the training set lacks: {few(others)}; it has {listed(classes)}")
    if others:
        notes.append(f"{root}: images of other classes are ignored: {few(others)}")
    kept = [(name, number[label]) for name, label in found if label in number]
    return FileList(root, tuple(name for name, _ in kept), np.array([label for _, label in kept], np.int32))


def _splits_of_table(spec: FilesData, folder: Path, classes: Sequence[str], notes: list[str]) -> dict[str, FileList]:
    root = _existing(path_in(folder, spec.train))
    if any(isinstance(place, str) for place in (spec.validation, spec.test)):
        way = "give it a column with the split, and name it: labels: {split: COLUMN}"
        if spec.labels.split is not None:
            way = f"its column {spec.labels.split!r} says which image is in which set"
        raise InputError(f"validation and test folders cannot be labelled by the table {spec.labels.table!r}; {way}")
    table = table_path(spec, folder)
    rows = name_files(read_label_table(spec, folder, notes), root, walk(root), table, notes)
    if spec.labels.split is not None:
        splits = split_rows(rows, root, classes, str(spec.labels.table))
        notes += without_validation(spec, splits)
    else:
        found = [(row.file, row.label) for row in rows if row.label]
        splits = {"train": _numbered(root, found, classes, notes, classes_given=spec.classes is not None)}
        unlabelled = [row.file for row in rows if not row.label]
        if unlabelled:
            splits[UNLABELLED] = FileList(root, tuple(unlabelled), np.full(len(unlabelled), -1, np.int32))
    if spec.grouping is not None and not is_pattern(spec.grouping):
        splits = _grouped_by_table(splits, rows, spec.grouping, table)
    if spec.unlabelled is not None:
        if UNLABELLED in splits:
            rows_left = plural(len(splits[UNLABELLED].names), "row without a label is", "rows without a label are")
            notes.append(f"{table}: {rows_left} ignored, since unlabelled: {spec.unlabelled} has the images to predict")
        splits[UNLABELLED] = _unlabelled(spec, folder, notes)
    return splits


def _grouped_by_table(
    splits: Mapping[str, FileList], rows: Sequence[Row], column: str, table: Path
) -> dict[str, FileList]:
    """Add the group of each labelled file."""
    group_of = {row.file: row.group for row in rows}
    labelled = [name for split, files in splits.items() if split != UNLABELLED for name in files.names]
    without = [name for name in labelled if group_of[name] in ("", *MISSING)]
    if without:
        have = plural(len(without), "image has", "images have")
        raise SettingError(f"{table}: {have} no value in the column {column!r}: {few(without)}", ("data", "group"))
    return {
        split: files if split == UNLABELLED else replace(files, groups=tuple(group_of[name] for name in files.names))
        for split, files in splits.items()
    }


def without_validation(spec: FilesData | TilesData, splits: Collection[str]) -> list[str]:
    """Return a note if a table's split column leaves the validation set empty.

    Raises:
        SettingError: The column has validation images, although folds validate.
    """
    if spec.folds is not None and "validation" in splits:
        raise SettingError(
            f"each of the {spec.folds} folds validates in turn, but the table's column {spec.labels.split!r} puts "
            "images into a validation set; write train for them",
            ("data", "folds"),
        )
    if "validation" in splits or spec.folds is not None:
        return []
    column = spec.labels.split
    note = f"the table's column {column!r} puts no image into the validation set: there is nothing to compare trials by"
    return [f"{note}, unless the objective is a metric of the training set"]


def split_rows(rows: Iterable[Row], root: Path, classes: Sequence[str], table: str) -> dict[str, FileList]:
    """Return the files of each split, from a table's rows.

    Raises:
        InputError: A split has an unknown name, or a row lacks its label.
    """
    number = {name: label for label, name in enumerate(classes)}
    found: dict[str, list[tuple[str, int]]] = {name: [] for name in SPLITS}
    for name, label, split, _ in rows:
        if split not in SPLITS:
            raise InputError(f"{table}: {name}: unknown split {split!r}{near(split, SPLITS)}; valid: {listed(SPLITS)}")
        if split != UNLABELLED and not label:
            raise InputError(f"{table}: {name} is in the {split} set, but has no label")
        if split != UNLABELLED and label not in number:
            raise InputError(f"{table}: {name}: label {label!r} is not a class; valid: {listed(classes)}")
        found[split].append((name, -1 if split == UNLABELLED else number[label]))
    return {
        split: FileList(root, tuple(name for name, _ in files), np.array([y for _, y in files], np.int32))
        for split, files in found.items()
        if files or split == "train"
    }


def _existing(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    return root


def subfolders(root: Path) -> list[str]:
    """Return the names of a folder's folders in the order of classes, without hidden ones."""
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not _is_ignored(entry.name)]
    for name in names:
        check_encoding(name, root)
    return in_order(names)


def check_encoding(name: str, root: Path) -> None:
    """Check that a folder's or file's name can be that of a class, which is written into texts in UTF-8.

    Raises:
        InputError: It cannot.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name)
        raise InputError(
            f"{root}: the name {shown!r} is not text in UTF-8, so it cannot be that of a class; rename it "
            "(`convmv -r -f latin1 -t utf8 --notest FOLDER` renames many)"
        ) from None


def walk(root: Path) -> list[str]:
    """Return all files below a folder as sorted relative paths with slashes, without hidden files."""
    found = []
    for at, files in _folders_below(root):
        inner = Path(at).relative_to(root).as_posix()
        start = "" if inner == "." else f"{inner}/"
        found += [start + name for name in files if not _is_ignored(name)]
    return sorted(found)


def _folders_below(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and each one below it, without hidden ones, with its files; a folder with several links once."""
    seen = {_inode(root)}
    for at, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        inodes = {name: _inode(Path(at) / name) for name in folders if not _is_ignored(name)}
        folders[:] = [name for name, inode in inodes.items() if inode not in seen]  # a link may lead to a parent
        seen.update(inodes.values())
        yield at, files


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _refuse(error: OSError) -> None:
    """Raise an error for an unreadable folder; otherwise its images would be missing without notice."""
    raise InputError(f"{error.filename}: {error.strerror or error}")


def _inode(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_in(part: str, folder: str) -> bool:
    return part == folder or part.startswith(f"{folder}/")


def stamp(splits: Mapping[str, FileList]) -> list[list[Any]]:
    """Return names, sizes and modification times of all files, which show whether a file has changed."""
    found: list[list[Any]] = []
    for split, files in splits.items():
        root = str(files.folder)
        for name, label in zip(files.names, files.y.tolist(), strict=True):
            try:
                status = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118 - of 25,000 files; a Path takes four times as long
                found.append([split, name, label, status.st_size, status.st_mtime_ns])
            except OSError as error:
                found.append([split, name, label, error.errno])
        if files.groups is not None:
            found.append([split, *files.groups])
    return found
