"""Tables on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from cnn_sweep.report.leaderboards.leaderboard import shown

if TYPE_CHECKING:
    from cnn_sweep.report.leaderboards.leaderboard import Table

# Wide enough that nothing is cut where there is no terminal to fit into.
_FILE_WIDTH = 400


def print_table(table: Table, *, title: str | None = None) -> None:
    """Print a table to standard output; what is too wide for a terminal is folded, never dropped."""
    rich = RichTable(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in table.columns:
        numeric = all(isinstance(row.get(name), int | float | None) for row in table.rows)
        rich.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        rich.add_row(*(Text(shown(row.get(name))) for name in table.columns))
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(rich)
