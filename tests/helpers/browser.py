"""Pages in a browser without a network."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager

_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]


def chromium(driver):
    """Start this machine's Chromium, headless, by playwright's driver; None if it has none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    return program and driver.chromium.launch(executable_path=program, args=_FLAGS)


@contextmanager
def opened(browser, file, *, draw=False, **how):
    """Open a page, and with ``draw`` all its figures; what it logs, raises or asks of the network is a failure."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True, **how)
    tab, complaints = context.new_page(), []
    tab.set_default_timeout(60_000)
    tab.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    tab.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    allowed = ("data:", "blob:", file.as_uri(), file.with_name("data.js").as_uri())
    tab.on("request", lambda r: r.url.startswith(allowed) or complaints.append(f"request: {r.url}"))
    tab.goto(file.as_uri())
    tab.wait_for_selector("html[data-figures]", state="attached")
    yield tab
    if draw:
        tab.evaluate("drawAll()")
    assert tab.evaluate("window.pwned") is None
    context.close()
    assert [one for one in complaints if "GPU stall due to ReadPixels" not in one] == []


def until(tab, condition):
    """Wait for a condition; the page's policy forbids the browser to poll it from a text."""
    deadline = time.monotonic() + 60
    while not tab.evaluate(condition):
        assert time.monotonic() < deadline, condition
        tab.wait_for_timeout(50)


def column(tab, name):
    """Read a column of the leaderboard as it is shown."""
    place = [th.text_content() for th in tab.query_selector_all("#board th")].index(name) + 1
    return [td.text_content().strip() for td in tab.query_selector_all(f"#rows td:nth-child({place})")]
