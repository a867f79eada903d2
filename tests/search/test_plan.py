"""The numbering of trials."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_sweep.errors import InputError
from cnn_sweep.search.plan import Validator, make_plan
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.network.shapes import ImageInfo


def test_a_grid_is_planned_repeat_by_repeat(sweep, digits):
    """All configurations come once before any comes with the second seed; numbers count up."""
    one = sweep("method: grid, repeats: 2, seed: 5")
    plan = make_plan([one], digits)
    count = len(plan.configurations)
    assert [trial.number for trial in plan.trials] == list(range(2 * count))
    assert [trial.repeat for trial in plan.trials] == [0] * count + [1] * count
    assert [trial.seed for trial in plan.trials] == [5] * count + [6] * count
    params = [configuration.params for configuration in plan.configurations]
    assert [trial.params for trial in plan.trials] == params * 2
    assert all(trial.configuration == configuration_id(trial.params) for trial in plan.trials)


def test_what_cannot_be_trained_is_told_with_its_reason(sweep, digits):
    """A window of 9x9 on digits is invalid: no trial, but a line that says which layer and why."""
    plan = make_plan([sweep()], digits)
    assert {configuration.params["kernel"] for configuration in plan.configurations} == {3, 5}
    assert {bad.params["kernel"] for bad in plan.invalid} == {9}
    assert {bad.reason for bad in plan.invalid} == {
        "layer 1 (conv2d 9x9): the feature map is 8x8, smaller than the window (9x9)"
    }
    assert len(plan.configurations) + len(plan.invalid) == len(sweep().grid.rows)
    assert plan.rejected == sweep().grid.rejected == 12
    assert plan.duplicates == sweep().grid.duplicates == 24


def test_the_number_of_weights_is_planned(sweep, digits):
    """Each configuration has its network's size: (3*3*1+1)*4 + (3*3*4+1)*10 for the smallest."""
    first = make_plan([sweep()], digits).configurations[0]
    assert (first.params["filters"], first.params["kernel"]) == (4, 3)
    assert first.parameters == 40 + 370


def test_without_images_nothing_is_known_of_shapes(sweep):
    """Before the data is described every network counts as valid."""
    plan = make_plan([sweep()], None)
    assert plan.invalid == ()
    assert {configuration.parameters for configuration in plan.configurations} == {None}


def test_one_sigmoid_unit_needs_two_classes(sweep, digits):
    """`units: 1` with ten classes is invalid, with two it is fine."""
    one = sweep("method: grid", ("    - output\n", "    - output: {activation: sigmoid, units: 1}\n"))
    assert make_plan([one], digits).trials == ()
    binary = ImageInfo(image_shape=(28, 28, 1), class_names=("a", "b"))
    assert make_plan([one], binary).invalid == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training: {metrics: [recall_x], ", r"training.metrics: recall_x: unknown class 'x'; valid: 0, 1"),
        ("training: {metrics: [top_10_accuracy], ", r"top_10_accuracy is always 1, since the images have 10 classes"),
        ("objective: {metric: val_f1_10}\ntraining: {", r"objective.metric: f1_10: unknown class '10'.*; valid: 0, 1"),
    ],
)
def test_metrics_of_classes_that_the_images_lack_are_refused(sweep, digits, change, message):
    """A typing error in a class, or a k that means nothing, is said before anything is trained."""
    with pytest.raises(InputError, match=message):
        make_plan([sweep("method: grid", ("training: {", change))], digits)


def test_arithmetic_that_fails_for_some_configurations_makes_these_invalid(digits, sweep):
    """A configuration that no sample has met is found by the plan, with its values."""
    one = sweep("method: grid", ("filters: $filters", "filters: 8 if $filters * $kernel != 40 else 0"))
    bad = [bad for bad in make_plan([one], digits).invalid if bad.params["kernel"] == 5]
    assert {one.params["filters"] for one in bad} == {8}
    assert "model.layers[0].conv2d.filters: must be at least 1, not 0" in bad[0].reason
    assert "with filters=8, kernel=5" in bad[0].reason


