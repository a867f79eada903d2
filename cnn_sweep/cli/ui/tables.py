"""Prints tables: on a terminal split by columns, so that no number is wrapped; in pipes and files unsplit.

A narrow terminal has no room for columns beside each other, so each row becomes a card with a line for each value.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from cnn_sweep.cli.ui.terminal import Console, print_data, terminal_width, warn
from cnn_sweep.csv_tables import formula_warning
from cnn_sweep.report.leaderboards.formats import WRITERS, formulas, is_numeric
from cnn_sweep.report.leaderboards.leaderboard import shown
from cnn_sweep.streams import printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from cnn_sweep.report.leaderboards.leaderboard import Table

_GAP = 2  # cells between two columns, and for both edges together
_TEXT = 24  # text wider than this may be wrapped
_NARROW = 60  # cells; a table that does not fit on fewer is printed as cards
_ON_CARD = 8  # columns of an overview that cards have, those that identify the row aside
_ROWS_SHOWN = 50  # rows that print_first_rows prints
# Columns that identify a row; a split table repeats them in each piece, or its first column if it has none.
_KEYS: Final = ("rank", "study", "trial", "attempt", "epoch")
# rich's SIMPLE_HEAD in ASCII. For encodings without its line, rich would draw edges and begin each row with "|".
_ASCII_HEAD: Final = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


@dataclass(frozen=True)
class _Column:
    """A column in its printed form.

    Attributes:
        name: Its heading.
        cells: Its texts, one per row.
        numeric: Whether it has numbers only.
        width: Width without wrapping, in terminal cells.
    """

    name: str
    cells: tuple[str, ...]
    numeric: bool
    width: int

    @classmethod
    def of(cls, table: Table, name: str) -> _Column:
        """Format a column of a table."""
        cells = tuple(" ".join(shown(row.get(name)).split()) for row in table.rows)
        heading = printable(name)
        return cls(heading, cells, is_numeric(table, name), max(map(cell_len, (heading, *cells))))

    @property
    def least(self) -> int:
        """The smallest width to which it may be wrapped."""
        return self.width if self.numeric else max(cell_len(self.name), min(self.width, _TEXT))


def table_box() -> Box:
    """Return the box of all tables: a line below the headings, in characters that standard output can write."""
    return SIMPLE_HEAD if "utf" in (sys.stdout.encoding or "").lower() else _ASCII_HEAD


def print_table(table: Table, *, title: str | None = None) -> None:
    """Print a table to standard output.

    Columns that do not fit on the terminal follow below, beside those that identify a row; on a narrow terminal, each
    row is a card. Nothing is dropped, and only long texts are wrapped.
    """
    width = terminal_width()
    pieces = _pieces(table, width)
    if width is not None and _as_cards(pieces, width):
        _print_cards(table, width, title)
        return
    for columns in pieces:
        _print([_Column.of(table, name) for name in columns], width, title)
        title = None


def print_formatted(table: Table, output: str) -> None:
    """Print a table in one of the formats of ``WRITERS``, for other programs."""
    print_data(WRITERS[output](table))
    if output == "csv":
        warn_of_formulas(table)


def warn_of_formulas(table: Table) -> None:
    """Warn if a spreadsheet would run texts of a table that is written as CSV."""
    if count := formulas(table):
        warn(formula_warning(count, "--format spreadsheet"))


def print_first_rows(table: Table) -> None:
    """Print the first rows of a table, and the number of rows left out."""
    if not table.rows:
        return
    print_table(type(table)(table.columns, table.rows[:_ROWS_SHOWN]))
    if len(table.rows) > _ROWS_SHOWN:
        print(f"… and {len(table.rows) - _ROWS_SHOWN} more (`--format csv` gives all)")


def print_predictions(table: Table) -> None:
    """Print the first rows of a table of predictions, without the probabilities of all classes if they do not fit."""
    fewer = tuple(name for name in table.columns if not name.startswith("p_"))
    if len(fitting(table)) == len(table.columns):
        print_first_rows(table)
    elif table.rows:
        print_first_rows(type(table)(fewer, table.rows))
        print("(`--format csv` has the probabilities of all classes)")


def fitting(table: Table) -> tuple[str, ...]:
    """Return the names of the first columns, as many as fit side by side, or on a card."""
    width = terminal_width()
    pieces = _pieces(table, width)
    if width is not None and _as_cards(pieces, width):
        return table.columns[: len(_keys(table)) + _ON_CARD]
    return pieces[0] if pieces else ()


def _as_cards(pieces: list[tuple[str, ...]], width: int) -> bool:
    return width < _NARROW and len(pieces) > 1


def _keys(table: Table) -> tuple[str, ...]:
    """Return the columns that identify a row."""
    return tuple(name for name in _KEYS if name in table.columns) or table.columns[:1]


def _pieces(table: Table, width: int | None) -> list[tuple[str, ...]]:
    """Split the columns into groups that fit side by side, each starting with those that identify a row."""
    if width is None:
        return [table.columns] if table.columns else []
    keys = _keys(table)
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


def _print_cards(table: Table, width: int, title: str | None) -> None:
    """Print each row as a line with what identifies it, and a line for each other value."""
    keys = _keys(table)
    columns = {name: _Column.of(table, name) for name in table.columns}
    head, rest = [columns[name] for name in keys], [one for name, one in columns.items() if name not in keys]
    numbers = max((one.width for one in rest if one.numeric), default=0)  # they are never wrapped
    names = max(1, min(max((cell_len(one.name) for one in rest), default=0), width - max(numbers, 10) - 2 * _GAP))
    console = Console(width=width, height=len(table.rows) * len(columns) + 1)
    if title is not None:
        console.print(Text(title, style="italic"))
    for row in range(len(table.rows)):
        console.print(Text(", ".join(f"{one.name} {one.cells[row]}" for one in head), style="bold"))
        card = RichTable.grid(padding=(0, _GAP, 0, 0))
        card.add_column(width=names, overflow="fold")
        card.add_column(width=width - names - 2 * _GAP, overflow="fold")
        for one in rest:
            card.add_row(Text(one.name), Text(one.cells[row]))
        console.print(Padding(card, (0, 0, 1, _GAP)))


def _print(columns: list[_Column], width: int | None, title: str | None) -> None:
    widths = _widths(columns, width)
    rich = RichTable(box=table_box(), title=title, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for column, taken in zip(columns, widths, strict=True):
        justify: JustifyMethod = "right" if column.numeric else "left"
        rich.add_column(Text(column.name), justify=justify, overflow="fold", width=taken)
    for cells in zip(*(column.cells for column in columns), strict=True):
        rich.add_row(*map(Text, cells))
    total = sum(widths) + _GAP * len(columns)
    # On a dumb terminal, rich ignores a width without a height.
    Console(width=total if width is None else width, height=len(columns[0].cells)).print(rich)


def _widths(columns: list[_Column], width: int | None) -> list[int]:
    """Return the width of each column; if they are too wide together, narrow the texts, the last ones first."""
    widths = [column.width for column in columns]
    over = 0 if width is None else sum(widths) + _GAP * len(columns) - width
    for place in reversed(range(len(columns))):
        given_up = max(0, min(over, widths[place] - columns[place].least))
        widths[place] -= given_up
        over -= given_up
    return widths
