"""``finalize``: the test set is opened, once the search is over."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cnn_sweep.cli.tables import print_table
from cnn_sweep.execution.models import client as models
from cnn_sweep.report.leaderboards.leaderboard import Table, in_words
from cnn_sweep.report.models.predictions import class_table, confusion_table
from cnn_sweep.report.models.sealed_score import sealed_score
from cnn_sweep.study import Study
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.execution.models.client import Predictions
    from cnn_sweep.report.leaderboards.leaderboard import Row


def finalize(results: Path, study: str, top: int) -> None:
    """Evaluate the best trials on the test set; print both scores, and what the best takes for what."""
    states = Study.open(results, study).status()["trials"]
    if unfinished := sum(count for state, count in states.items() if state not in FINISHED):
        print(f"cnn-sweep: {unfinished} trials of {study} are not finished; the best so far are taken", file=sys.stderr)
    numbers, best = models.finalize(results, study, top)
    found = Study.open(results, study)
    table = found.leaderboard_table(None)
    rows = [row for row in table.rows if row["trial"] in numbers]
    tested = [row | found.trial(row["trial"])["trial"]["test_metrics"] for row in rows]
    names = dict.fromkeys(name for row in tested for name in row if name.startswith("test_"))
    means = [name for name in ("mean", "sd", "n", "ci_low", "ci_high", "tied") if "tied" in table.columns]
    print_table(Table(("rank", "trial", "value", *means, *names, *found.parameter_names), tuple(tested)))
    tried = sum(row["value"] is not None for row in table.rows)
    _say_how_sure(found.summary()["metric"], best, next(row for row in tested if row["trial"] == best.trial), tried)
    print_table(confusion_table(best), title=f"trial {best.trial}, test set: true classes down, predicted ones across")
    print_table(class_table(best))


def _say_how_sure(metric: str, best: Predictions, picked: Row, tried: int) -> None:
    """Print the picked trial's scores; that on validation images is the best of many, and too good for it."""
    several = picked.get("n", 1) > 1
    kind = "configurations by mean" if several else "trials"
    choice = f", best of {tried} {kind}, so optimistic (selection bias)" if tried > 1 else ""
    print(f"trial {best.trial}: {metric} {picked['value']:.4f}{'' if several else choice}")
    if several:
        print(f"its configuration: {metric} {in_words(picked, others=0)}{choice}")
    if (score := sealed_score(best, metric, picked)) is not None:
        print(f"trial {best.trial}: {score}")
