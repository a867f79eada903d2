"""Renames and removes studies. A study gets or loses its name in one step, so after a kill it is whole or gone."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.journal.filesystem import clear_asides, sync_path
from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.identity import process_tag, tag_is_alive, user_name
from cnn_sweep.journal.paths import StudyPaths, archive_of, existing_studies, existing_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_REMOVED: Final = ".removed-"  # a study that is being removed; nothing of it is needed any more
RESTORING: Final = ".restoring-"  # a study that is being restored from an archive
ARCHIVING: Final = ".archiving-"  # an archive that is being written
# Work of a process on another machine counts as abandoned after this many seconds without a change.
_ABANDONED_S = 86_400.0


def find_study(results: Path, name: str) -> StudyPaths:
    """Return the files of a study, even of one that lacks its sweep file.

    Raises:
        StudyError: There is no such study; the message suggests a similar name and lists the existing ones.
    """
    if name in existing_studies(results):
        return StudyPaths(results, name)
    return existing_study(results, name)


def check_owner(paths: StudyPaths) -> None:
    """Check that a study is this user's to rename or remove; root may do so, too.

    Raises:
        StudyError: It belongs to somebody else.
    """
    if os.geteuid() not in {0, owner := paths.folder.lstat().st_uid}:
        raise StudyError(
            f"the study {paths.study!r} in {paths.results} belongs to {user_name(owner)}, who alone can rename, "
            "archive or delete it; `cnn-sweep archive --keep --to FILE` copies it into an archive of yours"
        )


def check_free_name(paths: StudyPaths, *, archives: bool = True) -> None:
    """Check that a study can get a name.

    Args:
        paths: Files that the study would have.
        archives: Whether an archive of that name is in the way, too.

    Raises:
        StudyError: The name is taken by a study, a file or an archive, or differs from a study's name in case only.
    """
    name, folder = paths.study, paths.folder
    if name in existing_studies(paths.results):
        raise StudyError(f"there is already a study {name!r} in {paths.results}; take another name")
    if folder.exists() or folder.is_symlink():
        raise StudyError(f"{folder} exists and is not a study; move it away, or take another name")
    if archives and archive_of(paths.results, name).exists():
        raise StudyError(f"{archive_of(paths.results, name)} is an archive of that name; take another name, or move it")
    check_case(paths)


def check_case(paths: StudyPaths) -> None:
    """Check that a name differs from other studies' names in more than case, which SQL and some file systems ignore.

    Raises:
        StudyError: A study's name differs in case only.
    """
    for name in existing_studies(paths.results):
        if name != paths.study and name.lower() == paths.study.lower():
            raise StudyError(f"{paths.study!r} differs from the study {name!r} in case only; take another name")


def rename_study(old: StudyPaths, new: StudyPaths) -> None:
    """Give a study that nobody uses another name.

    Raises:
        StudyError: A process began to use the study at this moment.
        EnvironmentFault: The folder cannot be renamed.
    """
    before = journal_sizes(old)
    _rename(old.folder, new.folder)
    if journal_sizes(new) != before:
        _rename(new.folder, old.folder)
        raise _used_now(old.study)


@dataclass(frozen=True)
class Removal:
    """What became of a study's folder.

    Attributes:
        left: The folder that a link named and that is still there; None if nothing is left.
        problem: Why some files could not be removed; None if all are gone.
    """

    left: Path | None = None
    problem: str | None = None


def remove_study(paths: StudyPaths, *, unchanged: Callable[[Path], bool] | None = None) -> Removal:
    """Remove a study that nobody uses.

    A folder elsewhere to which the study's name is a link is removed, too, unless it is in the results folder itself.

    Args:
        paths: Files of the study.
        unchanged: Returns whether the study, which has lost its name and is at the given path, is still what the caller
            saw before; if not, it gets its name back.

    Raises:
        StudyError: A process used the study at this moment; it is unchanged.
        EnvironmentFault: The folder cannot be renamed; the study is unchanged.
    """
    before = _sizes(paths.journals)
    hidden = paths.results / f"{_REMOVED}{process_tag()}"
    _rename(paths.folder, hidden)
    is_same = False
    try:
        is_same = _sizes(hidden / paths.journals.name) == before and (unchanged is None or unchanged(hidden))
    finally:
        if not is_same:
            _rename(hidden, paths.folder)
    if not is_same:
        raise _used_now(paths.study)
    return _remove(hidden)


def _sizes(folder: Path) -> dict[str, int]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries}
    return {}


def clear_leftovers(folder: Path) -> None:
    """Remove what killed commands left in a folder of results or archives; problems are ignored."""
    clear_asides(folder)
    for path in _leftovers(folder):
        with suppress(OSError):
            _remove(path)


def _leftovers(folder: Path) -> Iterator[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return
    for path in found:
        for prefix in (_REMOVED, RESTORING, ARCHIVING):
            if path.name.startswith(prefix) and _is_abandoned(path, path.name.removeprefix(prefix)):
                yield path


def _is_abandoned(path: Path, tag: str) -> bool:
    alive = tag_is_alive(tag)
    if alive is not None:
        return not alive
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > _ABANDONED_S
    return False


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
        sync_path(folder.parent)
    except OSError as error:
        raise EnvironmentFault(f"cannot rename {folder}: {error.strerror or error}; nothing was changed") from error


def _remove(path: Path) -> Removal:
    """Remove a file, a folder or a link with its target; another process may be doing the same."""
    problems: list[str] = []

    def note(_function: object, _path: object, info: tuple[type, BaseException, object]) -> None:
        if isinstance(info[1], OSError) and not isinstance(info[1], FileNotFoundError):
            problems.append(f"{info[1].filename}: {info[1].strerror}")

    left = None
    if path.is_symlink():
        target = path.resolve()
        if target.is_relative_to(path.parent.resolve()):
            left = target
        elif target.is_dir():
            shutil.rmtree(target, onerror=note)
        path.unlink(missing_ok=True)
    elif path.is_dir():
        shutil.rmtree(path, onerror=note)
    else:
        path.unlink(missing_ok=True)
    return Removal(left, problems[0] if problems else None)


def _used_now(name: str) -> StudyError:
    return StudyError(f"study {name!r} was used by another process at this moment and is unchanged; try again")
