"""Reads the configurations of ``search: {method: table}``: a CSV file with a column for each hyperparameter."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.csv_tables import MISSING, find_separator, parse_csv, read_csv_text, write_csv
from cnn_sweep.errors import InputError
from cnn_sweep.messages import listed, plural, show, unknown
from cnn_sweep.sweep.file.space_section import describe_domain
from cnn_sweep.sweep.identity import value_key
from cnn_sweep.sweep.space.space import Choices, find_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cnn_sweep.sweep.file.problems import Problems
    from cnn_sweep.sweep.space.space import Parameter, Space

_SHOWN: Final = 20  # mistakes of one table in a message
_WHOLE = re.compile(r"[+-]?\d{1,18}")  # longer ones are not exact in databases and arrays
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)")
# A number such as 1.000 or 12'500,5: the mark between groups of three digits, and what follows them.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([.,'\u2019 \u00a0\u202f])\d{3}((?:\1\d{3})*)((?!\1)[.,]\d+)?")
_FORMULA_ERROR = re.compile(r"#[\w/.]+[!?]")  # such as #DIV/0! and #REF!
# How spreadsheets in English, German, French, Spanish, Italian and Dutch write true and false.
_TRUE: Final = frozenset({"true", "wahr", "vrai", "verdadero", "vero", "waar"})
_FALSE: Final = frozenset({"false", "falsch", "faux", "falso", "onwaar"})


def table_text(path: Path) -> str:
    """Return a CSV file as a sweep file keeps it: commas, decimal points, no names of rows; lines stay where they are.

    Raises:
        InputError: The file cannot be read, or is not a table of hyperparameters.
    """
    text = read_csv_text(path)
    header, rows = parse_csv(text, str(path))
    if not rows:
        raise InputError(f"{path}: the table has no rows")
    lines = [(rows[0][0] - 1, header), *rows]
    if all(len(row) == len(header) + 1 for _, row in rows):  # R's write.table names no column of row names
        lines[0] = (lines[0][0], ["", *header])
    _check_lengths(path, lines)
    columns = [list(column) for column in zip(*(row for _, row in lines), strict=True)]
    if not columns[0][0].strip() and len(set(columns[0])) == len(lines):  # names of rows, as R and pandas write them
        columns = columns[1:]
    numbers = [line for line, _ in lines]
    commas = find_separator(text) != ","
    _check_cells(path, numbers, columns, decimal_commas=commas and any(map(_has_decimal_commas, columns)))
    if commas:
        columns = [[column[0], *_with_points(column[1:])] for column in columns]
    return _written(numbers, columns)


def _check_lengths(path: Path, lines: list[tuple[int, list[str]]]) -> None:
    names = lines[0][1]
    for line, row in lines[1:]:
        if len(row) != len(names):
            raise InputError(
                f"{path}: line {line}: {plural(len(row), 'value')}, but there are {len(names)} columns: "
                f"{listed(names)}; put values that contain the separator in quotes"
            )


def _check_cells(path: Path, lines: list[int], columns: list[list[str]], *, decimal_commas: bool) -> None:
    """Check that no number has a mark between thousands, and no cell is the error of a formula."""
    wrong = []
    for name, *cells in columns:
        plain = [cell.strip() for cell in cells]
        as_numbers = all(_is_blank(cell) or _is_numeric(cell) or _THOUSANDS.fullmatch(cell) for cell in plain)
        for line, cell in zip(lines[1:], plain, strict=True):
            if _FORMULA_ERROR.fullmatch(cell):
                wrong.append((line, name, f"{show(cell)} is the error of a formula; mend it in the spreadsheet"))
            elif as_numbers and (reason := _thousands(cell, decimal_commas=decimal_commas)):
                wrong.append((line, name, reason))
    if wrong:
        line, name, reason = min(wrong)
        more = f" (and {plural(len(wrong) - 1, 'more such cell')})" if len(wrong) > 1 else ""
        raise InputError(f"{path}: line {line}: {name}: {reason}{more}")


def _is_numeric(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _COMMA.fullmatch(cell))


def _has_decimal_commas(column: list[str]) -> bool:
    """Return whether a column, whose first item is its name, has numbers with decimal commas."""
    cells = [cell.strip() for cell in column[1:]]
    return all(_is_blank(cell) or _is_numeric(cell) for cell in cells) and any(map(_COMMA.fullmatch, cells))


def _thousands(cell: str, *, decimal_commas: bool) -> str | None:
    """Return what is wrong with a number that has marks between thousands, or may have one; None if it has none."""
    found = _THOUSANDS.fullmatch(cell)
    if found is None or (found[1] == "." and not (found[2] or found[3] or decimal_commas)):
        return None
    if found[1] == "," and decimal_commas and not (found[2] or found[3]):
        return None
    whole = cell.replace(found[1], "")
    if found[2] or found[3] or found[1] not in ".,":
        return f"{show(cell)} has a mark between thousands; write {whole}"
    return f"{show(cell)} may mean {whole} or {cell.replace(',', '.').rstrip('0').rstrip('.')}; write one of them"


def _with_points(cells: list[str]) -> list[str]:
    """Return a column with decimal points if all its values are numbers, some of them with a decimal comma."""
    points = [_COMMA.sub(r"\1.\2", cell) if _COMMA.fullmatch(cell.strip()) else cell for cell in cells]
    return points if all(_is_blank(cell) or _NUMBER.fullmatch(cell.strip()) for cell in points) else cells


def _written(numbers: list[int], columns: list[list[str]]) -> str:
    written = io.StringIO()
    at = 1
    for number, cells in zip(numbers, zip(*columns, strict=True), strict=True):
        written.write("\n" * (number - at))
        write_csv(written, [[cell.strip() for cell in cells]])
        at = max(number, at) + 1
    return written.getvalue()


@dataclass(frozen=True)
class Table:
    """A table of configurations as text.

    Attributes:
        names: The columns.
        rows: The cells of each row, with its line.
        header: Line of the header.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    header: int
    _memo: dict[tuple[str, str], tuple[Any] | None] = field(default_factory=dict, compare=False, repr=False)

    def inferred_space(self) -> dict[str, list[Any]]:
        """Return the values of each column that has any as a space, in the order in which they occur."""
        columns = {name: [cell for _, cell in self._cells(name)] for name in self.names}
        return {
            name: list({value_key(value): value for value in _typed(cells)}.values())
            for name, cells in columns.items()
            if cells
        }

    def origin(self, row: int, names: Iterable[str]) -> tuple[int, str]:
        """Return the line of a row, and which cells make its values text if their columns also have numbers.

        Args:
            row: Its index.
            names: Columns.
        """
        reasons = []
        for name in dict.fromkeys(names):
            cells = self._cells(name) if name in self.names else []
            odd = [(line, cell) for line, cell in cells if not _NUMBER.fullmatch(cell)]
            if 0 < len(odd) < len(cells):
                reasons.append(f"; the column {name!r} is text because of {show(odd[0][1])} in line {odd[0][0]}")
        return self.rows[row][0], "".join(reasons)

    def _cells(self, name: str) -> list[tuple[int, str]]:
        """Return the cells of a column that are not blank, each with its line."""
        place = self.names.index(name)
        return [(line, cells[place]) for line, cells in self.rows if not _is_blank(cells[place])]

    def configurations(
        self, space: Space, problems: Problems, *, declared: Sequence[str] | None
    ) -> tuple[dict[str, Any], ...]:
        """Return the rows as configurations of a space, without values of inactive hyperparameters.

        Args:
            space: The search space.
            problems: Mistakes are added to it.
            declared: The hyperparameters that the sweep file declares; None if the table stands for the space.
        """
        found = [] if declared is None else list(self._mistakes_in_names(declared))
        first: dict[str, int] = {}
        rows = []
        for line, cells in self.rows:
            row, wrong = self._row(line, cells, space)
            found += wrong
            key = repr([(name, value_key(value)) for name, value in row.items()])
            if key in first and not wrong:
                found.append((line, "row", f"the same configuration as line {first[key]}; remove one of them"))
            first.setdefault(key, line)
            rows.append(_active(row, space))
        for mistake in found[:_SHOWN]:
            problems.add_in_table(*mistake)
        if len(found) > _SHOWN:
            problems.add_in_table(found[_SHOWN][0], "row", f"and {len(found) - _SHOWN} more mistakes in the table")
        return tuple(rows)

    def _mistakes_in_names(self, declared: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        for name in self.names:
            if name not in declared:
                yield self.header, name, unknown("parameter", name, declared)
        for name in declared:
            if name not in self.names:
                yield self.header, name, f"the table has no column {name!r}; it has {listed(self.names)}"

    def _row(
        self, line: int, cells: tuple[str, ...], space: Space
    ) -> tuple[dict[str, Any], list[tuple[int, str, str]]]:
        row: dict[str, Any] = {}
        wrong = []
        for name, cell in zip(self.names, cells, strict=True):
            parameter = space.by_name.get(name)
            if parameter is None or (_is_blank(cell) and not _is_choice(parameter, cell)):
                continue
            if (name, cell) not in self._memo:
                self._memo[name, cell] = _value(parameter, cell)
            value = self._memo[name, cell]
            if value is None:
                where = describe_domain(parameter.domain)
                wrong.append((line, name, f"{show(cell)} is not in the space of {name!r}: {where}"))
            else:
                row[name] = value[0]
        return row, wrong


def read_table(text: str, problems: Problems) -> Table | None:
    """Read the text of a table; if it cannot be read, add problems and return None."""
    try:
        header, rows = parse_csv(text, "rows")
    except InputError as error:
        problems.add(("search", "rows"), str(error))
        return None
    line = next((number for number, part in enumerate(text.splitlines(), start=1) if part.strip()), 1)
    before = len(problems)
    for name in header:
        if not name:
            problems.add_in_table(line, "header", "a column has no name; name it after its hyperparameter")
        elif header.count(name) > 1:
            problems.add_in_table(line, name, f"{header.count(name)} columns are called {name!r}; rename all but one")
    for number, row in rows:
        if len(row) != len(header):
            problems.add_in_table(number, "row", f"{plural(len(row), 'value')} for {plural(len(header), 'column')}")
    if not rows:
        problems.add_in_table(line, "header", "the table has no rows")
    if len(problems) > before:
        return None
    cells = tuple((number, tuple(cell.strip() for cell in row)) for number, row in rows)
    return Table(tuple(header), cells, line)


def _is_blank(cell: str) -> bool:
    return not cell.strip() or cell.strip() in MISSING


def _is_choice(parameter: Parameter, cell: str) -> bool:
    """Return whether a word such as NA is one of the choices that the file lists."""
    return bool(cell) and isinstance(parameter.domain, Choices) and parameter.domain.contains(cell)


def _typed(cells: list[str]) -> list[Any]:
    """Return the values of a column: all numbers, all true or false, or all text."""
    if all(_WHOLE.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if all(_NUMBER.fullmatch(cell) and math.isfinite(float(cell)) for cell in cells):
        return [float(cell) for cell in cells]
    if all(cell.lower() in _TRUE | _FALSE for cell in cells):
        return [cell.lower() in _TRUE for cell in cells]
    return list(cells)


def _value(parameter: Parameter, cell: str) -> tuple[Any] | None:
    """Return the value of a hyperparameter that a cell means, as a 1-tuple; None if it means none."""
    for candidate in _meanings(cell):
        if (found := find_value(parameter.domain, candidate)) is not None:
            return found
    return None


def _meanings(cell: str) -> Iterator[Any]:
    """Yield what a cell may mean."""
    yield cell
    if _WHOLE.fullmatch(cell):
        yield int(cell)
    elif _NUMBER.fullmatch(cell) and math.isfinite(float(cell)):
        yield float(cell)
    elif cell.lower() in _TRUE | _FALSE:
        yield cell.lower() in _TRUE
    elif cell == "null":
        yield None
    elif cell.startswith("["):
        try:
            yield json.loads(cell)
        except (ValueError, RecursionError):
            return


def _active(row: dict[str, Any], space: Space) -> dict[str, Any]:
    active: dict[str, Any] = {}
    for parameter in space.ordered:
        if parameter.name in row and parameter.is_active(active):
            active[parameter.name] = row[parameter.name]
    return {name: active[name] for name in space.names if name in active}
