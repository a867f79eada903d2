"""Label tables: reads CSV or Parquet, and finds the image files that the rows name."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from cnn_sweep.csv_tables import MISSING, read_csv
from cnn_sweep.errors import InputError, SettingError, blamed_on
from cnn_sweep.messages import few, listed, near, plural, show
from cnn_sweep.regular_files import check_regular
from cnn_sweep.training.data.groups import is_pattern
from cnn_sweep.training.data.image_decoder import SUFFIXES
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import FilesData, Labels, TileLabels

PARQUET = (".parquet", ".pq")


class Row(NamedTuple):
    """A row of a label table; "" for no value."""

    file: str
    label: str
    split: str = ""
    group: str = ""


def read_table(
    path: Path,
    labels: Labels | TileLabels,
    keys: Sequence[str],
    notes: list[str] | None = None,
    group: str | None = None,
) -> list[tuple[str, ...]]:
    """Return the requested columns of all rows as stripped text.

    Empty rows, which spreadsheets leave at the end, are ignored.

    Args:
        path: The table.
        labels: Section of the sweep file that names the columns.
        keys: Keys of the requested columns, such as ``label``; keys without a column are ignored.
        notes: Receives remarks for the user.
        group: Column of the group, which follows the others; None for none.

    Raises:
        InputError: The file cannot be read, a column is missing or duplicated, or a row does not match the header.
    """
    with blamed_on("data", "labels", "table"):
        names = {f"labels.{key}": name for key in keys if (name := getattr(labels, key)) is not None}
        return _read_table(path, names | ({} if group is None else {"group": group}), notes)


def _read_table(path: Path, names: dict[str, str], notes: list[str] | None) -> list[tuple[str, ...]]:
    columns = list(names.values())
    is_parquet = path.suffix.lower() in PARQUET
    header, rows = _parquet(path) if is_parquet else read_csv(path, columns, notes)
    times, places = Counter(header), {name: place for place, name in enumerate(header)}
    for key, column in names.items():
        if column not in times:
            message = f"{path}: no column {column!r}{near(column, header)}; it has {listed(header)}"
            raise SettingError(message, ("data", *key.split(".")))
        if times[column] > 1:
            raise InputError(f"{path}: {times[column]} columns are called {column!r}; rename all but one")
    filled = [(line, row) for line, row in rows if any(value.strip() for value in row)]
    for line, row in filled:
        if len(row) < len(header) or any(value.strip() for value in row[len(header) :]):
            values = plural(len(row), "value", "values")
            raise InputError(
                f"{path}: line {line}: {values}, but there are {len(header)} columns: {show(row)}. Put values that "
                "contain the separator in quotes"
            )
    if not filled:
        raise InputError(f"{path}: the table has no rows")
    wanted = [places[column] for column in columns]
    return [tuple(row[place].strip() for place in wanted) for _, row in filled]


def read_columns(path: Path) -> dict[str, list[str]]:
    """Return all columns of a table as stripped text by their names; columns without a name are left out.

    Raises:
        InputError: The file cannot be read, or a row does not match the header.
    """
    is_parquet = path.suffix.lower() in PARQUET
    header, _ = _parquet(path) if is_parquet else read_csv(path)
    names = {name: name for name, times in Counter(header).items() if name and times == 1}
    if not names:
        raise InputError(f"{path}: no column has a name of its own; the first line is {show(header)}")
    rows = _read_table(path, names, None)
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def without_missing(labels: Iterable[str], classes: Collection[str] | None, path: Path) -> tuple[list[str], list[str]]:
    """Return labels with "" for missing values (NA), and notes about them.

    Args:
        labels: The values in the table.
        classes: The user's class names, which never count as missing values.
        path: The table, for messages.
    """
    words = MISSING - set(classes or ())
    cleaned, counts = [], dict[str, int]()
    for label in labels:
        if label in words:
            counts[label] = counts.get(label, 0) + 1
        cleaned.append("" if label in words else label)
    notes = [
        f"{path}: {word!r} means no label, in {plural(count, 'row', 'rows')}; if it is a class, list the classes"
        for word, count in counts.items()
    ]
    return cleaned, notes


def check_not_numbers(labels: Sequence[str], where: object) -> None:
    """Reject labels that are measurements, not classes.

    Raises:
        InputError: The labels are many different numbers; whole numbers count only below three images per number.
    """
    different = {label for label in labels if label}
    count = sum(1 for label in labels if label)
    if not all(_is_number(label) for label in different):
        return
    # Class numbers are whole, so whole numbers count as measurements only if they are many and rarely repeat.
    whole = all(float(label.replace(",", ".")).is_integer() for label in different)
    if len(different) <= (20 if whole else 5) or (whole and count >= 3 * len(different)):
        return
    shown = ", ".join(sorted(different)[:4])
    raise InputError(
        f"{where}: the labels look like numbers ({shown}, …: {len(different)} different ones for {count} images). "
        "Networks here classify and cannot predict numbers: put ranges into the label column, such as low and "
        "high; or, if each number is a class, list them in classes"
    )


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    import pandas as pd  # noqa: PLC0415 - takes half a second; most tables are CSV

    try:
        check_regular(path)
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise InputError(f"{path}: to read Parquet install pyarrow, or save the table as CSV") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path}: not a Parquet file that can be read: {error or type(error).__name__}") from error
    columns = [_texts(frame.iloc[:, place]) for place in range(frame.shape[1])]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return [str(name) for name in frame.columns], list(enumerate(rows, start=1))


def _texts(column: Any) -> list[str]:
    """Return the values as text; undo pandas' conversion of whole numbers to floats because of a missing value."""
    values = column.astype(object).where(column.notna(), "").tolist()
    is_whole = column.dtype.kind == "f" and all(value == "" or float(value).is_integer() for value in values)
    return [str(int(value)) if is_whole and value != "" else str(value) for value in values]


