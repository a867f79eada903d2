"""One HTML file that opens anywhere: no network, scripts and style inside it, and nothing of the data is ever run.

Its content security policy allows the scripts that the file was made with, by their hashes, and no others; values
travel as JSON and become text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import time
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.report.document.sections import all_sections
from cnn_sweep.report.document.summary import moment
from cnn_sweep.report.figures.figure import COLOURS, DASHES, number
from cnn_sweep.report.leaderboards.formats import is_numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.document.markup import Section
    from cnn_sweep.report.report_data import Material

# The leaderboard can be used while Plotly, the larger part of the file, is still being read.
_START = "startFigures();"


def page(material: Material) -> str:
    """Write the report of a study.

    Raises:
        EnvironmentFault: Plotly's script is not installed.
    """
    sections = all_sections(material)
    own = resources.files("cnn_sweep.report.document")
    filters, script, style = (
        (own / name).read_text(encoding="utf-8") for name in ("filters.js", "script.js", "style.css")
    )
    plotly = _plotly()
    links = "".join(f'<li><a href="#{section.name}">{html.escape(section.title)}</a></li>' for section in sections)
    body = "\n".join(
        f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>\n{section.body}\n</section>'
        for section in sections
    )
    title = html.escape(f"{material.study}: sweep report")
    version = metadata.version("cnn-sweep")
    made = f"Made by cnn-sweep {html.escape(version)} on {moment(time.time())} UTC."
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy(filters, script, plotly, _START)}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#summary">Skip to the summary</a>
<nav aria-label="Sections"><ul>{links}<li><button id="theme" type="button">Dark</button></li></ul></nav>
<header><h1>{html.escape(material.study)}</h1></header>
<main>
<noscript><p>Figures, sorting and filtering need JavaScript.</p></noscript>
{body}
</main>
<dialog id="trial" aria-label="One trial"></dialog>
<footer>{made}</footer>
<script type="application/json" id="data">{_embedded(_data(material, sections))}</script>
<script>{filters}</script>
<script>{script}</script>
<script>{plotly}</script>
<script>{_START}</script>
</body>
</html>
"""


def _data(material: Material, sections: Sequence[Section]) -> dict[str, Any]:
    board, names = material.board, (*material.columns, *material.board.more)
    return {
        "columns": material.columns,
        "numeric": [is_numeric(board, name) for name in material.columns],
        "more": board.more,
        "rows": [[_plain(row.get(name)) for name in names] for row in board.rows],
        "nonfinite": [
            (line, place, str(row[name]))
            for line, row in enumerate(board.rows)
            for place, name in enumerate(names)
            if isinstance(value := row.get(name), float) and not math.isfinite(value)
        ],
        "chosen": material.chosen,
        "curves": {trial: _by_name(epochs) for trial, epochs in material.curves.items() if epochs},
        "figures": {
            figure.name: {"data": figure.data, "layout": figure.layout}
            for section in sections
            for figure in section.figures
        },
        "colours": COLOURS,
        "dashes": DASHES,
    }


def _by_name(epochs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    return {name: [number(epoch.get(name)) for epoch in epochs] for name in names if name not in {"seconds", "time"}}


def _plain(value: Any) -> Any:
    """Give a value as JSON has it: numbers in full, those that are none as nothing (``nonfinite`` has them)."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value


def _embedded(data: Any) -> str:
    """Write JSON in which nothing can end its script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(*scripts: str) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _plotly() -> str:
    try:
        found = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise EnvironmentFault(f"reports need the package plotly: pip install plotly ({error})") from error
    return re.sub(r"</(script)", r"<\\/\1", found, flags=re.IGNORECASE)
