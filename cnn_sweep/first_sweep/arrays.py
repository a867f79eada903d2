"""Looks at arrays: .npz archives, pairs of .npy files, and R lists of images in .rds files."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.findings import ArrayIn, Findings
from cnn_sweep.messages import few, listed, plural
from cnn_sweep.regular_files import check_regular
from cnn_sweep.training.data.arrays import image_shape, open_images, read_labels
from cnn_sweep.training.data.class_names import in_order
from cnn_sweep.training.data.dataset import UNLABELLED
from cnn_sweep.training.data.image_headers import Appearance
from cnn_sweep.training.data.rds import read_list
from cnn_sweep.training.data.sources import class_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What images are called, and their labels beside them.
_PAIRS: Final = (("x", "y"), ("images", "labels"), ("image", "label"), ("data", "target"), ("arr_0", "arr_1"))
_SETS: Final = {
    "train": ("train", "training", ""),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_RDS = re.compile(r"(.+?)[_\-.](train|training|val|valid|validation|test|testing)", re.IGNORECASE)
_RDS_SETS: Final = {word: name for name, words in _SETS.items() for word in words if word}


def look_at_npz(path: Path) -> Findings:
    """Find images and labels in an .npz archive.

    Raises:
        InputError: The archive cannot be read, or its arrays are not recognized.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path} is not an .npz archive: {error}") from error
    return _findings(path.stem, path, {name: ArrayIn(path, name) for name in names})


def look_at_npy(folder: Path, stem: str) -> Findings:
    """Find images and labels among the .npy files of a folder.

    Args:
        folder: Where they are.
        stem: Name of the data.

    Raises:
        InputError: No two files are images and their labels.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".npy")
    return _findings(stem, folder, {path.stem: ArrayIn(path) for path in files})


def look_at_rds(files: Sequence[Path]) -> Findings:
    """Find the classes and sets of .rds files in their names, such as bush_train.rds.

    Raises:
        InputError: The names show no two classes, or a file cannot be read.
        EnvironmentFault: The package rdata is missing.
    """
    classes: dict[str, dict[str, Path]] = {}
    loose = [path for path in files if not _RDS.fullmatch(path.stem)]
    for path in files:
        if match := _RDS.fullmatch(path.stem):
            classes.setdefault(match[1], {})[_RDS_SETS[match[2].lower()]] = path
    unlabelled = [path for path in loose if "unlabel" in path.stem.lower() or "pred" in path.stem.lower()]
    if not classes:
        classes = {path.stem: {"train": path} for path in loose if path not in unlabelled}
    usable = {name: classes[name] for name in in_order(classes) if "train" in classes[name]}
    if len(usable) < 2:
        raise InputError(
            f"{files[0].parent}: {plural(len(files), '.rds file')} ({few([path.name for path in files], 4)}), but no "
            "two classes: name them CLASS_train.rds and CLASS_validation.rds, each an R list of imager's images"
        )
    return _of_rds(files[0].parent, usable, unlabelled)


def _of_rds(folder: Path, classes: Mapping[str, dict[str, Path]], unlabelled: Sequence[Path]) -> Findings:
    counts, sets = dict[str, int](), Counter[str]()
    shape = None
    for name, own in classes.items():
        images = [value for _, value in read_list(own["train"])]
        counts[name] = len(images)
        shape = shape or next((value.shape for value in images if getattr(value, "ndim", 0) == 4), None)
        sets.update({kind: len(read_list(path)) for kind, path in own.items() if kind != "train"})
    if shape is None:
        raise InputError(f"{folder}: the .rds files hold no images, which are arrays of width x height x 1 x channels")
    data: dict[str, Any] = {"source": "rds", "classes": dict(classes)}
    if unlabelled:
        data["unlabelled"] = unlabelled[0]
        sets[UNLABELLED] = len(read_list(unlabelled[0]))
    return Findings(
        name=folder.resolve().name,
        what=f"{sum(counts.values()):,} images of {len(classes)} classes in R lists",
        data=data,
        counts=counts,
        look=Appearance.of_arrays((shape[1], shape[0], shape[3])),
        sets=dict(sets),
    )


def _findings(name: str, place: Path, arrays: Mapping[str, ArrayIn]) -> Findings:
    pairs = _pairs(arrays)
    if "train" not in pairs:
        raise InputError(
            f"{place}: no images with labels among {listed(arrays)}; call them x_train and y_train (or x and y), and "
            "if there are other sets, x_validation, y_validation, x_test and y_test"
        )
    data: dict[str, Any] = {"source": "arrays"}
    sets: dict[str, int] = {}
    for kind, (x, y) in pairs.items():
        data[kind] = {"x": x, "y": y}
        if kind != "train":
            sets[kind] = len(read_labels(_text(y), Path())[0])
    x, y = pairs["train"]
    shape = image_shape(_text(x), Path())
    labels, classes, _ = read_labels(_text(y), Path())
    if x.path.suffix.lower() == ".npy" and len(images := open_images(_text(x), Path())) != len(labels):
        raise InputError(f"{x.path} holds {len(images):,} images, but {y.path} holds {len(labels):,} labels")
    found = Counter(labels.tolist())
    return Findings(
        name=name,
        what=f"{len(labels):,} images in arrays",
        data=data,
        counts={own: found.get(number, 0) for number, own in enumerate(class_names(classes))},
        look=Appearance.of_arrays(shape),
        sets=sets,
    )


def _pairs(arrays: Mapping[str, ArrayIn]) -> dict[str, tuple[ArrayIn, ArrayIn]]:
    """Return images and labels of each set by the names of the arrays."""
    lower = {name.lower(): array for name, array in arrays.items()}
    found: dict[str, tuple[ArrayIn, ArrayIn]] = {}
    for kind, words in _SETS.items():
        for x, y in _PAIRS:
            for word in words:
                for form in ("{0}_{1}", "{1}_{0}", "{0}{1}") if word else ("{0}",):
                    pair = lower.get(form.format(x, word)), lower.get(form.format(y, word))
                    if pair[0] and pair[1]:
                        found.setdefault(kind, (pair[0], pair[1]))
    return found


def _text(array: ArrayIn) -> str:
    return f"{array.path.absolute()}:{array.name}" if array.name else str(array.path.absolute())
