"""The end of a trial of which no attempt is made: it was given up, or will never be promoted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cnn_sweep.journal.events import Start
from cnn_sweep.sweep.identity import configuration_id

if TYPE_CHECKING:
    from cnn_sweep.journal.events import End
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.plan import PlannedTrial


def end_unrun(planned: PlannedTrial, trial: TrialHistory | None, journal: JournalWriter, end: End) -> None:
    """Journal the end of a trial in a claimed attempt that does nothing else.

    Args:
        planned: The trial.
        trial: What is known of it; None if nothing is.
        journal: Of the process that owns the attempt.
        end: Its end; the number of epochs is filled in.
    """
    if trial is None and planned.params is not None:  # so that its parameters are known
        journal.append(
            Start(
                time=end.time,
                trial=planned.number,
                attempt=end.attempt,
                configuration=configuration_id(planned.params),
                repeat=planned.repeat,
                seed=planned.seed,
                params=planned.params,
            )
        )
    epochs = 0 if trial is None else max(attempt.last_epoch for attempt in trial.attempts.values())
    journal.append(replace(end, epochs=epochs))
