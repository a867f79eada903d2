"""Images that a user requests: files, folders, or the name of an image in a study's data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.trust import check_study
from cnn_sweep.training.data.dataset import UNLABELLED, image_options, items, load, read_meta
from cnn_sweep.training.data.image_decoder import SUFFIXES, cures_of, read_images
from cnn_sweep.training.data.prepare import prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cnn_sweep.training.data.image_decoder import BadImage

_OPEN = ("train", "validation", UNLABELLED)
_SEALED = "test"  # the split that is sealed until the study is finalized


@dataclass(frozen=True)
class ChosenImages:
    """Images in the form that a study's models accept.

    Attributes:
        names: Their files, or their names in the data.
        x: Shape (n, height, width, channels), as stored.
        bad: Files that could not be read.
    """

    names: tuple[str, ...]
    x: npt.NDArray[np.generic]
    bad: tuple[BadImage, ...] = ()


def prepared_data(results: Path, study: str) -> Path:
    """Return the folder of a study's prepared data."""
    frozen = StudyFolder.open(results, study)
    check_study(frozen.paths)  # before images are prepared for a model that will not be used
    return prepared(frozen.sweep.data, frozen.sweep.folder, frozen.data_root)


def choose_images(results: Path, study: str, words: Sequence[str]) -> ChosenImages:
    """Read images.

    Args:
        results: Root of all studies.
        study: The study's name.
        words: Files; folders, searched with their subfolders; or the name of one image in the study's data.

    Raises:
        InputError: There is no such image, no image could be read, or the study's data are not pictures.
        StudyError: The image is in the test set, which is sealed.
    """
    data = prepared_data(results, study)
    if len(words) == 1 and not Path(words[0]).exists():
        named = _named(data, words[0], _OPEN)
        if named is None and _is_tested_with(data, words[0]):
            _check_opened(results, study, words[0])
            named = _named(data, words[0], (_SEALED,))
        if named is not None:
            return ChosenImages((words[0],), named)
    files = [file for word in words for file in _files(word)]
    options = image_options(data)
    if options is None or load(data).train.x.dtype != np.uint8:
        raise InputError(
            "the study's images are arrays of numbers and not 8-bit pictures, so its models cannot read image files; "
            "name an image of its data, as `cnn-sweep misclassified` shows them"
        )
    x, bad = read_images(files, options)
    if not len(x):
        raise InputError(f"{bad[0].name}: {bad[0].reason}" + (f"; and {len(bad) - 1} more" if len(bad) > 1 else ""))
    unread = {image.name for image in bad}
    return ChosenImages(tuple(str(file) for file in files if str(file) not in unread), x, tuple(bad))


def _files(word: str) -> list[Path]:
    path = Path(word)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{word}: there is no such file or folder, and no image of that name in the study's data")
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        others = cures_of({file.suffix.lower() for file in path.rglob("*")})
        raise InputError("; ".join([f"{word}: no image files ({', '.join(sorted(SUFFIXES))}) in this folder", *others]))
    return found


def _named(data: Path, name: str, where: Sequence[str]) -> npt.NDArray[np.generic] | None:
    splits = load(data, splits=where).splits
    for split, images in splits.items():
        names = [item.name for item in items(data, split)]
        if name in names:
            place = names.index(name)
            return np.asarray(images.x[place : place + 1])
    return None


def _is_tested_with(data: Path, name: str) -> bool:
    """Return whether the test set has an image of this name; reads no pixels."""
    return _SEALED in read_meta(data)["sizes"] and name in {item.name for item in items(data, _SEALED)}


def _check_opened(results: Path, study: str, name: str) -> None:
    if not StudyFolder.open(results, study).history().finalized:
        raise StudyError(
            f"{name}: this image is in the test set of {study!r}, which is sealed until `cnn-sweep finalize {study}`; "
            "choose one of the validation set, as `cnn-sweep misclassified` shows them"
        )
