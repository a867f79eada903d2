"""Pages in a browser without a network."""

from __future__ import annotations

import atexit
import json
import shutil
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary

from cnn_sweep.report.document.html import plotly
from cnn_sweep.report.document.live_page import DATA

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
_PROGRAMS = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}
# This channel is an ordinary Firefox, driven by WebDriver BiDi; without it, playwright wants a Firefox of its own.
_OPTIONS = {"chromium": {"args": _FLAGS}, "firefox": {"channel": "moz-firefox"}}


def headless(driver, name="chromium"):
    """Start this machine's Chromium or Firefox, headless, by playwright's driver; None if it has none."""
    program = next(filter(None, map(shutil.which, _PROGRAMS[name])), None)
    return program and getattr(driver, name).launch(executable_path=program, **_OPTIONS[name])


_LINE = 50_000  # where all pages have Plotly's script


@cache
def _folder():
    """Return the folder of that address, which lasts as long as this process."""
    folder = TemporaryDirectory(prefix="cnn-sweep-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def at_one_place(file):
    """Copy a page to the one address of all pages, with Plotly's script at one line; return the copy.

    A tab then keeps the script compiled from page to page, which saves three seconds of processor time for each. A page
    that reads files beside it stays where it is.
    """
    text = file.read_text(encoding="utf-8")
    before, script, after = text.partition(f"<script>{plotly()}")
    if file.with_name(DATA).exists() or not script:
        return file
    copy = _folder() / "page.html"
    copy.write_text(before + "\n" * (_LINE - before.count("\n")) + script + after, encoding="utf-8")
    return copy


_idle = WeakKeyDictionary()  # tabs of a browser, by their options


@contextmanager
def opened(browser, file, *, draw=False, fresh=False, **how):
    """Open a page, and with ``draw`` all its figures; what it logs, raises or asks of the network is a failure.

    The tab of an earlier page is taken again (:func:`at_one_place`) unless ``fresh``.
    """
    file = file if fresh else at_one_place(file)
    idle = _idle.setdefault(browser, {})
    options = tuple(sorted(how.items()))
    tab = None if fresh else idle.pop(options, None)
    if tab is None:
        tab = browser.new_context(offline=True, **how).new_page()
        tab.set_default_timeout(60_000)
    tab.set_viewport_size({"width": 1200, "height": 900})
    tab.emulate_media(media="screen")
    complaints = []
    allowed = ("data:", "blob:", file.as_uri(), file.with_name("data.js").as_uri())
    listeners = {
        "console": lambda message: complaints.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: complaints.append(f"error: {error}"),
        "dialog": lambda dialog: complaints.append(f"dialog: {dialog.message}"),
        "request": lambda r: r.url.startswith(allowed) or complaints.append(f"request: {r.url}"),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    tab.goto(file.as_uri())
    tab.wait_for_selector("html[data-figures]", state="attached")
    yield tab
    if draw:
        tab.evaluate("drawAll()")
    assert tab.evaluate("window.pwned") is None
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert complaints == []
    idle[options] = tab


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


def read(tab):
    """Do what a reader of a page does: draw a figure, filter, tick two trials, zoom; return the ticked trials."""
    tab.evaluate("draw(document.querySelector('[data-curve=val_accuracy]'))")
    tab.fill("#filter", "value > 0.3 ")
    tab.click("#untick")
    for place in (2, 3):
        tab.check(f"#rows tr:nth-child({place}) input")
    tab.evaluate("Plotly.relayout(document.querySelector('[data-curve=val_accuracy]'), 'xaxis.range', [1, 2])")
    tab.evaluate("$('board').parentElement.scrollTop = 300")
    return tab.evaluate("[...chosen]")


def column(tab, name):
    """Read a column of the leaderboard as it is shown."""
    cells = """(name) => {
      const place = [...document.querySelectorAll("#board th")].findIndex((one) => one.textContent === name);
      return [...document.querySelectorAll("#rows tr")].map((row) => row.cells[place].textContent.trim());
    }"""
    return tab.evaluate(cells, name)
