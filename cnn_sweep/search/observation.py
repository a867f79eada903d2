"""What a search knows of one trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Observation:
    """What is known of one trial.

    Attributes:
        number: Of the trial; below 0 for what was brought in from elsewhere.
        params: Its configuration, or None while it is not known.
        state: The trial's state.
        value: The first objective, or None.
        others: The other objectives, in their order.
        epochs: After how many epochs the value is the best one.
        ended: When the trial ended, in seconds since 1970; the order of learning.
    """

    number: int
    params: Mapping[str, Any] | None
    state: str
    value: float | None
    others: tuple[float | None, ...] = ()
    epochs: int = 1
    ended: float = 0.0
