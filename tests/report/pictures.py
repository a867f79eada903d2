"""Pictures of reports, to be looked at: of the README's study, and of studies of many kinds.

``python -m report.pictures readme SWEEP FILE`` runs a sweep file and takes the first screen of its report.
``python -m report.pictures all DIR [STUDY...]`` takes whole pages at three widths, light and dark, and as they print.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from helpers.browser import headless, until
from helpers.sweeps import sweep_of_digits
from helpers.written import SWEEP, Written, some_findings
from playwright.sync_api import sync_playwright

from cnn_sweep.report.document.html import page
from cnn_sweep.report.report_data import gather
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study

WIDTHS = (390, 1280, 1920)
THEMES = ("light", "dark")
READY = "html[data-figures][data-ready]"
TALLEST = 8_000  # pixels of a picture: below, browsers repeat what is above
NASTY = '"\'><img src=x onerror="window.pwned=1"></script><b>{{7*7}}</b>&lt;' + "very-long-word" * 12
MANY_SPACE = ", ".join(f"rate_of_decay_{place}: {{{{low: 0.0001, high: 0.1, log: true}}}}" for place in range(20))
ASHA = SWEEP.replace("epochs: 3", "epochs: 9") + "pruner: {{asha: {{min_epochs: 1, reduction: 3}}}}\n"
FOLDS = SWEEP.replace("validation: 0.2", "folds: 5")
OBJECTIVES = SWEEP.replace(
    "objective: {{metric: {metric}, direction: {direction}}}",
    "objectives: [{{metric: val_accuracy}}, {{metric: parameters}}, {{metric: val_loss}}]",
)
HOSTILE = sweep_of_digits("""\
space: {{filters: [4, 8], optimizer: [sgd, adam]}}
training: {{epochs: 3, optimizer: {{name: $optimizer}}}}   # </script><img src=x onerror="window.pwned=1">
""")
MANY_LAYERS = "".join(f"    - dropout: $rate_of_decay_{place}\n" for place in range(20))
MANY = sweep_of_digits(f"space: {{{{filters: [4, 8], {MANY_SPACE}}}}}\ntraining: {{{{epochs: 3, optimizer: adam}}}}\n")
MANY = MANY.replace("    - flatten\n", f"    - flatten\n{MANY_LAYERS}") + "search: {{method: random, trials: 200}}\n"


def _hostile(draw):
    return {"filters": 4, "optimizer": NASTY + draw.choice("ab"), NASTY: draw.choice([NASTY, "x"])}


def _many(draw):
    return {"filters": draw.choice([4, 8])} | {
        f"rate_of_decay_{place}": 10 ** draw.uniform(-4, -1) for place in range(20)
    }


STUDIES = {
    "digits": {"trials": 96, "states": ("complete",) * 15 + ("failed",)},
    "repeats": {"trials": 60, "configurations": 12},
    "folds": {"trials": 60, "configurations": 12, "folds": 5, "sweep": FOLDS},
    "asha": {"trials": 60, "epochs": 9, "states": ("complete", "pruned", "complete"), "sweep": ASHA},
    "objectives": {"trials": 60, "sweep": OBJECTIVES},
    "failures": {"trials": 12, "states": ("failed",)},
    "nothing": {"trials": 12, "states": ("waiting",)},
    "hostile": {"trials": 30, "states": ("complete", "complete", "failed"), "params": _hostile, "sweep": HOSTILE},
    "many": {"trials": 200, "params": _many, "sweep": MANY},
    "thousands": {"trials": 5_000},
}


def write_report(name, folder):
    """Write the report of one of ``STUDIES``."""
    results = folder / name
    results.mkdir()
    Written(results).study(name, **STUDIES[name])
    data = gather(StoreReader(results), name, Study.open(results, name, merge=False).leaderboard_table())
    if data.ranked:
        images = {"validation": dict.fromkeys("0123456789", 36)}
        data = replace(data, findings=some_findings(*list(data.axes)[:4]), images=data.images or images)
    file = folder / f"{name}.html"
    file.write_text(page(data), encoding="utf-8")
    return file


def load(tab, file, ready=READY):
    """Load a page into a tab, and wait for an element."""
    tab.goto(file.as_uri())
    tab.wait_for_selector(ready, state="attached")


def opened(browser, file, width, height=800, **how):
    """Open a page."""
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **how)
    tab = context.new_page()
    tab.set_default_timeout(300_000)
    load(tab, file)
    return tab


def take_all(folder, names):
    """Take pictures of studies into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as place, sync_playwright() as driver:
        browser = headless(driver)
        for name in names:
            file = write_report(name, Path(place))
            for width in WIDTHS:
                tab = opened(browser, file, width, color_scheme="light")
                tab.evaluate("drawAll()")
                for theme in THEMES:
                    _take(tab, folder / f"{name}-{width}-{theme}.png")
                    tab.click("#theme")
                    tab.evaluate("redraw(), drawAll()")
                tab.context.close()
            tab = opened(browser, file, 720, color_scheme="light")
            tab.emulate_media(media="print")
            tab.evaluate("print(true)")
            _take(tab, folder / f"{name}-print.png")
            tab.context.close()
            print(name, file=sys.stderr)
        browser.close()


def _take(tab, picture):
    size = tab.viewport_size
    height = min(tab.evaluate("document.documentElement.scrollHeight"), TALLEST)
    tab.screenshot(path=picture, full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": height})


def take_first_screen(sweep, picture):
    """Run a sweep file, and take the first screen of its report."""
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as place, sync_playwright() as driver:
        program = str(Path(sys.executable).with_name("cnn-sweep"))
        subprocess.run([program, "run", str(sweep.resolve())], cwd=place, check=True)
        subprocess.run([program, "report", sweep.stem, "--output", "page.html"], cwd=place, check=True)
        browser = headless(driver)
        tab = opened(browser, Path(place, "page.html"), 1280, color_scheme="light")
        until(tab, "!queued()")
        tab.screenshot(path=picture)
        browser.close()


def main():
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["readme", "all"])
    parser.add_argument("paths", nargs="+")
    asked = parser.parse_args()
    first, *rest = asked.paths
    if asked.what == "readme":
        take_first_screen(Path(first), Path(rest[0]))
    else:
        take_all(Path(first), rest or list(STUDIES))


if __name__ == "__main__":
    main()
