"""Tables as CSV, JSON, Markdown, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.report.leaderboards.leaderboard import plain, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Table

_TEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_AS_THEY_ARE: Final = frozenset({float, int, str, bool, type(None)})
_TEX_SPECIAL = re.compile("|".join(map(re.escape, _TEX)))


def to_csv(table: Table) -> str:
    """Write CSV with full precision; an empty field is a missing value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    columns = table.columns
    # The CSV writer leaves the field of None empty and writes numbers and text unchanged.
    writer.writerows([_field(row.get(name)) for name in columns] for row in table.rows)
    return text.getvalue()


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
    """Escape text that Markdown would read as a tag or as the end of a cell."""
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


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
    "json": to_json,
    "markdown": to_markdown,
    "latex": to_latex,
    "html": to_html,
}
