"""Retries: whether a failed trial is retried or failed for good, and when a study stops because all its trials fail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cnn_sweep.journal.history import History, TrialHistory
    from cnn_sweep.training.outcome import Outcome

# Cause of an attempt whose worker was killed because it used too much memory.
KILLED_FOR_MEMORY = "out_of_memory"
# Cause of a trial that ran out of memory with an error; its worker survived and journaled the end.
OUT_OF_DEVICE_MEMORY = "oom"
# Cause of a trial whose code or network raised an exception.
EXCEPTION = "exception"
# Cause of a trial that is not retried because several workers died in a row.
CRASHED = "crashed"
# A trial is not retried if this many workers in a row died before it got further, by cause of death. Other causes (time
# limits, preemptions) say nothing about the trial.
_WORKER_DEATHS = {"killed": 5, "gone": 5, EXCEPTION: 5}
# A study stops if its first trials all end with the same exception, and there are at least this many.
_ALIKE = 3


@dataclass(frozen=True)
class Retries:
    """Limits on retries of a trial, by cause. Queued jobs are pickled with this class: keep its module and name.

    Attributes:
        infrastructure: Node failures before the trial gets further.
        exception: Exceptions that the trial raised.
        out_of_memory: Deaths from lack of memory before the trial gets further.
    """

    infrastructure: int = 3
    exception: int = 0
    out_of_memory: int = 1


class GivenUp(NamedTuple):
    """Why a trial is not retried: the cause in one word, and a message."""

    cause: str
    message: str


def why_given_up(trial: TrialHistory, retries: Retries, *, epoch: int = 0) -> GivenUp | None:
    """Return why a trial is not retried; None if it may be.

    Args:
        trial: Its history.
        retries: The limits.
        epoch: The epoch after which the next attempt would continue.
    """
    deaths = Counter(_deaths_in_a_row(trial, epoch))
    times = "{} times in a row before the trial got further"
    if (count := deaths[KILLED_FOR_MEMORY]) > retries.out_of_memory:
        cure = "it needs more memory or fewer workers"
        return GivenUp(KILLED_FOR_MEMORY, f"its worker ran out of memory {times.format(count)}; {cure}")
    if (count := deaths["node_failure"]) > retries.infrastructure:
        return GivenUp("node_failure", f"its node failed {times.format(count)}")
    for cause, limit in _WORKER_DEATHS.items():
        if deaths[cause] >= limit:
            return GivenUp(CRASHED, f"its worker died {times.format(deaths[cause])}: {_last_words(trial)}")
    return None


def _last_words(trial: TrialHistory) -> str:
    """Return the message of the newest lost attempt."""
    return next(a.lost.message for _, a in sorted(trial.attempts.items(), reverse=True) if a.lost is not None)


def may_be_retried(outcome: Outcome, trial: TrialHistory | None, retries: Retries) -> bool:
    """Return whether a trial that failed just now may be retried, given its earlier failures of the same cause.

    A trial that ran out of memory is retried with the device to itself.
    """
    allowed = {EXCEPTION: retries.exception, OUT_OF_DEVICE_MEMORY: retries.out_of_memory}.get(outcome.cause or "", 0)
    attempts = () if trial is None else trial.attempts.values()
    return sum(a.end is not None and a.end.cause == outcome.cause for a in attempts) < allowed


def needs_device_alone(trial: TrialHistory) -> bool:
    """Return whether a trial waits for a worker that has its device to itself."""
    return trial.state == "interrupted" and trial.last.cause == OUT_OF_DEVICE_MEMORY


def _deaths_in_a_row(trial: TrialHistory, epoch: int) -> list[str]:
    """Return the causes of the newest consecutive losses since the trial got further.

    A trial gets further if an attempt continues after a later epoch than any before it, because a checkpoint kept what
    was trained, or if an attempt finishes an epoch that none before it had reached. What an attempt only repeats is no
    progress: a function without checkpoints that always dies after its first epoch would be tried for ever.
    """
    causes: list[str] = []
    kept = reached = 0
    for number in sorted(trial.attempts):
        attempt = trial.attempts[number]
        if attempt.start_epoch > kept:
            causes.clear()
        if attempt.state == "lost" and attempt.last_epoch <= reached:
            causes.append(attempt.cause or "gone")
        elif attempt.state != "running":  # the running one is about to be decided about
            causes.clear()
        kept, reached = max(kept, attempt.start_epoch), max(reached, attempt.last_epoch)
    return [] if epoch > kept else causes


def failing_alike(history: History, since: float) -> str | None:
    """Return the error with which all trials that ended since some moment failed, if at least three did.

    Args:
        history: History of the study.
        since: Seconds since 1970; earlier ends do not count, so that a resumed study gets another chance.
    """
    messages = set()
    count = 0
    for trial in history.trials.values():
        end = trial.last.end
        if end is None or end.time < since or end.state == "interrupted":
            continue
        if end.state != "failed" or end.cause not in (EXCEPTION, CRASHED):
            return None
        messages.add(end.message)
        count += 1
    return messages.pop() if count >= _ALIKE and len(messages) == 1 else None
