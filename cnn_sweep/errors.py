"""The tree of our errors; each class has the exit code of a command that fails with it.

CnnSweepError                 (3)
├── InputError                (2)  the user's input is wrong
│   ├── SweepFileError             all mistakes of one sweep file
│   ├── SettingError               a value of a sweep file is wrong; raised where line numbers are unknown
│   └── StudyError                 the study is not what the request assumes
│       └── DamagedFileError           a file of a study is missing or damaged
├── EnvironmentFault          (3)  the machine, the cluster or the file system is wrong
└── Interrupted             (130)  the user asked to stop
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


MAX_SHOWN: Final = 50  # mistakes of one file in a message


class CnnSweepError(Exception):
    """Base of all errors that end a command with one clear message."""

    exit_code = 3


class InputError(CnnSweepError):
    """The user's input is wrong; the message says what and where, with the value and the valid choices."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a sweep file.

    Attributes:
        line: 1-based line in the file; 0 if the mistake belongs to no line, or there is no file.
        where: Path of keys to the value, such as ``space.dropout.low``.
        message: What is wrong, with the value and the valid choices.
        source: What the value comes from, such as an included file or an option; empty for the sweep file.
    """

    line: int
    where: str
    message: str
    source: str = ""


class SweepFileError(InputError):
    """All mistakes of one sweep file, sorted by line; those of included files and of options follow.

    Attributes:
        source: The file's name as the user gave it.
        problems: The mistakes.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.source, problem)))
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        rest = len(self.problems) - MAX_SHOWN
        more = [f"{self.source}: and {rest:,} more mistakes"] if rest > 1 else []
        return [*(self._text(problem) for problem in self.problems[: MAX_SHOWN if more else None]), *more]

    def _text(self, problem: Problem) -> str:
        source = problem.source or self.source
        if problem.line:
            return f"{source}:{problem.line}: {problem.where}: {problem.message}"
        # An option names its key itself; a problem may lie in a part of its value.
        where = "" if problem.source and problem.where in source else problem.where
        return ": ".join(filter(None, (source, where, problem.message)))


class SettingError(InputError):
    """A value of a sweep file does not match something outside the file, such as a missing folder.

    Attributes:
        key: Path of keys to the value, such as ``("data", "train")``; callers with the file add its line.
        reason: What is wrong; the whole message begins with the key.
    """

    def __init__(self, reason: str, key: tuple[str | int, ...]) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"{'.'.join(map(str, key))}: {reason}")


@contextmanager
def blamed_on(*key: str | int) -> Iterator[None]:
    """Attribute input errors in the block to a key of the sweep file, unless they name a key themselves.

    Raises:
        SettingError: The block raised a plain :class:`InputError`.
    """
    try:
        yield
    except InputError as error:
        if type(error) is not InputError:
            raise
        raise SettingError(str(error), key) from error


class StudyError(InputError):
    """The study does not exist, exists already, or is not what the request assumes."""


class DamagedFileError(StudyError):
    """A file of a study, or of a results folder, is missing, damaged or unreadable.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, reason: str, cure: str) -> None:
        self.path = path
        super().__init__(f"{path}: {reason}; {cure}" if cure else f"{path}: {reason}")


class EnvironmentFault(CnnSweepError):
    """The machine, the cluster or the file system is wrong."""

    exit_code = 3


class Interrupted(CnnSweepError):
    """The user asked to stop; everything needed to continue is on disk."""

    exit_code = 130


_ROOM: Final = "free some space, or ask for a larger quota"
_RIGHTS: Final = "check who may use it"
_PROCESSES: Final = "you may have no more processes here (`ulimit -u`): end some, or use fewer workers"
_CURES: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.EAGAIN: _PROCESSES,
    errno.EMFILE: "this process may open no more files (`ulimit -n`)",
    errno.ENFILE: "this machine has too many open files; try again later",
    errno.ENOMEM: "the memory is used up; use fewer workers, or ask for more memory",
    errno.ENOENT: "it was removed or moved, perhaps at this moment",
    errno.EEXIST: "another file has this name; move it away",
    errno.ENOTDIR: "a part of the path is not a folder; move it away",
    errno.EISDIR: "a folder has this name; move it away",
}


def fault_of(error: OSError) -> EnvironmentFault:
    """Return an error of the operating system as one message: the path, its words, and what to do."""
    paths = " -> ".join(str(one) for one in (error.filename, error.filename2) if one is not None)
    words = error.strerror or str(error) or type(error).__name__
    cure = _CURES.get(error.errno or 0, "check the file system, and try again")
    return EnvironmentFault(f"{f'{paths}: ' if paths else ''}{words}; {cure}")


@contextmanager
def faults_of_the_system() -> Iterator[None]:
    """Turn errors of the operating system in the block into our own.

    Raises:
        EnvironmentFault: The block raised an OSError; a closed pipe is left to the caller.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise fault_of(error) from error
