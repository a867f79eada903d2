"""The file system under the results: writes that survive a crash, and whether file locking is reliable there.

Locking is unreliable where a lock is granted once per machine or once per mount: two programs then write to one
database at the same time and mix up its pages without an error. The mount's type and options say most; a probe with two
processes finds locks that do not even work on one machine.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from cnn_sweep.errors import EnvironmentFault

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

# Exits with 0 if neither kind of lock is granted while the parent holds both.
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
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}  # file systems that cannot do it


def sync(fd: int) -> None:
    """Force a file's contents to the disk, where the file system supports it.

    Raises:
        OSError: If the disk is full or fails.
    """
    try:
        os.fdatasync(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_path(path: Path) -> None:
    """Force a file's contents, or a folder's list of names, to the disk, where the file system supports it.

    Raises:
        OSError: If the disk is full or fails.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, force it to the disk and close the file in any case.

    Raises:
        OSError: If the disk is full or fails.
    """
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        sync(fd)
    finally:
        os.close(fd)


def write_aside(path: Path, data: bytes) -> None:
    """Replace a file atomically: readers see the old content or the new, never a part.

    Raises:
        OSError: If the disk is full or fails; the file is then as it was.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write_all(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def write_once(path: Path, data: bytes) -> None:
    """Give a file its name only when its content is whole; of several writers the first wins.

    Raises:
        OSError: If the disk is full or fails.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_all(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), data)
    try:
        os.link(aside, path)
    except FileExistsError:
        aside.unlink()
    except OSError:  # no hard links here: a rename is whole as well, but the last writer wins
        aside.replace(path)
    else:
        aside.unlink()


@dataclass(frozen=True)
class Locks:
    """Whether file locking is reliable in a folder.

    Attributes:
        honest: Whether a lock excludes every other process that uses the folder, on any machine.
        reason: What the judgement is based on.
        fstype: Type of the file system, as the kernel calls it.
    """

    honest: bool
    reason: str
    fstype: str


@dataclass(frozen=True)
class Mount:
    """A line of ``/proc/self/mountinfo``.

    Attributes:
        point: Where it is mounted.
        fstype: Type of the file system.
        options: Options of the mount and of the file system.
    """

    point: Path
    fstype: str
    options: frozenset[str]


def judge(results: Path) -> Locks:
    """Find out whether file locking is reliable in a results folder.

    The judgement is kept in the folder, so that all machines act alike: if one of them finds locking unreliable, all
    treat it as unreliable. ``CNN_SWEEP_LOCKS=honest`` or ``dishonest`` overrides it.

    Raises:
        EnvironmentFault: If ``CNN_SWEEP_LOCKS`` is neither.
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
    """Judge by the type and the options of a mount alone."""
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
    """Read the text of ``/proc/self/mountinfo``; the last mounted comes last."""
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if separator and len(fields) > 5 and len(tail) > 2:
            options = frozenset(fields[5].split(",")) | frozenset(tail[2].split(","))
            mounts.append(Mount(Path(_unescape(fields[4])), tail[0], options))
    return mounts


def find_mount(path: Path, mounts: list[Mount]) -> Mount:
    """Return the mount that a path is on: the longest mount point above it, the last one of equals."""
    found = Mount(Path("/"), "unknown", frozenset())
    for mount in mounts:
        if path.is_relative_to(mount.point) and len(mount.point.parts) >= len(found.point.parts):
            found = mount
    return found


def mount_of(path: Path) -> Mount:
    """Return the mount that a path is on; of an unknown type where the kernel does not say."""
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
    """Hold two kinds of lock and let another process try for them."""
    with tempfile.TemporaryDirectory(prefix=".locks-", dir=results) as folder:
        record, whole = Path(folder, "record"), Path(folder, "whole")
        with record.open("wb") as a, whole.open("wb") as b:
            fcntl.lockf(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
            command = [sys.executable, "-I", "-S", "-c", _PROBE, folder]
            done = subprocess.run(command, check=False, capture_output=True, timeout=_PROBE_TIMEOUT_S)
    if done.returncode not in {0, 1}:
        raise OSError(done.stderr.decode(errors="replace").strip()[-200:])
    return done.returncode == 0


def _cached(results: Path) -> Locks | None:
    try:
        data = json.loads((results / CACHE_NAME).read_bytes())
        return Locks(bool(data["honest"]), str(data["reason"]), str(data["fstype"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cache(results: Path, locks: Locks) -> None:
    try:
        write_aside(results / CACHE_NAME, (json.dumps(asdict(locks)) + "\n").encode())
    except OSError:
        return  # another user's read-only results: every process judges for itself
