"""Studies whose journals are written, and pages in a browser, as fixtures."""

from __future__ import annotations

import pytest
from helpers.browser import headless
from helpers.report_pages import opened_live
from helpers.written import Written


@pytest.fixture
def written(tmp_path):
    """Write studies into a fresh results folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    return Written(folder)


@pytest.fixture(scope="module")
def browser(request):
    """A headless Chromium, or the browser that the tests are parametrized with."""
    playwright = pytest.importorskip("playwright.sync_api")
    name = getattr(request, "param", "chromium")
    with playwright.sync_playwright() as driver:
        started = headless(driver, name)
        if started is None:
            pytest.skip(f"no {name} on this machine (.ci/debian-packages installs it)")
        yield started
        started.close()


@pytest.fixture(scope="module")
def live(browser, tmp_path_factory):
    """A live page of 80 trials of a study that has 120."""
    with opened_live(browser, tmp_path_factory.mktemp("live")) as page:
        yield page
