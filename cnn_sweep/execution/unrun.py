"""The end of a trial of which no attempt is made: it was given up, or will never be promoted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cnn_sweep.journal.events import End, Start
from cnn_sweep.sweep.configuration import configuration_id

if TYPE_CHECKING:
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.plan import Plan


def end_unrun(
    plan: Plan, journal: JournalWriter, attempt: tuple[int, int], *, trial: TrialHistory | None, end: tuple[str, str]
) -> None:
    """Journal the end of a trial in a claimed attempt that does nothing else.

    Args:
        plan: All trials.
        journal: Of the process that owns the attempt.
        attempt: Numbers of trial and attempt.
        trial: What is known of the trial; None if nothing is.
        end: State and cause.
    """
    number, own = attempt
    planned = plan.trials[number]
    if trial is None and planned.params is not None:  # so that its parameters are known
        journal.append(
            Start(
                time=time.time(),
                trial=number,
                attempt=own,
                configuration=configuration_id(planned.params),
                repeat=planned.repeat,
                seed=planned.seed,
                params=planned.params,
            )
        )
    state, cause = end
    epochs = 0 if trial is None else max(a.last_epoch for a in trial.attempts.values())
    journal.append(End(time=time.time(), trial=number, attempt=own, state=state, cause=cause, epochs=epochs))
