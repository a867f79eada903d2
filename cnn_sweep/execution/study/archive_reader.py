"""Reads archives of studies: checks every file against its checksum, and restores a study."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.execution.study.removal import RESTORING, check_free_name, clear_leftovers
from cnn_sweep.journal.decoding import YEAR_10000
from cnn_sweep.journal.filesystem import sync, sync_path
from cnn_sweep.journal.identity import process_tag
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.sharing import give_to_group
from cnn_sweep.messages import few, in_bytes, plural, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

BLOCK: Final = 1 << 20
STUDY: Final = "study"
SUMMARY: Final = "SUMMARY.json"
MANIFEST: Final = "MANIFEST.sha256"
_NEWEST_FORMAT: Final = 1
_LARGEST_TEXT: Final = 1 << 28  # bytes of a manifest
_LARGEST_SUMMARY: Final = 1 << 22
_MANIFEST_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")
_TYPES: Final = {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE}
# tarfile raises the last two where a header has text for a number.
_UNREADABLE: Final = (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, OverflowError)


class _Sink(Protocol):
    """Takes the files of an archive."""

    def add_folder(self, name: str, member: tarfile.TarInfo) -> None:
        """Take a folder."""

    def add_file(self, name: str, member: tarfile.TarInfo, blocks: Iterator[bytes]) -> None:
        """Take a file, whose blocks must all be read."""

    def add_link(self, name: str, first: str) -> None:
        """Take another name of a file that came before."""


@dataclass
class Contents:
    """What an archive has.

    Attributes:
        study: The study's name, which is the name of the archive's only folder.
        summary: The study at a glance.
        sums: SHA-256 of each file but the manifest, by its name without the top folder.
        listed: The same according to the manifest; None if there is no manifest.
        names: All members.
    """

    study: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    listed: dict[str, str] | None = None
    names: set[str] = field(default_factory=set)


def manifest_text(sums: dict[str, str]) -> str:
    """Write checksums in the format of ``sha256sum``."""
    return "".join(f"{found}  {name}\n" for name, found in sorted(sums.items()))


def read_archive(file: Path, sink: _Sink | None = None, *, observe: Callable[[int], None] | None = None) -> Contents:
    """Read an archive to its end and check every file.

    Args:
        file: The archive.
        sink: Takes the files; before this function returns, they are not known to be sound.
        observe: Is told the number of bytes of each block.

    Raises:
        InputError: The file does not exist.
        EnvironmentFault: The archive is damaged, if it is one; the message names the files. Or it cannot be read.
    """
    contents = Contents()
    at = "the beginning"
    try:
        with gzip.open(file, "rb") as zipped:
            with tarfile.open(None, "r|", zipped) as tar:
                for member in tar:
                    at = member.name
                    _read_member(tar, member, contents, sink, observe)
                    at = f"the end of {member.name}"
            while zipped.read(BLOCK):  # only its end has the checksum of the whole
                pass
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except _UNREADABLE as error:
        if not contents.summary:
            raise EnvironmentFault(f"{file} is no archive of a study, or damaged at {at}: {error}") from error
        wrong = _wrong(contents)
        raise EnvironmentFault(f"{file} is damaged at {at}: {error}{wrong}; {_ADVICE}") from error
    except OSError as error:
        raise EnvironmentFault(f"{error.filename or file}: {error.strerror or error}") from error
    _check_sums(file, contents)
    return contents


_ADVICE = "use another copy of it; `tar` may still unpack what comes before the damage"


def read_summary(file: Path) -> dict[str, Any]:
    """Return an archive's summary, which is at its beginning; the rest is neither read nor checked.

    Raises:
        EnvironmentFault: The file is no archive of a study, is damaged, or cannot be read.
    """
    try:
        with gzip.open(file, "rb") as zipped, tarfile.open(None, "r|", zipped) as tar:
            for member in tar:
                study, _, name = member.name.partition("/")
                if name == SUMMARY:
                    return {**_parsed_summary(_content(tar, member)), "study": study}
                if name.startswith(f"{STUDY}/"):
                    break
    except _UNREADABLE as error:
        raise EnvironmentFault(f"{file} is no archive of a study, or damaged: {error}") from error
    except OSError as error:
        raise EnvironmentFault(f"{file}: {error.strerror or error}") from error
    raise EnvironmentFault(f"{file} is no archive of a study: it does not begin with {SUMMARY}")


def restore_study(file: Path, results: Path, *, observe: Callable[[int], None] | None = None) -> StudyPaths:
    """Restore the study of an archive, which appears whole or not at all.

    Raises:
        InputError: The file does not exist, or the study's name is taken.
        EnvironmentFault: The file is no archive of a study or is damaged, or the study cannot be written.
    """
    summary = read_summary(file)
    paths = StudyPaths(results, summary["study"])
    check_free_name(paths, archives=False)
    try:
        results.mkdir(parents=True, exist_ok=True)
        clear_leftovers(results)
        room = _check_room(summary, results)
        hidden = results / f"{RESTORING}{process_tag()}"
        hidden.mkdir(mode=0o700)
    except OSError as error:
        raise EnvironmentFault(f"cannot write to {results}: {error.strerror or error}") from error
    try:
        folder = hidden / STUDY
        restoration = _Restoration(folder, room)
        contents = read_archive(file, restoration, observe=observe)
        if contents.study != paths.study or not (folder / paths.sweep.name).is_file():
            raise EnvironmentFault(f"{file} is no archive of a study: it has no {STUDY}/{paths.sweep.name}")
        restoration.finish()
        check_free_name(paths, archives=False)
        folder.rename(paths.folder)
        sync_path(results)
        give_to_group(results, paths.folder)
    except OSError as error:
        raise EnvironmentFault(f"cannot restore {paths.folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return paths


class _Restoration:
    """Writes the study's folder of an archive."""

    def __init__(self, folder: Path, most: int) -> None:
        """Begin a restoration.

        Args:
            folder: Receives the files.
            most: Bytes that they may have, for which there is room.
        """
        self._folder = folder
        self._left = most
        self._modes: dict[Path, int] = {}

    def add_folder(self, name: str, member: tarfile.TarInfo) -> None:
        path = self._path(name)
        if path is not None:
            path.mkdir(mode=0o700, exist_ok=True)
            self._modes[path] = (member.mode & 0o777) | 0o700

    def add_file(self, name: str, member: tarfile.TarInfo, blocks: Iterator[bytes]) -> None:
        path = self._path(name)
        if path is None:
            for _ in blocks:
                pass
            return
        self._left -= member.size
        if self._left < 0:
            raise tarfile.TarError(f"{name}: the files are larger than {SUMMARY} says")
        try:
            with path.open("xb") as target:
                for block in blocks:
                    target.write(block)
                target.flush()
                sync(target.fileno())
            path.chmod(member.mode & 0o777)
            with suppress(OverflowError, ValueError):  # a time that the file system cannot write is no loss
                os.utime(path, (member.mtime, member.mtime))
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile):
                raise
            raise EnvironmentFault(f"cannot write {path}: {error.strerror or error}; nothing was restored") from error

    def add_link(self, name: str, first: str) -> None:
        path, other = self._path(name), self._path(first)
        if path is None or other is None:
            raise tarfile.TarError(f"{name} is a link to {first}")
        try:
            os.link(other, path)
        except FileExistsError:
            raise
        except OSError:  # no hard links here
            shutil.copy2(other, path)

    def finish(self) -> None:
        """Set the modes of folders, the innermost first, and flush their lists of names to disk."""
        for path, mode in sorted(self._modes.items(), reverse=True):
            sync_path(path)
            path.chmod(mode)

    def _path(self, name: str) -> Path | None:
        """Return where a member goes, whose name was checked; None if it is not part of the study's folder."""
        if name == STUDY:
            return self._folder
        if not name.startswith(f"{STUDY}/"):
            return None
        path = self._folder / name.removeprefix(f"{STUDY}/")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


