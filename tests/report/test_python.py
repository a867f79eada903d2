"""What Python users get: DataFrames, figures, and the notebook of the documentation."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.report.figures.sketch import sketch
from cnn_sweep.study import Study
from cnn_sweep.sweep.direction import Direction

NOTEBOOK = Path(__file__).parents[2] / "docs" / "how-to" / "reading-a-study.ipynb"


@pytest.fixture
def study(written):
    """A study of 40 trials, some of which failed."""
    written.study(trials=40, states=("complete",) * 7 + ("failed",))
    return Study.open(written.results, "digits")


def test_each_figure_can_be_drawn_alone(study):
    """``study.plot`` gives Plotly's figures of what was asked for."""
    history = study.plot.history()
    assert (
        list(history.data[0].y)
        == study.trials().dropna(subset=["value"]).sort_values("ended")["value"].round(6).tolist()
    )
    curves = study.plot.curves(3, 5, metric="val_loss")
    assert {trace.legendgroup for trace in curves.data} == {"3", "5"}
    validation = next(trace for trace in curves.data if trace.name == "trial 3")
    assert list(validation.y) == pytest.approx(study.epochs(3)["val_loss"].tolist(), rel=1e-5)
    assert study.plot.contour("learning_rate", "filters").data[0].z is not None
    assert study.plot.pareto("seconds").layout.xaxis.title.text == "seconds of training"
    assert study.plot.slice("momentum").data[0].type == "box"


def test_what_cannot_be_drawn_is_said(study, written):
    """A wrong name lists the right ones; a study without results says so."""
    with pytest.raises(InputError, match=r"'filter' \(did you mean 'filters'\?\); there are: filters, optimizer"):
        study.plot.slice("filter")
    with pytest.raises(StudyError, match="there is no trial 40; 40 are planned"):
        study.plot.curves(3, 40)
    written.study("empty", trials=2, states=("waiting",))
    with pytest.raises(InputError, match="nothing to draw for history"):
        Study.open(written.results, "empty").plot.history()


def test_a_notebook_shows_a_study(study):
    """``_repr_html_`` has the summary, a figure without scripts, and the best five trials, as text."""
    shown = study._repr_html_()
    assert "<script" not in shown
    assert shown.count("<circle ") == 35
    assert 'aria-label="val_accuracy by trial, from ' in shown
    assert "35 complete, 5 failed, of 40 planned" in shown
    assert shown.count("<tr>") == 6
    assert repr(study).startswith("Study.open(")


def test_a_figure_without_scripts_is_well_formed():
    """It is XML whatever the metric is called, has limits on its size, and draws equal or single values."""
    for values in ([(0, 0.5)], [(0, 0.5), (7, 0.5)], [(trial, trial % 7 / 7) for trial in range(5_000)]):
        drawn = sketch(values, Direction.MAXIMIZE, "<f1> & 'more\"")
        circles = ET.fromstring(drawn).findall(".//circle")
        assert 1 <= len(circles) <= 300
        assert all(0 <= float(circle.get("cx")) <= 420 and 0 <= float(circle.get("cy")) <= 150 for circle in circles)
    assert sketch([], Direction.MAXIMIZE, "loss") == ""


def test_an_empty_study_has_a_summary(written):
    """A study that has not begun is shown without a figure, and names with markup stay text."""
    written.study("empty", trials=2, states=("waiting",))
    shown = Study.open(written.results, "empty")._repr_html_()
    assert "<svg" not in shown
    assert "of 2 planned" in shown


def test_the_notebook_of_the_documentation_runs(written):
    """Every cell of docs/how-to/reading-a-study.ipynb ends without an error, in a real kernel."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    written.study(trials=12)
    folder = Path(written.results).parent
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs) == 6
    assert (folder / "digits.html").is_file()
    assert "2 complete, of 2 planned" in outputs[-1]["data"]["text/html"]
    assert outputs[-2]["text"].endswith("\n")