def test_numbers_never_move_when_a_grid_grows(sweep, digits):
    """New choices, even before the old ones, and new repeats follow the trials that there are."""
    first = sweep()
    second = sweep("method: grid, repeats: 2", ("filters: [4, 8]", "filters: [2, 4, 8]"))
    third = sweep("method: grid, repeats: 3", ("filters: [4, 8]", "filters: [2, 4, 6, 8]"))
    old, new, newest = (make_plan([first, second, third][:n], digits) for n in (1, 2, 3))
    assert new.trials[: len(old.trials)] == old.trials
    assert newest.trials[: len(new.trials)] == new.trials
    pairs = [(trial.configuration, trial.repeat) for trial in newest.trials]
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == {(trial.configuration, trial.repeat) for trial in make_plan([third], digits).trials}


def test_a_capped_grid_grows_up_to_its_cap(sweep, digits):
    """More trials take the next rows that were not there before."""
    plan = make_plan([sweep("method: grid, trials: 5"), sweep("method: grid, trials: 8")], digits)
    assert plan == make_plan([sweep("method: grid, trials: 8")], digits)


@given(
    st.sampled_from(["random", "qmc"]),
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_never_move_when_draws_are_added(sweep, digits, method, sizes):
    """Whatever the steps in which a search grows, a trial keeps its number, and the same trials come together."""
    sizes = [(max(n for n, _ in sizes[: i + 1]), max(r for _, r in sizes[: i + 1])) for i in range(len(sizes))]
    revisions = [sweep(f"method: {method}, trials: {n}, repeats: {r}") for n, r in sizes]
    plan = make_plan(revisions, digits)
    for count in range(1, len(revisions)):
        before = make_plan(revisions[:count], digits)
        assert plan.trials[: len(before.trials)] == before.trials
    at_once = make_plan(revisions[-1:], digits)
    assert plan.configurations == at_once.configurations
    assert (plan.duplicates, plan.rejected) == (at_once.duplicates, at_once.rejected)
    assert {(t.configuration, t.repeat, t.seed) for t in plan.trials} == {
        (t.configuration, t.repeat, t.seed) for t in at_once.trials
    }


def test_adaptive_trials_get_their_configuration_later(sweep, digits):
    """They have numbers and seeds; a repeat names the trial whose configuration it takes."""
    plan = make_plan([sweep("method: tpe, trials: 3, repeats: 2, seed: 4")], digits)
    assert [(t.params, t.configuration) for t in plan.trials] == [(None, None)] * 6
    assert [t.same_as for t in plan.trials] == [None, None, None, 0, 1, 2]
    assert [t.seed for t in plan.trials] == [4, 4, 4, 5, 5, 5]


def test_adaptive_searches_grow_too(sweep, digits):
    """Added trials and repeats follow, and each repeat names its first."""
    revisions = [sweep("method: tpe, trials: 2"), sweep("method: tpe, trials: 3, repeats: 2")]
    plan = make_plan(revisions, digits)
    assert [(t.number, t.repeat, t.same_as) for t in plan.trials] == [
        (0, 0, None),
        (1, 0, None),
        (2, 0, None),
        (3, 1, 0),
        (4, 1, 1),
        (5, 1, 2),
    ]


def test_a_space_that_is_too_small_is_noted(sweep, digits):
    """The plan says that fewer configurations were found than asked for."""
    changes = ("{low: 1.0e-4, high: 1.0e-1, log: true, points: 4}", "[0.1]"), ("[sgd, adam]", "[adam, sgd]")
    plan = make_plan([sweep("method: random, trials: 900", *changes, (", points: 2", ", step: 0.9"))], digits)
    assert plan.notes == ("900 trials were requested, but only 15 configurations were found",)


def test_own_models_are_planned_without_a_look_inside(sweep, digits):
    """A model that a function builds has no known size."""
    layers = sweep().text[sweep().text.index("  layers:") : sweep().text.index("space:")]
    one = sweep("method: grid", (layers, '  build: "nets:build"\n'))
    plan = make_plan([one], digits)
    assert len(plan.trials) == len(one.grid.rows)
    assert plan.configurations[0].parameters is None


def test_a_validator_judges_single_configurations(sweep, digits):
    """What an adaptive search proposes is judged as the plan does."""
    validator = Validator(sweep(), digits)
    good, bad = ({"filters": 4, "kernel": k, "rate": 0.1, "optimizer": "adam"} for k in (3, 9))
    assert validator.is_valid(good)
    assert not validator.is_valid(bad)
