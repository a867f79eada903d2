"""What Keras downloads, weights and data sets: where it is kept, and how it gets there. No TensorFlow here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def keras_folder() -> Path:
    """Return the folder in which Keras keeps its downloads."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def download(code: str) -> str | None:
    """Run Python code that lets Keras download something; return what went wrong, None if nothing did.

    In a process of its own: it imports TensorFlow, which has no place on a login node for longer than needed.
    """
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else None
