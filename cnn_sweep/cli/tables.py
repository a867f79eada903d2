"""Tables: split on a terminal, so that no number is; in one piece in pipes and files."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from cnn_sweep.report.leaderboards.formats import is_numeric
from cnn_sweep.report.leaderboards.leaderboard import shown

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from cnn_sweep.report.leaderboards.leaderboard import Table

_GAP = 2  # between columns, and what both edges take together
_TEXT = 24  # A text that is wider than this may be folded.
# SIMPLE_HEAD in ASCII: where an encoding lacks its line, rich would draw edges, and each row would begin with "|".
_ASCII_HEAD: Final = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
# Columns that say what a row is are repeated where a table is split; where there are none, its first column is.
_KEYS: Final = ("rank", "study", "trial", "attempt", "epoch")


@dataclass(frozen=True)
class _Column:
    """A column as it is printed.

    Attributes:
        name: Its heading.
        cells: Its texts, a line each.
        numeric: Whether it has numbers only.
        width: What it takes in one piece, in cells of the terminal.
    """

    name: str
    cells: tuple[str, ...]
    numeric: bool
    width: int

    @classmethod
    def of(cls, table: Table, name: str) -> _Column:
        """Lay out a column of a table."""
        cells = tuple(" ".join(shown(row.get(name)).split()) for row in table.rows)
        return cls(name, cells, is_numeric(table, name), max(map(cell_len, (name, *cells))))

    @property
    def least(self) -> int:
        """The width below which it is not folded."""
        return self.width if self.numeric else max(cell_len(self.name), min(self.width, _TEXT))


def terminal_width() -> int | None:
    """Return how wide the terminal is that standard output is, or None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table_box() -> Box:
    """Return the box of all tables: a line below the headings, in characters that standard output can write."""
    return SIMPLE_HEAD if "utf" in (sys.stdout.encoding or "").lower() else _ASCII_HEAD


def can_redraw(console: Console) -> bool:
    """Tell whether a console can show something that changes in place; a dumb terminal, like a file, cannot."""
    return console.is_terminal and not console.is_dumb_terminal


def print_words(text: str, *, stderr: bool = False) -> None:
    """Print a sentence: between its words it is wrapped on a terminal, and in a pipe or a file it is one line."""
    if (width := terminal_width()) is None:
        print(text, file=sys.stderr if stderr else sys.stdout)
    else:  # Without a height a width does not count on a dumb terminal.
        Console(stderr=stderr, width=width, height=1, highlight=False).print(text, markup=False)


def print_table(table: Table, *, title: str | None = None) -> None:
    """Print a table to standard output.

    Columns that do not fit on a terminal follow below, beside those that say what a row is: nothing is dropped, and
    only long texts are folded.
    """
    width = terminal_width()
    for columns in _pieces(table, width):
        _print([_Column.of(table, name) for name in columns], width, title)
        title = None


def fitting(table: Table) -> tuple[str, ...]:
    """Name the first columns of a table, as many as fit beside one another."""
    pieces = _pieces(table, terminal_width())
    return pieces[0] if pieces else ()


def _pieces(table: Table, width: int | None) -> list[tuple[str, ...]]:
    """Split the columns into groups that fit side by side, each led by those that say what a row is."""
    if width is None:
        return [table.columns] if table.columns else []
    keys = tuple(name for name in _KEYS if name in table.columns) or table.columns[:1]
    needed = {name: _Column.of(table, name).least + _GAP for name in table.columns}
    pieces: list[list[str]] = [[]]
    for name in table.columns:
        piece = pieces[-1]
        if name in piece:
            continue
        if any(taken not in keys for taken in piece) and sum(needed[taken] for taken in (*piece, name)) > width:
            pieces.append([key for key in keys if key != name])
        pieces[-1].append(name)
    return [tuple(piece) for piece in pieces if piece]


def _print(columns: list[_Column], width: int | None, title: str | None) -> None:
    widths = _widths(columns, width)
    rich = RichTable(box=table_box(), title=title, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for column, taken in zip(columns, widths, strict=True):
        justify: JustifyMethod = "right" if column.numeric else "left"
        rich.add_column(Text(column.name), justify=justify, overflow="fold", width=taken)
    for cells in zip(*(column.cells for column in columns), strict=True):
        rich.add_row(*map(Text, cells))
    total = sum(widths) + _GAP * len(columns)
    # Without a height a width does not count on a dumb terminal.
    Console(width=total if width is None else width, height=len(columns[0].cells)).print(rich)


def _widths(columns: list[_Column], width: int | None) -> list[int]:
    """Give each column what it takes; where that is too much, texts are folded, the last ones first."""
    widths = [column.width for column in columns]
    over = 0 if width is None else sum(widths) + _GAP * len(columns) - width
    for place in reversed(range(len(columns))):
        given_up = max(0, min(over, widths[place] - columns[place].least))
        widths[place] -= given_up
        over -= given_up
    return widths
