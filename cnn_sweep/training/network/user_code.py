"""Which code is the user's, and what of a traceback is of use to them."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import CnnSweepError

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from cnn_sweep.sweep.spec.trial import TrialSpec

_OURS = __name__.partition(".")[0]


@dataclass(frozen=True)
class UserCode:
    """Code of the user's, told by names of modules.

    Where files lie says nothing: this package, or the user's, may be installed beside those of others.

    Attributes:
        folder: Where modules of the user's are found.
        modules: Modules and packages that the sweep file names.
    """

    folder: Path
    modules: frozenset[str]

    @classmethod
    def of(cls, spec: TrialSpec, folder: Path) -> UserCode:
        """Return the code that a trial calls."""
        references = (spec.objective.function, spec.build)
        return cls(folder.resolve(), frozenset(_package(one.partition(":")[0]) for one in references if one))

    def place(self, error: BaseException) -> str:
        """Return file and line of the innermost call in code of the user's or in ours."""
        place = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if not place or _package(_name(frame)) == _OURS or self._has(frame):
                place = f"{Path(frame.f_code.co_filename).name}:{line}"
        return place

    def traceback(self, error: BaseException) -> str:
        """Write an exception as Python does, without calls that are ours: from the first in the user's code on.

        An error of ours says what is wrong, so all that it needs is the line of the user's that led to it, or the
        user's exception that it is about. Any other exception outside the user's code is a bug and keeps everything.
        """
        entries = self._from_users(error.__traceback__)
        if isinstance(error, CnnSweepError):
            return self._of_ours(error, entries)
        return _written(error, entries[0] if entries else error.__traceback__)

    def _of_ours(self, error: CnnSweepError, entries: list[TracebackType]) -> str:
        if entries:
            last = max(place for place, entry in enumerate(entries) if self._has(entry.tb_frame))
            return _written(error, entries[0], calls=last + 1)
        cause = error.__cause__
        if cause is None:
            return str(error)
        # A syntax error comes without any call of the user's, and how Python came to the module is no news.
        called = self._from_users(cause.__traceback__)
        return f"{error}\n{_written(cause, called[0] if called else None)}"

    def _from_users(self, entry: TracebackType | None) -> list[TracebackType]:
        """Return the calls from the first in the user's code on; none if there is none."""
        entries: list[TracebackType] = []
        while entry is not None:
            if entries or self._has(entry.tb_frame):
                entries.append(entry)
            entry = entry.tb_next
        return entries

    def _has(self, frame: FrameType) -> bool:
        name = _name(frame)
        return _package(name) in self.modules or is_of(self.folder, name, frame.f_globals.get("__file__"))


def _written(error: BaseException, start: TracebackType | None, calls: int | None = None) -> str:
    return "".join(traceback.TracebackException(type(error), error, start, limit=calls).format()).rstrip()


def is_of(folder: Path, name: str, file: str | None) -> bool:
    """Tell whether a module of this name and file is one of an absolute folder's."""
    place = folder.joinpath(*name.split("."))
    return file in (f"{place}.py", str(place / "__init__.py"))


def _package(name: str) -> str:
    return name.partition(".")[0]


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
