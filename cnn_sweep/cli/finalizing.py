"""``finalize``: the test set is opened, once the search is over."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cnn_sweep.cli.tables import print_table
from cnn_sweep.execution.finalizing import start_finalizing
from cnn_sweep.report.leaderboard import Table
from cnn_sweep.study import Study
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from pathlib import Path


def finalize(results: Path, study: str, top: int) -> int:
    """Evaluate the best trials on the test set and print both scores; return the exit code."""
    states = Study.open(results, study).status()["trials"]
    if unfinished := sum(count for state, count in states.items() if state not in FINISHED):
        print(f"cnn-sweep: {unfinished} trials of {study} are not finished; the best so far are taken", file=sys.stderr)
    if code := start_finalizing(results, study, top):
        return code
    found = Study.open(results, study)
    rows = [row for row in found.leaderboard_table().rows if row["state"] == "complete"][:top]
    tested = [row | found.trial(row["trial"])["trial"]["test_metrics"] for row in rows]
    names = dict.fromkeys(name for row in tested for name in row if name.startswith("test_"))
    print_table(Table(("rank", "trial", "value", *names, *found.parameter_names), tuple(tested)))
    return 0
