"""``importance``: shows the influence of each hyperparameter on the objective."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.cli.ui.terminal import print_words
from cnn_sweep.report.leaderboards.leaderboard import Table, not_counted
from cnn_sweep.sweep.identity import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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

    With several objectives, each has its own tables.

    Examples:
      cnn-sweep importance digits
    """
    opened = open_merged(results, study)
    with opened.store:  # all of one moment
        found = {one.metric: opened.what_matters(one.metric) for one in opened.sweep.objectives}
        names, trials = opened.parameter_names, opened.summary()["trials"]
    if output == "json":
        whole = {metric: asdict(one) for metric, one in found.items()}
        print(json.dumps(whole if len(whole) > 1 else next(iter(whole.values())), indent=2))
    elif output == "csv":
        print_formatted(_importances(found), "csv")
    else:
        for metric, one in found.items():
            _print_findings(one, f" for {metric}" if len(found) > 1 else "")
        _print_limits(next(iter(found.values())), names, trials)


def _importances(found: dict[str, Findings]) -> Table:
    """Return the importances; with several objectives, each row begins with its objective."""
    if len(found) == 1:
        return _table(next(iter(found.values())).importances)
    rows = tuple({"objective": metric} | asdict(one) for metric, own in found.items() for one in own.importances)
    return Table(tuple(rows[0]) if rows else (), rows)


def _print_findings(found: Findings, where: str) -> None:
    print_table(
        _table(found.importances),
        title=f"importance{where} (shares that add up to 1; fanova: of the variance, ped_anova: of the best)",
    )
    if found.certainty:
        print_words(found.certainty)
    if found.importances and all(one.fanova is None for one in found.importances):
        print_words("Nothing can be estimated: the results of the complete trials are equal, or too few.")
    effects = _table(replace(one, value=NULL if one.value is None else one.value) for one in found.effects)
    print_table(effects, title=f"effect of each value on {where.removeprefix(' for ') or 'the objective'}")
    if found.interactions:
        print_table(
            _table(found.interactions),
            title=f"interactions{where} (share of the variance: omega squared; p: of the F test, times the pairs)",
        )


def _print_limits(found: Findings, names: Sequence[str], trials: Mapping[str, int]) -> None:
    """Say what was not counted, and which hyperparameters could not be judged."""
    judged = {one.parameter for one in found.importances}
    constant = [name for name in names if name not in judged]
    if constant:
        print_words(f"Not estimated, because complete trials have at most one value: {', '.join(constant)}.")
    if words := not_counted(trials):
        print_words(words)


def _table(items: Iterable[Any]) -> Table:
    rows = tuple(asdict(item) for item in items)
    return Table(tuple(rows[0]) if rows else (), rows)
