"""Several objectives: what a file may say, what the samplers learn, and which results are on the front."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.errors import InputError, SweepFileError
from cnn_sweep.execution.attempts.proposals import Observer
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.pareto import only_front, with_front
from cnn_sweep.search.adaptive import AdaptiveSampler, Observation
from cnn_sweep.search.pareto import hypervolume, knee, pareto_front, scaled_losses
from cnn_sweep.sweep.direction import Direction

BOTH = ("training:", "objectives: [{metric: val_accuracy}, {metric: parameters}]\ntraining:")
NUMBER = st.one_of(st.none(), st.just(math.inf), st.integers(0, 4).map(float))


@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER), max_size=12))
def test_the_front_is_what_nothing_dominates(values):
    """Checked against the definition, pair by pair; what lacks a finite number is never on it."""
    directions = (Direction.MAXIMIZE, Direction.MINIMIZE, Direction.MAXIMIZE)
    signs = (-1, 1, -1)
    losses = [None if {None, math.inf} & {*row} else [s * v for s, v in zip(signs, row, strict=True)] for row in values]

    def beats(one, other):
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    expected = [
        one is not None and not any(other is not None and beats(other, one) for other in losses) for one in losses
    ]
    assert pareto_front(values, directions) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_hypervolume_is_the_share_of_the_cube_that_is_dominated(count):
    """It equals Optuna's for random results, and what lies beyond the front adds nothing."""
    from optuna._hypervolume import compute_hypervolume

    random = np.random.default_rng(count)
    for results in (1, 2, 9, 30):
        losses = random.random((results, count)).round(1)
        assert hypervolume(losses) == pytest.approx(compute_hypervolume(losses, np.ones(count)))
        worse = np.minimum(losses[:1] + 0.1, 1.0)
        assert hypervolume(np.vstack([losses, worse])) == pytest.approx(hypervolume(losses))
    assert hypervolume(np.empty((0, count))) == 0.0


def test_losses_are_scaled_to_the_range_of_each_objective():
    """The best value becomes 0, the worst 1, in either direction; what does not vary becomes 0."""
    values = [(0.75, 10.0, 5.0), (0.25, 30.0, 5.0), (0.5, 20.0, 5.0)]
    directions = (Direction.MAXIMIZE, Direction.MINIMIZE, Direction.MINIMIZE)
    assert scaled_losses(values, directions).tolist() == [[0, 0, 0], [1, 1, 0], [0.5, 0.5, 0]]


@pytest.mark.parametrize(
    ("front", "place"),
    [
        ([(0.0, 1.0), (0.1, 0.1), (1.0, 0.0)], 1),
        ([(0.0, 1.0), (0.1, 0.6), (0.2, 0.15), (0.6, 0.1), (1.0, 0.0)], 2),
        ([(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)], None),  # straight
        ([(0.0, 1.0), (0.9, 0.9), (1.0, 0.0)], None),  # bent away from what is better
        ([(0.0, 1.0), (1.0, 0.0)], None),
        ([], None),
    ],
)
def test_the_knee_is_furthest_from_the_line_between_the_ends(front, place):
    """Whatever the units of the objectives; a straight front has none."""
    assert knee(front, (Direction.MINIMIZE, Direction.MINIMIZE)) == place
    assert knee([(1 - a, 1_000 * b) for a, b in front], (Direction.MAXIMIZE, Direction.MINIMIZE)) == place


@pytest.mark.parametrize("method", ["tpe", "nsga2", "nsga3"])
def test_several_objectives_are_learnt_from(sweep, method):
    """The front of a search holds more of what is accurate and small than its random beginning."""
    options = "population_size: 12" if method != "tpe" else "n_startup_trials: 12"
    one = sweep(f"method: {method}, trials: 99, options: {{{options}}}", BOTH)
    assert [(o.metric, o.direction) for o in one.objectives] == [
        ("val_accuracy", "maximize"),
        ("parameters", "minimize"),
    ]
    sampler, history = AdaptiveSampler(one, lambda _params: True), []
    for number in range(60):
        params = sampler.propose(number, history)
        good = params["rate"] < 0.001
        state = "failed" if params["rate"] > 0.05 else "complete"
        others = (100.0 * params["filters"],) if state == "complete" else (None,)
        value = 0.5 + 0.4 * good if state == "complete" else None
        history.append(Observation(number, params, state, value, others, ended=number))
    best = [seen.params["rate"] < 0.001 and seen.params["filters"] == 4 for seen in history]
    assert sum(best[-24:]) > sum(best[:24])


