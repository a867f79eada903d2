"""What the pilots of a study on disk have shown: which rung is the first that decides (``min_epochs: auto``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.journal.history import History
from cnn_sweep.search.first_rung import PILOTS, Pilots, chooses_first_rung
from cnn_sweep.search.pruning_rules import first_trainings
from cnn_sweep.search.rungs import Ladder
from cnn_sweep.store.planned import plan_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.search.first_rung import FirstRung
    from cnn_sweep.sweep.sweep import Sweep


def first_rung_of(paths: StudyPaths, sweep: Sweep) -> FirstRung | None:
    """Return a study's first rung and its evidence, from the journals as they are now.

    Args:
        paths: The study's files.
        sweep: The newest revision of its sweep.

    Returns:
        None if pilots choose no rung of this sweep, or if the study cannot be planned, because files are damaged.
    """
    ladder = Ladder.of(sweep.pruner) if chooses_first_rung(sweep) else None
    if ladder is None:
        return None
    history = History.read(paths, sweep.objective.metric)
    pilots = Pilots.of(sweep, ladder, _competing(paths, sweep, history))
    return pilots.first_rung(history.trials) if pilots is not None and pilots.numbers else None


def _competing(paths: StudyPaths, sweep: Sweep, history: History) -> Sequence[int]:
    """Return the trials that compete, or the first of them; without repeats, no plan is needed, which takes seconds."""
    if sweep.search.repeats == sweep.fold_count == 1 and sweep.more_repeats is None:
        return range(min(PILOTS, max((event.trials for event in history.extends.values()), default=0)))
    if (plan := plan_of(paths)) is None:
        return ()
    firsts = first_trainings(plan)
    return [planned.number for planned in plan.trials if planned.number not in firsts]
