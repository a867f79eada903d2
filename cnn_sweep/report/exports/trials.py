"""Trials one by one with their epochs, as programs that keep runs want them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.store import queries, report_queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.store.reading import StoreReader

_TOGETHER = 200  # trials whose epochs are in memory at a time
_OWN = ("epoch", "seconds", "time")


@dataclass(frozen=True)
class Run:
    """One trial.

    Attributes:
        trial: Its number.
        facts: Its own columns: state, value, seed, started and so on.
        params: Its hyperparameters by name; None is a choice like another, inactive ones are left out.
        epochs: Each with ``epoch``, ``time`` (seconds since 1970) and the metrics by name, as (epoch, time, metrics).
        tests: Scores on the test set, named as on the leaderboard; empty unless ``finalize`` measured the trial.
    """

    trial: int
    facts: dict[str, Any]
    params: dict[str, Any]
    epochs: list[tuple[int, float, dict[str, float]]]
    tests: dict[str, float]

    @property
    def tested_at(self) -> tuple[int, float]:
        """The epoch whose weights were tested, and a time for the scores: that of the trial's end."""
        return self.facts["best_epoch"] or 0, self.facts["ended"] or self.facts["started"] or 0.0


def runs(store: StoreReader, study: str) -> Iterator[Run]:
    """Give all trials that began, by number, with the epochs that count."""
    found = queries.export_runs(store, study)
    for first in range(0, len(found), _TOGETHER):
        some = found[first : first + _TOGETHER]
        curves = report_queries.curves(store, study, [facts["trial"] for facts, *_ in some])
        for facts, params, tests in some:
            epochs = [(epoch["epoch"], epoch["time"], _metrics(epoch)) for epoch in curves[facts["trial"]]]
            yield Run(trial=facts["trial"], facts=facts, params=params, epochs=epochs, tests=tests)


def _metrics(epoch: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in epoch.items() if name not in _OWN and value is not None}
