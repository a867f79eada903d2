"""Studies whose journals are written, as a fixture."""

from __future__ import annotations

import pytest
from helpers.written import Written


@pytest.fixture
def written(tmp_path):
    """Write studies into a fresh results folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    return Written(folder)
