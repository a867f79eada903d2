"""References: what a reader sees first of a page, on screens and on paper, as small, grey and blurred pictures.

``python -m report.references DIR [PAGE...]`` takes them. test_appearance.py compares pages with them.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from helpers.browser import at_one_place, headless, until
from helpers.written import Written
from PIL import Image, ImageFilter
from playwright.sync_api import sync_playwright
from report.pictures import READY, STUDIES, THEMES, load, write_report

from cnn_sweep.cli.ui.live_page import look
from cnn_sweep.report.document.live_page import PHONE, LivePage
from cnn_sweep.slurm.commands import RareSlurmCli

PAPER = "print"


@dataclass(frozen=True)
class View:
    """A screen in a theme, or a sheet of paper; sizes are in pixels of the page."""

    width: int
    height: int
    theme: str

    def __str__(self):
        return self.theme if self.theme == PAPER else f"{self.width}-{self.theme}"


SCREENS = ((390, 800), (1280, 800), (1920, 1080))
VIEWS = (*(View(*screen, theme) for screen in SCREENS for theme in THEMES), View(720, 1018, PAPER))  # A4
USUAL = VIEWS[2]
PAGES = dict.fromkeys(STUDIES, VIEWS) | {"live": (USUAL,), "phone": VIEWS[:1]}
AT_WORK = {"trials": 120, "states": ("complete",) * 6 + ("failed", "running")}

LETTERS = "body, svg text { font-family: 'DejaVu Sans' !important }"  # whatever other fonts a machine has
SHRUNK = 8  # pixels of a page on one of its reference
BLUR = 2  # pixels of a reference: the letters of another font are nearly the same grey
TILE = 20  # pixels of a reference, 160 of the page: about the height of a card
ADD_STYLE = """style => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  document.adoptedStyleSheets.push(sheet);
}"""
IN_SIGHT = "holders().filter((one) => isVisible(one) && one.getBoundingClientRect().top < innerHeight)"


def write_page(name, folder):
    """Write one of ``PAGES``."""
    if name in STUDIES:
        return write_report(name, folder)
    results = folder / name
    results.mkdir()
    Written(results).study(name, **AT_WORK)
    page = LivePage(folder / f"{name}-page", name, 600)
    page.renew(look(results, name, (), RareSlurmCli()))
    return page.file.with_name(PHONE) if name == "phone" else page.file


class OneTab:
    """Opens pages for views, in the letters of the references, all in one tab."""

    def __init__(self, browser):
        self._tab = browser.new_context(offline=True, color_scheme="light").new_page()
        self._tab.set_default_timeout(120_000)
        self._tab.add_init_script(f"({ADD_STYLE})({json.dumps(LETTERS)})")
        self._shown = None

    def open(self, file, view):
        """Return the tab, with a page that can be seen in a view."""
        asked = (file, view.width, view.theme == PAPER)
        if asked != self._shown:
            self._shown = asked
            self._tab.set_viewport_size({"width": view.width, "height": view.height})
            self._tab.emulate_media(media=PAPER if view.theme == PAPER else "screen")
            load(self._tab, at_one_place(file), "body" if file.name == PHONE else READY)
            if view.theme == PAPER:
                self._tab.evaluate("print(true)")
        return self._tab

    def close(self):
        """Close the tab."""
        self._tab.context.close()


def seen_first(tab, view):
    """Return the picture of what a reader sees first."""
    if tab.query_selector("#theme") and view.theme != PAPER:
        if tab.get_attribute("html", "data-theme") != view.theme:
            tab.click("#theme")
        until(tab, f"{IN_SIGHT}.every((one) => one.dataset.drawn === 'yes')")
    with Image.open(io.BytesIO(tab.screenshot())) as picture:
        return picture.convert("RGB")


def small(picture):
    """Return a picture as references are: small, grey and blurred."""
    size = [round(side / SHRUNK) for side in picture.size]
    return picture.convert("L").resize(size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(BLUR))


def worst(picture, reference):
    """Return the mean difference, in grey levels, of the tile of two small pictures that differs most."""
    gap = np.abs(np.asarray(picture, float) - np.asarray(reference, float))
    lines, columns = (max(side // TILE, 1) for side in gap.shape)
    rows = np.array_split(gap, lines)
    return max(tile.mean().item() for row in rows for tile in np.array_split(row, columns, axis=1))


def beside(picture, reference):
    """Return a picture beside its reference of the same size, to be looked at."""
    width, height = picture.size
    both = Image.new("RGB", (2 * width, height))
    both.paste(reference.resize(picture.size), (0, 0))
    both.paste(picture, (width, 0))
    return both


def take(folder, names, pictures=None):
    """Take the references of pages into a folder; and the pictures that they are made of into another one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as place, sync_playwright() as driver:
        browser = headless(driver)
        tab = OneTab(browser)
        for name in names:
            file = write_page(name, Path(place))
            for view in PAGES[name]:
                picture = seen_first(tab.open(file, view), view)
                small(picture).save(folder / f"{name}-{view}.png", optimize=True)
                if pictures:
                    picture.save(pictures / f"{name}-{view}.png")
            print(name, file=sys.stderr)
        browser.close()


def main():
    """Take references."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="page", help="by default all")
    parser.add_argument("--pictures", type=Path, help="also keep the pictures as they are, in this folder")
    asked = parser.parse_args()
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    take(asked.folder, asked.names or list(PAGES), asked.pictures)


if __name__ == "__main__":
    main()
