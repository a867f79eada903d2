"""Whose code this process may run: its own user's, root's, and that of a group by declaration.

A study's folder holds Python modules and pickles of jobs, and whoever can write there, or can put another folder in its
place, decides what they do. Reading a study runs none of it and needs no check.
"""

from __future__ import annotations

import grp
import logging
import os
import pwd
import stat
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal.identity import user_name
from cnn_sweep.journal.sharing import sharing_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.journal.sharing import Sharing

log = logging.getLogger(__name__)

# Folders, separated by colons; what is in them is trusted. `--trust` sets it to EVERYTHING for one command.
VARIABLE: Final = "CNN_SWEEP_TRUST"
EVERYTHING: Final = "/"
_CODE: Final = "code"
_ACCESS_ACL: Final = "system.posix_acl_access"
# Tags of entries of an ACL.
_USER, _GROUP_OF_FILE, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10
_WRITE: Final = 2


def check_study(paths: StudyPaths) -> None:
    """Check that only trusted people can have put code into a study, or can still do so.

    Raises:
        EnvironmentFault: Others can; the message says where, who, and what to do.
    """
    results = paths.results
    rules = Rules.of(results)
    rules.check_way(results)
    rules.check_way(paths.folder)
    for path in _with_code(paths.folder):
        rules.check(path)


def check_code(folder: Path, results: Path) -> None:
    """Check that only trusted people can change the Python modules of a folder; groups get a warning.

    Args:
        folder: The folder of the modules.
        results: The results folder; if it is declared shared, what its group can write is trusted here, too.

    Raises:
        EnvironmentFault: Others can.
    """
    rules = Rules.of(results)
    rules.check_way(folder, named=True)
    for path in sorted(folder.glob("*.py")):
        rules.check(path, named=True)


def check_file(file: Path, results: Path) -> None:
    """Check that only trusted people can change a file from which code is run; the arguments as in :func:`check_code`.

    Raises:
        EnvironmentFault: Others can.
    """
    Rules.of(results).check_way(file, named=True)


def other_writers(folder: Path) -> str | None:
    """Return who besides this user and root can change a folder, as a predicate with its mode; None if nobody can.

    Raises:
        OSError: It cannot be examined.
    """
    return Rules(folder, None).who_else(folder)


def trust_everything() -> None:
    """Let this process, and those that it starts, run code of everybody."""
    os.environ[VARIABLE] = EVERYTHING


def is_everything_trusted() -> bool:
    """Return whether the user said `--trust`, or trusts everything below the root folder."""
    return EVERYTHING in os.environ.get(VARIABLE, "").split(os.pathsep)


