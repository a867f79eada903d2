"""``importance``: shows the influence of each hyperparameter on the objective."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.cli.ui.terminal import print_words
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.sweep.identity import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.search.importance import Findings


class ImportanceFormat(StrEnum):
    """Format of the output."""

    table = "table"
    json = "json"
    csv = "csv"


def importance(
    study: StudyName,
    output: Annotated[
        ImportanceFormat, typer.Option("--format", help="Output format; csv has the importances alone.")
    ] = ImportanceFormat.table,
    results: Results = RESULTS,
) -> None:
    """Show the importance of each hyperparameter, the effect of each value, and pairs that interact.

    Examples:
      cnn-sweep importance digits
    """
    opened = open_merged(results, study)
    found = opened.what_matters()
    if output == "json":
        print(json.dumps(asdict(found), indent=2))
    elif output == "csv":
        print_formatted(_table(found.importances), "csv")
    else:
        _print_findings(found)
        if len(objectives := opened.sweep.objectives) > 1:
            print(
                f"of {len(objectives)} objectives, only the first counts here: {objectives[0].metric}", file=sys.stderr
            )


def _print_findings(found: Findings) -> None:
    print_table(
        _table(found.importances),
        title="importance (shares that add up to 1; fanova: of the variance, ped_anova: of the best)",
    )
    if found.certainty:
        print_words(found.certainty)
    effects = _table(replace(one, value=NULL if one.value is None else one.value) for one in found.effects)
    print_table(effects, title="effect of each value on the objective")
    if found.interactions:
        print_table(
            _table(found.interactions),
            title="interactions (share of the variance: omega squared; p: of the F test, times the pairs)",
        )


def _table(items: Iterable[Any]) -> Table:
    rows = tuple(asdict(item) for item in items)
    return Table(tuple(rows[0]) if rows else (), rows)
