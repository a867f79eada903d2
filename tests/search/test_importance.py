"""Importances, on results with known causes."""

from __future__ import annotations

import itertools
import random
from statistics import fmean

import numpy as np
import optuna
import pytest
from optuna.importance import FanovaImportanceEvaluator

from cnn_sweep.errors import StudyError
from cnn_sweep.search.distributions import distribution
from cnn_sweep.search.fanova import Axis, forest
from cnn_sweep.search.importance import find, interactions
from cnn_sweep.sweep.space.space import Choices, Range
from cnn_sweep.sweep.sweep import Sweep

RATES = (0.0001, 0.001, 0.01, 0.1)


def results(value):
    """Give every combination of the example's filters, kernels, rates and optimizers a value."""
    for filters, kernel, rate, optimizer in itertools.product((4, 8), (3, 5), RATES, ("sgd", "adam")):
        for momentum in (0.0, 0.9) if optimizer == "sgd" else (None,):
            params = {"filters": filters, "kernel": kernel, "rate": rate, "optimizer": optimizer}
            params |= {} if momentum is None else {"momentum": momentum}
            yield params, value(**{"momentum": 0.0} | params)


def test_what_decides_is_important(sweep):
    """A hyperparameter that alone decides has nearly all of the importance, by either estimate."""
    found = find(sweep("method: grid"), results(lambda rate, **_: RATES.index(rate) / 4))
    first = found.importances[0]
    assert first.parameter == "rate"
    assert first.fanova > 0.9
    assert first.ped_anova > 0.9
    assert (first.trials, first.conditional) == (48, False)
    assert (
        found.importances == find(sweep("method: grid"), results(lambda rate, **_: RATES.index(rate) / 4)).importances
    )


def test_a_conditional_hyperparameter_is_judged_where_it_counts(sweep):
    """Momentum counts with sgd only, and is compared with the others there."""
    found = find(sweep("method: grid"), results(lambda momentum, filters, **_: momentum + 0.01 * filters))
    momentum = next(one for one in found.importances if one.parameter == "momentum")
    assert (momentum.trials, momentum.conditional) == (32, True)
    assert momentum.fanova > 0.8


def test_effects_are_means_by_value(sweep):
    """Each value has the mean, the standard deviation and the best of its results."""
    found = find(sweep("method: grid"), results(lambda filters, kernel, **_: filters + kernel / 10))
    effects = {one.value: one for one in found.effects if one.parameter == "filters"}
    assert list(effects) == [4, 8]
    assert (effects[4].mean, effects[4].best, effects[4].trials) == (pytest.approx(4.4), 4.5, 24)
    assert effects[8].sd == pytest.approx(0.1 * (24 / 23) ** 0.5)


def test_many_values_are_put_into_groups(sweep):
    """Of a range with many values, groups of equal size have effects."""
    many = [({"rate": 0.001 * n, "filters": 4, "kernel": 3, "optimizer": "adam"}, n / 1) for n in range(1, 51)]
    effects = [one for one in find(sweep("method: grid"), many).effects if one.parameter == "rate"]
    assert [(one.value, one.trials) for one in effects][:2] == [("0.001 to 0.01", 10), ("0.011 to 0.02", 10)]


def test_interactions_are_what_the_parts_do_not_explain(sweep):
    """Two hyperparameters of which only the combination counts interact fully; added effects do not at all."""
    only_together = find(
        sweep("method: grid"), results(lambda filters, kernel, **_: float((filters == 4) == (kernel == 3)))
    )
    strongest = only_together.interactions[0]
    assert {strongest.first, strongest.second} == {"filters", "kernel"}
    assert strongest.share == pytest.approx(1.0)
    added = find(sweep("method: grid"), results(lambda filters, kernel, **_: filters + kernel))
    pair = next(one for one in added.interactions if {one.first, one.second} == {"filters", "kernel"})
    assert (pair.share, pair.p) == (pytest.approx(0.0, abs=1e-12), 1.0)
    assert strongest.p == 0.0


def test_chance_is_told_from_causes(sweep):
    """What decides is above the share of shuffled hyperparameters and is predicted; noise is neither."""
    causes = find(sweep("method: grid"), results(lambda rate, **_: RATES.index(rate) / 4))
    assert causes.noise < 0.1 < causes.importances[0].fanova
    assert causes.explained > 0.9
    draw = random.Random(2)
    noise = find(sweep("method: grid"), results(lambda **_: draw.random()))
    assert all(one.fanova < noise.noise for one in noise.importances if not one.conditional)
    assert noise.explained < 0.1
    assert noise.certainty.startswith("All together predict ")


