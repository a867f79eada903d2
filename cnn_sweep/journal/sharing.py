"""Results folders that a group shares by declaration, and the modes of what is created in them.

The declaration is a file in the results folder. Without it, a folder that others can write is not trusted; with it,
everything that this program creates there can be used by the group, whatever the umask of whoever creates it.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal.filesystem import judge, write_aside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME: Final = ".shared.json"
_UMASK: Final = 0o007
_LARGEST: Final = 4096  # bytes of a declaration
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# In these folders nobody may remove or rename what somebody else has put there. Checkpoints, models and prepared images
# are not among them, because whoever trains a trial further also clears up after it.
_STICKY: Final = frozenset({"journal", "claims", "slurm", "logs", "predictions", "archive"})
# What is in these folders of a study is changed by its owner alone.
_OWNERS: Final = frozenset({"journal", "claims", "predictions", "code"})
_DEFAULT_ACL: Final = "system.posix_acl_default"
_ACCESS_ACL: Final = "system.posix_acl_access"
_NO_ID: Final = 0xFFFFFFFF
# The kernel's form of user::rwx, group::rwx, other::---, which new files get in place of the umask.
_ACL: Final = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, access, _NO_ID) for tag, access in ((0x01, 7), (0x04, 7), (0x20, 0))
)
_NO_ACLS: Final = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA, errno.EINVAL})


@dataclass(frozen=True)
class Sharing:
    """The declaration that a results folder is shared with a group.

    Attributes:
        group: Name of the group.
        gid: Its number, which counts.
        by: Name of the user who declared it.
        time: When, in seconds since 1970-01-01 UTC.
    """

    group: str
    gid: int
    by: str
    time: float


def sharing_of(results: Path) -> Sharing | None:
    """Return the declaration of a results folder; None without one.

    Only the owner of the folder and root can declare it, and the folder must belong to the group.
    """
    try:
        folder = results.stat()
        fd = os.open(results / NAME, _OPEN)
        try:
            info = os.fstat(fd)
            text = os.read(fd, _LARGEST) if stat.S_ISREG(info.st_mode) else b""
        finally:
            os.close(fd)
        data = json.loads(text)
        found = Sharing(str(data["group"]), int(data["gid"]), str(data["by"]), float(data["time"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if info.st_uid in {0, folder.st_uid} and folder.st_gid == found.gid else None


@contextmanager
def shared_modes(results: Path) -> Iterator[None]:
    """Let what this process creates in the block be the group's, if the results folder is declared shared."""
    with nullcontext() if sharing_of(results) is None else umask(_UMASK):
        yield


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask in the block. It belongs to the whole process, so it is changed no longer than needed."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@dataclass
class Changed:
    """What a declaration changed.

    Attributes:
        files: Number of files and folders whose modes were set.
        left: Number of those that belong to others, by user ID.
        acls: Whether the file system keeps default ACLs, which other programs obey, too.
        keeps_names: Whether the file system keeps people from renaming or removing each other's studies.
    """

    files: int = 0
    left: dict[int, int] = field(default_factory=dict)
    acls: bool = True
    keeps_names: bool = True


def declare(results: Path, sharing: Sharing) -> Changed:
    """Declare a results folder shared, and give what is in it to the group, as far as it is this user's.

    A member of the group who does not own the folder repeats this for files of their own.

    Raises:
        EnvironmentFault: The folder cannot be changed.
    """
    # Where a merge replaces the store, nobody could merge after somebody else in a sticky folder.
    changed = Changed(keeps_names=judge(results).honest)
    mine = os.geteuid() in {0, results.stat().st_uid}
    try:
        if mine:
            os.chown(results, -1, sharing.gid)
            write_aside(results / NAME, f"{json.dumps(asdict(sharing))}\n".encode())
        _share_all(results, results, sharing.gid, changed)
    except OSError as error:
        raise _fault(results, error) from error
    return changed


def give_to_group(results: Path, folder: Path) -> None:
    """Give a folder that was made elsewhere to the group of the results folder, if it is declared shared.

    Raises:
        OSError: It cannot be changed.
    """
    if (sharing := sharing_of(results)) is not None:
        _share_all(folder, results, sharing.gid, Changed())


