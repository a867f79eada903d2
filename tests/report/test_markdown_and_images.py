"""Reports as Markdown and as images for papers, and what their figures say."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.report.all_figures import KINDS, figures
from cnn_sweep.report.figures_of_trials import pareto
from cnn_sweep.report.images import live, write_images
from cnn_sweep.report.markdown import markdown
from cnn_sweep.report.material import gather
from cnn_sweep.study import Study


@pytest.fixture
def material(written):
    """What a report of 60 trials is made of."""
    written.study(trials=60, states=("complete",) * 5 + ("failed",))
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    return gather(written.results, "digits", board)


def test_markdown_has_what_the_page_has(material):
    """Summary, space, failures, leaderboard and provenance; nothing of the data is markup."""
    text = markdown(material, images="figures")
    for heading in ("# digits", "## Search space", "## Failures by cause", "## Leaderboard", "## Provenance"):
        assert f"\n{heading}\n" in f"\n{text}"
    assert "ValueError: &lt;b>no&lt;/b>" in text
    assert f"- best: val_accuracy {material.ranked[0]['value']:.5g} (trial" in text
    assert "](figures/history.svg)" in text
    assert "cnn-sweep run sweep.yaml" in text
    assert material.sweep_text.strip() in text


def test_every_figure_is_one_for_plotly(material):
    """Plotly accepts all of them, property by property; none is empty."""
    found = [figure for kind in KINDS for figure in figures(material, kind)]
    assert {figure.name for figure in found} >= {"history", "curves-val_accuracy", "parallel", "pareto-parameters"}
    for figure in found:
        assert len(live(figure).data) == len(figure.data) > 0


def test_the_front_is_what_nothing_beats(material):
    """A trial is on the Pareto front if and only if no other is as cheap and better, or as good and cheaper."""
    rows = material.ranked
    front = {row["trial"] for row in pareto(rows, "parameters", maximize=True)}
    points = np.array([[row["parameters"], -row["value"]] for row in rows])
    for row, point in zip(rows, points, strict=True):
        beaten = ((points <= point).all(axis=1) & (points < point).any(axis=1)).any()
        assert (row["trial"] in front) is not bool(beaten)


def test_the_best_so_far_never_falls(material):
    """The history's line is the running maximum of its points."""
    points, line = figures(material, "history")[0].data
    assert line["y"] == np.maximum.accumulate(points["y"]).tolist()


def test_images_are_images(material, tmp_path):
    """Each format opens as what it is, in the size that papers need."""
    pytest.importorskip("kaleido")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine (.ci/debian-packages installs it)")
    files = write_images(figures(material, "history"), tmp_path / "images")
    assert [file.name for file in files] == ["history.svg", "history.png", "history.pdf"]
    for file in files:
        if file.suffix == ".png":
            with Image.open(file) as picture:
                assert picture.size == (1800, 1120)
        elif file.suffix == ".svg":
            assert ET.parse(file).getroot().tag.endswith("svg")
        else:
            assert file.read_bytes().startswith(b"%PDF")


def test_images_without_a_browser_are_refused(material, tmp_path, monkeypatch):
    """The message says what to install."""
    kaleido = pytest.importorskip("kaleido")
    errors = pytest.importorskip("kaleido.errors")

    def start(**_):
        raise errors.ChromeNotFoundError

    monkeypatch.setattr(kaleido, "start_sync_server", start)
    with pytest.raises(EnvironmentFault, match=r"apt install chromium \(no browser was found\)"):
        write_images(figures(material, "history"), tmp_path)
