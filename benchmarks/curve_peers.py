"""Searches of other libraries, on the configurations of a table of learning curves.

They propose points of a space; a proposal trains the nearest configuration that is left. After each epoch they say
whether its training goes on.
"""

from __future__ import annotations

import contextlib
import io
import logging
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from curve_tables import cube_of, distributions, take_nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from curve_tables import Task

REDUCTION = 3  # the share of trials that a rung keeps is one in so many
HAS_SYNE_TUNE = find_spec("syne_tune") is not None


class EpochByEpoch(ABC):
    """A search that is asked after each epoch whether a worker trains its configuration on; if not, it is over.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._going: list[tuple[int, int]] = []  # rows that their worker trains on

    @abstractmethod
    def begin(self) -> int | None:
        """Return the next configuration; None if all have begun."""

    @abstractmethod
    def trains_on(self, row: int, epochs: int) -> bool:
        """Learn of an epoch, and return whether the training goes on."""

    def take(self) -> tuple[int, int] | None:
        """Go on with a worker's configuration, or begin the next."""
        if self._going:
            row, epochs = self._going.pop()
            return row, epochs + 1
        begun = self.begin()
        return None if begun is None else (begun, 1)

    def trained(self, row: int, epochs: int) -> None:
        """Ask whether to go on."""
        if self.trains_on(row, epochs):
            self._going.append((row, epochs))


class Peer(EpochByEpoch):
    """A library's search.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.space = distributions(task.params)
        self._cube = cube_of(task.params, self.space)
        self._left = np.ones(len(task.params), dtype=bool)
        self._trials: dict[int, Any] = {}

    @abstractmethod
    def propose(self) -> tuple[Any, dict[str, Any]]:
        """Return the library's new trial, and its hyperparameters."""

    @abstractmethod
    def goes_on(self, trial: Any, value: float, epochs: int) -> bool:
        """Report an epoch that is not the last, and return whether the training goes on."""

    @abstractmethod
    def complete(self, trial: Any, last: float, best: float) -> None:
        """Report the last epoch, and the best."""

    def begin(self) -> int | None:
        """Let the library propose a trial, and return the nearest configuration."""
        if not self._left.any():
            return None
        trial, params = self.propose()
        row = take_nearest(self._cube, self._left, cube_of([params], self.space))
        self._trials[row] = trial
        return row

    def trains_on(self, row: int, epochs: int) -> bool:
        """Report the epoch, and ask whether to go on."""
        value = float(self.task.curves[row, epochs - 1])
        if epochs < self.task.epochs:
            return self.goes_on(self._trials[row], value, epochs)
        self.complete(self._trials[row], value, float(self.task.best[row, -1]))
        return False


class Optuna(Peer):
    """Optuna's TPE and one of its pruners.

    Args:
        task: The task.
        pruner: The pruner.
    """

    def __init__(self, task: Task, pruner: optuna.pruners.BasePruner) -> None:
        super().__init__(task)
        sampler = optuna.samplers.TPESampler(seed=task.seed)
        self._study = optuna.create_study(study_name="curves", direction="maximize", sampler=sampler, pruner=pruner)

    def propose(self) -> tuple[optuna.Trial, dict[str, Any]]:
        """Ask for a trial."""
        trial = self._study.ask(self.space)
        return trial, trial.params

    def goes_on(self, trial: optuna.Trial, value: float, epochs: int) -> bool:
        """Ask the pruner."""
        trial.report(value, epochs)
        if pruned := trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return not pruned

    def complete(self, trial: optuna.Trial, last: float, best: float) -> None:
        """Tell the value."""
        trial.report(last, self.task.epochs)
        self._study.tell(trial, best)


class SyneTune(Peer):
    """Syne Tune's asynchronous successive halving with random draws, as it is by default; it stops trials for good.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it names extras that are not installed
            from syne_tune.backend.trial_status import Trial
            from syne_tune.config_space import choice, loguniform, uniform
            from syne_tune.optimizer.schedulers.asha import AsynchronousSuccessiveHalving

        logging.disable(logging.WARNING)
        super().__init__(task)
        space = {
            name: choice(list(one.choices))
            if isinstance(one, optuna.distributions.CategoricalDistribution)
            else (loguniform if one.log else uniform)(one.low, one.high)  # type: ignore[attr-defined]
            for name, one in self.space.items()
        }
        self._trial = Trial
        self._scheduler = AsynchronousSuccessiveHalving(
            space,
            metric="value",
            do_minimize=False,
            time_attr="epoch",
            max_t=task.epochs,
            reduction_factor=REDUCTION,
            random_seed=task.seed,
        )

    def propose(self) -> tuple[Any, dict[str, Any]]:
        """Ask for a suggestion."""
        params = self._scheduler.suggest().config
        trial = self._trial(len(self._trials), params, datetime.now(UTC))
        self._scheduler.on_trial_add(trial)
        return trial, params

    def goes_on(self, trial: Any, value: float, epochs: int) -> bool:
        """Ask the scheduler."""
        return self._scheduler.on_trial_result(trial, {"value": value, "epoch": epochs}) == "CONTINUE"

    def complete(self, trial: Any, last: float, best: float) -> None:  # noqa: ARG002 - it takes the last epoch's
        """Report the last epoch."""
        result = {"value": last, "epoch": self.task.epochs}
        self._scheduler.on_trial_result(trial, result)
        self._scheduler.on_trial_complete(trial, result)


PEERS: dict[str, Callable[[Task], Peer]] = {
    "Optuna TPE, median": lambda task: Optuna(task, optuna.pruners.MedianPruner()),
    "Optuna TPE, successive halving": lambda task: Optuna(
        task, optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
    ),
    "Optuna TPE, Hyperband": lambda task: Optuna(
        task, optuna.pruners.HyperbandPruner(min_resource=1, max_resource=task.epochs, reduction_factor=REDUCTION)
    ),
    "Syne Tune ASHA": SyneTune,
}
