"""``finalize``: the test set is opened, once the search is over."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cnn_sweep.cli.tables import print_table
from cnn_sweep.execution import models
from cnn_sweep.report.leaderboard import Table
from cnn_sweep.report.predictions import class_table, confusion_table
from cnn_sweep.study import Study
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from pathlib import Path


def finalize(results: Path, study: str, top: int) -> None:
    """Evaluate the best trials on the test set; print both scores, and what the best takes for what."""
    states = Study.open(results, study).status()["trials"]
    if unfinished := sum(count for state, count in states.items() if state not in FINISHED):
        print(f"cnn-sweep: {unfinished} trials of {study} are not finished; the best so far are taken", file=sys.stderr)
    numbers, best = models.finalize(results, study, top)
    found = Study.open(results, study)
    rows = [row for row in found.leaderboard_table().rows if row["trial"] in numbers]
    tested = [row | found.trial(row["trial"])["trial"]["test_metrics"] for row in rows]
    names = dict.fromkeys(name for row in tested for name in row if name.startswith("test_"))
    print_table(Table(("rank", "trial", "value", *names, *found.parameter_names), tuple(tested)))
    print_table(confusion_table(best), title=f"trial {best.trial}, test set: true classes down, predicted ones across")
    print_table(class_table(best))
