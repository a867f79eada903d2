"""How the report looks: its first screen beside reference pictures, and whether all of it can be read.

``make page-references`` takes new references. Look at them before you commit them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import until
from PIL import Image
from report.pictures import ADD_STYLE, REFERENCES, SCREEN, THEMES, first_screen, opened_to_compare, write_report

from cnn_sweep.report.document.html import own_scripts
from cnn_sweep.report.figures.figure import ON_DARK, SCALE, SHADES
from cnn_sweep.study import Study

FOLDER = Path(__file__).with_name("first_screens")
TILE = 40  # pixels of a reference, 160 of the screen: about the height of a card
# Grey levels, of 255, by which the worst tile may differ. DejaVu Serif in place of DejaVu Sans makes about 1; a card, a
# figure or the list of sections that is missing, or a page that begins 24 pixels lower, makes 6.5 to 17.
BOUND = 4.0


@pytest.fixture(scope="module")
def tabs(browser, tmp_path_factory):
    """The reports of which there are references, by name, each open on its first screen."""
    folder = tmp_path_factory.mktemp("reports")
    return {name: opened_to_compare(browser, write_report(name, folder)) for name in REFERENCES}


def worst(picture, name, theme):
    """Return the mean difference of the tile that differs most from the reference."""
    with Image.open(FOLDER / f"{name}-{theme}.png") as reference:
        gap = np.abs(np.asarray(picture, float) - np.asarray(reference, float))
    lines, columns = gap.shape
    return gap.reshape(lines // TILE, TILE, columns // TILE, TILE).mean((1, 3)).max().item()


@pytest.mark.parametrize("name", REFERENCES)
def test_the_first_screen_looks_as_its_reference(tabs, name):
    """No part of it differs, light or dark, by more than another design of letters would make."""
    assert {theme: worst(first_screen(tabs[name], theme), name, theme) for theme in THEMES} == pytest.approx(
        dict.fromkeys(THEMES, 0.0), abs=BOUND
    )


FAULTS = {
    "a card is missing": ".card:nth-child(3) { visibility: hidden }",
    "a figure is missing": "#history figure:first-child { visibility: hidden }",
    "the sections are not listed": "nav { display: none }",
    "the page begins lower": "header { padding-top: 24px }",
    "the dark theme is light": ":root { --paper: #fff !important }",
}


ANOTHER_FONT = "body, svg text { font-family: 'DejaVu Serif' !important }"


@pytest.mark.parametrize(("style", "is_seen"), [*((one, True) for one in FAULTS.values()), (ANOTHER_FONT, False)])
def test_the_comparison_sees_faults_and_no_letters(tabs, style, is_seen):
    """Each fault makes more difference than is allowed, and another font of about the same width makes less."""
    tab, theme = tabs["digits"], "dark"
    first_screen(tab, theme)
    tab.evaluate(ADD_STYLE, style)
    difference = worst(first_screen(tab, theme), "digits", theme)
    tab.evaluate("document.adoptedStyleSheets.pop()")
    assert (difference > BOUND) is is_seen, difference


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


def test_figures_can_be_read(tabs):
    """Dark figures have the dark page's shades, epochs are whole, and logarithmic axes have letters of one size."""
    tab = tabs["digits"]
    first_screen(tab, "dark")
    tab.evaluate("drawAll()")
    shades = "[...new Set(document.querySelector('#parallel .plot').layout.shapes.map(({ line }) => line.color))]"
    assert {*tab.evaluate(shades)} <= {ON_DARK[shade] for shade in SHADES}
    ticks = "(where) => [...document.querySelectorAll(`${where} .xtick text`)].map((one) => one.textContent)"
    assert tab.evaluate(ticks, "#curves .plot") == ["1", "2", "3"]
    rates = "[data-figure$=learning_rate].plot"
    assert {"1e\u22124", "0.1"} <= {*tab.evaluate(ticks, rates)}
    until(tab, "!queued()")


def test_boxes_of_many_trials_have_their_quartiles(tabs):
    """They are Hazen's, as in Plotly's own boxes; whiskers are the extremes."""
    values = {0: [0.1, 0.5, 0.2, 0.9, 0.3], 2: [0.7, 0.4]}
    trace = {"x": [0, 2, 0, 0, 2, 0, 0], "y": [0.1, 0.7, 0.5, 0.2, 0.4, 0.9, 0.3], "customdata": [*range(7)]}
    box = tabs["digits"].evaluate("(trace) => summary(trace)", trace)
    parts = {"lowerfence": 0, "q1": 0.25, "median": 0.5, "q3": 0.75, "upperfence": 1}
    assert box.pop("x") == [*values]
    assert box.pop("boxpoints") is False
    assert {part: box[part] for part in parts} == {
        part: pytest.approx([np.quantile(own, share, method="hazen") for own in values.values()])
        for part, share in parts.items()
    }


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_page_is_wider_than_its_screen(tabs, width):
    """What is wide scrolls by itself."""
    for tab in tabs.values():
        tab.set_viewport_size({"width": width, "height": SCREEN[1]})
        wide = tab.evaluate("document.documentElement.scrollWidth")
        tab.set_viewport_size(dict(zip(("width", "height"), SCREEN, strict=True)))
        assert wide <= width


def test_hyperparameters_are_in_natural_order_without_a_sweep_file(written):
    """Where the sweep file cannot be read, 2 comes before 10."""
    names = ("rate_10", "rate_2", "rate")
    written.study(trials=2, params=lambda draw: {name: draw.random() for name in names}, sweep="study: {study}\n")
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    assert [name for name in board.columns if name in names] == ["rate", "rate_2", "rate_10"]
