"""Letters of SVG files as outlines: they stand where a browser puts the letters, and machines can still read them."""

from __future__ import annotations

import io
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from cnn_sweep.report.figures import letters, paper
from cnn_sweep.report.figures.letters import NoFontError, outlined

FAMILY = "Arial, Helvetica, Liberation Sans, DejaVu Sans, sans-serif"
STYLE = "font-family: Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans', sans-serif; white-space: pre; font-size"
# What Plotly writes: a superscript with its minus sign, bold and slanted words, lines, anchors, a turned name.
MINUS, NOTHING = "\N{MINUS SIGN}", "\N{ZERO WIDTH SPACE}"
SVG = f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200">
<text x="10" y="30" style="{STYLE}: 16px; fill: rgb(0, 0, 0)">10<tspan style="font-size:70%" dy="-0.6em">{MINUS}4</tspan
><tspan dy="0.42em">{NOTHING}</tspan> rest <tspan style="font-weight:bold">bold</tspan> <tspan
 style="font-style:italic">slanted</tspan></text>
<text x="150" y="80" text-anchor="middle" style="{STYLE}: 14px; fill: rgb(200, 0, 0)"
><tspan class="line" dy="0em" x="150" y="80">first line</tspan
><tspan class="line" dy="1.3em" x="150" y="80">second <tspan style="fill: blue">blue</tspan></tspan></text>
<text transform="rotate(-90,280,100)" x="280" y="100" text-anchor="middle" style="{STYLE}: 12px">val_accuracy</text>
<text x="260" y="190" text-anchor="end" style="{STYLE}: 12px; opacity: 0.5">a &lt;b&gt;</text>
</svg>"""


@pytest.fixture
def needs_fonts():
    """Fonts and what reads them."""
    pytest.importorskip("fontTools")
    if shutil.which("fc-match") is None:
        pytest.skip("no fontconfig on this machine")


def _seen(browser, svg):
    tab = browser.new_page(viewport={"width": 300, "height": 200}, device_scale_factor=2)
    tab.set_content(f"<body style='margin: 0'>{svg}</body>")
    with Image.open(io.BytesIO(tab.screenshot())) as picture:
        found = np.asarray(picture.convert("RGB"), float)
    tab.close()
    return found


@pytest.mark.usefixtures("needs_fonts")
def test_outlines_stand_where_the_letters_stood(browser):
    """A browser shows nearly the same picture: hinting and kerning differ, a line that is missing differs far more."""
    before, after = _seen(browser, SVG), _seen(browser, outlined(SVG, FAMILY))
    blank = _seen(browser, "<svg width='300' height='200'></svg>")
    tiles = [np.abs(one - blank).reshape(20, 20, 30, 20, 3).mean((1, 3, 4)) for one in (before, after)]
    assert tiles[0].max() > 50
    assert np.abs(tiles[0] - tiles[1]).max() < 12


@pytest.mark.usefixtures("needs_fonts")
def test_no_letters_are_left_and_machines_read_them():
    """Each text is a group with outlines and a label; its place and its colours stay."""
    root = ET.fromstring(outlined(SVG, FAMILY))
    tags = {one.tag.rpartition("}")[2] for one in root.iter()}
    assert tags == {"svg", "g", "path"}
    groups = list(root)
    assert [one.get("aria-label") for one in groups] == [
        f"10{MINUS}4 rest bold slanted",
        "first line second blue",
        "val_accuracy",
        "a <b>",
    ]
    assert [len(one) for one in groups] == [5, 3, 1, 1]
    assert groups[2].get("transform") == "rotate(-90,280,100)"
    assert groups[1].get("style") == "fill: rgb(200, 0, 0)"
    assert groups[1][2].get("style") == "fill: blue"


def test_without_fonts_letters_stay_and_a_sentence_says_so(tmp_path, monkeypatch):
    """Where fontconfig is missing, the file is as it was."""
    file = tmp_path / "figure.svg"
    file.write_text(SVG, encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    letters._font.cache_clear()
    letters._file_of.cache_clear()
    assert paper._outline_letters([file]).startswith("fc-match (of fontconfig) does not work: ")
    assert file.read_text(encoding="utf-8") == SVG
    with pytest.raises(NoFontError):
        outlined(SVG, FAMILY)
