"""Every method of search, its options, and the configurations that a file gives outright."""

from __future__ import annotations

import importlib.util
import inspect
import math

import pytest
from optuna.samplers import QMCSampler

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.search import samplers
from cnn_sweep.search.adaptive import AdaptiveSampler, Observation
from cnn_sweep.search.optuna_samplers import SAMPLERS
from cnn_sweep.search.plan import make_plan
from cnn_sweep.search.search_history import SearchHistory
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.spec.search import ADAPTIVE_METHODS, OPTIONS

HAS_TORCH = importlib.util.find_spec("torch") is not None
METHODS = sorted(ADAPTIVE_METHODS if HAS_TORCH else ADAPTIVE_METHODS - {"gp"})
# Options of Optuna's that a sweep file does not have, and why.
ELSEWHERE = {
    "seed": "search.seed",
    "group": "follows from conditions",
    "x0": "search.enqueue",
    "reference_points": "given by dividing_parameter",
}
FUNCTIONS = {"constraints_func", "independent_sampler", "mutation", "source_trials"}
STRATEGIES = {"elite_population_selection_strategy", "child_generation_strategy", "after_trial_strategy"}
DEPRECATED = {
    *("consider_prior", "prior_weight", "consider_magic_clip", "consider_endpoints", "gamma", "weights"),
    *("warn_independent_sampling", "warn_asynchronous_seeding", "sigma0", "restart_strategy", "inc_popsize"),
}
NOT_REPLAYED = {"with_margin", "consider_pruned_trials"}  # need what only the process that proposed a trial knows
# Defaults of ours that are not Optuna's: considering parameters together, and scrambling, are better.
OURS = {("tpe", "multivariate"): True, ("qmc", "scramble"): True, ("nsga2", "crossover"): "uniform"}
OURS[("nsga3", "crossover")] = "uniform"


def score(params) -> float:
    """Score 1 with a rate of 0.01, adam and 8 filters."""
    bad = 0.2 * (params["optimizer"] == "sgd") + 0.1 * (params["filters"] == 4)
    return 1 - 0.2 * abs(math.log10(params["rate"]) + 2) - bad


def run(one, count, value=score) -> list[Observation]:
    """Propose and finish trials one after the other."""
    sampler, history = AdaptiveSampler(one, lambda _params: True), []
    for number in range(count):
        params = sampler.propose(number, history)
        history.append(Observation(number, params, "complete", value(params), ended=float(number)))
    return history


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_keeps_to_the_space(sweep, method):
    """Its proposals honour ranges, choices, conditions and constraints, none comes twice, and they get better."""
    options = "population_size: 10" if method.startswith("nsga") else "n_startup_trials: 5"
    one = sweep(f"method: {method}, trials: 99, seed: 1, options: {{{options}}}")
    history = run(one, 60)
    for seen in history:
        assert one.satisfies(dict(seen.params))
        assert one.space.complete({"momentum": None, **seen.params}) == dict(seen.params)
    assert len({configuration_id(seen.params) for seen in history}) == 60
    assert sum(seen.value for seen in history[-15:]) > sum(seen.value for seen in history[:15]) + 1


@pytest.mark.parametrize("method", METHODS)
def test_any_worker_comes_to_the_same_proposal(sweep, method):
    """One that has followed the search proposes what one proposes that reads all of its journals only now."""
    one = sweep(f"method: {method}, trials: 99, options: {{}}")
    follower, history = AdaptiveSampler(one, lambda _params: True), []
    for number in range(30):
        params = follower.propose(number, history)
        history.append(Observation(number, params, "complete", score(params), ended=float(number)))
    newcomer = AdaptiveSampler(one, lambda _params: True)
    assert newcomer.propose(30, history) == follower.propose(30, history)


