"""The methods section of a paper says what a study did, and cites only works that it lists."""

from __future__ import annotations

import re

import pytest
from helpers import study_states
from helpers.sweeps import sweep_of_digits
from helpers.written import SWEEP

from cnn_sweep.journal.events import Finalize
from cnn_sweep.report.methods import bibliography, methods
from cnn_sweep.report.report_data import gather
from cnn_sweep.study import Study

IMAGES = {"train": {"a": 60, "b": 40}, "validation": {"a": 12, "b": 8}, "test": {"a": 30, "b": 20}}


def described(written, name="digits", images=IMAGES):
    """Describe a written study."""
    study = Study.open(written.results, name)
    data = gather(study.store, name, study.leaderboard_table("trial"), shown=0)
    return methods(data, study.sweep, images)


@pytest.mark.parametrize("state", ["nothing_begun", "failures_only", "repeats", "several_objectives", "extended"])
def test_every_state_can_be_described(state, written):
    """Whatever a study has, its text is whole, and each reference has its entry, in the order of the text."""
    getattr(study_states, state)(written)
    found = described(written)
    assert "None" not in found.text
    cited = re.findall(r"\[@(\w+)\]", found.text)
    assert found.keys == list(dict.fromkeys(cited))
    assert re.findall(r"^@\w+\{(\w+),", found.bibtex, re.MULTILINE) == found.keys
    assert "[@" not in found.latex
    assert found.latex.count("\\cite{") == len(cited)


def test_the_text_has_the_numbers(written):
    """Images, settings that are not searched, the space, the search, and the optimism of the best of many."""
    study_states.finalized(written)
    text = described(written).text
    for part in (
        "We used 170 images of 2 classes (a, b): 100 for training, 20 for validation and 50 for the test.",
        "Each was trained for 3 epochs in batches of 32 images.",
        "4 hyperparameters were searched: filters (4, 8, 16); optimizer (sgd, adam);",
        "all combinations of their values were tried",
        "this value is optimistic",
    ):
        assert part in text
    assert re.search(
        r"had a test_accuracy of 0\.\d+ \(95% interval 0\.\d+ to 0\.\d+ \[@wilson1927\], 50 images\)", text
    )


def test_with_a_pruner_trials_were_trained_for_up_to_so_many_epochs(written):
    """Those that it stopped were trained for fewer."""
    written.study(trials=8, states=("complete", "pruned"), sweep=f"{SWEEP}pruner: median\n")
    assert "Each was trained for up to 3 epochs in batches" in described(written).text


def test_models_made_of_trials_are_described(written):
    """Their scores, how they were made, and how often the test set was opened."""
    own = Finalize(2_000.0, 0, {"test_loss": 0.5, "test_accuracy": 0.8})
    made = {"model": "calibrated ensemble", "networks": [0, 0, 3], "temperature": 1.25}
    refit = Finalize(2_002.0, 0, {"test_accuracy": 0.7}, "refit", [0], epochs=3)
    written.study(trials=8, more=[own, Finalize(2_001.0, 0, {"test_accuracy": 0.9}, **made), refit])
    found = described(written)
    for part in (
        "The test images were used for 1 trial and 2 models made of trials.",
        "The calibrated ensemble of trials 0 (2 times), 3 (temperature 1.25) had a test_accuracy of 0.9 (95% interval",
        "best on the validation images [@caruana2004].",
        "The refit of trial 0 (3 epochs with all images but those of the test set) had a test_accuracy of 0.7",
        "temperature scaling on the validation images [@guo2017].",
    ):
        assert part in found.text
    assert {"caruana2004", "guo2017"} <= set(found.keys)


def test_images_that_are_gone_are_no_reason_to_fail(written):
    """The prepared images may have been removed; the text leaves their numbers out."""
    study_states.one_trial(written)
    text = described(written, images=None).text
    assert "We used" not in text
    assert "The test images have not been used." in text


def test_searches_and_pruners_are_named_with_their_sources(written):
    """A sampler and rungs are described by their settings, and so is what was known before."""
    sweep = sweep_of_digits("""\
space: {{filters: [2, 4], rate: {{low: 0.001, high: 0.1, log: true, prior: 0.01}}}}
search:
  method: tpe
  trials: 9
  learned: [{{study: old, trial: 3, value: 0.9, params: {{filters: 2}}}}]
pruner: {{asha: {{min_epochs: 2, reduction: 4}}}}
training: {{epochs: 3, optimizer: {{name: adamw, learning_rate: $rate}}}}
""")
    written.study("tuned", 3, sweep=sweep, params=lambda draw: {"filters": 2, "rate": draw.uniform(0.001, 0.1)})
    found = described(written, "tuned")
    assert "for up to 3 epochs in batches of 32 images by AdamW [@loshchilov2019]." in found.text
    assert "proposed by Optuna [@akiba2019] with a tree-structured Parzen estimator [@bergstra2011]" in found.text
    assert "1 configuration from the best of earlier studies (old) came first." in found.text
    assert "one with the values that we believed best (rate 0.01), and some drawn around them." in found.text
    assert "one in 4 went on from each rung, the first of which was after 2 epochs" in found.text
    assert {"akiba2019", "bergstra2011", "li2020", "loshchilov2019"} < set(found.keys)


def test_a_first_rung_by_evidence_is_described(written):
    """The rule by which it was chosen is given in place of its epochs."""
    sweep = sweep_of_digits("""\
space: {{filters: [2, 4]}}
search: {{method: grid}}
pruner: {{asha: {{min_epochs: auto, reduction: 3}}}}
training: {{epochs: 3}}
""")
    written.study("evident", 3, sweep=sweep)
    assert "the lowest at which the order of the first 24 trials agreed" in described(written, "evident").text


def test_promotion_by_prediction_is_described(written):
    """Its rungs and its source are named."""
    written.study(
        "predicted",
        3,
        sweep=sweep_of_digits("""\
space: {{filters: [2, 4]}}
search: {{method: grid}}
pruner: predictive
training: {{epochs: 3}}
"""),
    )
    assert "Trials paused after 1 epoch and at further points" in described(written, "predicted").text


def test_the_bibliography_is_in_order():
    """Each entry stands once, by its key, in alphabetical order."""
    assert list(bibliography()) == sorted(bibliography())
    assert all(entry.startswith("@") and entry.endswith("}") for entry in bibliography().values())
