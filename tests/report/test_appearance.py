"""How pages look: what a reader sees first beside reference pictures, and whether all of it can be read.

``make page-references`` takes new references. Look at them before you commit them. ``make page-compare`` compares all.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import until
from PIL import Image
from report.references import (
    ADD_STYLE,
    PAGES,
    PAPER,
    USUAL,
    VIEWS,
    OneTab,
    beside,
    seen_first,
    small,
    worst,
    write_page,
)

from cnn_sweep.report.document.html import own_scripts
from cnn_sweep.report.figures.figure import ON_DARK, SCALE, SHADES
from cnn_sweep.study import Study

FOLDER = Path(__file__).with_name("references")
# Grey levels, of 255, by which the worst tile may differ. DejaVu Serif in place of DejaVu Sans makes 1.1; the figure of
# which the first screen has a strip, a card or the list of sections that is missing, or a page that begins 24 pixels
# lower, makes 4.4 to 15.
BOUND = 3.0
TAKES_LONG = "thousands"
CLOSELY = ("digits", "repeats")
DARK = VIEWS[3]
ALWAYS = [
    (name, view)
    for name, views in PAGES.items()
    for view in views
    if name != TAKES_LONG and (view == USUAL or len(views) == 1 or (view == DARK and name in CLOSELY))
]
REST = [(name, view) for name, views in PAGES.items() for view in views if (name, view) not in ALWAYS]


@pytest.fixture(scope="module")
def tab(browser, tmp_path_factory):
    """A function that opens a page, which is written once, for a view."""
    folder = tmp_path_factory.mktemp("pages")
    written, one = cache(lambda name: write_page(name, folder)), OneTab(browser)
    yield lambda name, view: one.open(written(name), view)
    one.close()


def difference(picture, name, view):
    """Return by how much a picture differs from its reference, in grey levels."""
    with Image.open(FOLDER / f"{name}-{view}.png") as reference:
        return worst(small(picture), reference)


def check(tab, name, view, folder):
    """Compare a page with its reference; a picture that differs is kept in a folder, beside the reference."""
    picture = seen_first(tab(name, view), view)
    assert view.theme == PAPER or tab(name, view).evaluate("document.documentElement.scrollWidth") <= view.width
    found = difference(picture, name, view)
    if found > BOUND:
        kept = Path(os.environ.get("CNN_SWEEP_ARTIFACTS") or folder).absolute()
        kept.mkdir(parents=True, exist_ok=True)
        with Image.open(FOLDER / f"{name}-{view}.png") as reference:
            beside(picture, reference).save(kept / f"{name}-{view}.png")
        pytest.fail(f"{name}-{view} differs from its reference by {found:.1f}, allowed are {BOUND:.1f}: see {kept}")


FAULTS = {
    "a card is missing": ".card:nth-child(3) { visibility: hidden }",
    "a figure is missing": "#history figure:not([hidden]) { visibility: hidden }",
    "the sections are not listed": "nav { display: none }",
    "the page begins lower": "header { padding-top: 24px }",
    "the dark theme is light": ":root { --paper: #fff !important }",
}
LOWER = FAULTS["the page begins lower"]
ANOTHER_FONT = "body, svg text { font-family: 'DejaVu Serif' !important }"


def with_style(tab, view, style):
    """Return the picture of a page that has another style for a moment."""
    seen_first(tab, view)  # chooses the theme by a button, which the style may hide
    tab.evaluate(ADD_STYLE, style)
    picture = seen_first(tab, view)
    tab.evaluate("document.adoptedStyleSheets = document.adoptedStyleSheets.slice(0, -1)")
    return picture


@pytest.mark.parametrize(("name", "view"), ALWAYS, ids=str)
def test_a_page_looks_as_its_reference(tab, name, view, tmp_path):
    """No part differs by more than another design of letters would make; if the page begins lower, one does."""
    check(tab, name, view, tmp_path)
    assert difference(with_style(tab(name, view), view, LOWER), name, view) > BOUND


@pytest.mark.long
@pytest.mark.parametrize(("name", "view"), REST, ids=str)
def test_a_page_looks_as_its_reference_on_other_screens_and_on_paper(tab, name, view, tmp_path):
    """The same for narrow and wide screens, both themes and paper."""
    test_a_page_looks_as_its_reference(tab, name, view, tmp_path)


@pytest.mark.parametrize(("style", "is_seen"), [*((one, True) for one in FAULTS.values()), (ANOTHER_FONT, False)])
def test_the_comparison_sees_faults_and_no_letters(tab, style, is_seen):
    """Each fault makes more difference than is allowed, and another font of about the same width makes less."""
    found = difference(with_style(tab("digits", DARK), DARK, style), "digits", DARK)
    assert (found > BOUND) is is_seen, found


def luminance(colour):
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def test_all_lines_and_cells_stand_out_from_a_dark_page():
    """Each shade of the parallel coordinates, and each end of the scale, has a contrast of 3 with the dark page."""
    (style,) = own_scripts("style.css")
    paper = luminance(re.search(r'data-theme="dark"\].*?--paper: (#\w+)', style, re.DOTALL)[1])
    shades = [ON_DARK[shade] for shade in SHADES]
    assert [shade for shade in shades if (luminance(shade) + 0.05) / (paper + 0.05) < 3] == []
    assert [luminance(shade) for shade in shades] == sorted(map(luminance, shades))
    assert [shade for _, shade in ON_DARK[SCALE]] == shades


def test_figures_can_be_read(tab):
    """Dark figures have the dark page's shades, epochs are whole, and logarithmic axes have letters of one size."""
    tab = tab("digits", DARK)
    seen_first(tab, DARK)
    tab.evaluate("drawAll()")
    shades = "[...new Set(document.querySelector('#parallel .plot').layout.shapes.map(({ line }) => line.color))]"
    assert {*tab.evaluate(shades)} <= {ON_DARK[shade] for shade in SHADES}
    ticks = "(where) => [...document.querySelectorAll(`${where} .xtick text`)].map((one) => one.textContent)"
    assert tab.evaluate(ticks, "#curves .plot") == ["1", "2", "3"]
    rates = "[data-figure$=learning_rate].plot"
    assert {"1e\u22124", "0.1"} <= {*tab.evaluate(ticks, rates)}
    until(tab, "!queued()")


