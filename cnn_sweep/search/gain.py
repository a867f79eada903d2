"""Whether a search still pays: what the last doubling of it gained, against the noise between equal trainings.

A search gains less with each doubling, so what the last one gained bounds what the next one promises. Where that is
less than another seed changes, going on chooses among chances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cnn_sweep.sweep.direction import Direction

FEWEST: Final = 16  # configurations before the first look
_LOOKS: Final = (1.0, 1.5)  # at these multiples of powers of two, so that few looks can err
_IN_SUCCESSION: Final = 3  # looks that must agree; one alone errs often (benchmarks/enough.py)
_FEWEST_DEGREES: Final = 6  # of freedom of the noise: trainings beyond the first of each configuration


@dataclass(frozen=True)
class Ended:
    """A finished trial.

    Attributes:
        configuration: The ID of its configuration.
        value: The objective; None unless it is complete and feasible.
    """

    configuration: str
    value: float | None


@dataclass(frozen=True)
class Look:
    """What a search has gained, at one look.

    Attributes:
        configurations: How many were finished.
        gain: What the second half of them gained, in units of the objective; None if too few have a value.
        noise: Standard deviation between trainings of one configuration; None if too few are repeated.
        below: How many looks in succession, up to this one, have a gain below the noise.
    """

    configurations: int
    gain: float | None
    noise: float | None
    below: int

    @property
    def is_enough(self) -> bool:
        """Whether the search no longer pays."""
        return self.below >= _IN_SUCCESSION


def looks(trials: Sequence[Ended], direction: Direction) -> Iterator[Look]:
    """Yield what a search had gained after 16, 24, 32, 48, … configurations.

    A look depends on the trials before it only, so what was enough once stays enough.

    Args:
        trials: Finished trials in the order in which they ended.
        direction: Direction of the objective.
    """
    places = _looks_up_to(len({trial.configuration for trial in trials}))
    wanted = next(places, None)
    values: dict[str, list[float]] = {}
    below = 0
    for trial in trials:
        own = values.setdefault(trial.configuration, [])
        own += [] if trial.value is None else [direction.sign * trial.value]
        if len(values) == wanted:
            gained, scatter = gain([_mean(one) for one in values.values()]), noise(values)
            below = below + 1 if gained is not None and scatter is not None and gained < scatter else 0
            yield Look(wanted, gained, scatter, below)
            wanted = next(places, None)


def _looks_up_to(count: int) -> Iterator[int]:
    size = FEWEST
    while size <= count:
        yield from (look for factor in _LOOKS if (look := round(size * factor)) <= count)
        size *= 2


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def gain(losses: Sequence[float | None]) -> float | None:
    """Return what the second half of a search gained: by its order, or in a random order if that is more.

    The best of a random half of n results is the kth best of all with probability C(n - k, n/2 - 1) / C(n, n/2); see
    Dodge et al., "Show Your Work", EMNLP 2019, for expected bests of smaller searches.

    Args:
        losses: The loss of each configuration in order, lower is better; None for one without a value, which counts
            as the worst.

    Returns:
        The gain, at least 0; None if fewer than two have a value.
    """
    known = [loss for loss in losses if loss is not None]
    if len(known) < 2:
        return None
    count, half, worst = len(losses), len(losses) // 2, max(known)
    filled = [worst if loss is None else loss for loss in losses]
    best = min(known)
    expected, share = 0.0, half / count
    for place, loss in enumerate(sorted(filled), start=1):
        expected += share * loss
        if place > count - half:
            break
        share *= (count - place - half + 1) / (count - place)
    return max(min(filled[:half]) - best, expected - best, 0.0)


def noise(values: Mapping[str, Sequence[float]]) -> float | None:
    """Return the standard deviation between trainings of one configuration, pooled over the better half of all.

    Args:
        values: Losses of each configuration's trainings.
    """
    means = sorted((fmean(own), name) for name, own in values.items() if own)
    better = [values[name] for _, name in means[: math.ceil(len(means) / 2)]]
    degrees = sum(len(own) - 1 for own in better)
    if degrees < _FEWEST_DEGREES:
        return None
    return math.sqrt(sum((one - fmean(own)) ** 2 for own in better for one in own) / degrees)
