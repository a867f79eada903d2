"""Additional repeats of some configurations, beyond those in the sweep, and the values that count in their means.

A revision that adds repeats is the text of the previous revision after a line that names the repeats. Therefore the
sweep itself is unchanged, the revision is created exclusively like any other, and the user's file still matches.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.sweep.spec.search import SearchSpec


_MARK: Final = "# cnn-sweep repeat "


@dataclass(frozen=True)
class MoreRepeats:
    """Repeats that a revision adds.

    Attributes:
        trials: One trial of each configuration that gets more repeats.
        repeats: Total repeats of each of these configurations afterwards; with cross-validation each has all folds.
        round: Number of the round, from 1, of a test by ``repeat --until-decided``; None outside one. Round 1 names all
            configurations that are tested, a later round those that no earlier one called worse.
        at_most: Largest number of repeats that was asked for; None outside a test.
    """

    trials: tuple[int, ...]
    repeats: int
    round: int | None = None
    at_most: int | None = None

    def before(self, text: str) -> str:
        """Return a sweep's text with this as its first line."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return f"{_MARK}{json.dumps(known)}\n{without_repeats_line(text)}"


class Revision(Protocol):
    """A revision of a sweep; each one is a :class:`~cnn_sweep.sweep.sweep.Sweep`."""

    @property
    def search(self) -> SearchSpec:
        """The search section, with the number of repeats of every configuration."""

    @property
    def fold_count(self) -> int:
        """Number of trainings that one repeat takes."""

    @property
    def more_repeats(self) -> MoreRepeats | None:
        """The repeats that the revision adds; None if it is a sweep file of the user's."""


def read_more_repeats(text: str) -> MoreRepeats | None:
    """Return the repeats that a frozen revision adds, or None if it is a sweep file of the user's."""
    if not text.startswith(_MARK):
        return None
    data = json.loads(text.partition("\n")[0].removeprefix(_MARK))
    return MoreRepeats(tuple(data["trials"]), data["repeats"], data.get("round"), data.get("at_most"))


def without_repeats_line(text: str) -> str:
    """Return a frozen revision's text without the line that adds repeats."""
    return text.partition("\n")[2] if text.startswith(_MARK) else text


def selection_repeats(revisions: Iterable[Revision], configurations: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Return the numbers of trainings that each configuration had when it was selected for more, newest last.

    The rounds of a test are one selection: what they leave out next follows from the values that they add.

    Args:
        revisions: All revisions of the sweep, oldest first.
        configurations: ID of the configuration of each trial.
    """
    for_all = 0
    planned: dict[str, int] = {}
    selections: dict[str, tuple[int, ...]] = {}
    for sweep in revisions:
        more = sweep.more_repeats
        if more is None:
            for_all = max(for_all, sweep.search.repeats * sweep.fold_count)
            continue
        for name in _names(more, configurations):
            before = max(for_all, planned.get(name, 0))
            if (wanted := more.repeats * sweep.fold_count) > before:
                if more.round in (None, 1):
                    selections[name] = (*selections.get(name, ()), before)
                planned[name] = wanted
    return selections


def _names(more: MoreRepeats, configurations: Mapping[int, str]) -> set[str]:
    return {configurations[trial] for trial in more.trials if trial in configurations}


@dataclass(frozen=True)
class SequentialTest:
    """The newest test of a study by ``repeat --until-decided``.

    Attributes:
        round: Number of its newest round, from 1.
        members: Configurations that it compares.
        contenders: Those of them that no earlier round called worse.
    """

    round: int
    members: frozenset[str]
    contenders: frozenset[str]

    def place(self, name: str, *, is_fair: bool) -> float:
        """Return a sort key that puts contenders first, then other members, then what is not tested.

        Args:
            name: A configuration.
            is_fair: Whether it has enough values that did not help to choose it; in a group, those without come last.
        """
        group = 0 if name in self.contenders else 1 if name in self.members else 2
        return group + 0.5 * (not is_fair)


def newest_test(revisions: Iterable[Revision], configurations: Mapping[int, str]) -> SequentialTest | None:
    """Return the newest test; None if there is none, or repeats were added in another way since.

    Args:
        revisions: All revisions of the sweep, oldest first.
        configurations: ID of the configuration of each trial.
    """
    added = [sweep.more_repeats for sweep in revisions if sweep.more_repeats is not None]
    if not added or added[-1].round is None:
        return None
    first = next((more for more in reversed(added) if more.round == 1), added[-1])
    names = (frozenset(_names(more, configurations)) for more in (first, added[-1]))
    return SequentialTest(added[-1].round, *names)


def unbiased_values(values: Mapping[int, float], selections: Sequence[int]) -> dict[int, float]:
    """Leave out the values by which a configuration was selected, since they are optimistic (selection bias).

    A standard deviation needs at least two values. If fewer came after the newest selection, those after the newest
    earlier selection that leaves two are returned; if there is none, all values.

    Args:
        values: Value of each repeat.
        selections: Number of repeats that the configuration had at each selection, newest last.
    """
    for count in reversed(selections):
        unbiased = {repeat: value for repeat, value in values.items() if repeat >= count}
        if len(unbiased) > 1:
            return unbiased
    return dict(values)
