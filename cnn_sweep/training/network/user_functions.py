"""The user's own functions, named ``module:function`` in a sweep file, and the useful part of their tracebacks."""

from __future__ import annotations

import importlib
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import CnnSweepError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType, TracebackType

    from cnn_sweep.sweep.spec.trial import TrialSpec

_OURS = __name__.partition(".")[0]


def load_function(reference: str, folder: Path) -> Callable[..., Any]:
    """Return the function that ``module:function`` names.

    Args:
        reference: Name of a module and of a function in it; the module is a file in ``folder``, or installed.
        folder: Folder of the sweep file.

    Raises:
        InputError: There is no such module or function, or the module cannot be imported.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise InputError(f"{reference!r} must have the form module:function")
    module = _import(module_name, folder, reference)
    function = getattr(module, name, None)
    if not callable(function):
        callables = sorted(k for k, v in vars(module).items() if callable(v) and not k.startswith("_"))
        raise InputError(
            f"{reference}: {module_name} has no function {name!r}; it has {', '.join(callables) or 'none'}"
        )
    return function  # type: ignore[no-any-return]  # callable() has checked it


# The import path of this process holds one folder of user modules, so that studies do not import each other's.
_entered: list[str] = []


def _enter(folder: str) -> None:
    """Put a folder first on the import path, as Python does for a script, instead of another study's folder."""
    if _entered != [folder]:
        for name, module in list(sys.modules.items()):
            if any(is_of(Path(other), name, getattr(module, "__file__", None)) for other in _entered):
                del sys.modules[name]
        sys.path[:] = [path for path in sys.path if path not in _entered]
        _entered[:] = [folder]
    sys.path[:] = [folder, *(path for path in sys.path if path != folder)]


def _import(name: str, folder: Path, reference: str) -> ModuleType:
    folder = folder.resolve()
    _enter(str(folder))
    loaded = sys.modules.get(name)
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    if file.exists() and loaded is not None and getattr(loaded, "__file__", None) != str(file):
        # An installed module has the same name as the user's.
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{reference}: the module {name!r} cannot be imported from {folder}: {type(error).__name__}: {error}"
        ) from error


@dataclass(frozen=True)
class UserCode:
    """The user's own code, identified by module names.

    File paths cannot identify it, because this package and the user's may be installed beside other packages.

    Attributes:
        folder: Folder of the user's modules.
        modules: Modules and packages that the sweep file names.
    """

    folder: Path
    modules: frozenset[str]

    @classmethod
    def of(cls, spec: TrialSpec, folder: Path) -> UserCode:
        """Return the user's code that a trial calls."""
        references = (spec.objective.function, spec.build)
        return cls(folder.resolve(), frozenset(_package(one.partition(":")[0]) for one in references if one))

    def place(self, error: BaseException) -> str:
        """Return file and line of the innermost call in the user's code or in this package."""
        place = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if not place or _package(_name(frame)) == _OURS or self._has(frame):
                place = f"{Path(frame.f_code.co_filename).name}:{line}"
        return place

    def traceback(self, error: BaseException) -> str:
        """Format an exception like Python, starting at the first call in the user's code.

        An error of this package has a clear message, so only the user's line that led to it is shown, or the user's
        exception that caused it. Any other exception outside the user's code is a bug and keeps its whole traceback.
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
        # A syntax error has no call in the user's code, and calls of the import machinery help nobody.
        called = self._from_users(cause.__traceback__)
        return f"{error}\n{_written(cause, called[0] if called else None)}"

    def _from_users(self, entry: TracebackType | None) -> list[TracebackType]:
        """Return the calls starting at the first one in the user's code; empty without one."""
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
    """Return whether a module with this name and file belongs to an absolute folder."""
    place = folder.joinpath(*name.split("."))
    return file in (f"{place}.py", str(place / "__init__.py"))


def _package(name: str) -> str:
    return name.partition(".")[0]


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
