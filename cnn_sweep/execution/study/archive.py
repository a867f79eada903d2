"""Writes a study into one file that is readable without this program: a ``.tar.gz`` with checksums and plain tables.

An archive has one folder, named like the study:

=================== ================================================================================================
``README.txt``      what this is, and how to read it without this program
``SUMMARY.json``    the study at a glance, so that a list of archives need not read them whole
``study/``          the study's folder
``tables/``         trials and epochs as CSV
``MANIFEST.sha256`` the checksum of each of these files, as ``sha256sum -c`` reads them
=================== ================================================================================================

The same study always gives the same bytes: members are sorted, and the archive records neither its writer nor when and
where it was written.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import shutil
import stat
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.execution.study.archive_reader import MANIFEST, STUDY, SUMMARY, manifest_text, read_archive
from cnn_sweep.execution.study.removal import ARCHIVING, clear_leftovers
from cnn_sweep.journal.filesystem import keeping_mode_in, mode_in, sync_path
from cnn_sweep.journal.identity import process_tag
from cnn_sweep.journal.paths import archive_of
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.messages import in_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cnn_sweep.journal.paths import StudyPaths

    Observer = Callable[[int, int], None]  # is told the bytes that are done, and the bytes in all

FORMAT: Final = 1
README: Final = "README.txt"
_LEVEL: Final = 6
# What compression leaves of a file, at most, by suffix; used to estimate the size of an archive.
_LEFT: Final = {".keras": 1.0, ".ckpt": 1.0, ".h5": 1.0, ".bin": 1.0}
_LEFT_OF_TEXT: Final = 0.3

_ABOUT = """\
{title}

This is a study of cnn-sweep, a program for hyperparameter sweeps of convolutional networks. You need neither that
program nor this computer to read it: the archive is a tar file, compressed with gzip. Unpack it, and check every file
(on a Mac, with shasum -a 256 -c):

    tar -xzf {file}
    cd {name}
    sha256sum -c {manifest}

What is in it:

    tables/trials.csv       a row for each trial: its hyperparameters, state, best value, best epoch, seed, duration
    tables/epochs.csv       a row for each epoch of each trial, with its metrics
    study/sweep.yaml        the sweep file; sweep.2.yaml and so on are its extensions
    study/provenance.json   versions of all packages, the command, the machine, and the state of the code
    study/models/           networks of the best trials, as Keras saves them: zip files with JSON and HDF5 inside
    study/journal/          everything that happened, in order: eight digits of a CRC-32, a space, and a JSON object
    study/predictions/      what each trial predicted for the validation images: after a line of magic, a header in JSON
                            with its size before it, then numbers of images, classes, and 16-bit logarithms
    study/checkpoints/      states from which unfinished trials continue
    study/live/             the page that was renewed while the study ran, if the profile asked for one
    study/code/             the user's own Python modules, if the sweep has any
    {summary}            the study at a glance

Text is UTF-8. The first line of a table names its columns, and an empty field is a missing value. Times are seconds
since 1970-01-01 UTC. The images are not in the archive.

With cnn-sweep installed, this makes it a study again, which can be continued and extended:

    cnn-sweep unarchive {file}
"""


@dataclass(frozen=True)
class Entry:
    """A file or a folder of a study.

    Attributes:
        name: Path relative to the study's folder, with slashes.
        path: The file or folder.
        status: What ``stat`` says about it, or about the target of a link.
    """

    name: str
    path: Path
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def state(self) -> tuple[str, int, int]:
        """Name, size and time of the last change, which differ if the file does."""
        return (self.name, 0, 0) if self.is_folder else (self.name, self.status.st_size, self.status.st_mtime_ns)


@dataclass(frozen=True)
class Extras:
    """What an archive has beside the study's folder.

    Attributes:
        summary: The study at a glance.
        tables: A folder with tables, which are sorted into ``tables/``.
    """

    summary: Mapping[str, Any]
    tables: Path


@dataclass(frozen=True)
class Archived:
    """An archive that was written and read back.

    Attributes:
        file: The archive.
        files: Number of its files.
        states: The states of the study's files when they were archived.
    """

    file: Path
    files: int
    states: tuple[tuple[str, int, int], ...]

    def has_all_of(self, folder: Path) -> bool:
        """Return whether a study's folder has the same files as when it was archived."""
        return tuple(entry.state for entry in entries_of(folder)) == self.states


