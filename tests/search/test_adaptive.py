"""The adaptive sampler."""

from __future__ import annotations

import math

import pytest

from cnn_sweep.search.adaptive import AdaptiveSampler, Observation
from cnn_sweep.search.search_history import SearchHistory
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.sweep import InvalidTrialError

SEARCH = "method: tpe, trials: 100, seed: 1"
SMALL = ("{low: 1.0e-4, high: 1.0e-1, log: true, points: 4}", "[0.1, 0.2]"), (", points: 2", ", step: 0.9")


def score(params) -> float:
    """Score 1 with a rate of 0.01 and adam."""
    return 1 - 0.2 * abs(math.log10(params["rate"]) + 2) - 0.2 * (params["optimizer"] == "sgd")


def run(sampler, *, count: int, state: str = "complete", value=score) -> list[Observation]:
    """Propose and finish trials one after the other."""
    history: list[Observation] = []
    for number in range(count):
        params = sampler.propose(number, history)
        history.append(Observation(number, params, state, value(params)))
    return history


def anything(_params) -> bool:
    """Find every configuration valid."""
    return True


def test_proposals_are_configurations_of_the_sweep(sweep):
    """They honour ranges, choices, conditions and constraints, in the order of the file."""
    one = sweep(SEARCH)
    for seen in run(AdaptiveSampler(one, anything), count=40):
        params = dict(seen.params)
        assert one.satisfies(params)
        assert one.space.complete({"momentum": None, **params}) == params
        assert list(params) == [name for name in one.space.names if name in params]
        assert all(one.space.by_name[name].domain.contains(value) for name, value in params.items())
        assert ("momentum" in params) == (params["optimizer"] == "sgd")


def test_the_search_learns(sweep):
    """After the random beginning, proposals gather where the objective is good."""
    history = run(AdaptiveSampler(sweep(SEARCH), anything), count=60)
    early, late = [one.value for one in history[:10]], [one.value for one in history[-20:]]
    assert sum(late) / 20 > sum(early) / 10 + 0.1
    assert max(late) > 0.9


def test_a_loss_is_minimised(sweep):
    """The objective's direction is the search's."""
    one = sweep(SEARCH, ("training:", "objective: {metric: val_loss}\ntraining:"))
    history = run(AdaptiveSampler(one, anything), count=60, value=lambda params: -score(params))
    assert sum(score(seen.params) for seen in history[-20:]) / 20 > 0.7


def test_a_proposal_is_a_function_of_the_history(sweep):
    """Another worker with the same history proposes the same for one number, and something else for another."""
    one = sweep(SEARCH)
    history = run(AdaptiveSampler(one, anything), count=25)
    again = AdaptiveSampler(one, anything).propose(25, history)
    assert AdaptiveSampler(one, anything).propose(25, list(reversed(history))) == again
    assert AdaptiveSampler(one, anything).propose(26, history) != again
    assert AdaptiveSampler(sweep(SEARCH.replace("seed: 1", "seed: 2")), anything).propose(25, history) != again


def test_running_trials_keep_others_away(sweep):
    """Eight workers that ask at once, each seeing the others' trials as running, do not get one point."""
    one = sweep(SEARCH)
    history = run(AdaptiveSampler(one, anything), count=30)
    workers = [AdaptiveSampler(one, anything) for _ in range(8)]
    for number, worker in enumerate(workers, start=30):
        history.append(Observation(number, worker.propose(number, history), "running", None))
    assert len({configuration_id(seen.params) for seen in history[30:]}) == 8


def test_running_trials_become_finished_ones(sweep):
    """A sampler that saw a trial running, then its end, proposes what one proposes that saw the end alone."""
    one = sweep(SEARCH)
    done = run(AdaptiveSampler(one, anything), count=20)
    follower = AdaptiveSampler(one, anything)
    follower.propose(20, [Observation(seen.number, seen.params, "running", None) for seen in done])
    follower.propose(20, [*done[:10], *(Observation(s.number, s.params, "paused", 0.1) for s in done[10:])])
    assert follower.propose(20, done) == AdaptiveSampler(one, anything).propose(20, done)


def test_a_result_that_changes_is_learnt_anew(sweep):
    """Should a finished trial be taken back, the estimator forgets what it was told of it."""
    one = sweep(SEARCH)
    done = run(AdaptiveSampler(one, anything), count=20)
    sampler = AdaptiveSampler(one, anything)
    sampler.propose(20, done)
    changed = [Observation(seen.number, seen.params, "complete", -seen.value) for seen in done]
    assert sampler.propose(20, changed) == AdaptiveSampler(one, anything).propose(20, changed)


def test_failures_drive_the_search_away(sweep):
    """The search leaves a region in which every trial fails, although it has no values."""
    one = sweep(SEARCH)
    sampler = AdaptiveSampler(one, anything)
    history: list[Observation] = []
    for number in range(60):
        params = sampler.propose(number, history)
        bad = params["rate"] > 0.01
        history.append(Observation(number, params, "failed" if bad else "complete", None if bad else 0.5))
    assert sum(seen.state == "failed" for seen in history[-20:]) < 5


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_values_that_are_no_numbers_are_failures(sweep, value):
    """A trial without a finite value does not stop the search."""
    history = run(AdaptiveSampler(sweep(SEARCH), anything), count=15, value=lambda _params: value)
    assert len(history) == 15


@pytest.mark.parametrize("state", ["complete", "pruned", "failed", "running", "paused", "interrupted", "waiting"])
def test_every_state_of_a_trial_is_understood(sweep, state):
    """The next trial can be proposed for any states of the other trials."""
    history = run(AdaptiveSampler(sweep(SEARCH), anything), count=14, state=state)
    assert len(history) == 14


