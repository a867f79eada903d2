"""Exclusive ownership of a work folder: one process works, the others wait, and one takes over if it dies."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

from cnn_sweep.journal.filesystem import write_once
from cnn_sweep.journal.identity import ProcessIdentity, current, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_POLL_S = 0.1
# An owner on another machine cannot be checked, so it counts as dead when nothing has changed for this long. If it is
# alive after all, only time is lost: both owners write the same bytes.
_SILENCE_S = 300.0


@contextlib.contextmanager
def owned(work: Path, is_finished: Callable[[], bool]) -> Iterator[bool]:
    """Wait until this process owns a work folder, or the work is finished.

    An exception in the block ends the ownership.

    Args:
        work: The folder; it exists unless the work is finished.
        is_finished: Returns whether the work is finished.

    Yields:
        True to the owner, False if the work is finished.

    Raises:
        OSError: The folder cannot be read or written.
    """
    number = _own(work, is_finished)
    try:
        yield number is not None
    except BaseException:
        if number is not None:
            _owner_file(work, number).unlink(missing_ok=True)
        raise


def _own(work: Path, is_finished: Callable[[], bool]) -> int | None:
    """Return this process's number as owner; None if the work is finished."""
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
                    return number + 1
                continue
        except FileNotFoundError:
            if is_finished():
                return None
            work.mkdir(parents=True, exist_ok=True)  # its last owner failed and removed it
            continue
        time.sleep(_POLL_S)
    return None


def _claim(work: Path, number: int) -> bool:
    mine = json.dumps(current().to_data()).encode()
    path = _owner_file(work, number)
    write_once(path, mine)
    return path.read_bytes() == mine


def _newest(work: Path) -> tuple[int, ProcessIdentity | None]:
    """Return the number of the newest owner (0 without one), and its identity if that can be read."""
    numbers = [int(path.suffix[1:]) for path in work.glob("owner.*") if path.suffix[1:].isdecimal()]
    number = max(numbers, default=0)
    if not number:
        return 0, None
    try:
        return number, ProcessIdentity.from_data(json.loads(_owner_file(work, number).read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        return number, None


def _owner_file(work: Path, number: int) -> Path:
    return work / f"owner.{number}"


def _latest(work: Path) -> float:
    """Return when something last changed in a folder."""
    return max([work.stat().st_mtime, *(path.stat().st_mtime for path in work.iterdir())])
