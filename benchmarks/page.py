"""How a report of many trials opens and answers, in a headless Chromium without a network.

A study of 5,000 trials with eight hyperparameters and rungs, whose journals are written in one go. Its report is
written by the command, then opened, read from top to bottom, filtered, sorted, ticked and brushed. Each step has its
longest task: how long the page does not answer. Tasks are measured in processor time of the page's main thread, which
other programs on the machine do not lengthen. ``--quick`` is a short form with 300 trials.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.browser import headless
from helpers.written import Written
from playwright.sync_api import sync_playwright
from results_page import write_section

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

STUDY = "bench"
SWEEP = """\
study: {study}
data: {{source: digits, validation: 0.2, test: 0.2}}
space:
  filters: [4, 8, 16]
  kernel: [3, 5]
  optimizer: [sgd, adam, rmsprop]
  learning_rate: {{low: 0.0001, high: 0.1, log: true}}
  weight_decay: {{low: 0.000001, high: 0.01, log: true}}
  dropout: {{low: 0.0, high: 0.6}}
  batch_size: [16, 32, 64, 128]
  momentum: {{low: 0.0, high: 0.99, when: {{optimizer: sgd}}}}
search: {{method: random, trials: 5000}}
model:
  layers:
    - conv2d: {{filters: $filters, kernel_size: $kernel}}
    - flatten
    - dropout: $dropout
    - output: softmax
training:
  epochs: 9
  batch_size: $batch_size
  optimizer: {{name: $optimizer, learning_rate: $learning_rate, momentum: $momentum, weight_decay: $weight_decay}}
