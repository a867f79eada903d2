"""Studies whose journals are written, as a fixture."""

from __future__ import annotations

import pytest
from helpers.browser import chromium
from helpers.written import Written


@pytest.fixture
def written(tmp_path):
    """Write studies into a fresh results folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    return Written(folder)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        started = chromium(driver)
        if started is None:
            pytest.skip("no chromium on this machine (.ci/debian-packages installs it)")
        yield started
        started.close()
