"""``sql``: runs the user's own query on the store."""

from __future__ import annotations

from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, TableFormat
from cnn_sweep.cli.ui.studies import merge_journals
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.store.reader import query


def sql(
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="One SQL statement.", show_default=False)],
    output: Format = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """Query the store with SQL; the store is opened read-only.

    Examples:
      cnn-sweep sql "SELECT state, count(*) FROM trials GROUP BY state"
    """
    merge_journals(results)
    columns, rows = query(results, statement)
    values = [[value.hex() if isinstance(value, bytes) else value for value in row] for row in rows]
    table = Table(columns, tuple(dict(zip(columns, row, strict=True)) for row in values))
    if output == "table":
        print_table(table)
    else:
        print_formatted(table, output)
