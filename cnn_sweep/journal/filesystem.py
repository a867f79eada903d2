"""The file system of the results: writes that survive a crash, and whether file locking is reliable.

Locking is unreliable if the same lock is granted once per machine or once per mount. Two programs can then write to one
database at the same time and corrupt it without an error. The type and options of the mount usually decide; a probe
with two processes finds locks that fail even within one machine.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import DamagedFileError, EnvironmentFault
from cnn_sweep.journal.identity import process_tag, tag_is_alive
from cnn_sweep.journal.study_files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE_NAME = ".filesystem.json"
OVERRIDE = "CNN_SWEEP_LOCKS"
_LOCAL = frozenset(
    {
        "bcachefs",
        "btrfs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "jfs",
        "overlay",
        "ramfs",
        "reiserfs",
        "tmpfs",
        "vfat",
        "xfs",
        "zfs",
    }
)
_NFS_LIES = frozenset({"nolock", "local_lock=all", "local_lock=posix", "local_lock=flock"})
_PROBE_TIMEOUT_S = 20.0

# Exits with 0 if no lock is granted while the parent process holds both kinds.
_PROBE = """
import fcntl, sys
for name, lock in (("record", fcntl.lockf), ("whole", fcntl.flock)):
    with open(f"{sys.argv[1]}/{name}", "r+b") as file:
        try:
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        sys.exit(1)
"""
_ASIDE = re.compile(r"\..+\.aside-(?P<tag>[A-Za-z0-9-]+)(?:\.[a-z0-9]+)?")
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}  # errors of file systems that do not support fsync


def sync(fd: int) -> None:
    """Flush a file to disk, if the file system supports that.

    Raises:
        OSError: The disk is full or fails.
    """
    try:
        os.fdatasync(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_path(path: Path) -> None:
    """Flush a file, or a folder's list of names, to disk, if the file system supports that.

    Raises:
        OSError: The disk is full or fails.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data`` and flush it to disk; close the file even after an error.

    Raises:
        OSError: The disk is full or fails.
    """
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        sync(fd)
    finally:
        os.close(fd)


def mode_in(results: Path) -> int:
    """Return the mode, before the umask, of a new folder in a results folder; a file's is the same without execution.

    Only the owner may use it, unless the results folder was made for a group: what is created there is the group's.
    """
    return 0o777 if results.stat().st_mode & stat.S_ISGID else 0o700


def keeping_mode_in(results: Path) -> int:
    """Return the mode, as :func:`mode_in` does, of a folder in which members of a group keep what they put there.

    Nobody else but the folder's owner may then remove or rename it.
    """
    mode = mode_in(results)
    return mode | stat.S_ISVTX if mode & stat.S_IRWXG else mode


def aside_of(path: Path, suffix: str = "") -> Path:
    """Return the name under which this process writes what will get another name once it is complete.

    The name tells the process, so that :func:`clear_asides` removes what killed processes left.
    """
    return path.with_name(f".{path.name}.aside-{process_tag()}{suffix}")


@contextmanager
def aside_folder(path: Path) -> Iterator[Path]:
    """Create a folder with a name of :func:`aside_of`, which only its owner may use; remove it at the end."""
    folder = aside_of(path)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_asides(folder: Path) -> None:
    """Remove what dead processes were writing in a folder; what others write, or somebody unknown, stays."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if is_being_written(path) is not False:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def is_being_written(aside: Path) -> bool | None:
    """Return whether the process of a name of :func:`aside_of` still runs; None if unknown, or for another name."""
    found = _ASIDE.fullmatch(aside.name)
    return None if found is None else tag_is_alive(found["tag"])


def write_aside(path: Path, data: bytes) -> None:
    """Replace a file atomically: readers see the old or the new content, never a mixture.

    Raises:
        OSError: The disk is full or fails; the file is then unchanged.
    """
    aside = aside_of(path)
    try:
        write_all(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def write_once(path: Path, data: bytes) -> None:
    """Create a file that appears complete or not at all; if several processes do so, the first wins.

    Raises:
        OSError: The disk is full or fails.
    """
    if path.exists():  # also in a folder that this process may only read
        return
    aside = aside_of(path)
    try:
        write_all(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), data)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        except OSError:  # no hard links; a rename is atomic, too, but the last writer wins
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@dataclass(frozen=True)
class Locks:
    """Whether file locking is reliable in a folder.

    Attributes:
        honest: Whether a lock excludes every other process that uses the folder, on any machine.
        reason: Reason for this verdict.
        fstype: The kernel's name for the type of file system.
    """

    honest: bool
    reason: str
    fstype: str


@dataclass(frozen=True)
class Mount:
    """A line of ``/proc/self/mountinfo``.

    Attributes:
        point: Mount point.
        fstype: Type of the file system.
        options: Options of the mount and of the file system.
    """

    point: Path
    fstype: str
    options: frozenset[str]


