"""What kept predictions answer: without TensorFlow, without a model, and without training a trial again."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.kept import write_kept_study
from helpers.typed import typed_here
from sklearn.metrics import confusion_matrix

from cnn_sweep.report.document.html import page
from cnn_sweep.report.document.markdown import markdown
from cnn_sweep.report.figures.plots import figures, to_plotly
from cnn_sweep.report.figures.reliability import reliability
from cnn_sweep.report.models.best_model import best_model
from cnn_sweep.report.models.calibration import calibration_of
from cnn_sweep.report.models.validated import validated
from cnn_sweep.report.report_data import gather
from cnn_sweep.study import Study
from cnn_sweep.training.data.dataset import items
from cnn_sweep.training.data.prepare import prepared

# Nothing may start a process that works with models.
ALONE = """
import sys
from cnn_sweep.execution.models import client
client._answer = lambda folder: sys.exit("a model was asked")
from cnn_sweep.cli.main import main
try:
    main()
finally:
    heavy = {"tensorflow", "keras", "scipy.stats", "sqlalchemy", "pandas"} & set(sys.modules)
    if heavy:
        print(heavy, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A study of three trials; the last one's predictions were not kept."""
    folder = tmp_path_factory.mktemp("kept")
    found = write_kept_study(folder / "results", folder, keeps=lambda trial: trial < 2, skills=(2.0, 5.0, 4.0))
    found.folder = folder
    return found


@pytest.fixture
def type_(kept, monkeypatch):
    """Type a command in the study's folder; nothing answers for a model."""
    monkeypatch.setattr("cnn_sweep.execution.models.client._answer", lambda _: pytest.fail("a model was asked"))

    def typed(*words, code=0):
        done = typed_here(words, kept.folder, {"COLUMNS": "80"})
        assert done.returncode == code, done.stderr
        return done

    return typed


def _table(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("trial", [0, 1])
def test_confusion_is_that_of_the_kept_predictions(kept, type_, trial):
    """It equals scikit-learn's matrix of the predictions in full precision, and its trace the journaled accuracy."""
    rows = _table(type_("confusion", "kept", "--trial", trial, "--format", "csv").stdout)
    counts = np.array([[int(row[f"as {name}"]) for name in range(10)] for row in rows])
    exact = kept.probabilities[trial].argmax(axis=1)
    np.testing.assert_array_equal(counts, confusion_matrix(kept.labels, exact))
    journaled = kept.study.history().trials[trial].best(kept.study.sweep.objective.direction)[1]
    assert np.trace(counts) / counts.sum() == journaled
    assert f"trial {trial}, validation set" in type_("confusion", "kept", "--trial", trial).stdout


def test_misclassified_names_the_images(kept, type_):
    """The most confident mistakes first, each with the name of its image; the sheet shows them."""
    rows = _table(type_("misclassified", "kept", "--sheet", "sheet.png", "--format", "csv").stdout)
    exact = kept.probabilities[1]
    wrong = np.flatnonzero(exact.argmax(axis=1) != kept.labels)
    sweep = kept.study.sweep
    names = [item.name for item in items(prepared(sweep.data, sweep.folder, kept.study.data_root), "validation")]
    assert sorted(row["image"] for row in rows) == sorted(names[place] for place in wrong)
    chances = {names[place]: exact[place].max() for place in wrong}
    for row in rows:
        assert float(row["probability"]) == pytest.approx(chances[row["image"]], rel=1e-3)
    assert (kept.folder / "sheet.png").is_file()


def test_reports_and_python_need_no_model(kept, type_, monkeypatch):
    """The report's best model, `Study.confusion` and `Study.misclassified` read kept predictions, too."""
    del type_
    results = kept.folder / "results"
    study = Study.open(results, "kept")
    assert np.trace(study.confusion().to_numpy()) == len(kept.labels) - len(study.misclassified())
    found = best_model(results, "kept")
    assert (found.trial, found.wrong) == (1, len(study.misclassified()))


def test_the_report_shows_how_far_probabilities_can_be_believed(kept, type_):
    """The reliability diagram has the bins of `calibration` before and after scaling, and the errors in its legend."""
    del type_
    results = kept.folder / "results"
    best = best_model(results, "kept")
    found, figure = calibration_of(validated(results, "kept", [None])[0]), reliability(best)
    _, before, after = to_plotly(figure).data
    assert list(before.y) == pytest.approx([row["accuracy"] for row in found.bins.rows], rel=1e-5)
    assert list(after.x) == pytest.approx([row["mean"] for row in found.scaled_bins.rows], rel=1e-5)
    assert sum(map(int, after.text)) == len(kept.labels)
    assert after.name == f"temperature {found.temperature:.3g}, error {found.error[1]:.3f}"
    assert found.error[1] < found.error[0]
    study = Study.open(results, "kept")
    data = replace(gather(study.store, "kept", study.leaderboard_table("trial")), best_model=best)
    assert 'data-figure="reliability"' in page(data)
    assert f"calibration error of its probabilities: {found.error[0]:.4f}, {found.error[1]:.4f} with" in markdown(data)


def test_the_confusion_matrix_colours_what_is_confused(kept, type_):
    """The diagonal has its counts and no colour; rows have their number of images, and the caption has the accuracy."""
    del type_
    best = best_model(kept.folder / "results", "kept")
    (figure,) = figures(SimpleNamespace(best_model=best), "confusion")
    (trace,) = figure.data
    z, counts = np.array(trace["z"]), np.array(trace["text"]).astype(int)
    assert np.array_equal(counts, best.counts)
    assert not z.diagonal().any()
    assert z == pytest.approx(best.counts / best.counts.sum(axis=1)[:, None] * (1 - np.eye(len(z))), abs=1e-4)
    assert trace["y"] == [f"{name} ({n})" for name, n in zip(best.class_names, best.counts.sum(axis=1), strict=True)]
    right = len(kept.labels) - best.wrong
    assert (
        f"{right:,} of {len(kept.labels):,} are right, an accuracy of {right / len(kept.labels):.4g} ("
        in figure.caption
    )


def test_two_trials_are_compared(kept, type_):
    """In words with counts of images, as a table for other programs, and from Python; best is a trial, too."""
    words = type_("compare", "kept", 1, 0).stdout
    right = [kept.probabilities[trial].argmax(axis=1) == kept.labels for trial in range(2)]
    assert f"trial 1 and trial 0: {len(kept.labels)} validation images" in words
    assert f"right: both {np.sum(right[0] & right[1])}, only trial 1: {np.sum(right[1] & ~right[0])}" in words
    assert "right more often: trial 1" in words
    (row, _) = _table(type_("compare", "kept", "best", 0, "--format", "csv").stdout)
    assert float(row["difference"]) == pytest.approx(np.mean(right[1]) - np.mean(right[0]))
    assert float(row["low"]) < float(row["difference"]) < float(row["high"])
    frame = Study.open(kept.folder / "results", "kept").compare(None, 0)
    assert frame.loc[0, "difference"] == pytest.approx(float(row["difference"]))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("1", "1"), "both are trial 1; name two different trials"),
        (("1", "17"), "there is no trial 17"),
        (("1", "x"), "B 'x' is neither a number nor 'best'"),
    ],
)
def test_what_cannot_be_compared_is_said(type_, pair, message):
    """One trial, one that does not exist, and no number."""
    assert message in type_("compare", "kept", *pair, code=2).stderr


