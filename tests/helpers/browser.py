"""Pages in a browser without a network."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager

_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
_PROGRAMS = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}
# This channel is an ordinary Firefox, driven by WebDriver BiDi; without it, playwright wants a Firefox of its own.
_OPTIONS = {"chromium": {"args": _FLAGS}, "firefox": {"channel": "moz-firefox"}}


def headless(driver, name="chromium"):
    """Start this machine's Chromium or Firefox, headless, by playwright's driver; None if it has none."""
    program = next(filter(None, map(shutil.which, _PROGRAMS[name])), None)
    return program and getattr(driver, name).launch(executable_path=program, **_OPTIONS[name])


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


def drag(tab, figure, *, axis, low, high):
    """Select a part of an upright axis of the parallel coordinates, from one share of its height to another."""
    tab.locator(figure).scroll_into_view_if_needed()
    before = tab.input_value("#filter")
    place = """([figure, axis, heights]) => {
      const holder = document.querySelector(figure);
      const { xaxis: x, yaxis: y } = holder._fullLayout;
      const { left, top } = holder.getBoundingClientRect();
      return heights.map((height) => [left + x._offset + x.d2p(axis), top + y._offset + y.d2p(height)]);
    }"""
    (x, start), (_, end) = tab.evaluate(place, [figure, axis, [low, high]])
    tab.mouse.move(x - 20, start)
    tab.mouse.down()
    tab.mouse.move(x + 20, end, steps=4)
    tab.mouse.up()
    until(tab, f"document.querySelector('#filter').value !== {json.dumps(before)}")


def column(tab, name):
    """Read a column of the leaderboard as it is shown."""
    cells = """(name) => {
      const place = [...document.querySelectorAll("#board th")].findIndex((one) => one.textContent === name);
      return [...document.querySelectorAll("#rows tr")].map((row) => row.cells[place].textContent.trim());
    }"""
    return tab.evaluate(cells, name)