def told(one, tmp_path, epochs):
    """Write and read the journal of a trial that ended: loss and accuracy of each epoch."""
    paths = StudyPaths(tmp_path, "s")
    paths.create()
    same = {"trial": 0, "attempt": 0}
    with JournalWriter(paths.journal("w")) as journal:
        start = {"configuration": "c", "repeat": 0, "seed": 0, "params": {"filters": 4}, "parameters": 77}
        journal.append(Start(time=1.0, **same, **start))
        for epoch, (accuracy, loss) in enumerate(epochs, start=1):
            metrics = {"val_accuracy": accuracy, "val_loss": loss}
            journal.append(Epoch(time=2.0, epoch=epoch, seconds=1.0, metrics=metrics, **same))
        journal.append(End(time=9.0, state="complete", epochs=len(epochs), seconds=5.0, **same))
    history = History(paths, metric="val_accuracy", more=one.further_metrics)
    history.refresh()
    return Observer(one, history).observations()


def test_constraints_are_read_at_the_best_epoch_and_rungs_up_to_each(sweep, tmp_path):
    """Metrics are taken where the objective is best; parameters and seconds are the trial's."""
    constraints = 'constraints: ["val_loss <= 0.2", "parameters <= 70", "seconds <= 10"]'
    one = sweep(f"method: gp, trials: 9, {constraints}", ("training:", "pruner: {asha: {reduction: 2}}\ntraining:"))
    (seen,) = told(one, tmp_path, [(0.5, 0.1), (0.9, 0.3), (0.8, 0.2), (0.7, 0.1), (0.95, 0.1), (0.6, 0.25)])
    assert seen.constraints == pytest.approx((-0.5, 0.1, -0.5))
    assert seen.rungs == {1: 0.5, 2: 0.9, 4: 0.9}


def test_other_objectives_are_those_of_the_best_epoch(sweep, tmp_path):
    """Metrics are taken where the first objective is best; parameters and seconds are the trial's."""
    listing = "[{metric: val_accuracy}, {metric: val_loss}, {metric: seconds}, {metric: parameters}]"
    one = sweep("method: tpe, trials: 9", ("training:", f"objectives: {listing}\ntraining:"))
    (seen,) = told(one, tmp_path, [(0.5, 0.1), (0.9, 0.3), (0.8, 0.2)])
    assert (seen.value, seen.others) == (0.9, (0.3, 5.0, 77))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("training:", "objectives: [{metric: parameters}, {metric: val_loss}]\ntraining:")], "unknown metric 'para"),
        ([("training:", "objectives: [{metric: val_loss}, {metric: val_loss}]\ntraining:")], "is an objective already"),
        (
            [("training:", "objectives: val_loss\ntraining:")],
            "must be a list such as [{metric: val_accuracy}, {metric:",
        ),
        ([BOTH, ("study:", "objective: {metric: val_loss}\nstudy:")], "either objective or objectives, not both"),
        ([BOTH, ("method: tpe", "method: cmaes")], "cmaes supports one objective; for several use tpe, gp, nsga2"),
        ([("training:", "objectives: [{metric: val_loss}, {metric: second}]\ntraining:")], "did you mean 'seconds'?"),
        (
            [("training:", "objectives: [{metric: val_loss}, {metric: seconds, value: last}]\ntraining:")],
            "objectives[1].value: belongs to the first objective",
        ),
    ],
)
def test_mistakes_are_told(sweep, changes, message):
    """Each with what would be valid."""
    with pytest.raises(SweepFileError) as caught:
        sweep("method: tpe, trials: 9", *changes)
    assert message in str(caught.value)


def test_one_objective_in_the_plural_is_one_objective(sweep):
    """A list of one means the same as the singular, also to a study that exists."""
    one = sweep("method: tpe, trials: 9", ("training:", "objectives: [{metric: val_loss}]\ntraining:"))
    assert (
        one.digest == sweep("method: tpe, trials: 9", ("training:", "objective: {metric: val_loss}\ntraining:")).digest
    )
    assert one.digest != sweep("method: tpe, trials: 9", BOTH).digest


def test_leaderboards_show_the_front(sweep):
    """Ranked trials that nothing dominates are marked and can be shown alone; one objective has no front."""
    rows = [{"rank": 1, "val_accuracy": 0.9, "parameters": 500}, {"rank": 2, "val_accuracy": 0.8, "parameters": 600}]
    rows += [{"rank": 3, "val_accuracy": 0.7, "parameters": 50}, {"rank": None, "val_accuracy": 1.0, "parameters": 1}]
    table = Table(("rank", "val_accuracy", "parameters"), tuple(rows))
    found = with_front(table, sweep("method: tpe, trials: 9", BOTH).objectives)
    assert found.columns == ("rank", "pareto", "val_accuracy", "parameters")
    assert [row["pareto"] for row in found.rows] == [True, False, True, False]
    assert [row["rank"] for row in only_front(found).rows] == [1, 3]
    with pytest.raises(InputError, match="has one objective"):
        only_front(table)
