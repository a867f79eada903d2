"""Who prepares a data set: one process at a time, the others wait, and one of them takes over if it dies."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from cnn_sweep.journal.durable import write_once
from cnn_sweep.journal.identity import ProcessIdentity, current, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLL_S = 0.1
# An owner on another machine, of which nothing can be known, is thought dead when nothing changed for so long. To be
# wrong costs work and spoils nothing: two owners write the same bytes.
_SILENCE_S = 300.0


def own(work: Path, is_finished: Callable[[], bool]) -> bool:
    """Wait until this process owns a folder of work, or the work is finished.

    Args:
        work: The folder; it exists unless the work is finished.
        is_finished: Whether there is nothing left to do.

    Returns:
        True to the owner, False if the work is finished.

    Raises:
        OSError: The folder cannot be read or written.
    """
    heard, since = -1.0, time.monotonic()
    while not is_finished():
        try:
            number, owner = _newest(work)
            latest = _latest(work)
            if latest != heard:
                heard, since = latest, time.monotonic()
            alive = is_alive(owner) if owner is not None else None
            is_dead = alive is False or (alive is None and time.monotonic() - since > _SILENCE_S)
            if number == 0 or is_dead:
                if _claim(work, number + 1):
                    return True
                continue
        except FileNotFoundError:
            if is_finished():
                return False
            work.mkdir(parents=True, exist_ok=True)  # its owner gave up
            continue
        time.sleep(_POLL_S)
    return False


def _claim(work: Path, number: int) -> bool:
    mine = json.dumps(current().to_data()).encode()
    path = work / f"owner.{number}"
    write_once(path, mine)
    return path.read_bytes() == mine


def _newest(work: Path) -> tuple[int, ProcessIdentity | None]:
    """Return the number of the newest owner, 0 if there is none, and who it is if that can be read."""
    numbers = [int(path.suffix[1:]) for path in work.glob("owner.*") if path.suffix[1:].isdecimal()]
    number = max(numbers, default=0)
    if not number:
        return 0, None
    try:
        return number, ProcessIdentity.from_data(json.loads((work / f"owner.{number}").read_text()))
    except (ValueError, KeyError, TypeError):
        return number, None


def _latest(work: Path) -> float:
    """Return when something last changed in a folder."""
    return max([work.stat().st_mtime, *(path.stat().st_mtime for path in work.iterdir())])