def archive_study(
    paths: StudyPaths, target: Path, extras: Extras, *, replace: bool = False, observe: Observer | None = None
) -> Archived:
    """Write a study's archive under a temporary name, read it back, and give it its name.

    Args:
        paths: Files of the study, which nobody uses.
        target: The archive.
        extras: What else is in it.
        replace: Whether the archive may replace an older one.
        observe: Is told the progress.

    Raises:
        StudyError: The study has something that cannot be archived, or changed meanwhile; or the archive exists.
        EnvironmentFault: There is no room for the archive, or it cannot be written or read back.
    """
    with shared_modes(paths.results):
        return _archive(paths, target, extras, replace=replace, observe=observe)


def _archive(paths: StudyPaths, target: Path, extras: Extras, *, replace: bool, observe: Observer | None) -> Archived:
    entries = list(entries_of(paths.folder))
    aside = target.parent / f"{ARCHIVING}{process_tag()}"
    try:
        if target == archive_of(paths.results, paths.study):
            target.parent.mkdir(mode=keeping_mode_in(paths.results), exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(target.parent)
        _check_room(entries, target)
        writer = _Writer(paths.study, target.name, observe)
        writer.write(aside, entries, extras)
        _read_back(aside, writer)
        done = Archived(target, len(writer.sums), tuple(entry.state for entry in entries))
        if not done.has_all_of(paths.folder):
            raise StudyError(f"study {paths.study!r} changed while it was archived; try again when nothing uses it")
        sync_path(aside)
        _publish(aside, target, replace=replace)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {target}: {error.strerror or error}; the study is unchanged") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    return done


def complete_archive(target: Path, paths: StudyPaths) -> Archived | None:
    """Return an existing archive if it is sound and has the study's files as they are now, else None.

    Raises:
        EnvironmentFault: The archive is damaged or cannot be read.
        InputError: The file is no archive.
    """
    contents = read_archive(target)
    entries = list(entries_of(paths.folder))
    files = {f"{STUDY}/{entry.name}": entry.path for entry in entries if not entry.is_folder}
    sums = {name: found for name, found in contents.sums.items() if name.startswith(f"{STUDY}/")}
    if contents.study != paths.study or sums.keys() != files.keys():
        return None
    if any(_sum_of(path) != sums[name] for name, path in files.items()):
        return None
    return Archived(target, len(contents.sums), tuple(entry.state for entry in entries))


def entries_of(folder: Path) -> Iterator[Entry]:
    """Yield all files and folders of a study, sorted; links are followed.

    Raises:
        StudyError: Something is neither a file nor a folder, such as a broken link.
        EnvironmentFault: Something cannot be read.
    """
    try:
        yield from sorted(_below(folder, folder, frozenset()), key=lambda entry: entry.name)
    except OSError as error:
        raise EnvironmentFault(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from error


def _below(top: Path, folder: Path, above: frozenset[Path]) -> Iterator[Entry]:
    inside = above | {folder.resolve()}
    for path in folder.iterdir():
        name = path.relative_to(top).as_posix()
        try:
            status = path.stat()
        except FileNotFoundError:
            raise StudyError(f"{path} is a broken link and cannot be archived; remove or mend it") from None
        is_folder = stat.S_ISDIR(status.st_mode)
        if not (is_folder or stat.S_ISREG(status.st_mode)) or "\n" in name or (is_folder and path.resolve() in inside):
            raise StudyError(f"{str(path)!r} cannot be archived: it is no plain file or folder; move it away")
        yield Entry(name, path, status)
        if is_folder:
            yield from _below(top, path, inside)


def _check_room(entries: list[Entry], target: Path) -> None:
    files = [entry for entry in entries if not entry.is_folder]
    needed = sum(entry.status.st_size * _LEFT.get(entry.path.suffix, _LEFT_OF_TEXT) for entry in files)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise EnvironmentFault(
            f"{target} needs about {in_bytes(needed)}, and {in_bytes(free)} are free there; free some space, or name a "
            "file on another disk with --to"
        )


def _read_back(aside: Path, writer: _Writer) -> None:
    found = read_archive(aside, observe=writer.note)
    if found.sums != writer.sums:
        raise EnvironmentFault(f"{aside.parent}: an archive written there reads back differently; check the disk")


def _publish(aside: Path, target: Path, *, replace: bool) -> None:
    if replace:
        aside.replace(target)
    else:
        try:
            os.link(aside, target)
        except FileExistsError:
            raise StudyError(f"{target} exists; name another file with --to") from None
        except OSError as error:
            if error.errno == errno.ENOSPC or target.exists():
                raise
            aside.rename(target)  # no hard links here
    sync_path(target.parent)


def _sum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Hashing:
    """A file that is read through a checksum."""

    def __init__(self, file: IO[bytes], writer: _Writer) -> None:
        self._file = file
        self._writer = writer
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        self._writer.note(len(block))
        return block


class _Writer:
    """Writes one archive.

    Attributes:
        sums: SHA-256 of each file that was written, by its name without the top folder.
    """

    def __init__(self, study: str, file: str, observe: Observer | None) -> None:
        self.sums: dict[str, str] = {}
        self._study = study
        self._file = file
        self._observe = observe
        self._done = self._total = 0
        self._links: dict[tuple[int, int], str] = {}

    def note(self, count: int) -> None:
        """Note that some bytes were written or read back."""
        self._done += count
        if self._observe is not None:
            self._observe(min(self._done, self._total), self._total)

    def write(self, aside: Path, entries: list[Entry], extras: Extras) -> None:
        size = sum(entry.status.st_size for entry in entries if not entry.is_folder)
        self._total = 2 * size  # everything is read back
        summary = {"format": FORMAT, **extras.summary, "bytes": size}
        with (
            os.fdopen(
                os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode_in(aside.parent) & 0o666), "wb"
            ) as file,
            gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as zipped,
            tarfile.open(None, "w|", zipped, format=tarfile.PAX_FORMAT) as tar,
        ):
            self._add_text(tar, README, readme(self._study, self._file))
            self._add_text(tar, SUMMARY, f"{json.dumps(summary, indent=2)}\n")
            self._add_folder(tar, STUDY, 0o700)
            for entry in entries:
                self._add(tar, f"{STUDY}/{entry.name}", entry)
            for path in sorted(extras.tables.iterdir()):
                self._add(tar, f"tables/{path.name}", Entry(path.name, path, path.stat()), dated=False)
            self._add_text(tar, MANIFEST, manifest_text(self.sums))

    def _add(self, tar: tarfile.TarFile, name: str, entry: Entry, *, dated: bool = True) -> None:
        status = entry.status
        if entry.is_folder:
            self._add_folder(tar, name, stat.S_IMODE(status.st_mode))
            return
        info = self._info(name, stat.S_IMODE(status.st_mode) if dated else 0o600)
        info.mtime = int(status.st_mtime) if dated else 0
        first = self._links.setdefault((status.st_dev, status.st_ino), name)
        if first != name:
            info.type, info.linkname = tarfile.LNKTYPE, f"{self._study}/{first}"
            tar.addfile(info)
            self.sums[name] = self.sums[first]
            self.note(2 * status.st_size)
            return
        info.size = status.st_size
        with entry.path.open("rb") as file:
            hashing: Any = _Hashing(file, self)
            tar.addfile(info, hashing)
        self.sums[name] = hashing.digest.hexdigest()

    def _add_folder(self, tar: tarfile.TarFile, name: str, mode: int) -> None:
        info = self._info(name, mode)
        info.type = tarfile.DIRTYPE
        tar.addfile(info)

    def _add_text(self, tar: tarfile.TarFile, name: str, text: str) -> None:
        data = text.encode(errors="surrogateescape")
        info = self._info(name, 0o600)
        info.size = len(data)
        tar.addfile(info, BytesIO(data))
        if name != MANIFEST:
            self.sums[name] = hashlib.sha256(data).hexdigest()

    def _info(self, name: str, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(f"{self._study}/{name}")
        info.mode = mode & 0o777
        return info


def readme(study: str, file: str) -> str:
    """Return the page that explains an archive to somebody who knows nothing of this program."""
    title = f"Study {study}\n{'=' * (len(study) + 6)}"
    return _ABOUT.format(title=title, name=study, file=file, manifest=MANIFEST, summary=SUMMARY)