def test_a_trial_without_predictions_asks_its_model(kept, type_):
    """So does another split, even where predictions are kept."""
    for words in (("--trial", "2"), ("--split", "train")):
        with pytest.raises(pytest.fail.Exception, match="a model was asked"):
            type_("confusion", "kept", *words)


def test_changed_images_are_not_named(kept, type_):
    """If the data are not those of the trials, the images cannot be told; the confusion matrix needs none."""
    before = kept.study.paths.fingerprint.read_text(encoding="utf-8")
    kept.study.paths.fingerprint.write_text("1" * 64 + "\n", encoding="utf-8")
    try:
        assert "Put the files back" in type_("misclassified", "kept", code=2).stderr
        type_("confusion", "kept")
    finally:
        kept.study.paths.fingerprint.write_text(before, encoding="utf-8")


def test_no_heavy_library_is_loaded(kept):
    """A process of its own answers without TensorFlow, scipy.stats, SQLAlchemy and pandas."""
    words = [sys.executable, "-c", ALONE, "confusion", "kept"]
    done = subprocess.run(words, cwd=kept.folder, check=True, capture_output=True, encoding="utf-8", timeout=120)
    assert done.stderr == ""
    assert "precision" in done.stdout


def test_calibration_is_shown_by_confidence(kept, type_):
    """Bins with intervals, the temperature, and errors before and after; the table is for other programs, too."""
    done = type_("calibration", "kept", "--trial", 0).stdout
    assert f"trial 0, {len(kept.labels)} validation images by confidence" in done
    assert "expected calibration error 0." in done
    rows = _table(type_("calibration", "kept", "--format", "csv").stdout)
    assert sum(int(row["images"]) for row in rows) == len(kept.labels)


def test_a_threshold_is_found(kept, type_):
    """For a precision or a recall; both, none, a class that is unknown and a value that is no share are refused."""
    done = type_("threshold", "kept", "8", "--recall", "0.9").stdout
    assert f"trial 1, class 8: recall 0.9 on {len(kept.labels)} validation images" in done
    (score, _, recall) = _table(type_("threshold", "kept", "8", "--recall", "0.9", "--format", "csv").stdout)
    own = kept.labels == 8
    taken = kept.probabilities[1][:, 8] >= float(score["value"]) * (1 - 2**-10)
    assert float(recall["value"]) == pytest.approx(np.mean(taken[own]), abs=0.03)
    for words, message in (
        (["8"], "give either --precision or --recall"),
        (["8", "--recall", "0.9", "--precision", "0.9"], "give either --precision or --recall"),
        (["8", "--recall", "90"], "--recall 90 is no share"),
        (["fox", "--recall", "0.9"], "no class 'fox'; classes: 0, 1, 2"),
    ):
        assert message in type_("threshold", "kept", *words, code=2).stderr


def test_an_ensemble_is_chosen_from_kept_predictions(kept, type_):
    """Its members' weights add up to 1; the trial that kept nothing is no candidate; one member is the best trial."""
    rows = _table(type_("ensemble", "kept", "--format", "csv").stdout)
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1)
    assert {row["member"] for row in rows} <= {"trial 0", "trial 1"}
    right = np.mean(kept.probabilities[1].argmax(axis=1) == kept.labels)
    told = type_("ensemble", "kept", "--size", 1).stdout
    assert f"best trial: accuracy {right:.4f}" in told
    assert f"average of 1: accuracy {right:.4f}" in told