def judge(results: Path) -> Locks:
    """Determine whether file locking is reliable in a results folder.

    The verdict is stored in the folder, so that all machines agree: if one machine finds locking unreliable, all treat
    it as unreliable. ``CNN_SWEEP_LOCKS=honest`` or ``dishonest`` overrides it.

    Raises:
        EnvironmentFault: ``CNN_SWEEP_LOCKS`` has another value.
    """
    override = os.environ.get(OVERRIDE)
    if override:
        if override not in {"honest", "dishonest"}:
            raise EnvironmentFault(f"{OVERRIDE}={override}: choose honest or dishonest")
        return Locks(override == "honest", f"{OVERRIDE}={override}", mount_of(results).fstype)
    known = _cached(results)
    if known is not None and not known.honest:
        return known
    here = judge_mount(mount_of(results))
    if here.honest and known is not None:
        return known
    locks = _probed(results, here) if here.honest else here
    _cache(results, locks)
    return locks


def judge_mount(mount: Mount) -> Locks:
    """Return a verdict from the type and options of a mount alone."""
    kind = mount.fstype
    if kind in _LOCAL:
        return Locks(honest=True, reason=f"{kind} is local to this machine", fstype=kind)
    if kind in {"nfs", "nfs4"}:
        lies = sorted(_NFS_LIES & mount.options)
        reason = f"mounted with {lies[0]}" if lies else "locks are kept by the server"
        return Locks(honest=not lies, reason=f"{kind}: {reason}", fstype=kind)
    if kind == "lustre":
        honest = "flock" in mount.options
        reason = "mounted with flock" if honest else "not mounted with flock"
        return Locks(honest=honest, reason=f"lustre: {reason}", fstype=kind)
    if kind == "gpfs":
        return Locks(honest=True, reason="gpfs: locks are kept by the cluster", fstype=kind)
    return Locks(honest=False, reason=f"{kind}: not known to keep its locks", fstype=kind)


def parse_mounts(text: str) -> list[Mount]:
    """Parse the text of ``/proc/self/mountinfo``; the newest mount comes last."""
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if separator and len(fields) > 5 and len(tail) > 2:
            options = frozenset(fields[5].split(",")) | frozenset(tail[2].split(","))
            mounts.append(Mount(Path(_unescape(fields[4])), tail[0], options))
    return mounts


def find_mount(path: Path, mounts: list[Mount]) -> Mount:
    """Return the mount of a path: the one with the longest mount point, or the newest of several."""
    found = Mount(Path("/"), "unknown", frozenset())
    for mount in mounts:
        if path.is_relative_to(mount.point) and len(mount.point.parts) >= len(found.point.parts):
            found = mount
    return found


def mount_of(path: Path) -> Mount:
    """Return the mount of a path; its type is unknown if the kernel does not list it."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return Mount(Path("/"), "unknown", frozenset())
    return find_mount(path.resolve(), parse_mounts(text))


def _unescape(text: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, character)
    return text


def _probed(results: Path, locks: Locks) -> Locks:
    try:
        refused = _locks_exclude(results)
    except (OSError, subprocess.SubprocessError) as error:
        return Locks(honest=False, reason=f"{locks.fstype}: cannot lock ({error})", fstype=locks.fstype)
    if refused:
        return locks
    return Locks(honest=False, reason=f"{locks.fstype}: two processes got one lock", fstype=locks.fstype)


def _locks_exclude(results: Path) -> bool:
    """Return whether another process fails to get the two kinds of lock that this process holds."""
    with aside_folder(results / "locks") as folder:
        record, whole = Path(folder, "record"), Path(folder, "whole")
        with record.open("wb") as a, whole.open("wb") as b:
            fcntl.lockf(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
            command = [sys.executable, "-I", "-S", "-c", _PROBE, str(folder)]
            done = subprocess.run(command, check=False, capture_output=True, timeout=_PROBE_TIMEOUT_S)
    if done.returncode not in {0, 1}:
        raise OSError(done.stderr.decode(errors="replace").strip()[-200:])
    return done.returncode == 0


def _cached(results: Path) -> Locks | None:
    try:
        data = read_json(results / CACHE_NAME, "")
        locks = Locks(data["honest"], str(data["reason"]), str(data["fstype"]))
    except (DamagedFileError, KeyError):
        return None
    return locks if isinstance(locks.honest, bool) else None


def _cache(results: Path, locks: Locks) -> None:
    try:
        write_aside(results / CACHE_NAME, (json.dumps(asdict(locks)) + "\n").encode())
    except OSError:
        return  # another user's read-only results; each process then determines the verdict itself
