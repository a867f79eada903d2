"""The report as one HTML file that needs no network: it contains its scripts and styles.

Templates escape every value. The content security policy allows only the file's own scripts, by their hashes. A
study's values are embedded as JSON and shown as text, so nothing in them can run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

import jinja2

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.report.document import summary as facts
from cnn_sweep.report.figures.contact_sheets import thumbnail_uris
from cnn_sweep.report.figures.figure import COLOURS, DASHES, Figure, number
from cnn_sweep.report.figures.plots import figures
from cnn_sweep.report.figures.sketch import sketch
from cnn_sweep.report.leaderboards.formats import is_numeric, to_html
from cnn_sweep.report.leaderboards.leaderboard import Selection, Table, overview, select, shown
from cnn_sweep.report.report_data import gather

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.store.reader import StoreReader

# The leaderboard's script comes first, so that it works while the browser still parses Plotly, most of the file.
_START = "startFigures();"
# Rows of the leaderboard in plain HTML, for browsers without scripts.
_STATIC_ROWS = 20


@dataclass(frozen=True)
class _Content:
    """The content of a section.

    Attributes:
        macro: The macro of ``sections.html`` that renders it.
        arguments: The macro's arguments.
        figures: Figures whose data the page needs.
    """

    macro: str
    arguments: dict[str, Any]
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class _Section:
    """A section of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        body: Its HTML.
        figures: Figures whose data the page needs.
    """

    name: str
    title: str
    body: str
    figures: tuple[Figure, ...]


def page(data: ReportData) -> str:
    """Write the report of a study.

    Raises:
        EnvironmentFault: Plotly's script is not installed.
    """
    sections = _sections(data)
    own = resources.files("cnn_sweep.report.document")
    filters, script, style = (
        (own / name).read_text(encoding="utf-8") for name in ("filters.js", "script.js", "style.css")
    )
    scripts = (filters, script, _plotly(), _START)
    return (
        _templates()
        .get_template("page.html")
        .render(
            study=data.study,
            sections=sections,
            policy=_policy(scripts),
            style=style,
            version=metadata.version("cnn-sweep"),
            made=facts.moment(time.time()),
            json=_embedded(_page_data(data, sections)),
            scripts=scripts,
        )
    )


def glance(store: StoreReader, study: str, board: Table) -> str:
    """Write the summary, a figure of the search and the best trials as HTML, for a notebook."""
    data = gather(store, study, board)
    best = select(overview(board, list(data.axes)), Selection(top=5))
    ranked = sorted((row["trial"], row["value"]) for row in board.rows if row["rank"] is not None)
    values = [(trial, value) for trial, value in ranked if math.isfinite(value)]
    content = {
        "study": study,
        "pairs": facts.summary(data),
        "figure": sketch(values, data.summary["direction"], data.metric),
        "best": to_html(best),
    }
    return _rendered(_Content("glance", content))


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("cnn_sweep.report.document"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["shown"] = shown
    return templates


def _rendered(content: _Content) -> str:
    macros: Any = _templates().get_template("sections.html").module
    body: str = getattr(macros, content.macro)(**content.arguments)
    return body


def _sections(data: ReportData) -> list[_Section]:
    """Make every section in order; one that fails shows why and is noted among the data's problems."""
    makers: dict[tuple[str, str], Callable[[ReportData], _Content | None]] = {
        ("summary", "Summary"): _summary,
        ("configurations", "Configurations"): _configurations,
        ("leaderboard", "Leaderboard"): _leaderboard,
        ("rungs", "Rungs"): _rungs,
        ("history", "Optimization history"): lambda data: _figure(data, "history"),
        ("curves", "Learning curves"): _curves,
        ("parallel", "Parallel coordinates"): lambda data: _figure(data, "parallel"),
        ("importance", "Importance"): _importance,
        ("slices", "One hyperparameter at a time"): lambda data: _several(data, "slices"),
        ("contours", "Two hyperparameters at a time"): _contours,
        ("pareto", "Trade-offs"): lambda data: _several(data, "pareto"),
        ("model", "Best model"): _model,
        ("efficiency", "Efficiency"): _efficiency,
        ("provenance", "Provenance"): _provenance,
    }
    found = [_attempted(data, name, title, make) for (name, title), make in makers.items()]
    return [section for section in found if section is not None]


