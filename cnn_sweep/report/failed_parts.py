"""What goes wrong while a report is made: one part that fails must not cost the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True)
class FailedParts:
    """Parts of a report that could not be made.

    Attributes:
        found: A sentence each, in the order in which they were met.
    """

    found: list[str] = field(default_factory=list)

    def attempt(self, part: str, make: Callable[[], T], instead: Callable[[str], T]) -> T:
        """Make a part; if that fails in any way, note why.

        Args:
            part: Begins the sentence, such as ``the section Summary``.
            make: Makes it.
            instead: Makes what stands in its place, from the sentence.
        """
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader gets the other parts
            sentence = f"{part} could not be made: {type(error).__name__}: {error}"
            if sentence not in self.found:
                self.found.append(sentence)
            return instead(sentence)
