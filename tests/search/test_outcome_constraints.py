"""Constraints on what trials measure: what a file may say, their values, and what samplers learn from them."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import optuna
import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.search.adaptive import AdaptiveSampler, Observation, _seed
from cnn_sweep.search.search_history import SearchHistory
from cnn_sweep.sweep.spec.outcome_constraints import OutcomeConstraint, total_violation
from cnn_sweep.sweep.sweep import Sweep

TEXT = """\
study: s
data: {source: digits}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: $kernel}
    - flatten
    - output
space:
  filters: {low: 4, high: 64}
  kernel: [[3, 3], [5, 5], [3, 5]]
  rate: {low: 1.0e-4, high: 1.0e-1, log: true}
search: {method: tpe, trials: 99, options: {n_startup_trials: 5}}
training: {epochs: 1, optimizer: {name: adam, learning_rate: $rate}}
"""
CONSTRAINTS = '["parameters <= 2e4", "val_recall_3 >= 0.5"]'


def parsed(constraints=CONSTRAINTS, method="tpe", **more):
    """Parse the example with constraints and other settings."""
    search = f"{{method: {method}, trials: 99, constraints: {constraints}, "
    text = TEXT.replace("{method: tpe, trials: 99, ", search)
    for old, new in more.items():
        text = text.replace(old, new)
    return Sweep.parse(text)


@pytest.mark.parametrize(
    ("text", "measured", "value"),
    [
        ("parameters <= 1e5", {"parameters": 120_000}, 0.2),
        ("1e5 >= parameters", {"parameters": 120_000}, 0.2),
        ("val_recall_fox >= 0.8", {"val_recall_fox": 0.6}, 0.25),
        ("val_accuracy >= 0.8", {"val_accuracy": 0.88}, -0.1),
        ("val_loss - loss <= 0", {"val_loss": 0.75, "loss": 0.5}, 0.25),
        ("seconds <= parameters", {"seconds": 5.0, "parameters": 3}, 2.0),
        ("max(seconds, 1) / parameters <= 2", {"seconds": 5.0, "parameters": 0}, math.inf),
        ("seconds <= 60", {"seconds": None}, math.inf),
        ("seconds <= 60", {"seconds": math.nan}, math.inf),
        ("seconds <= 60", {}, math.inf),
    ],
)
def test_a_value_is_a_fraction_of_the_bound(text, measured, value):
    """It is at most 0 if the constraint is satisfied, and infinite if something is missing."""
    assert OutcomeConstraint(text).value(measured) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '"paramters <= 1e5"',
            "unknown metric 'paramters' (did you mean 'parameters'?); valid: parameters, seconds, val",
        ),
        ('"parameters < 1e5"', "constraints[0]: 'parameters < 1e5' must be one comparison by <= or >=, as in 'param"),
        ('"0 <= val_loss <= 1"', "must be one comparison by <= or >="),
        ('"filters <= 8"', "unknown metric 'filters'"),
        ('"1 <= 2"', "mentions nothing that is measured"),
        ("\"val_loss <= 'a'\"", "compares 'a', which is not a number"),
        ('"val_loss <="', "is not a constraint"),
        ("3", "must be text, not 3"),
        (", ".join(['"val_loss <= 1"'] * 21), "a search can have 20 constraints, this one has 21"),
    ],
)
def test_mistakes_are_told(text, message):
    """Each with what would be valid."""
    with pytest.raises(SweepFileError, match=r"search\.constraints") as caught:
        parsed(f"[{text}]")
    assert message in str(caught.value)


def test_a_sampler_that_does_not_learn_from_constraints_accepts_none():
    """CMA-ES would search among what is infeasible."""
    with pytest.raises(SweepFileError, match="cmaes does not learn from constraints; use tpe, gp, nsga2 or nsga3"):
        parsed(method="cmaes", n_startup_trials="popsize")


def test_trials_report_what_constraints_name():
    """A metric that only a constraint names is measured, and the digest does not depend on how they are written."""
    one = parsed()
    assert one.further_metrics == ("val_recall_3",)
    assert one.resolve({"filters": 4, "kernel": [3, 3], "rate": 0.01}).training.metrics == ("recall_3",)
    assert one.digest == parsed('["val_recall_3>=.5", "parameters <= 20000.0"]').digest != parsed("[]").digest
    assert parsed("[]").digest == Sweep.parse(TEXT).digest


def observed(number, *, state="complete", value=0.5, epochs=1, constraints=()):
    """Make up a trial; its hyperparameters depend on its number."""
    params = {"filters": 4 + number * 7 % 60, "kernel": [[3, 3], [5, 5], [3, 5]][number % 3]}
    params["rate"] = 10 ** (-1 - number % 7 / 2.5)
    known = value if state not in ("failed", "running") else None
    return Observation(number, params, state, known, (), constraints, epochs=epochs, ended=float(number))


def optuna_says(one, history, number):
    """Ask plain Optuna for the next configuration, after trials added as its documentation says."""
    distributions = {
        "filters": optuna.distributions.IntDistribution(4, 64),
        "kernel": optuna.distributions.CategoricalDistribution([0, 1, 2]),
        "rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
    }
    kernels = [[3, 3], [5, 5], [3, 5]]
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "paused": "PRUNED", "failed": "PRUNED", "running": "RUNNING"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=_seed(one.search.seed, number), n_startup_trials=5, multivariate=True, constant_liar=True
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    finished = [seen for seen in history if seen.state not in ("running", "paused")]
    for seen in [*finished, *(seen for seen in history if seen not in finished)]:
        steps = {seen.epochs: seen.value} if seen.state in ("pruned", "paused") else {}
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[states[seen.state]],
                value=seen.value if seen.state == "complete" else None,
                params={**seen.params, "kernel": kernels.index(seen.params["kernel"])},
                distributions=distributions,
                intermediate_values=steps,
                constraints=dict(zip([c.text for c in one.outcome_constraints], seen.constraints, strict=False)),
            )
        )
    trial = study.ask()
    proposed = {
        "filters": trial.suggest_int("filters", 4, 64),
        "kernel": kernels[trial.suggest_categorical("kernel", [0, 1, 2])],
        "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True),
    }
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return proposed


def proposals_agree(one, history):
    """Check that the next ten proposals are those of plain Optuna."""
    for number in range(100, 110):
        proposed = AdaptiveSampler(one, lambda _params: True).propose(number, history)
        expected = optuna_says(one, history, number)
        assert proposed == {**expected, "rate": pytest.approx(expected["rate"])}
    return True


def test_constraints_reach_the_sampler_as_in_plain_optuna():
    """Feasible and infeasible results, complete and pruned ones: the next proposals are those of plain Optuna."""
    values = [(0.1 * (n % 5) - 0.2, 0.05 * (n % 3) - 0.05) for n in range(24)]
    states = ["pruned" if n % 4 == 3 else "complete" for n in range(24)]
    history = [
        observed(n, state=states[n], value=n % 6 / 10, epochs=1 + n % 3, constraints=values[n]) for n in range(24)
    ]
    assert proposals_agree(parsed(), [*history, observed(24, state="running")])


def test_lists_and_pruned_paused_and_failed_trials_reach_the_sampler_as_in_plain_optuna():
    """Results at rungs count as those of pruned trials, by the epochs reached; those of failed ones are the worst."""
    states = ("complete", "pruned", "paused", "pruned", "failed", "paused")
    history = [observed(n, state=states[n % 6], value=n * 7 % 11 / 10, epochs=3 ** (n % 3)) for n in range(30)]
    assert proposals_agree(Sweep.parse(TEXT), history)


@pytest.mark.parametrize(("method", "count"), [("tpe", 40), ("nsga2", 100)])
def test_the_search_finds_what_is_feasible(method, count):
    """Where the best values violate a constraint, proposals gather among those that satisfy it."""
    options = {"n_startup_trials": "population_size"} if method == "nsga2" else {}
    one = parsed('["parameters <= 20"]', method, **options)
    sampler, history = AdaptiveSampler(one, lambda _params: True), []
    for number in range(count):
        params = sampler.propose(number, history)
        size = float(params["filters"])
        (violation,) = (constraint.value({"parameters": size}) for constraint in one.outcome_constraints)
        history.append(Observation(number, params, "complete", size, (), (violation,), ended=float(number)))
    late = [seen.params["filters"] for seen in history[-20:]]
    assert sum(filters <= 20 for filters in late) >= 12  # at random 6


def test_what_fails_or_cannot_be_measured_has_the_worst_violation_so_far():
    """Samplers accept no infinite values, and one that models each constraint needs a value of every trial."""
    history = SearchHistory(parsed())
    history.learn(
        [
            observed(0, constraints=(0.2, -0.1)),
            observed(1, constraints=(-0.5, math.inf)),
            observed(2, state="failed"),
            observed(3, state="running"),
            Observation(-1, observed(4).params, "complete", 0.5),
        ]
    )
    found = {trial.number: list(trial.constraints.values()) for trial in history.study.get_trials()}
    assert found == {0: [0.0, 0.0], 1: [0.2, -0.1], 2: [-0.5, 0.0], 3: [0.2, 0.0], 4: []}


def test_violations_add_up():
    """A surplus of one constraint does not make up for the violation of another."""
    assert total_violation([0.25, -3.0, 0.5]) == 0.75


def test_a_gaussian_process_sees_all_trials_at_the_highest_rung_with_enough_results():
    """Values at different rungs do not compare; what has not reached the rung is running, or left out if it ended."""
    one = parsed('["parameters <= 1"]', "gp")
    history = SearchHistory(one)
    states = ("pruned", "pruned", "paused", "paused", "complete", "running", "failed", "pruned", "running", "pruned")
    rungs = [{1: 0.1 + n / 100, 3: 0.3 + n / 100} for n in range(10)]
    rungs[4][9], rungs[6], rungs[8], rungs[9] = 0.9, {}, {1: 0.18}, {1: 0.19}
    for number, (state, at) in enumerate(zip(states, rungs, strict=True)):
        value = max(at.values(), default=None)
        seen = observed(number, state=state, constraints=(0.0,) if at else ())
        history.learn([replace(seen, value=value, rungs=at)])
    found = {
        trial.params["filters"]: trial.value if trial.state.is_finished() else trial.state.name
        for trial in history.to_ask().get_trials()
    }
    filters = [observed(number).params["filters"] for number in range(10)]
    at_three = {filters[n]: pytest.approx(0.3 + n / 100) for n in (0, 1, 2, 3, 4, 5, 7)}
    assert found == {**at_three, filters[6]: pytest.approx(0.3), filters[8]: "RUNNING"}
