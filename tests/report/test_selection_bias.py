"""Selection bias: what is left of the best value if the choice is judged by images that did not choose."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers.kept import guesses, softmax, write_kept_study
from helpers.typed import typed_here

from cnn_sweep.messages import span
from cnn_sweep.report.models import selection_bias
from cnn_sweep.report.models.selection_bias import corrected, corrected_best
from cnn_sweep.report.models.validated import Validated, parts_of
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.training.evaluation.metrics import metric_of, of_each_image

NAMES = tuple("abcd")


def _made(trial, labels, probabilities):
    return Validated((trial,), NAMES, "validation", np.arange(len(labels)), labels, probabilities)


def _networks(images, count, *, skill=2.0):
    labels = np.random.default_rng(images).integers(0, 4, images)
    return [[_made(seed, labels, guesses(labels, skill, seed=seed, classes=4))] for seed in range(count)]


@pytest.mark.parametrize("metric", ["accuracy", "top_2_accuracy", "log_loss", "brier"])
def test_metrics_of_each_image_average_to_the_metric(metric):
    """Those that are means over images; the AUC is none."""
    (one,) = _networks(60, 1)[0]
    each = of_each_image(one.labels, one.probabilities, metric)
    assert each.mean() == pytest.approx(metric_of(one.labels, one.probabilities, metric, NAMES), rel=1e-5)
    assert of_each_image(one.labels, one.probabilities, "auc") is None


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("accuracy", Direction.MAXIMIZE), ("log_loss", Direction.MINIMIZE), ("macro_f1", Direction.MAXIMIZE)],
)
def test_the_bias_is_the_lead_over_what_other_images_choose(metric, direction):
    """As computed part by part with the package's metrics, for sums over images and for other metrics."""
    networks = _networks(150, 8)
    labels = networks[0][0].labels

    def value(place, rows):
        return metric_of(labels[rows], networks[place][0].probabilities[rows], metric, NAMES)

    def best(rows):
        return min(range(8), key=lambda place: direction.key(value(place, rows)))

    chosen, leads = best(np.arange(150)), []
    for seed in range(5):
        parts = parts_of(150, None, seed=seed)
        for part in range(5):
            held, rest = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
            leads.append(value(chosen, held) - value(best(rest), held))
    found = corrected(networks, metric, direction)
    assert found.trials == (chosen,)
    assert found.best == pytest.approx(value(chosen, np.arange(150)), rel=1e-5)
    assert found.value == pytest.approx(found.best - np.mean(leads), rel=1e-5)
    assert found.low < found.value < found.high


def test_of_networks_that_guess_the_best_is_chance():
    """It looks better; corrected it is 1/4 on average, inside its interval; of equal ones the first is best."""
    found = []
    for seed in range(16):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 4, 100)
        noise = [[_made(trial, labels, softmax(random.normal(size=(100, 4))))] for trial in range(20)]
        found.append(corrected([*noise, *noise], "accuracy", Direction.MAXIMIZE))
    assert all(one.tried == 40 and one.trials[0] < 20 for one in found)
    assert np.mean([one.best for one in found]) > 0.31
    assert np.mean([one.value for one in found]) == pytest.approx(0.25, abs=0.04)
    assert sum(one.low < 0.25 < one.high for one in found) >= 14


def test_images_of_a_group_stay_together():
    """Ten copies of each image say no more than the images: the interval is about as wide, if groups are known."""
    networks = _networks(60, 5)
    labels = np.repeat(networks[0][0].labels, 10)
    copies = [[_made(one.trials[0], labels, np.repeat(one.probabilities, 10, axis=0))] for (one,) in networks]
    groups = [f"site {place // 10}" for place in range(600)]
    single = corrected(networks, "accuracy", Direction.MAXIMIZE)
    alone, grouped = (corrected(copies, "accuracy", Direction.MAXIMIZE, groups=one) for one in (None, groups))
    assert grouped.best == single.best
    assert grouped.high - grouped.low == pytest.approx(single.high - single.low, rel=0.3)
    assert alone.high - alone.low < 0.6 * (grouped.high - grouped.low)