objective: {{metric: {metric}, direction: {direction}}}
pruner: {{asha: {{min_epochs: 1, reduction: 3}}}}
"""
_TRACED = ("toplevel",)
_TASK = "ThreadControllerImpl::RunTask"
_SETTLED = "document.querySelectorAll('html[data-figures]').length && !queued()"


def params_of(chance: random.Random) -> dict[str, Any]:
    """Draw the hyperparameters of a trial."""
    optimizer = chance.choice(["sgd", "adam", "rmsprop"])
    params = {
        "filters": chance.choice([4, 8, 16]),
        "kernel": chance.choice([3, 5]),
        "optimizer": optimizer,
        "learning_rate": 10 ** chance.uniform(-4, -1),
        "weight_decay": 10 ** chance.uniform(-6, -2),
        "dropout": chance.uniform(0, 0.6),
        "batch_size": chance.choice([16, 32, 64, 128]),
    }
    return params | ({"momentum": chance.uniform(0, 0.99)} if optimizer == "sgd" else {})


def write_report(results: Path, file: Path) -> float:
    """Write the report by its command; return its seconds of processor time."""
    program = str(Path(sys.executable).with_name("cnn-sweep"))
    command = [program, "report", STUDY, "--results", str(results), "--output", str(file), "--no-predictions"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Watched:
    """A page whose tasks are measured, step by step."""

    def __init__(self, browser: Browser, file: Path) -> None:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
        self.tab: Page = context.new_page()
        self.tab.set_default_timeout(300_000)
        self._browser = browser
        self._file = file

    def step(self, do: Callable[[Page], object]) -> tuple[float, float]:
        """Run a step until all figures near the screen are drawn; return its longest task and all tasks, in ms."""
        self._browser.start_tracing(page=self.tab, categories=list(_TRACED))
        do(self.tab)
        self._settle()
        events = json.loads(self._browser.stop_tracing())["traceEvents"]
        pages = {(one["pid"], one["tid"]) for one in events if _is_main(one)}
        tasks = [one["tdur"] / 1000 for one in events if _is_task(one) and (one["pid"], one["tid"]) in pages]
        return max(tasks), sum(tasks)

    def _settle(self) -> None:
        deadline = time.monotonic() + 120
        quiet = 0
        while quiet < 3:  # the queue is also empty between a key and the redraw that follows it
            quiet = quiet + 1 if self.tab.evaluate(_SETTLED) else 0
            self.tab.wait_for_timeout(100)
            if time.monotonic() > deadline:
                raise SystemExit("the page is never done drawing")

    def open(self, tab: Page) -> None:
        """Open the report."""
        tab.goto(self._file.as_uri())
        tab.wait_for_selector("html[data-figures]", state="attached")


def _is_main(event: dict[str, Any]) -> bool:
    return event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"


def _is_task(event: dict[str, Any]) -> bool:
    return event["name"] == _TASK and "tdur" in event


def read_through(tab: Page) -> None:
    """Scroll from top to bottom, and wait at each screen until its figures are drawn."""
    tab.evaluate("scrollTo(0, 0)")
    while True:
        tab.wait_for_timeout(60)
        deadline = time.monotonic() + 120
        while not tab.evaluate(_SETTLED):
            tab.wait_for_timeout(50)
            if time.monotonic() > deadline:
                raise SystemExit("a figure is never drawn")
        if tab.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 1"):
            return
        tab.evaluate("scrollBy(0, 600)")


def brush(tab: Page) -> None:
    """Select the upper half of an axis of the parallel coordinates."""
    tab.locator("#parallel .plot").scroll_into_view_if_needed()
    box = tab.locator("#parallel .plot .plot rect, #parallel .plot .nsewdrag").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.9, box["y"]
    tab.mouse.move(x - 15, y + 0.1 * box["height"])
    tab.mouse.down()
    tab.mouse.move(x + 15, y + 0.5 * box["height"], steps=5)
    tab.mouse.up()


def type_filter(text: str) -> Callable[[Page], None]:
    """Return a step that types a filter, key by key."""

    def step(tab: Page) -> None:
        tab.locator("#filter").scroll_into_view_if_needed()
        tab.fill("#filter", "")
        tab.locator("#filter").press_sequentially(text, delay=40)

    return step


def to_the_end(tab: Page) -> None:
    """Scroll through the first thousand rows of the leaderboard."""
    for _ in range(6):
        tab.evaluate("document.querySelector('#board').parentElement.scrollTo(0, 1e9)")
        tab.wait_for_timeout(100)


def choose_each_contour(tab: Page) -> None:
    """Look at each pair of hyperparameters."""
    tab.locator("#contours").scroll_into_view_if_needed()
    for place in range(len(tab.query_selector_all("#contours option"))):
        tab.select_option("#contours select", index=place)
        tab.wait_for_timeout(50)


def steps(page: Watched) -> Iterator[tuple[str, Callable[[Page], object]]]:
    """Yield what a reader does, in order."""
    yield "open it", page.open
    yield "read from top to bottom", read_through
    yield "sort by a column", lambda tab: tab.click("#board th[data-column=value] button")
    yield "scroll through 1,000 rows", to_the_end
    yield "type a condition", type_filter("value > 0.8 and dropout < 0.5")
    yield "read from top to bottom, filtered", read_through
    yield "tick a row", lambda tab: tab.click("#rows tr:nth-child(20) input")
    yield "see the ticks in all figures", read_through
    yield "brush an axis", brush
    yield "search a word", type_filter("adam")
    yield "open a trial", lambda tab: tab.click("#rows tr:nth-child(1) td.trial button")
    yield "close it", lambda tab: tab.keyboard.press("Escape")
    yield "each contour", choose_each_contour
    yield "change the colours", lambda tab: tab.click("#theme")
    yield "read from top to bottom, in other colours", read_through


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 trials; prints, and writes nothing")
    parser.add_argument("--report", type=Path, help="keep the report in this file, or take the one that is there")
    asked = parser.parse_args()
    trials = 300 if asked.quick else 5_000
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        file = asked.report or Path(place, "page.html")
        if not file.exists():
            Written(Path(place)).study(
                STUDY, trials, epochs=9, params=params_of, sweep=SWEEP, states=("complete",) * 9 + ("failed",)
            )
            rows.append(("write it: processor seconds", f"{write_report(Path(place), file):.1f}", ""))
        rows.append(("size, MB", f"{file.stat().st_size / 1e6:.1f}", ""))
        with sync_playwright() as driver:
            browser = headless(driver)
            page = Watched(browser, file)
            for name, do in steps(page):
                longest, whole = page.step(do)
                rows.append((name, f"{longest:.0f}", f"{whole:.0f}"))
                print(*rows[-1], file=sys.stderr)
            ready, figures = (float(page.tab.get_attribute("html", f"data-{one}") or 0) for one in ("ready", "figures"))
            rows.append(("leaderboard to work with, then figures, s", f"{ready / 1000:.2f}", f"{figures / 1000:.2f}"))
            heap = page.tab.evaluate("performance.memory.usedJSHeapSize")
            rows.append(("memory of scripts at the end, MB", f"{heap / 1e6:.0f}", ""))
            browser.close()
    note = (
        f"{trials:,} trials. Tasks are in milliseconds of the main thread's processor time, until all figures near the "
        "screen are drawn; the two seconds are by the clock."
    )
    write_section("The report's page", ("step", "longest task", "all tasks"), rows, note=note, quick=asked.quick)


if __name__ == "__main__":
    main()
