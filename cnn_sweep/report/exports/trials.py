"""Reads trials with their epochs, one by one, for exports to programs that store runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.store import queries, report_queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.store.reader import StoreReader

_TOGETHER = 200  # trials whose epochs are in memory at a time
_OWN = ("epoch", "seconds", "time")


@dataclass(frozen=True)
class Run:
    """One trial as a run.

    Attributes:
        trial: Its number.
        facts: Its columns on the leaderboard: state, value, seed, started and so on.
        params: Its active hyperparameters by name; None is a value like any other.
        epochs: (epoch, seconds since 1970, metrics by name) of each epoch.
        tests: Scores on the test set, named as on the leaderboard; empty unless ``finalize`` measured the trial.
    """

    trial: int
    facts: dict[str, Any]
    params: dict[str, Any]
    epochs: list[tuple[int, float, dict[str, float]]]
    tests: dict[str, float]

    @property
    def tested_at(self) -> tuple[int, float]:
        """The epoch whose weights were tested, and the time of the scores: the end of the trial."""
        return self.facts["best_epoch"] or 0, self.facts["ended"] or self.facts["started"] or 0.0


def runs(store: StoreReader, study: str) -> Iterator[Run]:
    """Yield all started trials in the order of their numbers, with the epochs that count."""
    found = queries.export_runs(store, study)
    for first in range(0, len(found), _TOGETHER):
        some = found[first : first + _TOGETHER]
        curves = report_queries.curves(store, study, [facts["trial"] for facts, *_ in some])
        for facts, params, tests in some:
            epochs = [(epoch["epoch"], epoch["time"], _metrics(epoch)) for epoch in curves[facts["trial"]]]
            yield Run(trial=facts["trial"], facts=facts, params=params, epochs=epochs, tests=tests)


def _metrics(epoch: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in epoch.items() if name not in _OWN and value is not None}
