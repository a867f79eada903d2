"""A table with the names and labels of image files: what its rows say, and which file each name means."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import InputError
from cnn_sweep.messages import plural
from cnn_sweep.training.data.images import SUFFIXES
from cnn_sweep.training.data.tables import read_table, without_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cnn_sweep.sweep.spec.data import FilesData

    Row = tuple[str, str, str]  # file, label, split; "" for none

_SHOWN = 8  # names in a message


def read_label_table(spec: FilesData, folder: Path, notes: list[str] | None = None) -> list[Row]:
    """Return the rows of a label table as they stand there.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.
        notes: Gets what the user should know.

    Raises:
        InputError: The table cannot be read, or a row has no file.
    """
    labels = spec.labels
    path = table_path(spec, folder)
    rows = read_table(path, labels, ("filename", "label", "split"), notes)
    nameless = sum(not name for name, *_ in rows)
    if nameless:
        has_none = plural(nameless, "row has", "rows have")
        raise InputError(f"{path}: {has_none} no value in the column {labels.filename!r}")
    cleaned, missing = without_missing([label for _, label, *_ in rows], spec.classes, path)
    if notes is not None:
        notes += missing
    return [(name, label, split[0] if split else "") for (name, _, *split), label in zip(rows, cleaned, strict=True)]


def table_path(spec: FilesData, folder: Path) -> Path:
    """Return the table's file."""
    return folder / Path(spec.labels.table or "").expanduser()


def name_files(rows: Sequence[Row], root: Path, present: Sequence[str], table: Path, notes: list[str]) -> list[Row]:
    """Return the rows with the names of files that are there, from the folder of images.

    A name may lack its ending, be written in another case or with backslashes. Where not one name is found so, names
    may also begin or end in other folders: only the file's own name, or the path on the machine that wrote the table.

    Args:
        rows: As `read_label_table` gives them.
        root: The folder of images.
        present: All files there.
        table: For messages.
        notes: Gets what the user should know.

    Raises:
        InputError: None of the files is there, a name may mean several, or a file is there twice.
    """
    names = [name for name, _, _ in rows]
    meant = _meant(names, present, root, table)
    missing = [name for name, file in zip(names, meant, strict=True) if file is None]
    if len(missing) == len(names):
        raise InputError(
            f"{table}: none of its {len(names)} files is in {root}; the table has {_few(names)}; "
            f"the folder has {_few(present) or 'no files'}"
        )
    files = [file or name for name, file in zip(names, meant, strict=True)]
    _check_twice(names, files, table)
    other = [(name, file) for name, file in zip(names, files, strict=True) if name not in (file, f"./{file}")]
    if other:
        notes.append(
            f"{table}: {plural(len(other), 'name is', 'names are')} not written like the file, such as "
            f"{other[0][0]} for {other[0][1]}"
        )
    unused = [name for name in sorted(set(present) - set(files)) if name.lower().endswith(SUFFIXES)]
    if unused:
        many = plural(len(unused), "image is", "images are")
        notes.append(f"{root}: {many} not in {table.name}, so left aside: {_few(unused)}")
    return [(file, label, split) for file, (_, label, split) in zip(files, rows, strict=True)]


def _check_twice(names: Sequence[str], files: Sequence[str], table: Path) -> None:
    rows = defaultdict(list)
    for name, file in zip(names, files, strict=True):
        rows[file].append(name)
    twice = [
        file if set(found) == {file} else f"{file} (as {_few(found)})" for file, found in rows.items() if found[1:]
    ]
    if twice:
        raise InputError(f"{table}: files that stand there twice: {_few(sorted(twice))}")


def _meant(names: Sequence[str], present: Sequence[str], root: Path, table: Path) -> list[str | None]:
    """Return the file that each name means; None if there is no such file."""
    there, inside = set(present), f"{root.resolve()}/"
    plain = [name if name in there else _plain(name, inside) for name in names]
    if there.issuperset(plain):
        return list(plain)
    by_name = _by(present, lambda file: [file.casefold(), _stem(file).casefold()])
    found = [
        file if file in there or (root / file).is_file() else _only(by_name, file.casefold(), table) for file in plain
    ]
    if any(found):
        return found
    # Not one: so the table begins at another folder.
    by_end = _by(present, lambda file: [end for path in (file, _stem(file)) for end in _ends(path.casefold())])
    longer = [_only(by_end, file.casefold(), table) for file in plain]
    if any(longer):
        return longer
    candidates = [[by_name.get(end, []) for end in _ends(file.casefold())] for file in plain]
    return [next((files[0] for files in of_name if len(files) == 1), None) for of_name in candidates]


def _plain(name: str, inside: str) -> str:
    """Write a path with slashes, and from the folder of images if it leads into it."""
    path = os.path.normpath(name.replace("\\", "/"))
    return path.removeprefix(inside) if path.startswith("/") else path


def _by(present: Iterable[str], keys: Callable[[str], list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for file in present:
        if file.lower().endswith(SUFFIXES):
            for key in dict.fromkeys(keys(file)):
                found[key].append(file)
    return found


def _only(files: dict[str, list[str]], name: str, table: Path) -> str | None:
    found = files.get(name, [])
    if len(found) > 1:
        raise InputError(f"{table}: {name!r} may be {_few(found)}; write its whole path, from the folder of images")
    return found[0] if found else None


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]  # noqa: PTH122 - of each of 25,000 names; a Path takes ten times as long


def _ends(path: str) -> list[str]:
    """Return a path, and what remains without its first folder, its first two, and so on.

    >>> _ends("a/b/c.jpg")
    ['a/b/c.jpg', 'b/c.jpg', 'c.jpg']
    """
    parts = path.split("/")
    return ["/".join(parts[k:]) for k in range(len(parts))]


def _few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
