"""Output files that the user names."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from pathlib import Path

_MODEL_SUFFIXES: Final = (".keras", ".h5")


def check_folder(file: Path) -> None:
    """Check, before any work is done, that a file's folder exists.

    Raises:
        InputError: The folder does not exist.
    """
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file}: the folder {file.parent} does not exist")


def check_model_file(file: Path) -> None:
    """Check, before any work is done, that a model can be saved under a name.

    Raises:
        InputError: Its ending is no format of Keras, or its folder does not exist.
    """
    if file.suffix not in _MODEL_SUFFIXES:
        raise InputError(f"--output {file}: the name must end in {' or '.join(_MODEL_SUFFIXES)}")
    check_folder(file)


def write_text(file: Path, text: str) -> None:
    """Write a text file.

    Raises:
        EnvironmentFault: The file cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise EnvironmentFault(f"cannot write {file}: {error.strerror or error}") from error


def create_text(file: Path, text: str) -> None:
    """Write a new text file, which appears complete or not at all.

    Raises:
        InputError: The file exists.
        EnvironmentFault: The file cannot be written.
    """
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        aside.write_text(text, encoding="utf-8", errors="surrogateescape")
        _link(aside, file)
    except FileExistsError:
        raise InputError(f"{file} exists and is not overwritten; choose another name, or remove it") from None
    except OSError as error:
        raise EnvironmentFault(f"cannot write {file}: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """Give a file another name, which must be new; some file systems have no links, so there it is renamed."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        if target.exists():
            raise
        source.rename(target)


def file_name(text: str) -> str:
    """Return a text as a file name: characters that could form a path become underscores."""
    return "".join(character if character.isalnum() or character in "-_. " else "_" for character in text)


def short_name(name: str) -> str:
    """Return the last characters of a file's name, which distinguish images better than the first."""
    return name.rpartition("/")[2][-24:]
