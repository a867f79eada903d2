"""``list``: lists all studies of a results folder."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, TableFormat
from cnn_sweep.cli.ui.studies import merge_journals, no_studies
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.execution.study.removal import clear_leftovers
from cnn_sweep.journal.paths import archive_folder
from cnn_sweep.messages import in_bytes
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.study_list import COLUMNS, archives_table, studies_table, together
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import known_studies

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Row


def list_studies(
    archived: Annotated[bool, typer.Option("--archived", help="Also list the archives in RESULTS/archive.")] = False,
    size: Annotated[bool, typer.Option("--size/--no-size", help="Measure the sizes on disk.")] = True,
    output: Format = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """List all studies, the one with the newest activity first: state, best value, last activity and size.

    `cnn-sweep status` has the details of each.

    Examples:
      cnn-sweep list
      cnn-sweep list --archived --format csv
    """
    clear_leftovers(results)
    table, problems = _studies(results, sizes=size)
    if archived:
        clear_leftovers(archive_folder(results))
        archives, unreadable = archives_table(results)
        table, problems = together(table, archives), [*problems, *unreadable]
    if output != "table":
        print_formatted(table, output)
    elif table.rows:
        print_table(_for_people(table))
    else:
        print(no_studies(results))
    for problem in problems:
        warn(problem)


def _studies(results: Path, *, sizes: bool) -> tuple[Table, list[str]]:
    merge_journals(results)
    if not known_studies(results):
        return Table(COLUMNS if sizes else COLUMNS[:-1], ()), []
    return studies_table(StoreReader(results), sizes=sizes)


def _for_people(table: Table) -> Table:
    """Write counts, times and sizes as people read them."""
    columns = ("study", "state", "trials", "best", "metric", "active", "size")
    rows = tuple(map(_in_words, table.rows))
    return replace(table, columns=columns if "bytes" in table.columns else columns[:-1], rows=rows)


def _in_words(row: Row) -> Row:
    active, size, done, planned = (row.get(name) for name in ("last_event", "bytes", "done", "planned"))
    return row | {
        "trials": None if done is None else f"{done}/{planned}",
        "active": None if active is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(active)),
        "size": None if size is None else in_bytes(size),
    }
