"""Letters in pictures."""

from __future__ import annotations

import pytest
from PIL import ImageFont

from cnn_sweep.report.figures.contact_sheets import drawable, load_font


def test_letters_that_a_font_lacks_are_written_plainly(monkeypatch):
    """Pillow's own font stands in for a missing one; what it lacks loses its accents or becomes a question mark."""
    real = ImageFont.truetype

    def missing(file, *rest, **options):
        if isinstance(file, str):
            raise OSError("cannot open resource")
        return real(file, *rest, **options)

    monkeypatch.setattr(ImageFont, "truetype", missing)
    letters = "Brücke u\u0308ber\né 鳥 a"
    assert drawable(letters, load_font(12)) == "Brucke uber\ne ? a"


def test_letters_that_a_font_has_stay():
    """DejaVu Sans has the letters of Europe."""
    font = load_font(12)
    if font.getname()[0] != "DejaVu Sans":
        pytest.skip("no DejaVu Sans on this machine (.ci/debian-packages installs it)")
    assert drawable("Brücke u\u0308ber, Žluťoučký кот 鳥", font) == "Brücke über, Žluťoučký кот ?"
