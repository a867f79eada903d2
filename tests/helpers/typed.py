"""Commands that are typed in the process of the tests, which saves the start of a process of their own."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

from cnn_sweep.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What these do needs no process of its own; that they can be typed is seen where a page of the documentation is run.
READING = {"plan", "data", "status", "list", "leaderboard", "show", "logs", "store", "sql", "export", "report"}


def typed_here(
    words: tuple[object, ...], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Type a command in a folder; return what it prints and its exit code, as `subprocess.run` does."""
    written = io.BytesIO(), io.BytesIO()
    output, errors = (io.TextIOWrapper(stream, encoding="utf-8", write_through=True) for stream in written)
    exit_code: Any = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["cnn-sweep", *map(str, words)])
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            main()
        except SystemExit as end:
            exit_code = end.code or 0
    said, complained = (stream.getvalue().decode() for stream in written)
    return subprocess.CompletedProcess(words, exit_code, said, complained)
