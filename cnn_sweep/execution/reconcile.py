"""Which running attempts are dead: processes of this host are looked up, everything else is left alone.

An attempt is declared ``lost`` only by someone who knows: the process id with its start time, on the same boot of the
same host. ``unknown`` never means dead.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cnn_sweep.journal.events import Lost
from cnn_sweep.journal.identity import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.journal.claims import Claims
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.log import JournalWriter


def declare_lost(history: History, claims: Claims, journal: JournalWriter) -> int:
    """Journal ``lost`` for every attempt whose process is known to be dead.

    Args:
        history: What the journals say, just refreshed.
        claims: Names the owners of attempts, also of those that never started.
        journal: Where the declarations are written.

    Returns:
        How many attempts were declared lost.
    """
    lost = 0
    for number, attempt in _open_attempts(history, claims):
        owner = claims.owner(number, attempt)
        if owner is None or owner.identity is None or is_alive(owner.identity) is not False:
            continue
        message = f"process {owner.identity.pid} on {owner.identity.host} is gone"
        journal.append(Lost(time=time.time(), trial=number, attempt=attempt, cause="killed", message=message))
        lost += 1
    return lost


def _open_attempts(history: History, claims: Claims) -> Iterator[tuple[int, int]]:
    """Yield (trial, attempt) of every attempt that runs, and of every claim that nobody has spoken of yet."""
    for trial in history.trials.values():
        if trial.state == "running":
            yield trial.number, trial.last.number
    for number, attempt in sorted(claims.taken()):
        begun = history.trials.get(number)
        if begun is None or attempt >= begun.next_attempt:
            yield number, attempt
