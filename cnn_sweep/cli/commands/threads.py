"""``threads``: finds the fastest division of this machine's cores between workers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cnn_sweep.cli.ui.image_preparation import prepare_images
from cnn_sweep.cli.ui.options import RESULTS, AsJson, Results, SweepFile, Trust
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.errors import InputError
from cnn_sweep.execution.machine import usable_cores, visible_gpus, workers_in_memory
from cnn_sweep.execution.study.study_folder import plan_sweeps
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.search.plan import Validator
from cnn_sweep.search.samplers import completed
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.tools.training_rates import Rate, Timing, divisions, measure

# Workers with one thread are recommended even if another division is faster by up to this factor, because their results
# are bit-reproducible.
_WORTH = 1.05


def threads(
    sweep: SweepFile,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Training time of each measurement, in seconds.")
    ] = 5.0,
    as_json: AsJson = False,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Measure the fastest division of this machine's cores: many workers of one thread, or fewer of several.

    Each division trains the sweep's largest network.

    Examples:
      cnn-sweep threads sweeps/digits.yaml
    """
    loaded = Sweep.load(sweep)
    if loaded.objective.function is not None:
        raise InputError(f"{sweep}: objective.function trains by itself, so its threads cannot be measured")
    if gpus := visible_gpus():
        raise InputError(f"this machine trains on {plural(len(gpus), 'GPU')}, so CPU threads hardly matter")
    prepare_images(loaded, results)
    params = _largest(loaded)
    rates = []
    for workers, number in divisions(usable_cores(), workers_in_memory()):
        print(f"measuring {workers} x {number} …", file=sys.stderr)
        timing = Timing.of(loaded, results, [(params, 0)], threads=number, seconds=seconds)
        (measured,) = measure(timing, workers).shapes
        rates.append(Rate(workers, number, sum(one.images_per_s for one in measured)))
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
    print("a study keeps the number of threads with which it starts, because its results depend on it")


def _row(rate: Rate, best: Rate) -> dict[str, Any]:
    share = round(rate.images_per_s / best.images_per_s, 2)
    return asdict(rate) | {"images_per_s": round(rate.images_per_s), "of_the_best": share}


def _largest(sweep: Sweep) -> dict[str, Any]:
    """Return the planned configuration with the most weights; if the search proposes them later, a random one."""
    plan, info = plan_sweeps(sweep)
    if plan.configurations:
        return max(plan.configurations, key=lambda configuration: configuration.parameters or 0).params
    found = completed(sweep, {}, 0, Validator(sweep, info).is_valid)
    if found is None:
        raise InputError(f"{sweep.study}: no configuration can be trained (`cnn-sweep plan` says why)")
    return found
