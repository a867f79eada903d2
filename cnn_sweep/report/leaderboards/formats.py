"""Tables as CSV, JSON, Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.csv_tables import is_formula, without_formula, write_csv
from cnn_sweep.report.leaderboards.leaderboard import plain, shown
from cnn_sweep.streams import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Table

_TEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_AS_THEY_ARE: Final = frozenset({float, int, str, bool, type(None)})
_MARKDOWN_SPECIAL = re.compile(r"[\\`*\[\]|]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word is no emphasis
_TEX_SPECIAL = re.compile("|".join(map(re.escape, _TEX)))


def to_csv(table: Table) -> str:
    """Write CSV with full precision; an empty field is a missing value."""
    return _as_csv(_fields(table))


def to_spreadsheet(table: Table) -> str:
    """Write CSV in which no text is a formula: an apostrophe stands before it."""
    return _as_csv([without_formula(value) for value in row] for row in _fields(table))


def formulas(table: Table) -> int:
    """Count the fields of a table that a spreadsheet would run as formulas."""
    return sum(is_formula(value) for row in _fields(table) for value in row)


def _as_csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    write_csv(text, rows)
    return text.getvalue()


def _fields(table: Table) -> Iterator[Sequence[Any]]:
    """Yield the columns' names, and the values of each row."""
    yield table.columns
    for row in table.rows:
        yield [_field(row.get(name)) for name in table.columns]


def _field(value: Any) -> Any:
    return value if type(value) in _AS_THEY_ARE else plain(value)


def to_json(table: Table) -> str:
    """Write a list of objects; NaN and infinities, which JSON lacks, become strings."""
    rows = [{name: _finite(row.get(name)) for name in table.columns} for row in table.rows]
    return json.dumps(rows, indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(table: Table) -> str:
    """Write a pipe table, as for a README."""
    lines = [_markdown_row(table.columns), _markdown_row(["---"] * len(table.columns))]
    lines += [_markdown_row([shown(row.get(name)) for name in table.columns]) for row in table.rows]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def markdown_text(text: str) -> str:
    """Escape text that Markdown would read as a tag, a link, an image, emphasis, code or the end of a cell."""
    escaped = _MARKDOWN_SPECIAL.sub(r"\\\g<0>", _one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def to_latex(table: Table) -> str:
    """Write a ``tabular`` with rules of the package booktabs."""
    align = "".join("r" if is_numeric(table, name) else "l" for name in table.columns)
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", _latex_row(table.columns), r"\midrule"]
    lines += [_latex_row([shown(row.get(name)) for name in table.columns]) for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex_text, cells)) + r" \\"


def _latex_text(text: str) -> str:
    escaped = _TEX_SPECIAL.sub(lambda found: _TEX[found[0]], _one_line(text))
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped  # else the argument of \\\\


def to_html(table: Table) -> str:
    """Write a ``table`` element; every value is escaped."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    lines = ["<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for row in table.rows:
        cells = "".join(f"<td>{html.escape(shown(row.get(name)))}</td>" for name in table.columns)
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>"]) + "\n"


def is_numeric(table: Table, name: str) -> bool:
    """Return whether a column has only numbers and missing values."""
    return all(isinstance(row.get(name), int | float | None) for row in table.rows)


WRITERS: Final[Mapping[str, Callable[[Table], str]]] = {
    "csv": to_csv,
    "spreadsheet": to_spreadsheet,
    "json": to_json,
    "markdown": to_markdown,
    "latex": to_latex,
    "html": to_html,
}