def _attempted(
    data: ReportData, name: str, title: str, make: Callable[[ReportData], _Content | None]
) -> _Section | None:
    def whole() -> _Section | None:
        content = make(data)
        if content is None:
            return None
        # Checked here, because one value that JSON cannot express would break the whole page.
        json.dumps([(one.data, one.layout) for one in content.figures], allow_nan=False, default=str)
        return _Section(name, title, _rendered(content), content.figures)

    def failed(why: str) -> _Section:
        return _Section(name, title, _rendered(_Content("error", {"words": why})), ())

    return data.problems.attempt(f"the section {title}", whole, failed)


def _quiet(words: str) -> _Content:
    return _Content("quiet", {"words": words})


def _summary(data: ReportData) -> _Content:
    arguments = {
        "pairs": facts.summary(data),
        "space": facts.space(data),
        "constraints": [one.text for one in data.sweep.constraints] if data.sweep else [],
        "failures": facts.failures(data),
    }
    return _Content("summary", arguments)


def _configurations(data: ReportData) -> _Content | None:
    table = data.configurations
    if table is None:
        return None
    rest = len(table.rows) - _STATIC_ROWS
    notes = [*table.notes, *([f"{rest:,} more: cnn-sweep leaderboard {data.study}"] if rest > 0 else [])]
    return _Content("noted_table", {"columns": table.columns, "rows": table.rows[:_STATIC_ROWS], "notes": notes})


def _leaderboard(data: ReportData) -> _Content:
    if not data.board.rows:
        return _quiet("No trial has begun yet.")
    return _Content("leaderboard", {"columns": data.columns, "rows": data.board.rows[:_STATIC_ROWS]})


def _rungs(data: ReportData) -> _Content | None:
    table = facts.rung_table(data)
    return None if table is None else _Content("rungs", {"columns": table.columns, "rows": table.rows})


def _figure(data: ReportData, kind: str) -> _Content:
    found = tuple(figures(data, kind))
    return _Content("single", {"figure": found[0]}, found) if found else _quiet(data.nothing_complete)


def _several(data: ReportData, kind: str) -> _Content:
    found = tuple(figures(data, kind))
    return _Content("several", {"figures": found}, found) if found else _quiet(data.nothing_complete)


def _curves(data: ReportData) -> _Content:
    found = figures(data, "curves")
    if not found:
        return _quiet("No epoch is complete yet.")
    return _Content("choice", {"figures": found, "label": "Metric", "are_curves": True})


def _importance(data: ReportData) -> _Content:
    if data.findings is None:
        return _quiet(data.no_findings if data.ranked else data.nothing_complete)
    found = tuple(figures(data, "importance"))
    return _Content("importance", {"figure": found[0], "interactions": facts.interaction_table(data.findings)}, found)


def _contours(data: ReportData) -> _Content:
    found = tuple(figures(data, "contours"))
    if not found:
        return _quiet("There are no two hyperparameters that vary." if data.ranked else data.nothing_complete)
    return _Content("choice", {"figures": found, "label": "Hyperparameters", "are_curves": False}, found)


def _model(data: ReportData) -> _Content:
    best = data.best_model
    if best is None:
        return _quiet(data.no_model or data.nothing_complete)
    found = tuple(figures(data, "confusion"))
    arguments = {"best": best, "figure": found[0], "thumbnails": thumbnail_uris(best.mistaken)}
    return _Content("model", arguments, found)


def _efficiency(data: ReportData) -> _Content | None:
    table = data.efficiency
    if table is None:
        return None
    return _Content("noted_table", {"columns": table.columns, "rows": table.rows, "notes": table.notes})


def _provenance(data: ReportData) -> _Content:
    arguments = {
        "pairs": facts.origins(data),
        "commands": facts.commands(data),
        "files": facts.sweep_files(data),
    }
    return _Content("provenance", arguments)


def _page_data(data: ReportData, sections: Sequence[_Section]) -> dict[str, Any]:
    board, names = data.board, (*data.columns, *data.board.more)
    return {
        "columns": data.columns,
        "numeric": [is_numeric(board, name) for name in data.columns],
        "more": board.more,
        "rows": [[_plain(row.get(name)) for name in names] for row in board.rows],
        "nonfinite": [
            (line, place, str(row[name]))
            for line, row in enumerate(board.rows)
            for place, name in enumerate(names)
            if isinstance(value := row.get(name), float) and not math.isfinite(value)
        ],
        "chosen": data.chosen,
        "curves": {trial: _by_name(epochs) for trial, epochs in data.curves.items() if epochs},
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
    """Return a value for JSON: numbers with full precision, NaN and infinities as None (``nonfinite`` has them)."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value


def _embedded(data: Any) -> str:
    """Write JSON that cannot close its script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(scripts: Sequence[str]) -> str:
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