def test_trials_without_a_configuration_yet_are_passed_over(sweep):
    """A claim whose owner has not begun a trial adds no information."""
    sampler = AdaptiveSampler(sweep(SEARCH), anything)
    assert sampler.propose(3, [Observation(0, None, "waiting", None), Observation(3, None, "running", None)])


def test_invalid_proposals_are_refused(sweep):
    """An untrainable configuration is never proposed, even if the estimator prefers it."""
    sampler = AdaptiveSampler(sweep(SEARCH), lambda params: params["kernel"] == 3)
    history = run(sampler, count=15, value=lambda params: params["kernel"])
    assert {seen.params["kernel"] for seen in history} == {3}


def test_rare_configurations_are_found_at_random(sweep):
    """Where a hundred proposals are refused, a random configuration that can be trained is taken."""
    sampler = AdaptiveSampler(sweep(SEARCH), lambda params: params["rate"] < 0.00012)
    assert sampler.propose(0, [])["rate"] < 0.00012


def test_a_search_without_valid_configurations_ends(sweep):
    """If nothing can be trained the search says so."""
    with pytest.raises(InvalidTrialError, match="none of 1,000 random configurations can be trained"):
        AdaptiveSampler(sweep(SEARCH), lambda _params: False).propose(0, [])


def test_a_small_space_is_gone_through_before_anything_repeats(sweep):
    """Twelve configurations are nearly all tried before one comes twice."""
    one = sweep(SEARCH, *SMALL, ("kernel: [3, 5, 9]", "kernel: [3]"))
    total = len(sweep("method: grid", *SMALL, ("kernel: [3, 5, 9]", "kernel: [3]")).grid.rows)
    history = run(AdaptiveSampler(one, anything), count=total)
    assert total == 12
    assert len({configuration_id(seen.params) for seen in history}) >= total - 2
    more = run(AdaptiveSampler(one, anything), count=2 * total)
    assert len(more) == 2 * total


def test_lists_can_be_choices(sweep):
    """Optuna knows no lists as choices; a sweep does."""
    one = sweep(
        SEARCH, ("kernel: [3, 5, 9]", "kernel: [[3, 3], [5, 5]]"), ('constraints: ["filters * kernel < 70"]', "")
    )
    history = run(AdaptiveSampler(one, anything), count=15)
    assert {tuple(seen.params["kernel"]) for seen in history} == {(3, 3), (5, 5)}


@pytest.mark.parametrize("multivariate", ["true", "false"])
def test_both_ways_of_the_estimator_work(sweep, multivariate):
    """Parameters are considered together or each for itself."""
    one = sweep(f"method: tpe, trials: 9, options: {{n_startup_trials: 3, multivariate: {multivariate}}}")
    assert len(run(AdaptiveSampler(one, anything), count=12)) == 12


def test_values_that_left_the_space_are_not_told(sweep):
    """A history from a wider space is used as far as it still fits."""
    history = [Observation(n, {"filters": 99, "kernel": 3, "rate": 0.01}, "complete", 0.5) for n in range(12)]
    assert AdaptiveSampler(sweep(SEARCH), anything).propose(12, history)["filters"] in (4, 8)


LISTS = (("kernel: [3, 5, 9]", "kernel: [[3, 3], [5, 5]]"), ('constraints: ["filters * kernel < 70"]\n', ""))
CLIP = (("momentum: {low", "clip: [null, 0.5]\n  momentum: {low"), ("$momentum}", "$momentum, clip_norm: $clip}"))


@pytest.mark.parametrize("method", ["tpe", "gp", "nsga2"])
def test_samplers_learn_from_every_kind_of_choice(sweep, method):
    """Lists and null among choices are in the history that a sampler sees, however a journal wrote them."""
    one = sweep(f"method: {method}, trials: 20", *LISTS, *CLIP)
    history = SearchHistory(one)
    params = {"filters": 4, "kernel": (5, 5), "rate": 0.01, "optimizer": "adam", "clip": None}
    history.learn(
        [Observation(0, params, "complete", 0.5), Observation(1, params | {"kernel": [3, 3]}, "complete", 0.4)]
    )
    seen = [trial.params for trial in history.study.get_trials()]
    assert seen == [{**params, "filters": 0, "kernel": place, "optimizer": 1, "clip": 0} for place in (1, 0)]


def test_the_search_learns_from_lists(sweep):
    """Where one list is better than the others, proposals gather there."""
    one = sweep(SEARCH, *LISTS)
    sampler = AdaptiveSampler(one, anything)
    history = run(sampler, count=60, value=lambda params: float(params["kernel"] == [5, 5]))
    assert sum(seen.value for seen in history[-20:]) >= 15


@pytest.mark.parametrize("key", ["fixed: {kernel: [5, 5], clip: null}", "enqueue: [{kernel: [5, 5], clip: null}]"])
@pytest.mark.parametrize("method", ["grid", "tpe, trials: 20"])
def test_lists_and_null_can_be_fixed_and_enqueued(sweep, key, method):
    """``fixed`` and ``enqueue`` take every value of the space, and give it as the space has it."""
    one = sweep(f"method: {method}, {key}", *LISTS, *CLIP)
    given = one.search.fixed or one.search.enqueue[0]
    assert given == {"kernel": [5, 5], "clip": None}
    proposed = AdaptiveSampler(one, anything).propose(0, [], part=given) if one.search.is_adaptive else None
    assert proposed is None or (proposed["kernel"], proposed["clip"]) == ([5, 5], None)
