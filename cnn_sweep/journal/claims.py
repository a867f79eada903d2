"""Claims decide which worker runs an attempt and which command submits: files that only one process can create.

A claim is a hard link to its owner's file. Creating a link is atomic on every POSIX file system. If a network file
system repeats a request whose answer was lost, the existing link shows who owns it. Where hard links are not supported,
the claim is a file of its own, created exclusively.
"""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.journal.filesystem import write_all
from cnn_sweep.journal.identity import ProcessIdentity, is_alive
from cnn_sweep.journal.study_files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cnn_sweep.journal.paths import StudyPaths

_REFUSED = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV}


@dataclass(frozen=True)
class Owner:
    """The owner of a claim.

    Attributes:
        writer: Name of the owner's journal; None while the claim is still empty or if it is damaged.
        identity: The owner's process; None as for ``writer``.
        written: When the owner's name was written (for an empty claim, when it was created), in seconds since 1970.
    """

    writer: str | None
    identity: ProcessIdentity | None
    written: float


class Claims:
    """Makes and reads the claims of a study for one process.

    Args:
        paths: Files of the study.
        writer: Name of this process's journal.
        identity: This process.
    """

    def __init__(self, paths: StudyPaths, writer: str, identity: ProcessIdentity) -> None:
        self._paths = paths
        self._writer = writer
        self._content = json.dumps({"writer": writer, "identity": identity.to_data()}).encode()
        self._owner_files = 0
        self._owner_file: Path | None = None
        self._links = True

    def claim(self, trial: int, attempt: int) -> bool:
        """Try to claim an attempt; return True if this process owns it now or owned it before.

        Raises:
            EnvironmentFault: The folder of claims cannot be written.
        """
        return self._claim(self._paths.claim(trial, attempt))

    def claim_configuration(self, configuration: str) -> bool:
        """Try to claim a proposed configuration; return True if this process owns it now or owned it before.

        Args:
            configuration: ID of the configuration.

        Raises:
            EnvironmentFault: The folder of claims cannot be written.
        """
        return self._claim(self._paths.configuration_claim(configuration))

    def claim_notice(self, key: str) -> bool:
        """Try to claim sending a notification; return True if this process owns it now or owned it before.

        Args:
            key: Name of the notification: letters, digits, ``-`` and ``.``.

        Raises:
            EnvironmentFault: The folder of claims cannot be written.
        """
        return self._claim(self._paths.notice_claim(key))

    def notice_owner(self, key: str) -> Owner | None:
        """Return the owner of a notification's claim; None if nobody has claimed it."""
        return _owner(self._paths.notice_claim(key))

    @contextmanager
    def submission(self) -> Iterator[None]:
        """Be the only process that submits jobs of the study.

        The claims have numbers, because nobody can safely remove another process's claim: whoever comes after a dead
        process of this machine claims the next number. A process removes its own claim at the end.

        Raises:
            StudyError: Another process submits jobs of the study, or it was removed at this moment.
            EnvironmentFault: The folder of claims cannot be written.
        """
        if not self._paths.claims.is_dir():
            raise StudyError(f"study {self._paths.study!r} was removed by another command at this moment; try again")
        name = self._claim_submission()
        try:
            yield
        finally:
            name.unlink(missing_ok=True)

    def _claim_submission(self) -> Path:
        while True:
            numbers = self._paths.submission_claims()
            for number in numbers:
                self._check_dead(self._paths.submission_claim(number))
            name = self._paths.submission_claim(numbers[-1] + 1 if numbers else 0)
            if self._claim(name):
                return name
            self._check_dead(name)

    def _check_dead(self, name: Path) -> None:
        owner = _owner(name)
        if owner is not None and (owner.identity is None or is_alive(owner.identity) is not False):
            raise StudyError(_being_submitted(self._paths.study, owner, name))

    def _claim(self, name: Path) -> bool:
        try:
            return self._link(name) if self._links else self._create(name)
        except OSError as error:
            advice = f"{error.strerror or error}; check that the folder exists and has room"
            raise EnvironmentFault(f"{name}: cannot claim the trial: {advice}") from error

    def taken(self) -> set[tuple[int, int]]:
        """Return (trial, attempt) of every claim."""
        found = set()
        try:
            with os.scandir(self._paths.claims) as entries:
                for entry in entries:
                    trial, _, attempt = entry.name.partition(".")
                    if trial.isdecimal() and attempt.isdecimal():
                        found.add((int(trial), int(attempt)))
        except FileNotFoundError:  # a study that is not on disk yet, or whose folder was removed
            return set()
        return found

    def owner(self, trial: int, attempt: int) -> Owner | None:
        """Return the owner of an attempt's claim; None if nobody has claimed it."""
        return _owner(self._paths.claim(trial, attempt))

    def _link(self, name: Path) -> bool:
        if self._owner_file is None:
            self._owner_file = self._new_owner_file()
        try:
            os.link(self._owner_file, name)
        except FileExistsError:
            return self._is_mine(name)
        except OSError as error:
            if error.errno == errno.EMLINK:  # ext4 allows 65,000 links to a file
                self._owner_file = self._new_owner_file()
                return self._link(name)
            if error.errno not in _REFUSED:
                raise
            self._links = False
            return self._create(name)
        return True

    def _create(self, name: Path) -> bool:
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return self._is_mine(name)
        try:
            write_all(fd, self._content)
        except OSError:
            name.unlink(missing_ok=True)  # otherwise an empty claim without an owner would remain
            raise
        return True

    def _is_mine(self, name: Path) -> bool:
        owner = _owner(name)
        return owner is not None and owner.writer == self._writer

    def _new_owner_file(self) -> Path:
        suffix = f"-{self._owner_files}" if self._owner_files else ""
        self._owner_files += 1
        path = self._paths.claims / f".owner-{self._writer}{suffix}"
        write_all(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644), self._content)
        return path


def _being_submitted(study: str, owner: Owner, name: Path) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner.written))
    who = owner.identity
    words = f"process {who.pid} on {who.host}" if who else "another process"
    wait = f"wait until it has ended; `cnn-sweep status {study}` then shows its jobs"
    # A process of this machine that has ended is found without help.
    gone = "" if who and is_alive(who) else f". If that process is gone, remove {name}"
    return f"study {study!r} is being submitted by {words} since {since}: {wait}{gone}"


def _owner(name: Path) -> Owner | None:
    try:
        with open_file(name) as file:
            written = os.fstat(file.fileno()).st_mtime
            text = file.read()
    except FileNotFoundError:
        return None
    except OSError:  # damaged: something else has the name of a claim
        return Owner(None, None, name.lstat().st_mtime)
    try:
        data = json.loads(text)
        return Owner(str(data["writer"]), ProcessIdentity.from_data(data["identity"]), written)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Owner(None, None, written)