def test_cmaes_goes_from_generation_to_generation(sweep):
    """Its state, which Optuna keeps beside the trials that asked, is found again although nobody journals it."""
    history = SearchHistory(sweep("method: cmaes, trials: 99, options: {popsize: 5}"))
    history.learn(Observation(n, {"rate": 10 ** -(1 + n % 3)}, "complete", n / 20, ended=n) for n in range(20))
    generations = [
        trial.system_attrs.get("cma:generation") for trial in history.study.trials if trial.value is not None
    ]
    assert generations == [n // 5 for n in range(20)]
    assert (
        sum("cma:optimizer:0" in trial.system_attrs for trial in history.study.trials if trial.value is not None) == 4
    )


@pytest.mark.parametrize("method", sorted(OPTIONS))
def test_options_are_those_of_optuna(method):
    """Whatever Optuna's sampler can be told a sweep file can say, with the same default, or there is a reason."""
    theirs = inspect.signature({**SAMPLERS, "qmc": QMCSampler}[method].__init__).parameters
    ours = {name: field.default for name, field in OPTIONS[method].model_fields.items()}
    left_out = set(theirs) - set(ours) - {"self"}
    assert left_out <= {*ELSEWHERE, *FUNCTIONS, *STRATEGIES, *DEPRECATED, *NOT_REPLAYED}
    assert set(ours) <= set(theirs)
    for name, default in ours.items():
        assert default == OURS.get((method, name), theirs[name].default), name


def test_a_missing_package_is_named(sweep, monkeypatch):
    """A method whose package is missing says how to install it, before anything runs."""
    monkeypatch.setitem(samplers.NEEDED, "gp", "no_such_package")
    with pytest.raises(
        EnvironmentFault, match=r"'gp' needs the package no_such_package.*pip install 'cnn-sweep\[gp\]'"
    ):
        make_plan([sweep("method: gp, trials: 3")], None)


def test_brute_force_is_the_grid_in_random_order(sweep):
    """All its configurations come, in an order that the seed decides."""
    rows = [trial.params for trial in make_plan([sweep("method: grid")], None).trials]
    orders = [[t.params for t in make_plan([sweep(f"method: brute_force, seed: {s}")], None).trials] for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != rows
    assert sorted(map(configuration_id, orders[0])) == sorted(map(configuration_id, rows))


def test_quasi_random_sequences_differ(sweep):
    """Halton's sequence is another one than Sobol's; where one was left it is taken up again."""
    halton = "method: qmc, trials: {}, options: {{qmc_type: halton}}"
    short, long = (make_plan([sweep(halton.format(count))], None).trials for count in (5, 9))
    assert [t.params for t in short] == [t.params for t in long[:5]]
    assert [t.params for t in short] != [t.params for t in make_plan([sweep("method: qmc, trials: 5")], None).trials]


@pytest.mark.parametrize("method", ["grid", "random", "qmc", "tpe", "nsga2"])
def test_fixed_values_hold(sweep, method):
    """A hyperparameter that is fixed for now has that value in all configurations."""
    trials = "" if method == "grid" else "trials: 8, "
    one = sweep(f"method: {method}, {trials}fixed: {{optimizer: sgd, filters: 8}}")
    planned = [trial.params for trial in make_plan([one], None).trials]
    for params in planned if planned[0] is not None else [seen.params for seen in run(one, 15)]:
        assert (params["optimizer"], params["filters"]) == ("sgd", 8)
        assert "momentum" in params


@pytest.mark.parametrize("method", ["grid", "random", "tpe"])
def test_known_good_configurations_come_first(sweep, method):
    """What is enqueued has the first numbers; a part of a configuration is completed, the same way every time."""
    good = "{filters: 8, kernel: 3, rate: 0.02, optimizer: adam}"
    one = sweep(f"method: {method}, trials: 6, enqueue: [{good}, {{kernel: 9, filters: 4}}]")
    plan = make_plan([one], None)
    assert plan.trials == make_plan([one], None).trials
    assert len(plan.trials) == 6
    assert plan.trials[0].params == {"filters": 8, "kernel": 3, "rate": 0.02, "optimizer": "adam"}
    second = plan.trials[1]
    if second.params is None:
        completed = AdaptiveSampler(one, lambda _params: True).propose(1, [], part=second.part)
    else:
        completed = second.params
    assert (completed["kernel"], completed["filters"]) == (9, 4)
    assert one.space.complete({"momentum": None, **completed}) == completed
    ids = [trial.configuration for trial in plan.trials if trial.configuration]
    assert len(set(ids)) == len(ids)


def test_enqueuing_more_moves_no_number(sweep):
    """What a later revision enqueues comes after the trials that there are."""
    first = sweep("method: tpe, trials: 3, enqueue: [{filters: 8}]")
    second = sweep("method: tpe, trials: 5, enqueue: [{kernel: 5}, {filters: 8}]")
    plan = make_plan([first, second], None)
    assert plan.trials[:3] == make_plan([first], None).trials
    assert [trial.part for trial in plan.trials] == [{"filters": 8}, None, None, {"kernel": 5}, None]


def test_what_is_enqueued_and_cannot_be_trained_is_told(sweep, digits):
    """A network that cannot be built is reported and gets no number."""
    bad = "{filters: 4, kernel: 9, rate: 0.01, optimizer: adam}"
    plan = make_plan([sweep(f"method: tpe, trials: 3, enqueue: [{bad}]")], digits)
    assert len(plan.invalid) == 1
    assert [trial.params for trial in plan.trials] == [None] * 3


def test_a_configuration_is_taken_by_one_worker(sweep):
    """If another worker has claimed a proposal, another one is made."""
    one = sweep("method: tpe, trials: 9")
    taken = [AdaptiveSampler(one, lambda _params: True).propose(0, [])]
    other = AdaptiveSampler(one, lambda _params: True).propose(0, [], claim=lambda params: params not in taken)
    assert other not in taken


def test_a_search_ends_with_its_space(sweep):
    """Of a space of six configurations no more are planned, and all of them are proposed."""
    small = [("rate: {low: 1.0e-4, high: 1.0e-1, log: true, points: 4}", "rate: [0.1, 0.2]")]
    small += [("momentum: {low: 0.0, high: 0.9, points: 2, when", "momentum: {choices: [0.0, 0.9], when")]
    one = sweep("method: tpe, trials: 100, fixed: {filters: 4}", *small, ("kernel: [3, 5, 9]", "kernel: [3]"))
    plan = make_plan([one], None)
    assert len(plan.trials) == 6
    assert "only 6 configurations were found" in plan.notes[0]
    assert len({configuration_id(seen.params) for seen in run(one, 6)}) == 6
