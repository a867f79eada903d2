"""Studies that are started from the command line to be killed."""

from __future__ import annotations

import subprocess
import sys


def command(results, *words):
    """Return a command of ``cnn-sweep`` as a list."""
    return [sys.executable, "-m", "cnn_sweep.cli.main", *map(str, words), "--results", str(results)]


def start(results, *words):
    """Start a command with two workers in a process group of its own, as a terminal would; it writes ``run.log``."""
    words = command(results, *words, "--workers", 2, "--threads", 1)
    with (results.parent / "run.log").open("ab") as log:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def epochs(results):
    """Count the epochs in all journals."""
    return sum(journal.read_bytes().count(b'"type":"epoch"') for journal in results.glob("*/journal/*.jsonl"))
