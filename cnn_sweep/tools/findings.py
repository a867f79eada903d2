"""What `doctor` finds: the result of one check, with a cure if something is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        level: ``ok``; ``note`` if it works with a restriction; ``bad`` if something will not work.
        subject: What was checked.
        text: What was found.
        cure: What to do about it; empty if nothing.
    """

    level: Literal["ok", "note", "bad"]
    subject: str
    text: str
    cure: str = ""
