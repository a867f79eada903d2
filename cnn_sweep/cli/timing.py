"""``threads``: how this machine's cores are best divided between workers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cnn_sweep.cli.preparing import prepare_shown
from cnn_sweep.cli.tables import print_table
from cnn_sweep.errors import InputError
from cnn_sweep.execution.machine import most_workers, usable_cores, visible_gpus
from cnn_sweep.execution.study.study_folder import plan_sweeps
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.search.plan import Validator
from cnn_sweep.search.samplers import completed
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.tools.training_rates import Timing, divisions, measure

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.tools.training_rates import Rate

# What a worker of one thread may be slower by and still be advised: its results repeat to the last bit.
_WORTH = 1.05


def threads(file: Path, results: Path, seconds: float, *, as_json: bool) -> None:
    """Measure and print how fast each division of the cores trains a sweep's largest network.

    Raises:
        InputError: There is nothing to measure: the sweep's training is a function of the user's, or there are GPUs.
        EnvironmentFault: The network cannot be trained.
    """
    sweep = Sweep.load(file)
    if sweep.objective.function is not None:
        raise InputError(f"{file}: objective.function does the training, so that it alone knows its threads")
    if gpus := visible_gpus():
        raise InputError(f"this machine trains on its {len(gpus)} GPUs, where threads of the CPU hardly matter")
    prepare_shown(sweep, results)
    params = _largest(sweep)
    rates = []
    for workers, number in divisions(usable_cores(), most_workers()):
        print(f"measuring {workers} x {number} …", file=sys.stderr)
        rates.append(measure(Timing(file.resolve(), results.resolve(), params, number, seconds), workers))
    best = max(rates, key=lambda rate: rate.images_per_s)
    advised = rates[0] if rates[0].images_per_s * _WORTH >= best.images_per_s else best
    if as_json:
        print(json.dumps({"params": params, "rates": [asdict(rate) for rate in rates], "advised": asdict(advised)}))
        return
    print_table(Table(("workers", "threads", "images_per_s", "of_the_best"), tuple(_row(rate, best) for rate in rates)))
    print(f"measured with {', '.join(f'{name}={value}' for name, value in params.items())}")
    print(
        f"advised: `--workers {advised.workers} --threads {advised.threads}`; in a profile for nodes like this one "
        f"`workers_per_task = {advised.workers}`, `threads = {advised.threads}`"
    )
    print("a study keeps the number of threads that it begins with, since its results depend on it")


def _row(rate: Rate, best: Rate) -> dict[str, Any]:
    share = round(rate.images_per_s / best.images_per_s, 2)
    return asdict(rate) | {"images_per_s": round(rate.images_per_s), "of_the_best": share}


def _largest(sweep: Sweep) -> dict[str, Any]:
    """Return the planned configuration with the most weights; where they are proposed later, one at random."""
    plan, info = plan_sweeps(sweep)
    if plan.configurations:
        return max(plan.configurations, key=lambda configuration: configuration.parameters or 0).params
    found = completed(sweep, {}, 0, Validator(sweep, info).is_valid)
    if found is None:
        raise InputError(f"{sweep.study}: no configuration can be trained (`cnn-sweep plan` says why)")
    return found
