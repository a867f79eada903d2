"""How often ``repeat --until-decided`` errs, and how much training it saves, on simulated studies.

Every configuration has one value by which it was chosen; the rounds are judged by the code of the command. Values are
normal with a standard deviation of 0.01 between seeds, rounded to accuracies on a number of images. The fixed design
trains every configuration with as many seeds as the test may use at most.

    python benchmarks/sequential_repeats.py             1,000 studies a row (half an hour)
    python benchmarks/sequential_repeats.py --quick     a few; the page of results is left alone
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from results_page import write_section

from cnn_sweep.report.leaderboards.comparison import compare
from cnn_sweep.report.leaderboards.configurations import per_configuration
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.rounds import Limits, judge
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.spec.search import SearchSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cnn_sweep.sweep.repeats import MoreRepeats

    Array = npt.NDArray[np.float64]

AT_MOST: Final = 10
SD: Final = 0.01
BEST: Final = 0.9
COLUMNS: Final = ("rank", "trial", "state", "value", "seconds")


@dataclass(frozen=True)
class Revision:
    """A revision of a sweep, as far as means and rounds depend on it."""

    more_repeats: MoreRepeats | None = None
    search: SearchSpec = field(default_factory=SearchSpec)
    fold_count: int = 1


@dataclass(frozen=True)
class Case:
    """Studies of one kind.

    Attributes:
        name: What the true means are.
        means: Draws the true means of a number of configurations.
        spared: Returns which of them may not be called worse.
    """

    name: str
    means: Callable[[np.random.Generator, int], Array]
    spared: Callable[[Array], npt.NDArray[np.intp]]


def _two_best(gap: float) -> Callable[[np.random.Generator, int], Array]:
    return lambda _draw, k: BEST - SD * gap * (np.arange(k) > 1)


def _scattered(spread: float) -> Callable[[np.random.Generator, int], Array]:
    return lambda draw, k: BEST + SD * spread * draw.normal(size=k)


def _best(means: Array) -> npt.NDArray[np.intp]:
    return np.flatnonzero(means == means.max())


CASES: Final = (
    Case("all equal", _two_best(0.0), _best),
    Case("two equal, the others 2 sd worse", _two_best(2.0), _best),
    *(Case(f"means with {spread:g} sd", _scattered(spread), _best) for spread in (2.0, 4.0)),
)


@dataclass(frozen=True)
class Ended:
    """A test that is over.

    Attributes:
        trainings: Share of the trainings of the fixed design.
        left: Configurations that are left.
    """

    trainings: float
    left: frozenset[int]


def run_test(values: Array) -> Ended:
    """Test configurations (rows) with the values of their seeds (columns), the first of which chose them."""
    k = len(values)
    rows = [_row(place, 0, place, values) for place in range(k)]
    revisions, seeds = [Revision()], dict.fromkeys(range(k), 1)
    while True:
        ranked = tuple(row | {"rank": 1} for row in rows)
        table = Table(COLUMNS, ranked)
        board = per_configuration(table, metric="val_accuracy", direction=Direction.MAXIMIZE, revisions=revisions)
        limits = Limits(k, AT_MOST)
        verdict = judge(board, table, revisions, direction=Direction.MAXIMIZE, limits=limits)
        if verdict.next is None or verdict.is_futile or verdict.next.repeats > AT_MOST:
            left = frozenset(int(row["configuration"]) for row in verdict.left)
            return Ended((len(rows) - k) / (k * (AT_MOST - 1)), left)
        revisions.append(Revision(verdict.next))
        for place in (int(row["configuration"]) for row in verdict.left):
            rows += [_row(place, seed, len(rows), values) for seed in range(seeds[place], verdict.next.repeats)]
            seeds[place] = verdict.next.repeats


def _row(place: int, seed: int, trial: int, values: Array) -> dict[str, object]:
    known = {"configuration": str(place), "repeat": seed, "seed": seed, "trial": trial}
    return known | {"value": float(values[place, seed]), "state": "complete", "seconds": 1.0}


def is_decided_by_all(values: Array) -> bool:
    """Return whether the fixed design tells the best from all others."""
    standings = compare([dict(enumerate(row)) for row in values[:, 1:].tolist()], Direction.MAXIMIZE)
    return sum(one.tied is not False for one in standings) == 1


def measure(case: Case, k: int, images: int, studies: int) -> tuple[float, float, float, float]:
    """Return the shares of studies that err, of trainings (median), and of studies decided, also by a fixed design."""
    draw = np.random.default_rng([k, images])
    wrong = decided = decided_by_all = 0
    used = []
    for _ in range(studies):
        means = case.means(draw, k)
        values = np.round(draw.normal(means[:, None], SD, (k, AT_MOST)) * images) / images
        ended = run_test(values)
        wrong += not ended.left.issuperset(case.spared(means).tolist())
        decided += len(ended.left) == 1
        decided_by_all += is_decided_by_all(values)
        used.append(ended.trainings)
    return wrong / studies, float(np.median(used)), decided / studies, decided_by_all / studies


def _row_of_table(k: int, place: int, images: int, studies: int) -> tuple[str, ...]:
    """Return a row of the table; the case is given by its place, since functions cannot be sent to a process."""
    wrong, used, decided, by_all = measure(CASES[place], k, images, studies)
    row = (f"{k}, {CASES[place].name}", f"{images:,}", f"{wrong:.1%}", f"{used:.2f}", f"{decided:.0%}", f"{by_all:.0%}")
    print(row, flush=True)
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--studies", type=int, default=1000, help="of 5 configurations; a fifth as many of 20")
    options = parser.parse_args()
    cases, sizes, studies = range(len(CASES)), (50, 100, 360, 5000), {5: options.studies, 20: options.studies // 5}
    if options.quick:
        cases, sizes, studies = (0, len(CASES) - 1), (100,), {5: 16, 20: 4}
    kinds = [(k, place, images, studies[k]) for k, place, images in product(studies, cases, sizes)]
    with ProcessPoolExecutor() as processes:
        rows = list(processes.map(_row_of_table, *zip(*kinds, strict=True)))
    write_section(
        "Repeats until the best is told apart",
        ("configurations", "images", "studies that err", "trainings, median", "decided", "decided by all repeats"),
        rows,
        note=f"{studies[5]:,} simulated studies a row ({studies[20]:,} with 20 configurations). Seeds scatter with a "
        f"standard deviation (sd) of {SD}; accuracies are rounded to multiples of 1/images. At most {AT_MOST} repeats, "
        "the first of which chose the configurations. A study errs if any of the configurations with the best true "
        f"mean is called worse. Trainings are relative to a fixed design, which trains each configuration {AT_MOST} "
        "times; the last column has the share of studies that this design decides.",
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
