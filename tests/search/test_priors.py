"""``prior`` in the space: a few configurations around what the user believes are tried first."""

from __future__ import annotations

import statistics

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.search.plan import make_plan
from cnn_sweep.search.samplers import believed
from cnn_sweep.sweep.space.space import Choices, Range

RATE = "rate: {low: 1.0e-4, high: 1.0e-1, log: true, points: 4}"
PRIOR = "rate: {low: 1.0e-4, high: 1.0e-1, log: true, prior: 0.003}"
KERNEL = ("kernel: [3, 5, 9]", "kernel: {choices: [3, 5, 9], prior: 5}")


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_believed_configurations_get_the_first_numbers(sweep, digits, method):
    """They come after what is enqueued, name their source, can be trained, and satisfy fixed values and constraints."""
    search = f"method: {method}, trials: 30, enqueue: [{{filters: 4, kernel: 3}}], fixed: {{optimizer: adam}}"
    one = sweep(search, (RATE, PRIOR), KERNEL)
    trials = make_plan([one], digits).trials
    assert [trial.source for trial in trials[:5]] == [None, "prior", "prior", "prior", None]
    first = [trial.params for trial in trials[1:4]]
    assert all(params["optimizer"] == "adam" and params["kernel"] != 9 for params in first)


def test_without_its_believed_configurations_a_search_is_the_same(sweep, digits):
    """The other trials are the draws of the same sweep without a prior, so a wrong belief costs only its own trials."""
    plain = RATE.replace(", points: 4", "")
    pairs = [make_plan([sweep("method: random, trials: 20", (RATE, rate))], digits).trials for rate in (plain, PRIOR)]
    without, with_prior = ([trial.params for trial in trials] for trials in pairs)
    assert with_prior[2:] == without[: len(with_prior) - 2]


def test_the_first_has_the_very_values_that_are_believed(sweep, digits):
    """Where they cannot be trained, draws around them take their place; the rest of a configuration is drawn."""
    priors = (RATE, PRIOR), KERNEL
    one = sweep("method: random, trials: 40", *priors)
    first, *others = [trial.params for trial in make_plan([one], digits).trials if trial.source == "prior"]
    assert (first["rate"], first["kernel"]) == (0.003, 5)
    assert all(params["rate"] != 0.003 for params in others)
    forbidden = sweep("method: random, trials: 40", *priors, ("filters * kernel < 70", "kernel != 5"))
    found = [trial.params for trial in make_plan([forbidden], digits).trials if trial.source == "prior"]
    assert len(found) == 1 + len(others)
    assert all(params["kernel"] != 5 and params["rate"] != 0.003 for params in found)


def test_a_larger_budget_changes_no_number(sweep, digits):
    """A longer search keeps all trials of the shorter one."""
    short, long = (sweep(f"method: tpe, trials: {count}", (RATE, PRIOR)) for count in (20, 40))
    before = make_plan([short], digits).trials
    assert make_plan([short, long], digits).trials[:20] == before


def test_draws_lie_around_the_belief():
    """The distribution is normal on the range's own scale, cut at its ends; a choice gets half of the draws."""
    shares = [(n + 0.5) / 1000 for n in range(1000)]
    rate = Range(1e-5, 1e-1, log=True, prior=1e-3)
    drawn = [rate.believed_at(share) for share in shares]
    assert statistics.median(drawn) == pytest.approx(1e-3, rel=0.01)
    assert sum(1e-3 / 10**0.5 < value < 1e-3 * 10**0.5 for value in drawn) / 1000 == pytest.approx(0.68, abs=0.01)
    edge = Range(0, 9, integer=True, prior=9)
    assert {edge.believed_at(share) for share in shares} <= set(range(10))
    kernel = Choices((3, 5, 9), prior=(5,))
    assert statistics.fmean(kernel.believed_at(share) == 5 for share in shares) == pytest.approx(2 / 3, abs=0.01)
    assert {kernel.believed_at(share) for share in shares} == {3, 5, 9}


def test_a_space_without_priors_has_no_beliefs(sweep):
    """No prior means no believed configuration, and no key in the canonical form."""
    plain = sweep("method: random, trials: 20")
    assert believed(plain, lambda _: True) == []
    assert not any("prior" in one for one in plain.canonical()["space"])
    assert plain.digest != sweep("method: random, trials: 20", KERNEL).digest


@pytest.mark.parametrize(
    ("search", "change", "message"),
    [
        (
            "method: random, trials: 9",
            (RATE, PRIOR.replace("0.003", "0.3")),
            "space.rate.prior: 0.3 is not in the space",
        ),
        ("method: random, trials: 9", (KERNEL[0], KERNEL[1].replace("prior: 5", "prior: 4")), "prior: 4 is not in"),
        ("method: grid", KERNEL, "space.kernel.prior: has no effect with the method 'grid'"),
    ],
)
def test_a_wrong_prior_is_a_problem(sweep, search, change, message):
    """A value outside the space, or a prior of a grid, is refused."""
    with pytest.raises(SweepFileError) as error:
        sweep(search, change)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("search", "pruner", "count"),
    [
        ("random, trials: 400", "", 20),
        ("random, trials: 400", "pruner: predictive\n", 3),
        ("tpe, trials: 400", "", 3),
        ("random, trials: 7", "", 1),
    ],
)
def test_where_a_search_ends_early_fewer_trials_are_believed(sweep, search, pruner, count):
    """At most a tenth of the trials, and at most three with rungs or with a sampler that learns."""
    one = sweep(f"method: {search}", (RATE, PRIOR), ("training:", f"{pruner}training:"))
    assert len(believed(one, lambda _: True)) == count
