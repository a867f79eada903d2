"""The frozen sweep files of a study, ``sweep.yaml``, ``sweep.2.yaml`` and so on, and what the journals say about them.

The name of the folder is the name of the study, whatever ``study:`` says in these files. Therefore a study is renamed
by renaming its folder, and none of its files changes.

A sweep file gives the results their meaning. The event that made it take effect has its checksum, so a file that was
lost, damaged or replaced is noticed, and nobody takes the results of one sweep for those of another.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import DamagedFileError, SweepFileError
from cnn_sweep.journal.decoding import BadLineError, from_json
from cnn_sweep.journal.events import Extend
from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.journal.log import read_from
from cnn_sweep.journal.paths import JOURNAL_SUFFIX, is_study, sweep_file_cure
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.journal.study_files import read_file, read_json
from cnn_sweep.sweep.repeats import read_more_repeats, without_repeats_line
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnn_sweep.journal.paths import StudyPaths

log = logging.getLogger(__name__)

_HEAD: Final = 4096  # bytes of a journal that surely have its first two lines
_DIGITS: Final = 6  # a longer number is none of a revision
_EXTEND: Final = b'{"type":"extend"'


def read_revisions(paths: StudyPaths) -> tuple[Sweep, ...]:
    """Read the revisions of a study's sweep, oldest first, including repeats that ``repeat`` added.

    Raises:
        DamagedFileError: A sweep file is missing, damaged, or not the one with which the study was started.
    """
    folder = _original_folder(paths)
    return tuple(_parsed(paths, file, content, folder) for file, content in _checked(paths).items())


def newest_revision(paths: StudyPaths) -> Sweep:
    """Read only the newest revision of a study's sweep; errors as for :func:`read_revisions`."""
    file, content = list(_checked(paths).items())[-1]
    return _parsed(paths, file, content, _original_folder(paths))


def check_sweep_files(paths: StudyPaths) -> None:
    """Check that a study has the sweep files with which it was started; errors as for :func:`read_revisions`."""
    _checked(paths)


def restore_sweep_files(paths: StudyPaths, sweep: Sweep) -> None:
    """Write sweep files back that a study lost, if the journals say that they had the meaning of this sweep.

    Raises:
        DamagedFileError: A sweep file is missing, damaged or another one, and this sweep cannot take its place.
    """
    for _ in range(max(_newest_number(paths), 1) if is_study(paths) else 0):
        try:
            check_sweep_files(paths)
        except DamagedFileError as error:
            _restore(paths, sweep, error)
            log.warning("%s was lost or damaged; it is restored from %s", error.path, sweep.source)


def _restore(paths: StudyPaths, sweep: Sweep, error: DamagedFileError) -> None:
    for number in range(1, max(_newest_number(paths), 1) + 1):
        if paths.revision(number) == error.path:
            digests = {event.digest for event in _extends(paths, {number}).get(number, ())}
            is_same = sweep.digest in digests | ({read_provenance(paths).get("digest")} if number == 1 else set())
            if is_same and not error.path.is_dir():
                with shared_modes(paths.results):
                    write_aside(error.path, without_repeats_line(sweep.text).encode())
                return
    raise error


def _checked(paths: StudyPaths) -> dict[Path, bytes]:
    """Return the content of each sweep file, after comparing it with the journals."""
    cure = sweep_file_cure(paths)
    newest = max(_newest_number(paths), 1)
    found = {paths.revision(number): read_file(paths.revision(number), cure) for number in range(1, newest + 1)}
    sums = {number: hashlib.sha256(content).hexdigest() for number, content in enumerate(found.values(), start=1)}
    journaled = _extends(paths, sums, sums)
    for (file, content), (number, checksum) in zip(found.items(), sums.items(), strict=True):
        known = {event.sha256 for event in journaled.get(number, ())}
        # A file with another checksum may have the same meaning, such as with another comment.
        if known and known.isdisjoint({checksum, None}):
            digests = {event.digest for event in journaled[number]}
            if _parsed(paths, file, content, paths.folder).digest not in digests:
                raise DamagedFileError(file, "it is not the sweep file with which the study was started", cure)
    return found


def _newest_number(paths: StudyPaths) -> int:
    """Return the largest number of a sweep file; 0 without any."""
    names = [path.name for path in paths.folder.glob("sweep*.yaml")]
    numbers = [name.removeprefix("sweep.").removesuffix(".yaml") for name in names if name != paths.sweep.name]
    later = [int(number) for number in numbers if number.isdecimal() and len(number) < _DIGITS]
    return max([*later, int(paths.sweep.name in names)])


def _parsed(paths: StudyPaths, file: Path, content: bytes, folder: Path) -> Sweep:
    try:
        text = content.decode("utf-8-sig")
        sweep = Sweep.parse(text, source=str(file), folder=folder)
        return replace(sweep, more_repeats=read_more_repeats(text)).named(paths.study)
    except (SweepFileError, ValueError, KeyError, TypeError) as error:
        first = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).splitlines()[0]
        reason = f"it is damaged: {first.removeprefix(f'{file}:').lstrip()}"
        raise DamagedFileError(file, reason, sweep_file_cure(paths)) from error


def _extends(paths: StudyPaths, numbers: Iterable[int], sums: dict[int, str] | None = None) -> dict[int, list[Extend]]:
    """Return the events by which revisions took effect, read from the first lines of the journals.

    Reading ends as soon as all checksums in ``sums`` are found, which usually is in the oldest journal.
    """
    missing = set(numbers)
    found: dict[int, list[Extend]] = {}
    for event in _first_extends(paths):
        found.setdefault(event.revision, []).append(event)
        if sums is not None and event.sha256 in {None, sums.get(event.revision)}:
            missing.discard(event.revision)
            if not missing:
                break
    return found


def _first_extends(paths: StudyPaths) -> Iterator[Extend]:
    try:
        with os.scandir(paths.journals) as entries:
            journals = [(e.stat().st_mtime, e.path) for e in entries if e.name.endswith(JOURNAL_SUFFIX) and e.is_file()]
    except OSError:
        return
    for _, journal in sorted(journals):
        for body in read_from(Path(journal), limit=_HEAD).bodies:
            if body.startswith(_EXTEND):
                try:
                    event = from_json(body)
                except BadLineError:
                    continue
                if isinstance(event, Extend):
                    yield event


def _original_folder(paths: StudyPaths) -> Path:
    """Return the folder of the user's sweep file; relative paths in the file start there.

    If ``provenance.json`` is lost or damaged, it is the study's own folder: results can still be read.
    """
    folder = read_provenance(paths).get("folder")
    return Path(folder) if isinstance(folder, str) and "\0" not in folder else paths.folder


def read_provenance(paths: StudyPaths) -> dict[str, Any]:
    """Return where a study comes from; if that file is lost or damaged, say so and return nothing."""
    try:
        found: dict[str, Any] = read_json(paths.provenance, f"relative paths now start at {paths.folder}")
    except DamagedFileError as error:
        _warn(str(error))
        return {}
    return found


@lru_cache(maxsize=64)
def _warn(message: str) -> None:
    """Say something once in a process."""
    log.warning("%s", message)
