"""What the journals say of one trial, and what of it was known at a time; for the audit of rungs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cnn_sweep.journal.events import Epoch, Start


@dataclass
class AuditedTrial:
    """The journaled events of a trial, in order of time."""

    number: int
    starts: dict[int, Start] = field(default_factory=dict)
    ends: dict[int, tuple[float, str]] = field(default_factory=dict)  # attempt to time and state, ``lost`` among them
    epochs: dict[int, tuple[float, float]] = field(default_factory=dict)  # epoch to time and value, as reported first
    reports: dict[int, list[Epoch]] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)  # attempt to the epoch of its newest checkpoint

    def is_open(self, seen: float, now: float) -> bool:
        """Return whether an attempt that had started when the journals were read has not ended yet."""
        return any(s.time < seen and self.ends.get(a, (math.inf, ""))[0] > now for a, s in self.starts.items())

    def times(self) -> Iterator[float]:
        """Yield when its events were journaled."""
        yield from (start.time for start in self.starts.values())
        yield from (time for time, _ in self.ends.values())
        yield from (time for time, _ in self.epochs.values())

    def is_over(self, is_known: Callable[[float], bool]) -> bool:
        """Return whether it is known to have failed or to be pruned."""
        return any(state.partition(":")[0] in ("failed", "pruned") and is_known(t) for t, state in self.ends.values())

    def is_paused(self, is_known: Callable[[float], bool]) -> bool:
        """Return whether its last known attempt is known to have ended at a rung."""
        known = {attempt: start for attempt, start in self.starts.items() if is_known(start.time)}
        granted = max(math.inf if start.until is None else start.until for start in known.values())
        time, state = self.ends.get(max(known), (math.inf, ""))
        reached = max((epoch for epoch, (t, _) in self.epochs.items() if is_known(t)), default=0)
        return is_known(time) and state in ("paused", "interrupted", "lost") and granted <= reached

    def granted_before(self, attempt: int) -> float:
        """Return up to which epoch the attempts before one might train."""
        untils = [math.inf if s.until is None else s.until for a, s in self.starts.items() if a < attempt]
        return max(untils, default=0)
