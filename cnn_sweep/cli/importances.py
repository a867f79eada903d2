"""``importance`` and ``import optuna``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cnn_sweep.cli.reading import open_merged
from cnn_sweep.cli.tables import print_table
from cnn_sweep.execution.study.optuna_import import import_from_optuna
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.formats import WRITERS
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.sweep.identity import NULL
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def importance(results: Path, study: str, output: str) -> None:
    """Print what mattered."""
    opened = open_merged(results, study)
    found = opened.what_matters()
    if output == "json":
        print(json.dumps(asdict(found), indent=2))
    elif output == "csv":
        sys.stdout.write(WRITERS["csv"](_table(found.importances)))
    else:
        print_table(
            _table(found.importances),
            title="importance (shares that add up to 1; fanova: of the variance, ped_anova: of the best)",
        )
        effects = _table(replace(one, value=NULL if one.value is None else one.value) for one in found.effects)
        print_table(effects, title="effect of each value on the objective")
        if found.interactions:
            print_table(
                _table(found.interactions),
                title="interactions (share of the variance: omega squared; p: of the F test, times the pairs)",
            )
        if len(objectives := opened.sweep.objectives) > 1:
            print(
                f"of {len(objectives)} objectives, only the first counts here: {objectives[0].metric}", file=sys.stderr
            )


def _table(items: Iterable[Any]) -> Table:
    rows = tuple(asdict(item) for item in items)
    return Table(tuple(rows[0]) if rows else (), rows)


def import_optuna(results: Path, sweep: Path, storage: str, name: str) -> None:
    """Journal the trials of a study of Optuna's as known, and say which are of no use."""
    loaded = Sweep.load(sweep)
    imported = import_from_optuna(loaded, results, storage, name)
    print(f"{loaded.study}: learns from {plural(imported.new, 'new trial')} of {name}; {imported.known} known before")
    for reason, count in imported.skipped.items():
        print(f"cnn-sweep: {count} skipped: {reason}", file=sys.stderr)
