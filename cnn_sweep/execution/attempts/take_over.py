"""Attempts of owners that cannot be seen: in another container or on another machine, and not known to Slurm.

Nobody can tell whether such an owner lives. A live one changes its journal at least at every heartbeat. The user may
let others take over from a silent one; should it wake up, it sees the claim of the next attempt and stops.
"""

from __future__ import annotations

import pwd
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from cnn_sweep.execution.attempts.liveness import (
    Attempt,
    Death,
    failure_detectors,
    journal_deaths,
    open_attempts,
)
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.heartbeat import EVERY_S, SILENT_S, last_change, server_time
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.messages import few, listed, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cnn_sweep.execution.attempts.liveness import FailureDetector
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.claims import Owner
    from cnn_sweep.journal.paths import StudyPaths

# Cause of an attempt that the user let another process take over.
TAKEN_OVER: Final = "taken_over"
# Before a take-over, a silent owner is watched for at least this long, in seconds: on some file systems the time of a
# change is set by the machine that makes it, whose clock may be wrong.
_WATCHED_S: Final = 2 * EVERY_S + 15
_LOOK_EVERY_S: Final = 1.0
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60))


class Unseen(NamedTuple):
    """An open attempt whose owner is neither known to be dead nor known to be alive.

    Attributes:
        attempt: The attempt.
        owner: Its owner.
        user: The Unix user whose file shows the owner's last sign of life; None if there is no file.
        sign: When the owner gave its last sign of life, by the file server's clock.
        silent_s: Seconds since then.
    """

    attempt: Attempt
    owner: Owner
    user: str | None
    sign: float
    silent_s: float

    @property
    def is_silent(self) -> bool:
        """Whether the owner has missed so many heartbeats that the user may take its attempt over."""
        return self.silent_s >= SILENT_S

    @property
    def who(self) -> str:
        """The owner in words."""
        identity = self.owner.identity
        process = f"process {identity.pid} on {identity.host}" if identity else "a process with a damaged claim"
        return process if self.user is None else f"{process} (user {self.user})"

    @property
    def why(self) -> str:
        """Why another process may end the attempt, in words."""
        return f"{self.who} cannot be seen, and was silent for {_time(self.silent_s)}"


def unseen_attempts(study: StudyFolder) -> list[Unseen]:
    """Return the open attempts of a study whose owners cannot be seen from here, by trial."""
    claims = Claims(study.paths, new_writer_name(), current())
    detectors = reversed(failure_detectors())  # this machine first, which may save asking Slurm
    return unseen_among(study.paths, open_attempts(study.history(), claims), detectors)


def silent_attempts(study: StudyFolder) -> list[Unseen]:
    """Return those of :func:`unseen_attempts` that the user may let others take over."""
    return [one for one in unseen_attempts(study) if one.is_silent]


def unseen_among(
    paths: StudyPaths, owners: Mapping[Attempt, Owner], detectors: Iterable[FailureDetector]
) -> list[Unseen]:
    """Return the attempts whose owners no detector can judge, by trial.

    Args:
        paths: Files of the study.
        owners: The owners of open attempts.
        detectors: The detectors that work here.
    """
    left = dict(sorted(owners.items()))
    for detector in detectors:
        if left:
            left = {attempt: left[attempt] for attempt in sorted(detector.unseen(left))}
    now = server_time(paths.claims) if left else 0.0
    signs = {attempt: _last_sign(paths, attempt, owner) for attempt, owner in left.items()}
    return [
        Unseen(attempt, owner, _user(paths, attempt, owner), signs[attempt], now - signs[attempt])
        for attempt, owner in left.items()
    ]


def unseen_in_words(study: str, unseen: Iterable[Unseen]) -> list[str]:
    """Say which trials are held by whom, and what the user can do about it; nothing if there are none."""
    found = list(unseen)
    if not found:
        return []
    by_owner: dict[str, list[Unseen]] = {}
    for one in found:
        by_owner.setdefault(one.who, []).append(one)
    held = "trial is held by a process" if len(found) == 1 else "trials are held by processes"
    lines = [f"{len(found)} {held} that cannot be seen from this machine:"]
    for who, ones in by_owner.items():
        trials = "trial" if len(ones) == 1 else "trials"
        numbers = listed(one.attempt.trial for one in ones)
        lines.append(f"  {trials} {numbers}: {who}, silent for {_time(min(one.silent_s for one in ones))}")
    cure = f"`cnn-sweep resume {study} --take-over`"
    return [*lines, f"if it is gone, {cure} continues" if len(by_owner) == 1 else f"if they are gone, {cure} continues"]


def take_over(study: StudyFolder, tell: Callable[[str], object]) -> int:
    """Declare the attempts of silent owners that cannot be seen lost, so that others continue their trials.

    An owner must have been silent for some minutes, of which this process watches the last.

    Args:
        study: The study.
        tell: Called with what happens, in words.

    Returns:
        Number of attempts that were taken over.
    """
    unseen = unseen_attempts(study)
    if not unseen:
        tell("nothing to take over: no trial is held by a process that cannot be seen from this machine")
        return 0
    needed = max(_needed_s(one) for one in unseen)
    tell(f"watching for signs of life of {few(list(dict.fromkeys(one.who for one in unseen)), 3)} for {_time(needed)}")
    silent = _watch(study.paths, unseen)
    for one in unseen:
        taken = "is taken over from" if one in silent else "is not taken over from this process, which is alive:"
        tell(f"trial {one.attempt.trial} {taken} {one.who}")
    if silent:
        here = current()
        by = f"taken over by the user's command, process {here.pid} on {here.host}"
        with study.journal("login") as journal:
            journal_deaths({one.attempt: Death(TAKEN_OVER, f"{one.why}; {by}") for one in silent}, journal)
    return len(silent)


def _needed_s(one: Unseen) -> float:
    """Return how long an owner is watched; no longer than its silence must last, whatever the clocks say."""
    return min(SILENT_S, max(_WATCHED_S, SILENT_S - one.silent_s))


def _watch(paths: StudyPaths, unseen: Iterable[Unseen]) -> list[Unseen]:
    """Watch owners until each has been silent long enough; return those that were."""
    waiting = list(unseen)
    silent: list[Unseen] = []
    watched = 0.0
    while waiting:
        waiting = [one for one in waiting if _last_sign(paths, one.attempt, one.owner) == one.sign]
        silent += [one for one in waiting if watched >= _needed_s(one)]
        waiting = [one for one in waiting if watched < _needed_s(one)]
        if waiting:
            time.sleep(_LOOK_EVERY_S)
            watched += _LOOK_EVERY_S  # time in which this process is suspended shows nothing
    return silent


def _last_sign(paths: StudyPaths, attempt: Attempt, owner: Owner) -> float:
    files = [paths.journal(owner.writer)] if owner.writer else []
    changes = (last_change(file) for file in (*files, paths.claim(*attempt)))
    return next((change for change in changes if change is not None), owner.written)


def _user(paths: StudyPaths, attempt: Attempt, owner: Owner) -> str | None:
    file = paths.journal(owner.writer) if owner.writer else paths.claim(*attempt)
    try:
        uid = file.stat().st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _time(seconds: float) -> str:
    whole = max(0, round(seconds))
    for unit, size in _UNITS:
        if whole >= 2 * size:
            return plural(whole // size, unit)
    return plural(whole, "second")
