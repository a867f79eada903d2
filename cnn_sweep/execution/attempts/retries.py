"""When to stop trying: a trial that keeps killing its workers, and a study whose trials all fail alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cnn_sweep.journal.history import History, TrialHistory
    from cnn_sweep.training.outcome import Outcome

KILLED_FOR_MEMORY = "out_of_memory"
# A trial that ran out of its device's memory and could say so, unlike one whose worker was killed for it.
OUT_OF_DEVICE_MEMORY = "oom"
# What a trial, or its network, raised.
EXCEPTION = "exception"
# A trial whose workers died, one after the other.
CRASHED = "crashed"
# A trial whose worker dies this often in a row before an epoch is done is not tried again: by cause of death.
# Causes that are not here (time limits, preemptions) say nothing about the trial.
_WORKER_DEATHS = {"killed": 5, "gone": 5, EXCEPTION: 5}
# So many trials that end with one and the same exception, and none that does better, stop a study.
_ALIKE = 3


@dataclass(frozen=True)
class Retries:
    """How often a trial is tried again, by cause.

    Attributes:
        infrastructure: After node failures in a row without a finished epoch between them.
        exception: After exceptions of its own.
        out_of_memory: After deaths for memory in a row without a finished epoch between them.
    """

    infrastructure: int = 3
    exception: int = 0
    out_of_memory: int = 1


class GivenUp(NamedTuple):
    """Why a trial is not tried again."""

    cause: str
    message: str


def why_given_up(trial: TrialHistory, retries: Retries) -> GivenUp | None:
    """Tell why a trial should not be tried again, or None."""
    deaths = Counter(_deaths_in_a_row(trial))
    times = "{} times in a row before an epoch was done"
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
    """Return what is known of the newest attempt that was lost."""
    return next(a.lost.message for _, a in sorted(trial.attempts.items(), reverse=True) if a.lost is not None)


def may_be_retried(outcome: Outcome, trial: TrialHistory | None, retries: Retries) -> bool:
    """Tell whether a trial that failed just now gets another chance, after those that it had for the same cause.

    One that ran out of memory gets it with the device to itself.
    """
    allowed = {EXCEPTION: retries.exception, OUT_OF_DEVICE_MEMORY: retries.out_of_memory}.get(outcome.cause or "", 0)
    attempts = () if trial is None else trial.attempts.values()
    return sum(a.end is not None and a.end.cause == outcome.cause for a in attempts) < allowed


def needs_device_alone(trial: TrialHistory) -> bool:
    """Tell whether a trial waits for a worker that has its device to itself."""
    return trial.state == "interrupted" and trial.last.cause == OUT_OF_DEVICE_MEMORY


def _deaths_in_a_row(trial: TrialHistory) -> list[str]:
    """List the causes of the newest attempts that were lost one after the other without finishing an epoch."""
    causes: list[str] = []
    for number in sorted(trial.attempts, reverse=True):
        attempt = trial.attempts[number]
        if attempt.state == "running":  # the attempt that asks
            continue
        if attempt.state != "lost" or attempt.last_epoch > attempt.start_epoch:
            break
        causes.append(attempt.cause or "gone")
    return causes


def failing_alike(history: History, since: float) -> str | None:
    """Return the exception, or the crash, with which all trials that ended since some moment failed, if several did.

    Args:
        history: What the journals say.
        since: Moment from which on ends count, in seconds since 1970: a study that is resumed gets another chance.
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
