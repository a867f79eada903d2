"""What mattered: on results whose making is known."""

from __future__ import annotations

import itertools

import pytest

from cnn_sweep.errors import StudyError
from cnn_sweep.search.importance import find

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
    assert pair.share == pytest.approx(0.0, abs=1e-12)


def test_too_few_results_tell_nothing(sweep):
    """Three trials, or trials without a number, are refused; equal results have no importances."""
    some = list(results(lambda **_: 1.0))
    with pytest.raises(StudyError, match="3 complete trials are too few to tell what matters; 4 are needed"):
        find(sweep("method: grid"), [*some[:3], (some[3][0], float("nan"))])
    assert find(sweep("method: grid"), some).importances[0].fanova is None