def test_boxes_of_many_trials_have_their_quartiles(tab):
    """They are Hazen's, as in Plotly's own boxes; whiskers are the extremes."""
    values = {0: [0.1, 0.5, 0.2, 0.9, 0.3], 2: [0.7, 0.4]}
    trace = {"x": [0, 2, 0, 0, 2, 0, 0], "y": [0.1, 0.7, 0.5, 0.2, 0.4, 0.9, 0.3], "customdata": [*range(7)]}
    box = tab("digits", DARK).evaluate("(trace) => summary(trace)", trace)
    parts = {"lowerfence": 0, "q1": 0.25, "median": 0.5, "q3": 0.75, "upperfence": 1}
    assert box.pop("x") == [*values]
    assert box.pop("boxpoints") is False
    assert {part: box[part] for part in parts} == {
        part: pytest.approx([np.quantile(own, share, method="hazen") for own in values.values()])
        for part, share in parts.items()
    }


@pytest.mark.parametrize("name", CLOSELY)
def test_no_page_is_wider_than_its_screen(tab, name):
    """What is wide scrolls by itself, also after the window has another size."""
    tab = tab(name, USUAL)
    for view in VIEWS:
        tab.set_viewport_size({"width": view.width, "height": view.height})
        assert tab.evaluate("document.documentElement.scrollWidth") <= view.width
    tab.set_viewport_size({"width": USUAL.width, "height": USUAL.height})


def test_hyperparameters_are_in_natural_order_without_a_sweep_file(written):
    """Where the sweep file cannot be read, 2 comes before 10."""
    names = ("rate_10", "rate_2", "rate")
    written.study(trials=2, params=lambda draw: {name: draw.random() for name in names}, sweep="study: {study}\n")
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    assert [name for name in board.columns if name in names] == ["rate", "rate_2", "rate_10"]
