"""Writes a report to its file, and replaces only an earlier report of the same study."""

from __future__ import annotations

import html
import os
import re
import shlex
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.report.leaderboards.formats import markdown_text

if TYPE_CHECKING:
    from pathlib import Path

_BEGINNING = 4_000  # characters at the start of a file, which contain its title
_TITLE = re.compile(r"<title>(.*?): sweep report</title>")
_HEADING = re.compile(r"# (.*)")


def check_replaceable(path: Path, study: str) -> None:
    """Check that a file does not exist, is empty, or is an earlier report of the same study.

    Raises:
        InputError: The file is another study's report, or not a report, or `-`, which is no file.
        EnvironmentFault: The file cannot be read.
    """
    if str(path) == "-":
        raise InputError("a report goes to a file, not to standard output: `--output` needs the file's name")
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            start = file.read(_BEGINNING)
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    title, heading = _TITLE.search(start), _HEADING.match(start)
    owner = html.unescape(title[1]) if title else heading[1] if heading else None
    if not start or owner in {study, markdown_text(study)}:
        return
    found = "was written by no report" if owner is None else f"is a report of {owner!r}"
    elsewhere = shlex.quote(str(path.with_name(f"{study}-report{path.suffix}")))
    raise InputError(
        f"{path} {found}, and this report would replace it; move it away or name another file: "
        f"`cnn-sweep report {study} --output {elsewhere}`"
    )


def write_report(path: Path, text: str, *, study: str) -> None:
    """Write a report to a temporary file and rename it, so that nobody reads an incomplete one.

    Raises:
        InputError: The file exists and is not a report of this study.
        EnvironmentFault: The file cannot be written.
    """
    check_replaceable(path, study)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(text.encode(errors="surrogateescape"))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from error
