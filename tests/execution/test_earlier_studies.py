"""``search: {learn_from: [...]}``: the best configurations of earlier studies are tried first."""

from __future__ import annotations

import shutil

import pytest
from helpers.planned_study import TEXT, write_small_study

from cnn_sweep.errors import StudyError, SweepFileError
from cnn_sweep.execution.study.earlier_studies import with_learned
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.search.extension import extension
from cnn_sweep.search.samplers import most_first
from cnn_sweep.sweep.sweep import Sweep

# In the study "small", filters [2, 4, 8] x learning_rate [0.001, 0.01], each trial is better than the one before.
LATER = TEXT.replace("study: small", "study: later").replace("[0.001, 0.01]", "{low: 0.005, high: 0.1, log: true}")
RANDOM = "search: {method: random, trials: 40, learn_from: [small]}\n"


def later(search=RANDOM, *changes):
    """Return a later sweep with pieces replaced."""
    text = LATER + search
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return Sweep.parse(text, source="later.yaml")


@pytest.fixture
def results(tmp_path):
    """Return a results folder with the study "small"."""
    write_small_study(tmp_path / "results", tmp_path)
    return tmp_path / "results"


@pytest.mark.parametrize("method", ["grid", "random", "tpe"])
def test_the_best_of_an_earlier_study_get_the_first_numbers(results, method):
    """Trials begin with the best configurations that lie in the new space, and name the trials that they come from."""
    change = ("{low: 0.005, high: 0.1, log: true}", "[0.01, 0.1]") if method == "grid" else ("study: later",) * 2
    found = with_learned(later(RANDOM.replace("random", method), change), results)
    assert [(one.study, one.trial) for one in found.search.learned] == [("small", 5), ("small", 4), ("small", 3)][
        : most_first(found)
    ]
    first, *_ = StudyFolder.open_or_create(found, results).plan.trials
    assert (first.params, first.source) == ({"filters": 8, "learning_rate": 0.01}, "small#5")


def test_what_was_learned_stays_when_the_earlier_study_is_gone(results):
    """The study's own sweep file has the configurations, so deleting the earlier study changes no trial."""
    begun = StudyFolder.open_or_create(later(), results)
    shutil.rmtree(results / "small")
    again = StudyFolder.open_or_create(later(), results)
    assert again.plan == StudyFolder.open(results, "later").plan == begun.plan
    more = again.extend_search({"trials": 60})
    assert more.plan.trials[:40] == begun.plan.trials
    longer = StudyFolder.open_or_create(later(RANDOM.replace("40", "80")), results, extend=True)
    assert longer.plan.trials[:60] == more.plan.trials


def test_a_lost_sweep_file_comes_back_with_what_was_learned(results):
    """The user's file restores the study's own, as long as the earlier study says the same."""
    begun = StudyFolder.open_or_create(later(), results)
    begun.paths.sweep.unlink()
    assert StudyFolder.open_or_create(later(), results).plan == begun.plan


def test_a_new_hyperparameter_is_left_to_the_sampler(results):
    """What the earlier study did not vary is completed when the trial begins; what is new here has no source."""
    wider = [("filters: [2, 4, 8]", "filters: [2, 4, 8]\n  size: [3, 5]"), ("kernel_size: 3", "kernel_size: $size")]
    trials = StudyFolder.open_or_create(later(RANDOM.replace("random", "tpe"), *wider), results).plan.trials
    assert trials[0].part == {"filters": 8, "learning_rate": 0.01}
    assert [trial.source for trial in trials[:4]] == ["small#5", "small#4", "small#3", None]


@pytest.mark.parametrize(
    ("search", "count"),
    [
        ("method: random, trials: 5", 1),
        ("method: random, trials: 29", 2),
        ("method: random, trials: 1000", 5),
        ("method: random, epochs: 90", 3),
        ("method: random, hours: 2", 5),
    ],
)
def test_at_most_a_tenth_of_the_trials_are_learned(search, count):
    """There is at least one and at most five; a budget of epochs counts as whole trainings."""
    assert most_first(later(f"search: {{{search}, learn_from: [small]}}\n")) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ((("[small]", "[smal]"),), "no study 'smal'"),
        ((("[small]", "[later]"),), "it cannot learn from itself"),
        ((("[small]", "['../small']"),), "cannot name a study"),
        (
            (("training:", "objective: {metric: val_loss}\ntraining:"),),
            "is val_accuracy (maximize), that of this study val",
        ),
        ((("2, 4, 8", "3, 5"),), "none of the 6 complete configurations of 'small' lies in this space; the best is"),
        (
            (
                ("  filters:", "  width:"),
                ("$filters", "$width"),
                ("learning_rate: {", "rate: {"),
                ("$learning_r", "$r"),
            ),
            "they have no hyperparameter in common",
        ),
    ],
)
def test_a_study_that_teaches_nothing_is_refused_with_its_line(results, changes, message):
    """The message says why an earlier study cannot be used, with the line of the file."""
    with pytest.raises(SweepFileError) as error:
        with_learned(later(RANDOM, *changes), results)
    assert message in str(error.value)
    assert "later.yaml:" in str(error.value)


def test_what_a_study_learns_from_is_fixed_at_its_start(results):
    """A study that has trials cannot begin to learn from another one."""
    StudyFolder.open_or_create(later(RANDOM.replace(", learn_from: [small]", "")), results)
    with pytest.raises(StudyError, match=r"search\.learn_from"):
        StudyFolder.open_or_create(later(), results, extend=True)


def test_a_sweep_without_earlier_studies_keeps_its_digest():
    """Neither key is in the canonical form of a file that does not use it."""
    one = later(RANDOM.replace(", learn_from: [small]", ""))
    assert not {"learn_from", "learned"} & set(one.canonical()["search"])
    assert extension(one, one) is None
