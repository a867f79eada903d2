"""FUSE mounts of one folder, which know nothing of each other, as two machines that share a file system."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def mounted(back, *folders):
    """Mount a folder at others; skip the test where that is impossible."""
    if shutil.which("bindfs") is None or shutil.which("fusermount") is None:
        pytest.skip("needs the Debian package bindfs")
    done = []
    try:
        for folder in folders:
            folder.mkdir()
            made = subprocess.run(["bindfs", back, folder], check=False, capture_output=True, encoding="utf-8")
            if made.returncode:
                pytest.skip(f"FUSE is not available: {made.stderr.strip()}")
            done.append(folder)
        yield tuple(done)
    finally:
        for folder in done:
            subprocess.run(["fusermount", "-u", "-z", folder], check=True)
