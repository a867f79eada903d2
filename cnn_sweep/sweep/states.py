"""The states of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


TrialState = Literal["waiting", "running", "complete", "pruned", "failed", "paused", "interrupted"]
STATES: Final[tuple[TrialState, ...]] = (
    "waiting",
    "running",
    "complete",
    "pruned",
    "failed",
    "paused",
    "interrupted",
)
FINISHED: Final = frozenset({"complete", "pruned", "failed"})


def unfinished(counts: Mapping[str, int]) -> int:
    """Return the number of unfinished trials."""
    return sum(count for state, count in counts.items() if state not in FINISHED)


def counted(counts: Mapping[str, int]) -> str:
    """Return the counts as text, as in "3 complete, 1 running"; states with no trials are left out."""
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)
