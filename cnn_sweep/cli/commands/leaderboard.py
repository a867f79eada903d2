"""``leaderboard``: ranks the trials of one study or several."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, TableFormat, split_names
from cnn_sweep.cli.ui.studies import merge_journals
from cnn_sweep.cli.ui.tables import fitting, print_formatted, print_table
from cnn_sweep.cli.ui.terminal import Console, print_words, terminal_width, warn
from cnn_sweep.errors import InputError
from cnn_sweep.report.leaderboards import leaderboard as boards
from cnn_sweep.report.leaderboards.grouping import compared, grouped, without_constants
from cnn_sweep.report.leaderboards.pareto import only_front
from cnn_sweep.study import Study
from cnn_sweep.sweep.states import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Table

# More rows are not useful on a terminal; the other formats are for programs and have all rows.
_TERMINAL_ROWS = 100


class Per(StrEnum):
    """What a row stands for."""

    trial = "trial"
    configuration = "configuration"


@dataclass(frozen=True)
class View:
    """Which rows and columns of a leaderboard are shown.

    Attributes:
        by: Group trials with equal values of these columns into a row.
        per: What a row stands for; None for configurations if any has repeats, else trials.
        diff: Leave out hyperparameters that are the same in all rows.
        pareto: Keep only trials that no other one beats in all objectives.
        whole: Show all columns, even those that do not fit on the terminal.
    """

    by: Sequence[str] = ()
    per: Per | None = None
    diff: bool = False
    pareto: bool = False
    whole: bool = False


def leaderboard(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY", help="One study, or several to compare.", show_default=False)
    ],
    top: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="Show the best K rows.", show_default=False)
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column to sort by; -COLUMN for descending order.", show_default=False),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help='Condition on columns, as in "val_accuracy > 0.9".', show_default=False),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Columns to show, as in trial,val_*.", show_default=False)
    ] = None,
    all_columns: Annotated[
        bool, typer.Option("--all", help="Show all columns, also those that do not fit on the terminal.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMNS", help="Group trials by these columns, as in A,B.", show_default=False),
    ] = None,
    per: Annotated[
        Per | None,
        typer.Option(help="One row per trial or configuration.", show_default="configuration if any has repeats"),
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Show only trials that no other one beats in all objectives.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Leave out hyperparameters that are the same in all rows.")
    ] = False,
    output: Format = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """Rank the trials of one study or several by their objective on validation images.

    Examples:
      cnn-sweep leaderboard digits --top 5
      cnn-sweep leaderboard digits --where "val_accuracy > 0.9" --format csv
    """
    selection = boards.Selection(where=where, sort=sort, top=top, columns=split_names(columns))
    view = View(by=split_names(by), per=per, diff=diff, pareto=pareto, whole=all_columns)
    merge_journals(results)
    opened = Study.open_several(results, dict.fromkeys(studies))
    cut = output == "table" and top is None
    with opened[0].store:
        table = _selected(opened, replace(selection, top=_TERMINAL_ROWS + 1) if cut else selection, view)
        parameters = list(dict.fromkeys(name for study in opened for name in study.parameter_columns))
        reasons = [reason for study in opened if (reason := _why_unranked(study)) is not None]
    if view.diff:
        table = without_constants(table, parameters)
    if cut and len(table.rows) > _TERMINAL_ROWS:
        table = replace(table, rows=table.rows[:_TERMINAL_ROWS])
        print(f"showing the first {_TERMINAL_ROWS} rows; --top K shows K rows, --format csv all", file=sys.stderr)
    if output != "table":
        print_formatted(table, output)
    elif view.by or selection.columns:
        _print_whole(table)
    elif view.whole or terminal_width() is None:
        _print_whole(boards.overview_first(table, parameters))
    else:
        _print_overview(table, parameters, opened)
    if where is not None and not table.rows:
        warn(f"no row matches --where {where!r}")
    for reason in reasons:
        warn(reason)


def print_leaderboard(results: Path, study: str, top: int) -> None:
    """Print the best rows with the usual columns, also in a pipe."""
    found = Study.open(results, study)
    with found.store:
        table, parameters = found.leaderboard_table(None, top=top), found.parameter_columns
    _print_overview(table, parameters, [found])


def _selected(studies: Sequence[Study], selection: boards.Selection, view: View) -> Table:
    """Return the rows that are shown."""
    board = _board(studies, selection, view)
    # For groups, the condition has already been applied to their trials.
    return boards.select(board, replace(selection, where=None) if view.by else selection)


def _board(studies: Sequence[Study], selection: boards.Selection, view: View) -> Table:
    """Return the rows before the selection.

    Raises:
        InputError: An option for one study is used with several.
    """
    if len(studies) > 1:
        for option, wanted in (("--pareto", view.pareto), ("--per configuration", view.per == "configuration")):
            if wanted:
                raise InputError(f"{option} is for one study; several are ranked together by their trials")
        table = compared([(study.summary(), study.leaderboard_table()) for study in studies])
    else:
        # If only the rank decides, the database need not return more rows than are shown.
        by_rank = not (view.by or view.pareto or selection.where or selection.sort)
        table = studies[0].leaderboard_table("trial" if view.by else view.per, top=selection.top if by_rank else None)
        table = only_front(table) if view.pareto else table
    if view.by:
        table = boards.matching(table, selection.where)
        return grouped(table, view.by, direction=studies[0].summary()["direction"])
    return table


def _why_unranked(study: Study) -> str | None:
    """Return why a study has no complete trial; None if it has one."""
    summary = study.summary()
    trials = summary["trials"]
    if trials["complete"]:
        return None
    name, begun = study.name, sum(count for state, count in trials.items() if state != "waiting")
    if not begun:
        reason = f"no trial has begun; `cnn-sweep resume {name}` runs {'it' if summary['planned'] == 1 else 'them'}"
    elif trials["failed"] == begun:
        causes = ", ".join(f"{count} by {cause}" for cause, count in summary["causes"].items())
        which = "the only trial that began" if begun == 1 else f"all {begun} trials that began"
        reason = f"{which} failed ({causes}); `cnn-sweep logs {name}` and `cnn-sweep show {name} TRIAL` say why"
    else:
        reason = f"no trial is complete yet: {counted(trials)}"
    return f"{name}: {reason}"


def _print_overview(table: Table, parameters: Sequence[str], studies: Sequence[Study]) -> None:
    """Print the usual columns, as many as fit on the terminal, and name the columns left out."""
    board = boards.overview(table, parameters)
    board = replace(board, columns=fitting(board))
    if not board.rows:
        return
    print_table(board)
    _print_notes(table)
    usual = [name for name in (*parameters, *boards.MEASURES) if name in table.columns]
    same = [name for name in usual if name not in boards.differing(table, usual)]
    left = [name for name in table.columns if name not in board.columns and name not in same]
    console = Console(stderr=True, highlight=False)
    if same:
        values = ", ".join(f"{name} {boards.shown(table.rows[0].get(name)) or 'none'}" for name in same)
        console.print(f"the same in all rows: {values}", markup=False)
    if left:
        all_columns = f"`cnn-sweep leaderboard {' '.join(study.name for study in studies)} --all`"
        ways = f"{all_columns} shows all columns, --columns A,B selects some, --format csv has all at full precision"
        console.print(f"not shown: {', '.join(left)} ({ways})", markup=False)


def _print_whole(table: Table) -> None:
    print_table(table)
    _print_notes(table)


def _print_notes(table: Table) -> None:
    for note in table.notes:
        print_words(note, stderr=True)
