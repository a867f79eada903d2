"""Folders of small images, as people have them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cnn_sweep.first_sweep.check import check_text
from cnn_sweep.first_sweep.folders import LabelWishes
from cnn_sweep.first_sweep.look import look_at
from cnn_sweep.first_sweep.proposal import Wishes, check_classes, propose
from cnn_sweep.first_sweep.sweep_text import sweep_text
from cnn_sweep.sweep.sweep import Sweep


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Write images that all differ into a folder `photos`; the current folder is the one around it."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)

    def written(*names, size=(16, 16), grey=False):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 255, (*size, 3), np.uint8)
            Image.fromarray(pixels[..., :1].repeat(3, axis=-1) if grey else pixels).save(path)
        return tmp_path / "photos"

    return written


@pytest.fixture
def proposed(tmp_path):
    """Look at a path and propose a sweep, which is read, whose images are listed and whose trials are planned."""

    def proposal(path, *, labels=None, wishes=None):
        found = look_at(str(path), labels or LabelWishes())
        check_classes(found)
        text = sweep_text(propose(found, wishes or Wishes()), title=found.what, folder=tmp_path)
        check_text(text, tmp_path / "new.yaml")
        return found, Sweep.parse(text, folder=tmp_path), text

    return proposal
