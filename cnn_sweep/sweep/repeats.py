"""Repeats that chose a configuration for more repeats, and so flatter it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.sweep.sweep import Sweep


def repeats_that_chose(revisions: Iterable[Sweep], configurations: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Return how many repeats the configurations had each time that they were chosen for more, the newest choice last.

    Args:
        revisions: Of the sweep, the oldest first.
        configurations: Trial to its configuration.
    """
    everywhere = 0
    planned: dict[str, int] = {}
    chose: dict[str, tuple[int, ...]] = {}
    for sweep in revisions:
        if sweep.more_repeats is None:
            everywhere = max(everywhere, sweep.search.repeats)
            continue
        for name in {configurations[trial] for trial in sweep.more_repeats.trials if trial in configurations}:
            before = max(everywhere, planned.get(name, 0))
            if sweep.more_repeats.repeats > before:
                chose[name] = (*chose.get(name, ()), before)
                planned[name] = sweep.more_repeats.repeats
    return chose


def values_that_count(values: Mapping[int, float], chose: Sequence[int]) -> dict[int, float]:
    """Leave out the values by which a configuration was chosen: good luck is a part of why it was.

    With fewer than two others nothing could be said of how they scatter. Then only those of the newest earlier choice
    are left out that has two others, or none.

    Args:
        values: Repeat to value.
        chose: How many of the repeats are those by which it was chosen, for each choice, the newest last.
    """
    for known in reversed(chose):
        fresh = {repeat: value for repeat, value in values.items() if repeat >= known}
        if len(fresh) > 1:
            return fresh
    return dict(values)
