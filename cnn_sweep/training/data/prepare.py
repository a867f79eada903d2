"""Prepares a data set: stores any source as a folder of arrays that workers map into memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import DamagedFileError, EnvironmentFault, InputError
from cnn_sweep.journal.filesystem import mode_in, sync, write_aside
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.journal.study_files import read_file, read_json, read_text
from cnn_sweep.messages import plural
from cnn_sweep.sweep.spec.data import BenchmarkData, TilesData
from cnn_sweep.training.data import benchmark_sets, rds, tiles
from cnn_sweep.training.data.arrays import files_of, path_of
from cnn_sweep.training.data.bit_depth import is_deep_file
from cnn_sweep.training.data.checks import check_bad, check_classes, check_leaks, check_places
from cnn_sweep.training.data.dataset import META, SPLITS, UNLABELLED, Item, load, read_meta
from cnn_sweep.training.data.dataset_writer import (
    DECODING,
    FORM,
    REPORT,
    DatasetInfo,
    Stored,
    finish,
    info_of,
    store_arrays,
)
from cnn_sweep.training.data.folds import describe_folds, draw_folds, notes_on_folds
from cnn_sweep.training.data.groups import by_what, check_groups, note_on_order
from cnn_sweep.training.data.image_files import list_files, stamp
from cnn_sweep.training.data.ownership import owned
from cnn_sweep.training.data.parallel_decoding import JOB, NARROW, decode_all
from cnn_sweep.training.data.sources import describe, read_source
from cnn_sweep.training.data.splits import Labelled, divide, subset
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.data import DataSpec
    from cnn_sweep.training.data.raw_images import FileList, Listing, Part

    Observe = Callable[[int, int], None]

_MAY_BE_DEEP = (".png", ".tif", ".tiff")  # formats that can have more than 8 bits per channel


def _silent(_done: int, _total: int) -> None:
    return


def prepare(spec: DataSpec, folder: Path, root: Path, *, observe: Observe = _silent, fetch: bool = False) -> Path:
    """Return the folder of a prepared data set under ``root``; prepare it if it does not exist.

    The folder's name depends on ``spec`` and on the files' names, sizes and times, so changed data get a new folder. It
    appears complete or not at all. If several processes call this, one works and the others wait; if it dies, another
    continues with the remaining image files.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.
        root: Folder of prepared data sets; created if missing.
        observe: Called from time to time with the number of images done and the total.
        fetch: Whether Keras may download its data sets.

    Raises:
        InputError: The data are invalid; the message names the file and the reason.
        EnvironmentFault: ``root`` cannot be written.
    """
    with shared_modes(root.parent):
        return _prepare(spec, folder, root, observe, fetch=fetch)


def _prepare(spec: DataSpec, folder: Path, root: Path, observe: Observe, *, fetch: bool) -> Path:
    check_places(spec, folder)
    listing = list_files(spec, folder) if spec.source in ("folder", "files") else None
    if fetch and isinstance(spec, BenchmarkData):
        benchmark_sets.fetch(spec, folder)
    path = root / _key(spec, folder, listing)
    if _is_outdated(path, _image_files(spec, folder, listing)):
        # A new name, because running studies may still use the old folder.
        path = root / _key(spec, folder, listing, decoding=DECODING)
    work = root / f".{path.name}.work"

    def is_finished() -> bool:
        return (path / META).exists()

    fresh = False
    try:
        if not is_finished():
            root.parent.mkdir(parents=True, exist_ok=True)
            root.mkdir(mode=mode_in(root.parent), exist_ok=True)
            work.mkdir(exist_ok=True)
            with owned(work, is_finished) as mine:
                if mine:
                    _fill(spec, folder, listing, work, observe)
                    shutil.rmtree(path, ignore_errors=True)  # damaged: without its description nobody can use it
                    work.rename(path)
                    _tidy(path)
                    fresh = True
        shutil.rmtree(work, ignore_errors=True)
        _remember(spec, folder, root, path)
        if fresh:  # last, because every other flush to disk would wait for this one
            threading.Thread(target=_settle, args=(path,)).start()
    except InputError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    except (OSError, EnvironmentFault) as error:
        # Another process may have finished the folder.
        if not is_finished():
            raise EnvironmentFault(f"{path}: the prepared data cannot be stored: {error}") from error
    return path


def _is_outdated(path: Path, files: Iterable[str]) -> bool:
    """Return whether a folder must be prepared again because an earlier version decoded its images differently.

    Any other folder is marked as current, so that its files are checked only once.

    Args:
        path: The folder, which may not exist.
        files: Its source image files, whose headers are read.
    """
    try:
        meta = read_meta(path)
        if meta.get("decoding", 1) >= DECODING:
            return False
        report = read_report(path)
    except DamagedFileError:
        return False
    is_concerned = report["bad"] or any("16 bits made 8" in image["reason"] for image in report["converted"])
    if is_concerned or any(is_deep_file(file) for file in files if file.lower().endswith(_MAY_BE_DEEP)):
        return True
    with contextlib.suppress(OSError):  # a read-only folder is checked again next time
        write_aside(path / META, json.dumps(meta | {"decoding": DECODING}, indent=1).encode())
    return False


def _settle(path: Path) -> None:
    """Flush the arrays to disk while others already use them; the process ends only after that."""
    with contextlib.suppress(OSError):
        for file in path.glob("*.npy"):
            with file.open("rb") as opened:
                sync(opened.fileno())


def _tidy(path: Path) -> None:
    """Remove the files that were needed only during preparation."""
    for pattern in ("owner.*", "part_*.json", "pixels_*.npy", JOB):
        for file in path.glob(pattern):
            file.unlink(missing_ok=True)
    shutil.rmtree(path / NARROW, ignore_errors=True)


def prepared(spec: DataSpec, folder: Path, root: Path) -> Path:
    """Return the folder of the last `prepare` of this data section, without checking the source files again.

    Workers use this: the command that started them has already checked the source files, up to 25,000 of them. If the
    data set was not prepared yet, this prepares it.

    Raises:
        InputError: See `prepare`.
        EnvironmentFault: See `prepare`.
    """
    return _newest(spec, folder, root) or prepare(spec, folder, root)


def described(spec: DataSpec, folder: Path, root: Path) -> ImageInfo:
    """Return the description of the data, from the last prepared folder if possible, without the source files.

    Raises:
        InputError: The data set was not prepared, and `describe` found a mistake.
    """
    path = _newest(spec, folder, root)
    return describe(spec, folder) if path is None else load(path, splits=()).info


def last_prepared(spec: DataSpec, folder: Path, root: Path) -> Path | None:
    """Return the folder of the last `prepare` of a data section, if it is still there."""
    return _newest(spec, folder, root)


def last_report(spec: DataSpec, folder: Path, root: Path) -> dict[str, Any] | None:
    """Return the report of the last `prepare` of a data section; None if its folder is gone."""
    path = _newest(spec, folder, root)
    return None if path is None else read_report(path)


def _newest(spec: DataSpec, folder: Path, root: Path) -> Path | None:
    """Return the folder of the last `prepare` of a data section, if it exists."""
    with contextlib.suppress(DamagedFileError, OSError, ValueError):
        path = root / read_text(_pointer(spec, folder, root), "").strip()
        if (path / META).exists():
            return path
    return None


def read_report(path: Path) -> dict[str, Any]:
    """Return the report of a prepared folder: images of each class and split, bad images, notes, seconds."""
    report: dict[str, Any] = read_json(path / REPORT, f"remove the folder {path}, and it will be prepared again")
    return report


def _pointer(spec: DataSpec, folder: Path, root: Path) -> Path:
    text = json.dumps([spec.model_dump(mode="json"), str(folder.resolve())], sort_keys=True)
    return root / f".newest-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _remember(spec: DataSpec, folder: Path, root: Path, path: Path) -> None:
    pointer = _pointer(spec, folder, root)
    with contextlib.suppress(OSError):  # a read-only root: workers then check the files themselves
        with contextlib.suppress(DamagedFileError):  # missing or damaged: it is written again
            if read_file(pointer, "") == path.name.encode():
                return
        write_aside(pointer, path.name.encode())


def _image_files(spec: DataSpec, folder: Path, listing: Listing | None) -> Iterator[str]:
    if listing is not None:
        for files in listing.splits.values():
            yield from (f"{files.folder}/{name}" for name in files.names)
    elif isinstance(spec, TilesData):
        yield str(path_in(folder, spec.picture))


def _key(spec: DataSpec, folder: Path, listing: Listing | None, **more: Any) -> str:
    description: dict[str, Any] = {"form": FORM, "spec": spec.model_dump(mode="json"), "files": [], **more}
    if listing is not None:
        description["files"] = stamp(listing.splits)
    for path in [] if listing is not None else _files(spec, folder):
        try:
            status = path.stat()
        except OSError as error:
            if isinstance(spec, BenchmarkData):
                raise InputError(benchmark_sets.missing_message(spec, folder)) from error
            raise InputError(f"{path}: {error.strerror or error}") from error
        description["files"].append([str(path.resolve()), status.st_size, status.st_mtime_ns])
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return f"{spec.source}-{digest[:12]}"


def _files(spec: Any, folder: Path) -> list[Path]:
    if spec.source == "arrays":
        pairs = [files for files in (spec.train, spec.validation, spec.test) if hasattr(files, "x")]
        more = [path_of(name, folder)[0] for name in (spec.unlabelled, spec.group) if name]
        return [path for pair in pairs for path in files_of(pair, folder)] + more
    if spec.source == "rds":
        return [path_of(name, folder)[0] for name in rds.rds_files(spec)]
    if spec.source == "tiles":
        return tiles.tile_files(spec, folder)
    return benchmark_sets.benchmark_files(spec, folder) if spec.source in benchmark_sets.SETS else []


def _fill(spec: DataSpec, folder: Path, listing: Listing | None, work: Path, observe: Observe) -> None:
    began = time.monotonic()
    if listing is None:
        stored, info = _from_arrays(spec, folder, work, observe)
    else:
        stored, info = _from_files(spec, listing, work, observe)
    if getattr(spec, "on_bad_image", "skip") == "fail":
        check_bad(info.bad)
    notes = check_leaks(stored, spec.on_leak)
    if spec.folds is not None:
        info, more = _with_folds(spec, stored["train"], info)
        notes += more
    finish(
        work,
        stored,
        replace(info, notes=(*info.notes, *notes)),
        rescale=spec.rescale,
        seconds=time.monotonic() - began,
    )


def _with_folds(spec: DataSpec, train: Stored, info: DatasetInfo) -> tuple[DatasetInfo, list[str]]:
    """Draw the folds of the training images; return also notes about them."""
    images = Labelled(train.originals, info.class_names, train.groups)
    folds = spec.folds or 0
    drawn = draw_folds(images, folds, spec.seed, same=train.digests)
    table = describe_folds(images, drawn, folds)
    return info.with_folds(drawn, table), notes_on_folds(table)


def _from_arrays(spec: DataSpec, folder: Path, work: Path, observe: Observe) -> tuple[dict[str, Stored], DatasetInfo]:
    source = read_source(spec, folder)
    labels = {name: part.y for name, part in source.splits.items()}
    notes = check_classes(labels, source.class_names, numbered=spec.source == "arrays")
    source = replace(source, splits={name: _with_subset(name, part, spec) for name, part in source.splits.items()})
    if any(part.groups is not None for part in source.splits.values()):
        notes += check_groups(source.splits, by_what(spec))
    stored = store_arrays(source, work, mirror=spec.mirror, observe=observe)
    return stored, info_of(source, work, stored, notes)


def _with_subset(name: str, part: Part, spec: DataSpec) -> Part:
    keep = _subset(name, part.y, spec)
    return part.take(keep)


def _subset(name: str, labels: Any, spec: DataSpec) -> Any:
    everything = np.arange(len(labels))
    count = None if name == UNLABELLED else getattr(spec.per_class, name)
    return subset(everything, labels, count, spec.seed)


def _from_files(spec: Any, listing: Listing, work: Path, observe: Observe) -> tuple[dict[str, Stored], DatasetInfo]:
    divided = replace(listing, splits=_divided(spec, listing.splits, listing.class_names))
    if spec.grouping is not None:
        notes = check_groups(divided.splits, spec.group) if spec.group else [note_on_order(divided.splits, spec.order)]
        divided = replace(divided, notes=(*divided.notes, *notes))
    decoded = decode_all(divided, work, mirror=spec.mirror, observe=observe)
    stored = {}
    for name, files in divided.splits.items():
        kept = files.take(decoded.kept[name])
        items = [Item(file) for file in kept.names]
        whole = Stored(kept.y, items, decoded.digests[name], kept.groups)
        stored[name] = whole.mirrored() if spec.mirror and name == "train" else whole
    labels = {name: split.y for name, split in stored.items()}
    try:
        notes = check_classes(labels, listing.class_names, numbered=False)
    except InputError as error:
        bad = [image for images in decoded.bad.values() for image in images]
        if not bad:
            raise
        raise InputError(
            f"{error}. {plural(len(bad), 'image', 'images')} cannot be used, such as {bad[0].name}: {bad[0].reason}"
        ) from error
    return stored, DatasetInfo(
        shape=listing.options.shape,
        is_uint8=True,
        class_names=listing.class_names,
        fingerprint=decoded.fingerprint,
        options=decoded.options,
        grid=None,
        notes=(*divided.notes, *decoded.notes, *notes),
        bad=decoded.bad,
        converted=decoded.converted,
    )


def _divided(spec: Any, splits: Any, names: tuple[str, ...]) -> dict[str, FileList]:
    """Split off validation and test sets given as shares, and take the requested number of images per class."""
    train = splits["train"]
    by_column = spec.source == "files" and spec.labels.split is not None
    shares = {
        name: 0.0 if by_column or share is None or isinstance(share, str) else share
        for name, share in (("validation", spec.validation_set), ("test", spec.test))
    }
    labelled = Labelled(train.y, names, train.groups, ordered=spec.order is not None)
    parts = divide(labelled, validation=shares["validation"], test=shares["test"], seed=spec.seed)
    found = {name: train.take(index) for name, index in parts.items()}
    found |= {name: files for name, files in splits.items() if name != "train"}
    found = {name: files.take(_subset(name, files.y, spec)) for name, files in found.items() if files.names}
    return {name: found[name] for name in SPLITS if name in found}
