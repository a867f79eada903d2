"""The user's own modules beside a sweep file: checks them before a study is created, and copies them into it.

The check reads the text of a module and does not run it, because an import may take long or need a GPU. Mistakes
that the text does not show are left to the workers. The copy protects a study from later edits.
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import InputError
from cnn_sweep.messages import listed, near, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.sweep import Sweep

# A module that uses one of these may define names that its text does not show.
_DYNAMIC: Final = frozenset({"*", "__getattr__", "globals", "exec", "vars", "setattr", "modules"})
# More bytes of Python than this beside a sweep file are hardly the code of one study.
_MAX_BYTES: Final = 10_000_000


def uses_user_code(sweep: Sweep) -> bool:
    """Return whether a sweep names a function of the user's."""
    return sweep.sections.build is not None or sweep.objective.function is not None


def copy_user_code(sweep: Sweep, target: Path) -> None:
    """Copy the Python modules beside a sweep file, and the packages there, into ``target``.

    Raises:
        InputError: There is more than 10 MB of it.
    """
    files = list(_modules(sweep.folder))
    size = sum(path.stat().st_size for path in files)
    if size > _MAX_BYTES:
        raise InputError(
            f"{sweep.folder.resolve()}: {plural(len(files), 'Python file')} beside the sweep file, {size:,} bytes; "
            "put the sweep file into a folder with only the code that it needs"
        )
    for path in files:
        copy = target / path.relative_to(sweep.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(copy.stat().st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))  # also in a folder that a group shares


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.is_file():
            yield path
        elif (path / "__init__.py").is_file():
            yield from sorted(one for one in path.rglob("*.py") if one.is_file())


def check_user_code(sweep: Sweep) -> None:
    """Check that the modules and functions that a sweep file names exist, without running them.

    Raises:
        SweepFileError: One is certainly missing, or its module is not valid Python.
    """
    problems = sweep.problems()
    build, objective = sweep.sections.build, sweep.objective.function
    place: KeyPath = ("objectives", 0) if problems.has(("objectives",)) else ("objective",)
    for key, reference in ((("model", "build"), build), ((*place, "function"), objective)):
        if reference is not None and (reason := _what_is_missing(reference, sweep.folder)) is not None:
            problems.add(key, reason)
    problems.raise_any()


def _what_is_missing(reference: str, folder: Path) -> str | None:
    """Return why ``module:function`` cannot be found; None if it may exist."""
    module, _, function = reference.partition(":")
    top, *inner = module.split(".")
    file = _file_of(module, folder)
    if file is None:
        if not _is_own(top, folder) and _is_installed(top):
            return None
        own = sorted(path.stem for path in folder.glob("*.py"))
        missing = folder.joinpath(*module.split("."))
        return f"no module {module!r}{near(module, own)}: {missing}.py does not exist, and no such package is installed"
    if inner and not (folder / top / "__init__.py").is_file():
        return (
            f"{folder / top} is not a package, so it would not be copied into the study; add an empty __init__.py to it"
        )
    return _what_it_lacks(file, function)


def _what_it_lacks(file: Path, function: str) -> str | None:
    """Return why a module's file has no such function; None if it may have it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as "\\d": the worker shows it when it runs the module
            tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        return f"{file}:{error.lineno or 1}: this is not Python: {error.msg}"
    except (OSError, ValueError, RecursionError) as error:
        return f"{file}: the module cannot be read: {error}"
    names = set(_defined(tree))
    if function in names or (names | set(_used(tree))) & _DYNAMIC:
        return None
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return f"{file} has no function {function!r}{near(function, functions)}; it has {listed(functions)}"


def _file_of(module: str, folder: Path) -> Path | None:
    place = folder.joinpath(*module.split("."))
    return next((file for file in (Path(f"{place}.py"), place / "__init__.py") if file.is_file()), None)


def _is_own(top: str, folder: Path) -> bool:
    return _file_of(top, folder) is not None


def _is_installed(top: str) -> bool:
    try:
        return importlib.util.find_spec(top) is not None  # without a dot in the name, this imports nothing
    except ValueError:  # a loaded module without a specification
        return True


def _defined(node: ast.AST) -> Iterator[str]:
    """Yield the names that a module defines, including imports and those in an ``if`` or ``try``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.alias):
            yield child.asname or child.name.partition(".")[0]
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        else:
            yield from _defined(child)


def _used(tree: ast.AST) -> Iterator[str]:
    """Yield all names and attributes in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Global):
            yield "globals"