@dataclass(frozen=True)
class Rules:
    """Whom to trust with the files of a results folder.

    Attributes:
        results: The results folder.
        sharing: Its declaration, if this process's user is a member of the group; else None.
    """

    results: Path
    sharing: Sharing | None

    @classmethod
    def of(cls, results: Path) -> Rules:
        """Return the rules of a results folder."""
        sharing = sharing_of(results)
        is_member = sharing is not None and (sharing.gid in {os.getegid(), *os.getgroups()} or os.geteuid() == 0)
        return cls(results, sharing if is_member else None)

    def check_way(self, path: Path, *, named: bool = False) -> None:
        """Check a file or folder and all folders above it, as far as they exist: who can rename, can replace.

        Args:
            path: The file or folder.
            named: As of :meth:`check`.

        Raises:
            EnvironmentFault: Others can change one.
        """
        real = path.resolve()
        self.check(real, named=named)
        for parent in real.parents:
            self.check(parent, above=True)

    def check(self, path: Path, *, above: bool = False, named: bool = False) -> None:
        """Check one file or folder.

        Args:
            path: It need not exist.
            above: Whether it only leads to what is used. It may belong to others, and a group may write there, as in
                most project folders: what they put in the place of a folder belongs to them, and is refused for that.
            named: Whether the user named it and can be expected to know it: if a group may write, a warning is enough.

        Raises:
            EnvironmentFault: Others can change it.
        """
        try:
            problem = self._problem(path, above=above)
            writers = None if above else self._strange_writers(path)
        except OSError:  # what is missing, or a link to itself, cannot be run; whoever reads it says so
            return
        if problem is None and writers is not None and named:
            _tell_once(f"{path} {writers}, who could run code in your name; `chmod go-w {path}` keeps them out")
            return
        problem = problem or writers
        if problem is None:
            return
        if _is_trusted(path):
            if is_everything_trusted():
                _tell_once(f"{path} {problem}; trusted, as you said")
            return
        raise EnvironmentFault(f"{path} {problem}, so code of others could run in your name.\n{self._advice(path)}")

    def who_else(self, path: Path) -> str | None:
        """Return whose a file or folder is, or who can change it, who is not trusted; None if nobody can."""
        return self._problem(path, above=False) or self._strange_writers(path)

    def _problem(self, path: Path, *, above: bool) -> str | None:
        """Return whose a file or folder is, or that everybody can change it; None if there is nothing to say."""
        info = path.lstat()
        if not above and not self._is_safe_owner(info.st_uid):
            return f"belongs to {user_name(info.st_uid)} (mode {stat.S_IMODE(info.st_mode):04o})"
        if stat.S_ISLNK(info.st_mode):
            info = path.stat()
            if not above and not self._is_safe_owner(info.st_uid):
                return f"is a link to a file of {user_name(info.st_uid)}"
        mode = stat.S_IMODE(info.st_mode)
        if above and mode & stat.S_ISVTX:
            return None
        return f"can be written by everybody (mode {mode:04o})" if mode & stat.S_IWOTH else None

    def _strange_writers(self, path: Path) -> str | None:
        """Return which group or user who is not trusted can change a file or folder; None if there is none."""
        info = path.stat()
        mode = stat.S_IMODE(info.st_mode)
        who = next(self._strangers(path, info), None) if mode & stat.S_IWGRP else None
        return None if who is None else f"can be written by {who} (mode {mode:04o})"

    def _is_safe_owner(self, uid: int) -> bool:
        return uid in {0, os.geteuid()} or self.sharing is not None

    def _strangers(self, path: Path, info: os.stat_result) -> Iterator[str]:
        """Yield the groups and users besides the owner who can write and are not trusted."""
        users, groups = _writers(path, info)
        for uid in users:
            if uid not in {0, os.geteuid(), info.st_uid}:
                yield f"{user_name(uid)} by an access control list, see `getfacl`"
        for gid in groups:
            if not (self.sharing is not None and gid == self.sharing.gid) and not _is_private_group(gid):
                yield f"the group {_group(gid)}"

    def _advice(self, path: Path) -> str:
        """Return what to do, the likeliest first."""
        info = path.stat()
        ways = [f"`chmod go-w {path}` keeps others out"] if info.st_uid == os.geteuid() else []
        if path.is_relative_to(self.results.resolve()) or self.results.resolve().is_relative_to(path):
            group = _group(info.st_gid) if info.st_gid and info.st_mode & stat.S_IWGRP else "GROUP"
            ways.append(
                f"a group that works there says so: `cnn-sweep share {self.results} --group {group}`, typed by the "
                "owner of that folder"
            )
        ways.append(
            "if you trust all who can write there with your account: --trust for one command, "
            f"`export {VARIABLE}={_folder(path)}` for all"
        )
        return "\n".join(["what you can do:", *(f"  - {way}" for way in ways)])


def _with_code(folder: Path) -> Iterator[Path]:
    """Yield what is in a study's folder, and everything in the copy of the user's modules."""
    if folder.is_dir():
        yield from sorted(folder.iterdir())
        yield from sorted((folder / _CODE).rglob("*"))


def _is_trusted(path: Path) -> bool:
    """Return whether the user named a folder that contains a path.

    Raises:
        EnvironmentFault: The variable names a relative path, which another folder could also mean.
    """
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        folder = Path(name)
        if not folder.is_absolute():
            raise EnvironmentFault(f"{VARIABLE}={name}: name the whole path of a folder, beginning with /")
        if path.is_relative_to(folder) or path.is_relative_to(folder.resolve()):
            return True
    return False


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


@lru_cache(maxsize=64)
def _tell_once(text: str) -> None:
    log.warning("%s", text)


def _writers(path: Path, info: os.stat_result) -> tuple[list[int], list[int]]:
    """Return the users and groups besides the owner who may write a file whose mode lets the group write.

    With an access control list, the mode shows only the most that any of them may do.
    """
    try:
        acl = os.getxattr(path, _ACCESS_ACL)
        entries = list(struct.iter_unpack("<HHI", acl[4:]))
    except (OSError, struct.error):
        return [], [info.st_gid]
    mask = next((access for tag, access, _ in entries if tag == _MASK), ~0)
    able = [(tag, number) for tag, access, number in entries if access & mask & _WRITE]
    own = [info.st_gid] if any(tag == _GROUP_OF_FILE for tag, _ in able) else []
    return [n for tag, n in able if tag == _USER], own + [n for tag, n in able if tag == _GROUP]


def _is_private_group(gid: int) -> bool:
    """Return whether a group is root's, or this user's alone, as many systems create one for each user."""
    if gid == 0:
        return True
    try:
        account, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return account.pw_gid == gid and group.gr_name == account.pw_name and set(group.gr_mem) <= {account.pw_name}


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