def read_label_table(spec: FilesData, folder: Path, notes: list[str] | None = None) -> list[Row]:
    """Return the rows of a label table.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.
        notes: Receives remarks for the user.

    Raises:
        InputError: The table cannot be read, or a row has no file.
    """
    labels = spec.labels
    path = table_path(spec, folder)
    column = None if spec.grouping is None or is_pattern(spec.grouping) else spec.grouping
    rows = read_table(path, labels, ("filename", "label", "split"), notes, column)
    nameless = sum(not name for name, *_ in rows)
    if nameless:
        has_none = plural(nameless, "row has", "rows have")
        raise InputError(f"{path}: {has_none} no value in the column {labels.filename!r}")
    cleaned, missing = without_missing([label for _, label, *_ in rows], spec.classes, path)
    if notes is not None:
        notes += missing
    found = []
    for (name, _, *more), label in zip(rows, cleaned, strict=True):
        split = more[0] if labels.split is not None else ""
        found.append(Row(name, label, split, more[-1] if column is not None else ""))
    return found


def table_path(spec: FilesData, folder: Path) -> Path:
    """Return the table's file."""
    return path_in(folder, spec.labels.table or "")


def name_files(rows: Sequence[Row], root: Path, present: Sequence[str], table: Path, notes: list[str]) -> list[Row]:
    """Replace the file names in a table's rows by the paths of existing files, relative to the folder of images.

    A name may lack its extension, differ in case, or use backslashes. If no name at all is found that way, the leading
    folders may differ, too: a name may be a bare file name, or a path from the machine that wrote the table.

    Args:
        rows: Result of `read_label_table`.
        root: The folder of images.
        present: All files in the folder.
        table: For messages.
        notes: Receives remarks for the user.

    Raises:
        InputError: None of the files exists, a name is ambiguous, or two rows name the same file.
    """
    names = [row.file for row in rows]
    meant = _meant(names, present, root, table)
    missing = [name for name, file in zip(names, meant, strict=True) if file is None]
    if len(missing) == len(names):
        raise InputError(
            f"{table}: none of its {len(names)} files is in {root}; the table has {few(names)}; "
            f"the folder has {few(present) or 'no files'}"
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
        notes.append(f"{root}: {many} not in {table.name}, so ignored: {few(unused)}")
    return [row._replace(file=file) for file, row in zip(files, rows, strict=True)]


def _check_twice(names: Sequence[str], files: Sequence[str], table: Path) -> None:
    rows = defaultdict(list)
    for name, file in zip(names, files, strict=True):
        rows[file].append(name)
    twice = [file if set(found) == {file} else f"{file} (as {few(found)})" for file, found in rows.items() if found[1:]]
    if twice:
        raise InputError(f"{table}: files that are listed twice: {few(sorted(twice))}")


def _meant(names: Sequence[str], present: Sequence[str], root: Path, table: Path) -> list[str | None]:
    """Return the file for each name; None if there is no such file."""
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
    # No name matches, so the paths in the table must start at another folder.
    by_end = _by(present, lambda file: [end for path in (file, _stem(file)) for end in _ends(path.casefold())])
    longer = [_only(by_end, file.casefold(), table) for file in plain]
    if any(longer):
        return longer
    candidates = [[by_name.get(end, []) for end in _ends(file.casefold())] for file in plain]
    return [next((files[0] for files in of_name if len(files) == 1), None) for of_name in candidates]


def _plain(name: str, inside: str) -> str:
    """Return a path with slashes, relative to the folder of images if it is inside."""
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
        raise InputError(f"{table}: {name!r} may be {few(found)}; write its whole path, from the folder of images")
    return found[0] if found else None


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]  # noqa: PTH122 - of each of 25,000 names; a Path takes ten times as long


def _ends(path: str) -> list[str]:
    """Return a path and its shorter forms, without its first folder, its first two, and so on.

    >>> _ends("a/b/c.jpg")
    ['a/b/c.jpg', 'b/c.jpg', 'c.jpg']
    """
    parts = path.split("/")
    return ["/".join(parts[k:]) for k in range(len(parts))]
