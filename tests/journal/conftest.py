"""A study's empty folders, and this process."""

from __future__ import annotations

import pytest

from cnn_sweep.journal.identity import current
from cnn_sweep.journal.paths import StudyPaths


@pytest.fixture
def paths(tmp_path):
    """Folders of a study without events."""
    paths = StudyPaths(tmp_path / "results", "digits")
    paths.create()
    return paths


@pytest.fixture
def me():
    """The process that runs the test."""
    return current()
