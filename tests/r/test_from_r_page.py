"""The page on R works as it is written: from a grid to a trained sweep, its leaderboard and a figure."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.real_r import require_r, run_r
from PIL import Image

require_r("DBI", "RSQLite", "ggplot2")

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (DOCS / "from-r.md").read_text(encoding="utf-8")
PICTURE = "from-r-curves.png"
TABLE = "search: {method: table, file: grid.csv}\n"


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def _indented():
    return [line[4:] for line in PAGE.splitlines() if line.startswith("    ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the page's files, in which its shell and R blocks ran in order."""
    folder = tmp_path_factory.mktemp("from_r")
    (sweep,) = _blocks("yaml")
    assert TABLE in sweep
    (folder / "optimizers.yaml").write_text(sweep, encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in _blocks("sh"):
        subprocess.run(["sh", "-e", "-c", command], cwd=folder, env=os.environ | {"PATH": path}, check=True)
    said = run_r("\n".join(_blocks("r")), folder, source=None)
    (folder / "said.txt").write_text(said, encoding="utf-8")
    return folder


def test_the_page_shows_what_one_sees(folder):
    """The grid has as many rows as the page says, and the leaderboard the page's columns and best optimizer."""
    (rows,) = re.findall(r"grid\.csv: (\d+) configurations", PAGE)
    assert len((folder / "grid.csv").read_text(encoding="utf-8").splitlines()) == int(rows) + 1
    said = [line.split() for line in (folder / "said.txt").read_text(encoding="utf-8").splitlines()]
    shown = [line.split() for line in _indented()]
    header = next(words for words in shown if words[:1] == ["rank"])
    assert header in said
    best, first = (next(words for words in table if words[:2] == ["1", "1"]) for table in (shown, said))
    assert len(best) == len(first) == len(header) + 1
    assert float(first[3]) == pytest.approx(float(best[3]), abs=0.1)


def test_the_page_shows_the_figure(folder):
    """``curves.png`` is drawn with the size of the page's picture, which is small."""
    if artifacts := os.environ.get("CNN_SWEEP_ARTIFACTS"):
        shutil.copy(folder / "curves.png", Path(artifacts) / PICTURE)
    with Image.open(folder / "curves.png") as drawn, Image.open(DOCS / PICTURE) as shown:
        assert drawn.size == shown.size
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 5
    assert (DOCS / PICTURE).stat().st_size < 100_000