def withdraw(results: Path) -> Changed:
    """End the declaration: only its owner may use a file from now on.

    Raises:
        EnvironmentFault: The folder cannot be changed.
    """
    changed = Changed()
    try:
        for fd, _ in _everything(results, changed):
            if _is_mine(fd, changed):
                _make_private(fd)
        (results / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise _fault(results, error) from error
    return changed


def now_shared(group: str, gid: int, by: str) -> Sharing:
    """Return a declaration of this moment."""
    return Sharing(group, gid, by, time.time())


def _everything(results: Path, changed: Changed) -> Iterator[tuple[int, Path]]:
    """Yield each file and folder, opened, and its path; links are left alone, also those that appear meanwhile."""
    fd = os.open(results, _OPEN & ~os.O_NOFOLLOW)
    try:
        yield fd, results
    finally:
        os.close(fd)
    for root, folders, files, at in os.fwalk(results, follow_symlinks=False):
        for name in (*folders, *files):
            try:
                fd = os.open(name, _OPEN, dir_fd=at)
            except OSError:  # a link, a file that is gone, or one that this user may not read
                _count_if_strange(name, at, changed)
                continue
            try:
                yield fd, results.__class__(root, name)
            finally:
                os.close(fd)


def _count_if_strange(name: str, at: int, changed: Changed) -> None:
    """Count a file that cannot be opened, if it is somebody else's."""
    with suppress(OSError):
        info = os.stat(name, dir_fd=at, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode) and info.st_uid != os.geteuid():
            changed.left[info.st_uid] = changed.left.get(info.st_uid, 0) + 1


def _is_mine(fd: int, changed: Changed) -> bool:
    """Return whether this user can change the mode of a file, and count it."""
    owner = os.fstat(fd).st_uid
    if os.geteuid() in {0, owner}:
        changed.files += 1
        return True
    changed.left[owner] = changed.left.get(owner, 0) + 1
    return False


def _share_all(folder: Path, results: Path, gid: int, changed: Changed) -> None:
    for fd, path in _everything(folder, changed):
        if _is_mine(fd, changed):
            _share(fd, path, results, gid, changed)


def _share(fd: int, path: Path, results: Path, gid: int, changed: Changed) -> None:
    os.fchown(fd, -1, gid)
    _remove_acl(fd, _ACCESS_ACL)
    mode = os.fstat(fd).st_mode
    owner = (mode & stat.S_IRWXU) >> 3
    if not stat.S_ISDIR(mode):
        os.fchmod(fd, mode & stat.S_IRWXU | (owner & ~stat.S_IWGRP if _is_owners(path, results) else owner))
        return
    is_sticky = path.name in _STICKY or (path.parent == results and (path / "journal").is_dir())
    if path == results:
        is_sticky = changed.keeps_names
    os.fchmod(fd, stat.S_ISGID | mode & stat.S_IRWXU | owner | (stat.S_ISVTX if is_sticky else 0))
    try:
        os.setxattr(fd, _DEFAULT_ACL, _ACL)
    except OSError as error:
        if error.errno not in _NO_ACLS:
            raise
        changed.acls = False


def _is_owners(path: Path, results: Path) -> bool:
    """Return whether a file is changed by its owner alone, such as a journal and the declaration."""
    if path == results / NAME:
        return True
    _, *inner = path.relative_to(results).parts
    return len(inner) > 1 and inner[0] in _OWNERS


def _make_private(fd: int) -> None:
    for name in (_ACCESS_ACL, _DEFAULT_ACL):
        _remove_acl(fd, name)
    # The kernel keeps a folder's setgid bit unless it is cleared by name, which Python's integers do.
    os.fchmod(fd, os.fstat(fd).st_mode & stat.S_IRWXU)


def _remove_acl(fd: int, name: str) -> None:
    with suppress(OSError):
        os.removexattr(fd, name)


def _fault(results: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"{error.filename if isinstance(error.filename, str) else results}: its group or mode cannot be changed: "
        f"{error.strerror or error}"
    )
