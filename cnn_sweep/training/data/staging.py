"""Copies prepared data to a node's own disk, once for all workers there, who then do not read a busy file system.

A worker holds a shared lock on the copy as long as it lives. The last one that ends removes the copy. Whatever keeps a
node from having a copy is logged, and the worker reads the shared folder as it would without staging.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnn_sweep.training.data.dataset import FOLDS, META, array_file, read_meta
from cnn_sweep.training.data.ownership import owned

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

NODE: Final = "node"  # the place that Slurm or the site names in the environment
_VARIABLES: Final = ("SLURM_TMPDIR", "TMPDIR")
_SPLITS: Final = ("train", "validation")  # the test set is read once, by `finalize`
_LOCK: Final = "lock"
_BLOCK_BYTES: Final = 1 << 22
_GB: Final = 1e9


class _NoCopyError(Exception):
    """Why this node gets no copy."""


def stage(prepared: Path, place: str) -> Path:
    """Return the folder from which this process reads the training and validation images of a prepared data set.

    Args:
        prepared: Folder that ``prepare`` returned.
        place: A folder on the node's own disk, in which variables of the environment are replaced; or ``node``, for
            ``$SLURM_TMPDIR`` or, without it, ``$TMPDIR``.

    Returns:
        The node's copy, which this process holds until it ends; or ``prepared`` if a copy is impossible.
    """
    try:
        copy = _copy_of(prepared, _root(place, prepared))
    except (OSError, _NoCopyError) as error:
        log.warning("reading the data from %s, not from a copy on this node: %s", prepared, error)
        return prepared
    log.info("reading the data from this node's copy in %s", copy)
    return copy


def _root(place: str, prepared: Path) -> Path:
    """Return this user's folder in a place; it is created, and nobody else can write it."""
    found = [os.environ[name] for name in _VARIABLES if os.environ.get(name)]
    if place == NODE and not found:
        raise _NoCopyError(f"neither {' nor '.join(f'${name}' for name in _VARIABLES)} is set here")
    base = Path(os.path.expanduser(found[0] if place == NODE else os.path.expandvars(place)))  # noqa: PTH111 - ~nobody
    if "$" in str(base) or not base.is_absolute():
        raise _NoCopyError(f"{place} is no folder here: {base}")
    root = base / f"cnn-sweep-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise _NoCopyError(f"{root} belongs to somebody else")
    if root.stat().st_dev == prepared.stat().st_dev:
        raise _NoCopyError(f"{root} is on the same file system")
    return root


def _copy_of(prepared: Path, root: Path) -> Path:
    copy, work = root / prepared.name, root / f".{prepared.name}.work"
    description = (prepared / META).read_bytes()

    def is_finished() -> bool:
        return (copy / META).exists()

    while True:
        if not is_finished():
            work.mkdir(exist_ok=True)
            with owned(work, is_finished) as mine:
                if mine:
                    _fill(prepared, work)
                    work.rename(copy)
                    for owner in copy.glob("owner.*"):
                        owner.unlink(missing_ok=True)
        if (lock := _hold(copy)) is None:
            continue  # its last user has just removed it
        atexit.register(_release, copy, lock)
        if (copy / META).read_bytes() != description:
            raise _NoCopyError(f"{copy} is a copy of other data")
        return copy


def _files(prepared: Path) -> Iterator[Path]:
    sizes = read_meta(prepared)["sizes"]
    for split in _SPLITS:
        if split in sizes:
            yield from (array_file(prepared, which, split) for which in "xy")
    if (prepared / FOLDS).exists():
        yield prepared / FOLDS
    yield prepared / META


def _fill(prepared: Path, work: Path) -> None:
    files = list(_files(prepared))
    try:
        _check_space(files, work)
        for file in files:
            _copy_file(file, work / file.name)
        (work / _LOCK).touch()
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _check_space(files: list[Path], work: Path) -> None:
    needed, free = sum(file.stat().st_size for file in files), shutil.disk_usage(work).free
    if needed > free:
        raise _NoCopyError(f"{work.parent} has {free / _GB:.1f} GB free, and the data need {needed / _GB:.1f} GB")


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file and compare the copy's checksum with that of what was read."""
    read = hashlib.blake2b()
    with source.open("rb") as original, target.open("wb") as copy:
        while block := original.read(_BLOCK_BYTES):
            read.update(block)
            copy.write(block)
    with target.open("rb") as copy:
        written = hashlib.file_digest(copy, hashlib.blake2b)
    if written.digest() != read.digest():
        raise _NoCopyError(f"{target} was not written as {source} was read")


def _hold(copy: Path) -> int | None:
    """Lock a copy against removal; None if it is gone."""
    try:
        lock = os.open(copy / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        if os.path.samestat(os.fstat(lock), (copy / _LOCK).stat()):
            return lock
    except FileNotFoundError:
        pass
    os.close(lock)
    return None


def _release(copy: Path, lock: int) -> None:
    """Give up a copy, and remove it if this was its last process."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return
    removed = copy.with_name(f".{copy.name}.removed-{os.getpid()}")
    try:
        copy.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
        copy.parent.rmdir()
    except OSError:
        pass  # copies of other data are there
    os.close(lock)