def test_too_little_to_judge_gives_no_correction():
    """One candidate, nine images, or nine groups."""
    networks = _networks(60, 3)
    groups = [str(place % 9) for place in range(60)]
    assert corrected(networks[:1], "accuracy", Direction.MAXIMIZE) is None
    assert corrected(_networks(9, 3), "accuracy", Direction.MAXIMIZE) is None
    assert corrected(networks, "accuracy", Direction.MAXIMIZE, groups=groups) is None


def test_a_metric_that_some_draws_lack_is_corrected():
    """A network without valid probabilities is never the best, and the AUC of one class is left out."""
    labels = np.r_[np.zeros(3, np.intp), np.ones(37, np.intp)]
    random = np.random.default_rng(0)
    found = [softmax(random.normal(size=(40, 2)) + np.eye(2)[labels]) for _ in range(4)]
    found.append(np.full((40, 2), np.nan, np.float32))
    networks = [
        [Validated((trial,), ("a", "b"), "validation", np.arange(40), labels, one)] for trial, one in enumerate(found)
    ]
    made = corrected(networks, "auc", Direction.MAXIMIZE)
    assert made.trials != (4,)
    assert 0 <= made.low < made.value <= made.best
    assert corrected(networks, "log_loss", Direction.MINIMIZE).trials != (4,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a study of three trials about as good as each other."""
    made = tmp_path_factory.mktemp("kept")
    write_kept_study(made / "results", made, skills=(4.0, 4.1, 4.2))
    return made


def test_commands_show_the_corrected_value(folder):
    """`show` does of the best trial and of no other; the report and the methods section have the same numbers."""
    found = corrected_best(folder / "results", "kept")
    assert found.tried == 3
    (best,) = found.trials
    score = f"{found.value:.4g}"
    words = f"best of 3, so optimistic (selection bias): {score} without it (95% interval {span(found.low, found.high)}"
    assert words in " ".join(typed_here(("show", "kept", best), folder, {"COLUMNS": "80"}).stdout.split())
    assert "selection bias" not in typed_here(("show", "kept", (best + 1) % 3), folder, {"COLUMNS": "80"}).stdout
    assert typed_here(("report", "kept", "--format", "markdown"), folder, {"COLUMNS": "80"}).returncode == 0
    assert words[1:] in (folder / "kept.md").read_text(encoding="utf-8")
    text = typed_here(("methods", "kept"), folder, {"COLUMNS": "80"}).stdout
    numbers = f"Corrected for the choice among 3, it was {score} (95% interval {span(found.low, found.high)}"
    assert numbers in text
    assert re.search(r"cross-validated on 359 validation images \[@varma2006\]", text)


def test_show_does_without_what_takes_seconds(folder, monkeypatch):
    """A metric that is no mean over images is left to the report; an accuracy is corrected at once."""
    assert corrected_best(folder / "results", "kept", at_once=True) == corrected_best(folder / "results", "kept")
    monkeypatch.setattr(selection_bias, "told_by_predictions", lambda _: "macro_f1")
    assert corrected_best(folder / "results", "kept", at_once=True) is None
    assert corrected_best(folder / "results", "kept") is not None


def test_repeats_are_corrected_as_means(tmp_path):
    """The candidates are configurations, each with the mean of its networks."""
    made = write_kept_study(tmp_path / "results", tmp_path, repeats=2, skills=(4.0, 4.1, 4.2))
    found = corrected_best(tmp_path / "results", "kept")
    assert (found.tried, len(found.trials)) == (3, 2)
    own = [np.mean(made.probabilities[trial].argmax(axis=1) == made.labels) for trial in found.trials]
    assert found.best == pytest.approx(np.mean(own))
