"""Reports as Markdown and as images for papers, and what their figures say."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal.events import End, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.lines import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.contents.estimating import what_mattered
from cnn_sweep.report.contents.gpu_time import gpu_seconds
from cnn_sweep.report.contents.material import gather
from cnn_sweep.report.drawing.figure import number
from cnn_sweep.report.drawing.images import live, write_images
from cnn_sweep.report.figures.all_figures import KINDS, figures
from cnn_sweep.report.figures.of_trials import pareto
from cnn_sweep.report.page.markdown import markdown
from cnn_sweep.store.merge import merge
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


def test_shared_gpus_count_once(written):
    """Two workers on one GPU at the same time are one GPU in use; two GPUs of one worker are two."""
    paths = StudyPaths(written.results, "digits")
    written.study(trials=0)
    assert gpu_seconds(paths) is None
    users = (
        ("a", ["GPU-1"], 100, 160),
        ("b", ["GPU-1"], 130, 190),
        ("c", ["GPU-2", "GPU-3"], 100, 110),
        ("d", [], 0, 99),
    )
    for trial, (writer, gpus, begin, end) in enumerate(users):
        identity = ProcessIdentity("node7", "boot", "pid:[1]", trial, 8)
        events = [
            Worker(1.0, identity, {}, 1, {"gpus": gpus} if gpus else {}),
            Start(begin, trial, 0, f"c{trial}", 0, 1, {"filters": 4}),
            End(end, trial, 0, "complete", None, None, 1, end - begin),
        ]
        paths.journal(writer).write_bytes(b"".join(map(encode, events)))
    merge(written.results, wait_s=20)
    assert gpu_seconds(paths) == pytest.approx(90 + 2 * 10)


def test_importance_is_drawn_and_said(material):
    """What Optuna's estimators say stands in the figure and in the Markdown; contours begin with what matters most."""
    found = what_mattered(material)
    judged = replace(material, findings=found)
    (figure,) = figures(judged, "importance")
    assert figure.data[0]["x"] == [number(one.fanova) for one in found.importances]
    assert "## Importance" in markdown(judged)
    first, second = (one.parameter for one in found.importances[:2])
    assert {first, second} <= set(figures(judged, "contours")[0].title.split(" and "))