def _check_room(summary: dict[str, Any], results: Path) -> int:
    """Check that there is room for the bytes that an archive says it has, and return them."""
    needed: int = summary["bytes"]
    free = shutil.disk_usage(results).free
    if needed > free:
        raise EnvironmentFault(
            f"study {summary['study']!r} needs {in_bytes(needed)}, and {in_bytes(free)} are free in {results}; free "
            "some space, or restore it into another folder with --results"
        )
    return needed


def _read_member(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    contents: Contents,
    sink: _Sink | None,
    observe: Callable[[int], None] | None,
) -> None:
    name = _checked_name(member, contents)
    if member.type == tarfile.DIRTYPE:
        if sink is not None and name:
            sink.add_folder(name, member)
    elif member.type == tarfile.LNKTYPE:
        first = member.linkname.removeprefix(f"{contents.study}/")
        if first not in contents.sums:
            raise tarfile.TarError(f"{member.name} is a link to {member.linkname}, which is not there")
        contents.sums[name] = contents.sums[first]
        if sink is not None:
            sink.add_link(name, first)
    elif name == MANIFEST:
        contents.listed = _parsed_manifest(_content(tar, member))
    else:
        digest = hashlib.sha256()
        blocks = _blocks(tar, member, digest.update, observe)
        if name == SUMMARY:
            if member.size > _LARGEST_SUMMARY:
                raise tarfile.TarError(f"{member.name} is too large")
            text = b"".join(blocks)
            contents.summary = _parsed_summary(text)
        elif sink is not None:
            sink.add_file(name, member, blocks)
        for _ in blocks:
            pass
        contents.sums[name] = digest.hexdigest()


