"""The values of a sweep's constraints for the trials of a history, and the rank of complete trials that follows.

The store derives the same violation with SQL, in :mod:`cnn_sweep.store.derived_columns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.sweep.spec.outcome_constraints import total_violation

if TYPE_CHECKING:
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.sweep.sweep import Sweep


def constraint_values(trial: TrialHistory, history: History, sweep: Sweep) -> tuple[float, ...]:
    """Return the value of each of ``search.constraints``, at the epoch that gives the trial's value.

    Args:
        trial: The trial.
        history: Its history, which keeps the metrics of ``sweep.further_metrics``.
        sweep: The sweep.

    Returns:
        At most 0 where a constraint is satisfied; infinity where a quantity is missing.
    """
    if not sweep.outcome_constraints:
        return ()
    result = trial.result(sweep.objective)
    measured = history.measured(trial, result[0]) if result is not None else {}
    return tuple(one.value(measured) for one in sweep.outcome_constraints)


def size_violation(sweep: Sweep, parameters: int | None) -> float:
    """Return by how much the number of weights alone violates constraints, which is known before training.

    Args:
        sweep: The sweep.
        parameters: Number of weights; None if it is unknown, which violates nothing.
    """
    of_size = (one for one in sweep.outcome_constraints if set(one.names) == {"parameters"})
    return 0.0 if parameters is None else total_violation(one.value({"parameters": parameters}) for one in of_size)


def best_first(history: History, sweep: Sweep) -> dict[int, tuple[float, float]]:
    """Return the violation and the value of each complete trial, the best first.

    Feasible trials come first, by value; infeasible ones follow, by total violation. The lower number wins a tie.
    """
    found = {}
    for number, trial in history.trials.items():
        result = trial.result(sweep.objective) if trial.state == "complete" else None
        if result is not None:
            found[number] = (total_violation(constraint_values(trial, history, sweep)), result[1])
    return dict(sorted(found.items(), key=lambda one: rank_key(sweep, one[0], *one[1])))


def rank_key(sweep: Sweep, number: int, violation: float, value: float) -> tuple[float, float, int]:
    """Return the key by which complete trials are ranked, the best first."""
    return violation, sweep.objective.direction.key(value), number
