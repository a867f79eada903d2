"""Optuna's pruners, asked with a replayed history: each says what it says itself in a loop of Optuna's."""

from __future__ import annotations

import optuna
import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.journal.events import End, Start
from cnn_sweep.journal.trials import AttemptHistory, EpochHistory, TrialHistory
from cnn_sweep.search.plan import make_plan
from cnn_sweep.search.pruners import StopPruner
from cnn_sweep.search.pruning_rules import WORSE_THAN_THE_BEST, PruningRules
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.spec.search import PRUNERS

EPOCHS = 6


def trial(number, values, *, state="complete", repeat=0):
    """Make a trial of which these values were journaled."""
    start = Start(0.0, number, 0, f"c{number}", repeat, repeat, {})
    epochs = {epoch: EpochHistory(float(epoch), 1.0, value) for epoch, value in enumerate(values, start=1)}
    end = None if state == "running" else End(9.0, number, 0, state, epochs=len(values))
    return TrialHistory(number, {0: AttemptHistory(0, start=start, writer="w", end=end, epochs=epochs)})


def curve(number):
    """Learning curves that cross."""
    return [0.1 * ((number * 7) % 10) + 0.05 * epoch * ((number * 3) % 4 - 1.5) for epoch in range(1, EPOCHS + 1)]


@pytest.mark.parametrize(
    ("name", "settings", "make"),
    [
        ("median", {}, optuna.pruners.MedianPruner),
        ("median", {"n_warmup_steps": 4}, lambda: optuna.pruners.MedianPruner(n_warmup_steps=4)),
        ("percentile", {"percentile": 40.0}, lambda: optuna.pruners.PercentilePruner(40.0)),
        ("threshold", {"lower": 0.3}, lambda: optuna.pruners.ThresholdPruner(lower=0.3)),
        ("patient", {"patience": 1}, lambda: optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), 1)),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("direction", Direction)
def test_pruners_say_what_optuna_says(name, settings, make, direction):
    """After every epoch of thirty trials our answer is that of Optuna's pruner in a study that was told the same."""
    ours = StopPruner(PRUNERS[name](**settings), direction)
    study = optuna.create_study(direction=direction.value, pruner=make())
    known, stopped = {}, 0
    for number in range(30):
        asked, seen, pruned = study.ask(), {}, False
        for epoch, value in enumerate(curve(number), start=1):
            seen[epoch] = value
            asked.report(value, epoch)
            pruned = asked.should_prune()
            assert ours.prunes(number, seen, known) == pruned, (number, epoch)
            if pruned:
                break
        stopped += pruned
        best = (max if direction is Direction.MAXIMIZE else min)(seen.values())
        if pruned:
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(asked, best)
        known[number] = trial(number, list(seen.values()), state="pruned" if pruned else "complete")
    assert 0 < stopped < 30


class Known:
    """A history of trials that are handed in."""

    def __init__(self, trials):
        self.trials = {one.number: one for one in trials}
        self.refreshed = 0.0


def test_repeats_of_what_is_clearly_worse_are_not_trained(sweep, digits):
    """Wilcoxon's test after some repeats: the best goes on, the worst gets no more, and ends as pruned at the end."""
    one = sweep("method: random, trials: 3, repeats: 6", ("search:", "pruner: wilcoxon\nsearch:"))
    plan = make_plan([one], digits)
    count = len({planned.configuration for planned in plan.trials})
    worth = [0.9, 0.5, 0.89][:count]
    seen = [
        trial(p.number, [worth[p.number % count] + 0.001 * p.repeat * (p.number % count + 1)], repeat=p.repeat)
        for p in plan.trials
        if p.repeat < 5
    ]
    pruning = PruningRules(one, plan, Known(seen))
    last = plan.trials[-count:]
    assert [pruning.may_begin(p.number) for p in last] == [True, False, *[True] * (count - 2)]
    assert not list(pruning.trials_to_prune())
    done = [trial(p.number, [0.9], repeat=5) for p in last if pruning.may_begin(p.number)]
    pruning = PruningRules(one, plan, Known([*seen, *done]))
    assert list(pruning.trials_to_prune()) == [(last[1].number, WORSE_THAN_THE_BEST)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pruner: ash", "did you mean 'asha'"),
        ("pruner: {asha: {reduction: 1}}", "must be at least 2"),
        ("pruner: {asha: {min_epoch: 1}}", "min_epochs"),
        ("pruner: {threshold: {}}", "needs lower, upper or both"),
        ("pruner: wilcoxon", "compares repeats"),
        ("pruner: [asha]", "must be one of"),
        ("pruner: {patient: {}}", "'patience' is missing"),
    ],
)
def test_mistakes_in_a_pruner_are_told(sweep, text, words):
    """A pruner that is misspelt or lacks a setting is a mistake with its place and the valid choices."""
    with pytest.raises(SweepFileError, match="pruner") as raised:
        sweep("method: grid", ("search:", f"{text}\nsearch:"))
    assert words in str(raised.value)


def test_a_sweep_without_a_pruner_means_what_it_meant(sweep):
    """The section is part of a sweep's meaning only where it is there."""
    plain, asha = sweep(), sweep("method: grid", ("search:", "pruner: asha\nsearch:"))
    assert "pruner" not in plain.canonical()
    assert asha.digest == sweep("method: grid", ("search:", "pruner: {asha: {min_epochs: 1}}\nsearch:")).digest
    assert plain.digest != asha.digest