def _checked_name(member: tarfile.TarInfo, contents: Contents) -> str:
    """Return a member's name without the top folder.

    Raises:
        TarError: The name leads out of the top folder or comes twice, or the member is neither a file nor a folder.
    """
    parts = member.name.split("/")
    contents.study = contents.study or parts[0]
    if any(part in ("", ".", "..") or "\0" in part for part in parts) or parts[0] != contents.study:
        raise tarfile.TarError(f"the name {member.name!r} leads elsewhere")
    if member.type not in _TYPES:
        raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder")
    if member.name in contents.names:
        raise tarfile.TarError(f"{member.name!r} is there twice")
    contents.names.add(member.name)
    return "/".join(parts[1:])


def _blocks(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    update: Callable[[bytes], None],
    observe: Callable[[int], None] | None,
) -> Iterator[bytes]:
    file, left = tar.extractfile(member), member.size
    while file is not None and left > 0:
        block = file.read(min(BLOCK, left))
        if not block:
            raise EOFError("it ends early")
        left -= len(block)
        update(block)
        if observe is not None:
            observe(len(block))
        yield block


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > (_LARGEST_SUMMARY if member.name.endswith(SUMMARY) else _LARGEST_TEXT):
        raise tarfile.TarError(f"{member.name} is too large")
    return b"".join(_blocks(tar, member, lambda _: None, None))


def _parsed_summary(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise tarfile.TarError(f"{SUMMARY} cannot be read") from error
    if not isinstance(found, dict) or type(found.get("format")) is not int:
        raise tarfile.TarError(f"{SUMMARY} cannot be read")
    if found["format"] > _NEWEST_FORMAT:
        raise tarfile.TarError(f"it has format {found['format']}, which a newer version of cnn-sweep reads")
    for name, fits in _FIELDS.items():
        if not fits(found.get(name)):
            raise tarfile.TarError(f"{SUMMARY} cannot be read: {name!r} is {show(found.get(name))}")
    return found


def _is_number_or_none(value: Any) -> bool:
    return value is None or type(value) in {int, float}


# What `list` and `unarchive` take from a summary.
_FIELDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "bytes": lambda value: type(value) is int,
    "planned": _is_number_or_none,
    "best": _is_number_or_none,
    "last_event": lambda value: value is None or (_is_number_or_none(value) and 0 <= value < YEAR_10000),
    "metric": lambda value: value is None or isinstance(value, str),
    "trials": lambda value: (
        value is None or (isinstance(value, dict) and all(type(one) is int for one in value.values()))
    ),
}


def _parsed_manifest(text: bytes) -> dict[str, str]:
    lines = text.decode(errors="surrogateescape").split("\n")
    found = [_MANIFEST_LINE.fullmatch(line) for line in lines if line]
    return {match[2]: match[1] for match in found if match is not None}


def _check_sums(file: Path, contents: Contents) -> None:
    """Compare what was read with the manifest.

    Raises:
        EnvironmentFault: The file is another kind of archive, or damaged.
    """
    if contents.listed is None:
        if not contents.summary:
            raise EnvironmentFault(f"{file} is no archive of a study: it has no {MANIFEST}")
        raise EnvironmentFault(f"{file} is damaged: it ends before its {MANIFEST}; {_ADVICE}")
    if contents.sums != contents.listed:
        raise EnvironmentFault(f"{file} is damaged{_wrong(contents)}; {_ADVICE}")


def _wrong(contents: Contents) -> str:
    """Name the files that differ from the manifest, as far as it was read."""
    if contents.listed is None:
        return ""
    sums, listed = contents.sums, contents.listed
    other = sorted(name for name in sums.keys() & listed.keys() if sums[name] != listed[name])
    gone, new = sorted(listed.keys() - sums.keys()), sorted(sums.keys() - listed.keys())
    kinds = [
        ("has another checksum", "have other checksums", other),
        ("is missing", "are missing", gone),
        ("is not in its manifest", "are not in its manifest", new),
    ]
    words = [
        f"{plural(len(names), f'file {one}', f'files {several}')} ({few(names, 3)})"
        for one, several, names in kinds
        if names
    ]
    return f": {'; '.join(words)}" if words else ""
