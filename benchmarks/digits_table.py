"""Train every configuration of ``digits.yaml`` once and keep its learning curves in ``digits_table.npz``.

Searches can then be replayed on real results hundreds of times without training. A result is a function of (sweep,
params, seed), so running this again gives the same table. It takes about half an hour on one core.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.sweep import Sweep

SWEEP = Path(__file__).with_name("digits.yaml")
TABLE = Path(__file__).with_name("digits_table.npz")
METRICS = ("val_accuracy", "val_loss")
_SAY_EVERY = 50


@dataclass(frozen=True)
class DigitsTable:
    """Learning curves of all configurations of a sweep.

    Attributes:
        sweep: The sweep.
        params: The configurations, in the order of the grid.
        curves: Metric to array (configurations, epochs); NaN from the epoch on in which a training diverged.
        parameters: Weights of each network, shape (configurations,).
    """

    sweep: Sweep
    params: tuple[dict[str, Any], ...]
    curves: dict[str, np.ndarray]
    parameters: np.ndarray

    @classmethod
    def load(cls, path: Path = TABLE) -> DigitsTable:
        """Read the table that stands beside this file."""
        with np.load(path) as data:
            params = tuple(json.loads(str(data["params"])))
            curves = {name: data[name].astype(float) for name in METRICS}
            return cls(Sweep.load(SWEEP), params, curves, data["parameters"])

    @cached_property
    def row(self) -> dict[str, int]:
        """Id of a configuration to its place in the table."""
        return {configuration_id(params): place for place, params in enumerate(self.params)}

    def curve(self, params: dict[str, Any], metric: str = "val_accuracy") -> np.ndarray:
        """Return a configuration's metric after each epoch."""
        return self.curves[metric][self.row[configuration_id(params)]]

    def best(self, params: dict[str, Any], metric: str = "val_accuracy") -> float:
        """Return a configuration's best value over all epochs (the lowest of a loss); the worst possible if none."""
        curve = self.curve(params, metric)
        if np.isnan(curve).all():
            return float("inf") if metric.endswith("loss") else 0.0
        return float(np.nanmin(curve) if metric.endswith("loss") else np.nanmax(curve))


class _Quiet:
    """A monitor that keeps nothing: the outcome has the history."""

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None: ...

    def checkpoint(self, state: bytes, epoch: int) -> None: ...

    def decision(self) -> str:
        return "continue"

    def should_stop(self) -> bool:
        return False


def main() -> None:
    from cnn_sweep.training.session import configure

    configure(threads=1)
    from cnn_sweep.training.data.dataset import load
    from cnn_sweep.training.data.prepare import prepare
    from cnn_sweep.training.trial.trainer import Trainer

    sweep = Sweep.load(SWEEP)
    rows = sweep.grid.rows
    trainer = Trainer(load(prepare(sweep.data, sweep.folder, Path(sys.argv[1]))), max_graphs=64)
    epochs = sweep.resolve(rows[0]).training.epochs
    curves = {name: np.full((len(rows), epochs), np.nan, dtype=np.float32) for name in METRICS}
    parameters = np.zeros(len(rows), dtype=np.int64)
    for place, params in enumerate(rows):
        outcome = trainer.train(sweep.resolve(params), sweep.search.seed, _Quiet())
        parameters[place] = outcome.parameters or 0
        for number, metrics in enumerate(outcome.history):
            for name in METRICS:
                curves[name][place, number] = metrics[name]
        if place % _SAY_EVERY == 0:
            print(f"{place}/{len(rows)}", params, np.nanmax(curves["val_accuracy"][place]), file=sys.stderr, flush=True)
    np.savez_compressed(TABLE, params=np.array(json.dumps(rows)), parameters=parameters, **curves)


if __name__ == "__main__":
    main()