def test_shares_of_ranges_are_those_of_optuna():
    """For the same trees, and ranges without logarithms, shares equal those of Optuna's evaluator."""
    draw = random.Random(3)
    domains = {"a": Range(0.0, 2.0), "b": Range(1, 9, integer=True)}
    params = [{"a": draw.uniform(0, 2), "b": draw.randint(1, 9)} for _ in range(60)]
    values = [one["a"] * one["b"] + draw.random() for one in params]
    study = optuna.create_study()
    for one, value in zip(params, values, strict=True):
        kinds = {name: distribution(domain) for name, domain in domains.items()}
        study.add_trial(optuna.trial.create_trial(value=value, params=one, distributions=kinds))
    theirs = FanovaImportanceEvaluator(n_trees=8, max_depth=8, seed=5).evaluate(study)
    trees = trees_of(domains, params, values)
    assert dict(zip(domains, trees.mean(axis=0), strict=True)) == pytest.approx(theirs, rel=1e-6)


def test_shares_of_choices_are_those_of_a_balanced_table():
    """Where trees fit a full table of choices, shares are those of its analysis of variance."""
    domains = {"a": Choices(("x", "y", "z")), "b": Choices((1, 2))}
    table = {("x", 1): 0.0, ("x", 2): 4.0, ("y", 1): 1.0, ("y", 2): 1.0, ("z", 1): 9.0, ("z", 2): 3.0}
    params = [{"a": a, "b": b} for a, b in table for _ in range(50)]
    trees = trees_of(domains, params, [value for value in table.values() for _ in range(50)])
    cells = np.array([*table.values()]).reshape(3, 2)
    expected = [cells.mean(axis=1).var() / cells.var(), cells.mean(axis=0).var() / cells.var()]
    assert trees == pytest.approx(np.tile(expected, (8, 1)))


def trees_of(domains, params, values):
    """Fit eight trees, and return the shares in each."""
    axes = [Axis(domain) for domain in domains.values()]
    columns = [axis.columns([one[name] for one in params]) for axis, name in zip(axes, domains, strict=True)]
    return forest(axes, columns, np.array(values), 8, seed=5)


def test_too_few_results_tell_nothing(sweep):
    """Three trials, or trials without a number, are refused; equal results have no importances."""
    some = list(results(lambda **_: 1.0))
    with pytest.raises(StudyError, match="3 complete trials are too few to estimate importances; 4 are needed"):
        find(sweep("method: grid"), [*some[:3], (some[3][0], float("nan"))])
    assert find(sweep("method: grid"), some).importances[0].fanova is None


def test_noise_alone_is_no_interaction():
    """In tables of noise with unequal numbers of results a cell, shares are near 0 and p is below 5% in 5%."""
    draw, found = random.Random(0), []
    for _ in range(400):
        table = [
            ({"rate": rate, "filters": filters}, draw.gauss(rate * 10 + filters, 1.0))
            for rate, filters in itertools.product(RATES, (1, 2, 3, 4))
            for _ in range(draw.choice((1, 2, 3)) + (rate == RATES[0]))
        ]
        found += interactions(["rate", "filters"], table)
    assert len(found) == 400
    assert fmean(one.share for one in found) < 0.06
    assert 0.03 <= fmean(one.p < 0.05 for one in found) <= 0.07


def test_the_order_of_results_does_not_matter(sweep):
    """The same results in another order have the same importances, each with its spread over forests."""
    draw = random.Random(1)
    pairs = list(results(lambda rate, **_: RATES.index(rate) + draw.random()))
    one = find(sweep("method: grid"), pairs)
    draw.shuffle(pairs)
    assert find(sweep("method: grid"), pairs) == one
    assert all(0 < found.fanova_sd < 0.1 for found in one.importances if not found.conditional)


CHOICES = """\
study: s
data: {source: digits}
model: {layers: [{conv2d: {filters: 4, kernel_size: $kernel}}, flatten, output]}
space:
  kernel: [[3, 3], [1, 1]]
  clip: [null, 0.5]
  optimizer: [sgd, adam]
  momentum: {low: 0.0, high: 0.9, points: 2, when: {optimizer: sgd}}
training: {epochs: 1, optimizer: {name: $optimizer, clip_norm: $clip, momentum: $momentum}}
"""


def test_null_and_lists_are_choices_like_others():
    """``null`` among choices is a value that counts, not a hyperparameter that does not; so is a list."""
    parsed = Sweep.parse(CHOICES)
    params = [
        {"kernel": kernel, "clip": clip, "optimizer": optimizer} | ({} if momentum is None else {"momentum": momentum})
        for kernel, clip, optimizer in itertools.product(([3, 3], [1, 1]), (None, 0.5), ("sgd", "adam"))
        for momentum in ((0.0, 0.9) if optimizer == "sgd" else (None,))
    ]
    found = find(parsed, [(one, 4 * (one["kernel"] == [1, 1]) + number / 30) for number, one in enumerate(params)])
    assert {one.parameter: one.trials for one in found.importances} == {
        "kernel": 12,
        "clip": 12,
        "optimizer": 12,
        "momentum": 8,
    }
    assert found.importances[0].parameter == "kernel"
    assert [(one.value, one.trials) for one in found.effects if one.parameter == "clip"] == [(0.5, 6), (None, 6)]
    assert {one.value for one in found.effects if one.parameter == "kernel"} == {(3, 3), (1, 1)}
