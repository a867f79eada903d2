"""The one tree of errors; each class knows the exit code of the command that meets it.

CnnSweepError                 (3)
├── InputError                (2)  the user's input is wrong
│   ├── SweepFileError             all mistakes of one sweep file
│   ├── SettingError               a value of a sweep file, found wrong where the file's lines are not known
│   └── StudyError                 the study is not what the request assumes
├── EnvironmentFault          (3)  the machine, the cluster or the file system is wrong
└── Interrupted             (130)  the user asked to stop
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class CnnSweepError(Exception):
    """Base of all errors that end a command with one clear message."""

    exit_code = 3


class InputError(CnnSweepError):
    """The user's input is wrong: what, where, the value and the valid choices stand in the message."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a sweep file.

    Attributes:
        line: 1-based line in the file; 0 where the mistake belongs to no line.
        where: Path of keys to the value, such as ``space.dropout.low``.
        message: What is wrong, with the value and the valid choices.
    """

    line: int
    where: str
    message: str


class SweepFileError(InputError):
    """All mistakes of one sweep file, sorted by line.

    Attributes:
        source: The file's name as the user gave it.
        problems: The mistakes.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        return [
            f"{self.source}:{p.line}: {p.where}: {p.message}" if p.line else f"{self.source}: {p.message}"
            for p in self.problems
        ]


class SettingError(InputError):
    """A value of a sweep file does not fit what is outside of the file, such as a folder that is not there.

    Attributes:
        key: Path of keys to the value, such as ``("data", "train")``; who has the file adds its line.
        reason: What is wrong; the whole message begins with the key.
    """

    def __init__(self, reason: str, key: tuple[str | int, ...]) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"{'.'.join(map(str, key))}: {reason}")


@contextmanager
def blamed_on(*key: str | int) -> Iterator[None]:
    """Say which key of the sweep file is to be mended, where an error within does not say it more exactly.

    Raises:
        SettingError: In place of a plain :class:`InputError`.
    """
    try:
        yield
    except InputError as error:
        if type(error) is not InputError:
            raise
        raise SettingError(str(error), key) from error


class StudyError(InputError):
    """The study does not exist, exists already, or is not what the request assumes."""


class EnvironmentFault(CnnSweepError):
    """The machine, the cluster or the file system is wrong."""

    exit_code = 3


class Interrupted(CnnSweepError):
    """The user asked to stop; everything that is needed to continue is on disk."""

    exit_code = 130
