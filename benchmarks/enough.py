"""When ``until: {gain_below_noise: true}`` ends a random search, and what that costs, on any table of results.

    python benchmarks/enough.py --table FILE.npz      tables as for curves.py; by default, small networks on digits

Configurations are trained in random order, each three times, with normal noise between trainings; their true value is
their best in the table. The one with the best mean is chosen. Its regret is how far its true value is below the best of
the table, in standard deviations of the noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from curve_tables import Table
from results_page import write_section

from cnn_sweep.search.gain import Ended, looks
from cnn_sweep.sweep.direction import Direction

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

NOISES: Final = (0.002, 0.005, 0.01, 0.02)
REPEATS: Final = 3
DIGITS: Final = Path(__file__).with_name("digits_table.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=DIGITS, help="a table of curves; by default digits")
    parser.add_argument("--orders", type=int, default=20, help="random orders of each task")
    parser.add_argument("--quick", action="store_true", help="two orders; prints, and writes nothing")
    asked = parser.parse_args()
    curves = Table.load(asked.table).curves
    whole = 100.0 if np.nanmax(curves) > 1.0 else 1.0  # per cent, or shares
    tasks = [np.nanmax(one, axis=1) / whole for one in curves]
    orders = 2 if asked.quick else asked.orders
    rows = [row(tasks, sd, orders) for sd in NOISES]
    header = ("noise", "ended", "configurations", "of all", "regret", "95%", "regret of all", "95%")
    note = (
        f"{len(tasks)} tasks of {len(tasks[0]):,} configurations, {orders} orders each, {REPEATS} trainings of each "
        "configuration. Ended: share of searches that did not train all. Configurations: median when it ended. Regrets "
        "of the chosen configuration, when the search ended and after all of them: medians and 95% quantiles, in "
        "standard deviations of the noise."
    )
    write_section(
        f"A search that ends when it no longer pays: {asked.table.stem}", header, rows, note=note, quick=asked.quick
    )


def row(tasks: list[Array], sd: float, orders: int) -> tuple[str, ...]:
    """Return the figures of one size of the noise."""
    found = [
        searched(true, sd, np.random.default_rng([place, order]))
        for place, true in enumerate(tasks)
        for order in range(orders)
    ]
    ended, regrets, of_all = (np.array(column) for column in zip(*found, strict=True))
    counts = np.array([len(true) for true in tasks for _ in range(orders)])
    return (
        f"{sd:g}",
        f"{np.mean(ended < counts):.0%}",
        f"{np.median(ended):.0f}",
        f"{np.median(ended / counts):.0%}",
        *(f"{figure:.2f}" for values in (regrets, of_all) for figure in (np.median(values), np.quantile(values, 0.95))),
    )


def searched(true: Array, sd: float, random: np.random.Generator) -> tuple[int, float, float]:
    """Return after how many configurations a search ends, and the regrets of its choice then and after all of them."""
    order = random.permutation(len(true))
    values = true[order, None] + random.normal(0.0, sd, (len(true), REPEATS))
    trials = [Ended(str(place), float(value)) for place, own in enumerate(values) for value in own]
    enough = next((look.configurations for look in looks(trials, Direction.MAXIMIZE) if look.is_enough), len(true))
    chosen = (order[values[:count].mean(axis=1).argmax()] for count in (enough, len(true)))
    then, last = ((true.max() - true[one]) / sd for one in chosen)
    return enough, float(then), float(last)


if __name__ == "__main__":
    main()
