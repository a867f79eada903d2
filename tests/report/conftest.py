"""Studies whose journals are written, as a fixture."""

from __future__ import annotations

import shutil

import pytest
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
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on this machine (.ci/debian-packages installs it)")
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=flags)
        yield started
        started.close()
