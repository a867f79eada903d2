"""The states of a trial, as every layer names them."""

from __future__ import annotations

from typing import Final, Literal

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
