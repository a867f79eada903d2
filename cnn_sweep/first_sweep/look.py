"""Looks at what the user names: a folder, a table, arrays, or a data set that comes with a library."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.arrays import look_at_npy, look_at_npz, look_at_rds
from cnn_sweep.first_sweep.findings import Findings
from cnn_sweep.first_sweep.folders import TABLES, LabelWishes, by_table, images_in, look_in_folder
from cnn_sweep.first_sweep.label_columns import choose_label, split_column
from cnn_sweep.messages import listed, near, point_hint, show
from cnn_sweep.training.data.benchmark_sets import SETS
from cnn_sweep.training.data.class_names import in_order
from cnn_sweep.training.data.dataset import UNLABELLED
from cnn_sweep.training.data.image_decoder import SUFFIXES
from cnn_sweep.training.data.image_headers import Appearance, size_of
from cnn_sweep.training.data.label_tables import read_columns, without_missing
from cnn_sweep.training.data.sources import DIGITS
from cnn_sweep.validation import path_in

_TRAINING_IMAGES: Final = {"mnist": 60_000, "fashion_mnist": 60_000, "cifar10": 50_000}
_DIGITS_IMAGES: Final = 1_797
_TEST_IMAGES: Final = 10_000
_DIGITS: Final = 9  # of a tile's row or column; more than any picture has
NAMED: Final = ("digits", *_TRAINING_IMAGES)
_OTHERS: Final = {
    (".yaml", ".yml"): "is no image but seems to be a sweep file; to show its trials: cnn-sweep plan {path}",
    (".xlsx", ".xls", ".ods"): "is a spreadsheet; save it as CSV (UTF-8)",
    (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar"): "is an archive; unpack it and name the folder",
    (
        ".h5",
        ".hdf5",
        ".mat",
        ".pkl",
    ): "cannot be read; save the arrays as .npz: numpy.savez(FILE, x_train=…, y_train=…)",
}


def look_at(text: str, wishes: LabelWishes) -> Findings:
    """Find out what the user's images are.

    Args:
        text: A folder or file, or one of `NAMED`.
        wishes: What the user says about labels.

    Raises:
        InputError: There is nothing that can be used; the message says what was looked for.
        EnvironmentFault: A package that reads the files is missing.
    """
    path = path_in(Path(), text)
    if text in NAMED and not path.exists():
        return _named(text)
    if path.is_dir():
        return _folder(path, wishes)
    if not path.exists():
        hint = point_hint(text) or near(text, NAMED)
        raise InputError(
            f"{text}: no such file or folder{hint}. Name a folder of images, a table or arrays, or {listed(NAMED)}"
        )
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return _table(path, wishes)
    if suffix == ".npz":
        return look_at_npz(path)
    if suffix == ".npy":
        return look_at_npy(path.parent, path.parent.resolve().name)
    if suffix == ".rds":
        return look_at_rds(_with_suffix(path.parent, ".rds"))
    raise InputError(_not_usable(path, suffix))


def _folder(path: Path, wishes: LabelWishes) -> Findings:
    images = [file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES)]
    if wishes.table is None and wishes.pattern is None and 0 < len(images) <= 3:
        for table in sorted(file for file in path.iterdir() if file.suffix.lower() in TABLES):
            if (found := _tiles(table, images, wishes.column)) is not None:
                return found
    if (rds := _with_suffix(path, ".rds")) and not images:
        return look_at_rds(rds)
    if not images and (archives := _with_suffix(path, ".npz")):
        return look_at_npz(archives[0])
    if not images and _with_suffix(path, ".npy"):
        return look_at_npy(path, path.resolve().name)
    return look_in_folder(path, wishes)


def _table(table: Path, wishes: LabelWishes) -> Findings:
    """Read a table of the images beside it."""
    root = table.parent
    beside = [file for file in root.iterdir() if file.name.lower().endswith(SUFFIXES)]
    if (tiles := _tiles(table, beside, wishes.column)) is not None:
        return tiles
    images = images_in(root)
    if not images:
        raise InputError(
            f"{table}: no images in its folder, {root.absolute()}; put the table beside the folder of images"
        )
    return replace(by_table(table, root, images, wishes.column), name=table.stem)


def _tiles(table: Path, pictures: list[Path], column: str | None) -> Findings | None:
    """Read a table of the tiles of one picture: its rows and columns; None if it is not such a table."""
    columns = read_columns(table)
    row, across = (
        next((name for name in columns if name.lower() in words), "") for words in (("row",), ("column", "col"))
    )
    if not row or not across or not all(value.isdecimal() for name in (row, across) for value in columns[name]):
        return None
    if far := next((value for name in (row, across) for value in columns[name] if len(value) > _DIGITS), None):
        raise InputError(f"{table}: no picture has a tile in row or column {show(far)}")
    rows, wide = (max(map(int, columns[name])) + 1 for name in (row, across))
    sizes = {path: size for path in pictures if (size := size_of(path)) is not None}
    if not sizes:
        return None
    # A mask or a preview may be beside the picture; the picture is the larger file.
    picture = max(sizes, key=lambda path: path.stat().st_size)
    side = min(sizes[picture][0] // rows, sizes[picture][1] // wide)
    if side < 1:
        pixels = " x ".join(map(str, sizes[picture]))
        raise InputError(f"{table}: {rows:,} rows and {wide:,} columns of tiles; {picture.name} has {pixels} pixels")
    split = split_column(columns)
    rest = {name: values for name, values in columns.items() if name not in (row, across, split)}
    label, choices = choose_label(table, rest, column)
    names = {"table": table, "row": row, "column": across, "label": label} | ({"split": split} if split else {})
    labels, _ = without_missing(columns[label], None, table)
    kinds = columns[split] if split else ["train" if own else UNLABELLED for own in labels]
    counts = Counter(own for own, kind in zip(labels, kinds, strict=True) if own and kind == "train")
    others = Counter(kind for kind in kinds if kind != "train")
    return Findings(
        name=table.parent.resolve().name,
        what=f"tiles of {picture.name}, labelled in {table.name}",
        data={"source": "tiles", "picture": picture, "size": side, "labels": names},
        counts={own: counts[own] for own in in_order(counts)},
        look=Appearance.of_arrays((side, side, 3)),
        sets=dict(others),
        choices=choices if len(choices) > 1 else (),
        notes=(_tile_note(side, sizes[picture], rows, wide),),
    )


def _tile_note(side: int, size: tuple[int, int], rows: int, columns: int) -> str:
    return (
        f"the size of a tile, {side} pixels, is a guess: the picture has {size[0]} x {size[1]} pixels and the table "
        f"{rows} rows and {columns} columns. If it is wrong, change data.size"
    )


def _named(name: str) -> Findings:
    """Return the findings about a data set that a library carries or downloads."""
    shape, classes = (
        (DIGITS.image_shape, DIGITS.class_names) if name == "digits" else (SETS[name].shape, SETS[name].class_names)
    )
    total = _TRAINING_IMAGES.get(name, _DIGITS_IMAGES)
    notes = (
        ()
        if name == "digits"
        else ("Keras downloads these images once, on the first `cnn-sweep data prepare` or `run`",)
    )
    return Findings(
        name=name,
        what=f"{total:,} images to train with, from {'scikit-learn' if name == 'digits' else 'Keras'}",
        data={"source": name},
        # About the same number of each; the exact ones make no difference here.
        counts={own: total // len(classes) + (place < total % len(classes)) for place, own in enumerate(classes)},
        look=Appearance.of_arrays(shape),
        sets={} if name == "digits" else {"test": _TEST_IMAGES},
        notes=notes,
    )


def _with_suffix(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix)


def _not_usable(path: Path, suffix: str) -> str:
    for endings, reason in _OTHERS.items():
        if suffix in endings:
            return f"{path} {reason.format(path=path)}"
    if suffix in SUFFIXES:
        return (
            f"{path}: one image. Name its folder; or, to cut one large picture into tiles, put a table with the "
            "columns row, column and label beside it and name the table"
        )
    return f"{path}: not a folder of images, a table ({listed(TABLES)}) or arrays (.npz, .npy, .rds)"
