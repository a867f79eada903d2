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
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

import jinja2

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.report.document import answer
from cnn_sweep.report.document import summary as facts
from cnn_sweep.report.figures.contact_sheets import thumbnail_uris
from cnn_sweep.report.figures.figure import COLOURS, DASHES, Figure, number
from cnn_sweep.report.figures.plots import figures
from cnn_sweep.report.figures.sketch import sketch
from cnn_sweep.report.leaderboards.configurations import column_beside_statistics
from cnn_sweep.report.leaderboards.formats import is_numeric, to_html
from cnn_sweep.report.leaderboards.leaderboard import Selection, Table, differing, overview, select, shown
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


# A section's content, the reason why it is not on the page, or None if nobody expects it.
_Made = _Content | str | None


def page(data: ReportData) -> str:
    """Write the report of a study.

    Raises:
        EnvironmentFault: Plotly's script is not installed.
    """
    sections, absent = _sections(data)
    own = resources.files("cnn_sweep.report.document")
    filters, script, leaderboard, style = (
        (own / name).read_text(encoding="utf-8") for name in ("filters.js", "script.js", "leaderboard.js", "style.css")
    )
    scripts = (filters, script, leaderboard, _plotly(), _START)
    return (
        _templates()
        .get_template("page.html")
        .render(
            study=data.study,
            headline=answer.headline(data),
            sections=sections,
            absent=absent,
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
    ranked = sorted((row["trial"], row["value"]) for row in data.feasible)
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


def _sections(data: ReportData) -> tuple[list[_Section], dict[str, list[str]]]:
    """Make the sections in order, and list the titles of absent ones by the reason.

    A section that fails shows why and is noted among the data's problems.
    """
    makers: dict[tuple[str, str], Callable[[ReportData], _Made]] = {
        ("answer", "Answer"): _answer,
        ("history", "Best so far"): _history,
        ("leaderboard", "Leaderboard"): _leaderboard,
        ("rungs", "Rungs"): _rungs,
        ("failures", "Failures"): _failures,
        ("curves", "Learning curves"): _curves,
        ("importance", "Importance"): _importance,
        ("parallel", "Parallel coordinates"): lambda data: _figure(data, "parallel"),
        ("slices", "One hyperparameter at a time"): lambda data: _several(data, "slices"),
        ("contours", "Two hyperparameters at a time"): _contours,
        ("pareto", "Trade-offs"): lambda data: _several(data, "pareto"),
        ("model", "Best model"): _model,
        ("efficiency", "Efficiency"): _efficiency,
        ("study", "Search space and data"): _study,
        ("provenance", "Provenance"): _provenance,
    }
    sections: list[_Section] = []
    absent: dict[str, list[str]] = {}
    for (name, title), make in makers.items():
        made = _attempted(data, name, title, make)
        if isinstance(made, _Section):
            sections.append(made)
        elif made is not None:
            absent.setdefault(made, []).append(title)
    return sections, absent


def _attempted(data: ReportData, name: str, title: str, make: Callable[[ReportData], _Made]) -> _Section | str | None:
    def whole() -> _Section | str | None:
        content = make(data)
        if not isinstance(content, _Content):
            return content
        # Checked here, because one value that JSON cannot express would break the whole page.
        json.dumps([(one.data, one.layout) for one in content.figures], allow_nan=False, default=str)
        return _Section(name, title, _rendered(content), content.figures)

    def failed(why: str) -> _Section:
        return _Section(name, title, _rendered(_Content("error", {"words": why})), ())

    return data.problems.attempt(f"the section {title}", whole, failed)


def _answer(data: ReportData) -> _Content:
    """Make the cards, each by itself: one that fails leaves the others, and one without content is left out."""
    makers: dict[str, Callable[[], dict[str, Any] | None]] = {
        "best": lambda: {"best": answer.best(data), "nothing": data.nothing_complete},
        "verdict": lambda: {"step": answer.verdict(data)} if data.ranked else None,
        "drivers": lambda: {"drivers": drivers} if (drivers := answer.drivers(data)) else None,
        "steps": lambda: {"steps": answer.next_steps(data)},
        "cost": lambda: {"pairs": answer.cost(data)},
    }

    def card(name: str) -> str | None:
        def made() -> str | None:
            arguments = makers[name]()
            return None if arguments is None else _rendered(_Content(f"card_{name}", arguments))

        def failed(why: str) -> str:
            return _rendered(_Content("error", {"words": why}))

        return data.problems.attempt(f"the part {answer.PARTS[name]!r} of the answer", made, failed)

    cards = {title: body for name, title in answer.PARTS.items() if (body := card(name)) is not None}
    return _Content("answer", {"cards": cards})


def _history(data: ReportData) -> _Made:
    found = (*figures(data, "history"), *figures(data, "best"))
    return _Content("several", {"figures": found}, found) if found else data.nothing_complete


def _failures(data: ReportData) -> _Made:
    rows = facts.failures(data)
    return _Content("table", {"columns": facts.FAILURES, "rows": rows}) if rows else None


def _study(data: ReportData) -> _Content:
    arguments = {
        "pairs": facts.summary(data),
        "space": facts.space(data),
        "constraints": [one.text for one in data.sweep.constraints] if data.sweep else [],
    }
    return _Content("study", arguments)


def _leaderboard(data: ReportData) -> _Made:
    if not data.board.rows:
        return "No trial has begun yet."
    boards = _boards(data)
    table = next(iter(boards.values()))
    arguments = {
        "views": list(boards),
        "columns": _shown(data, table),
        "rows": table.rows[:_STATIC_ROWS],
        "notes": data.configurations.notes if data.configurations else (),
    }
    return _Content("leaderboard", arguments)


def _rungs(data: ReportData) -> _Content | None:
    table = facts.rung_table(data)
    if table is None:
        return None
    found = tuple(figures(data, "rungs"))
    return _Content(
        "rungs", {"columns": table.columns, "rows": table.rows, "figure": found[0] if found else None}, found
    )


def _figure(data: ReportData, kind: str) -> _Made:
    found = tuple(figures(data, kind))
    return _Content("single", {"figure": found[0]}, found) if found else _nothing_varies(data)


def _several(data: ReportData, kind: str) -> _Made:
    found = tuple(figures(data, kind))
    return _Content("several", {"figures": found}, found) if found else _nothing_varies(data)


def _nothing_varies(data: ReportData) -> str:
    return "No hyperparameter varies." if data.ranked else data.nothing_complete


def _curves(data: ReportData) -> _Made:
    found = figures(data, "curves")
    if not found:
        return "No epoch is complete yet."
    return _Content("choice", {"figures": found, "label": "Metric", "are_curves": True})


def _importance(data: ReportData) -> _Made:
    if data.findings is None:
        return _sentence(data.no_findings) if data.ranked else data.nothing_complete
    found = tuple(figures(data, "importance"))
    return _Content("importance", {"figure": found[0], "interactions": facts.interaction_table(data.findings)}, found)


def _sentence(words: str) -> str:
    return words if words.endswith(".") else f"{words}."


def _contours(data: ReportData) -> _Made:
    found = tuple(figures(data, "contours"))
    if not found:
        return "No two hyperparameters vary." if data.ranked else data.nothing_complete
    return _Content("choice", {"figures": found, "label": "Hyperparameters", "are_curves": False}, found)


def _model(data: ReportData) -> _Made:
    best = data.best_model
    if best is None:
        return data.no_model or (None if data.ranked else data.nothing_complete)
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
    return {
        "study": data.study,
        "metric": data.metric,
        "boards": [_board_data(data, name, table) for name, table in _boards(data).items()],
        "chosen": data.chosen,
        "members": data.members,
        "curves": {trial: _by_name(epochs) for trial, epochs in data.curves.items() if epochs},
        "figures": {
            figure.name: {"data": figure.data, "layout": figure.layout}
            for section in sections
            for figure in section.figures
        },
        "colours": COLOURS,
        "dashes": DASHES,
    }


def _boards(data: ReportData) -> dict[str, Table]:
    """Return the leaderboards of trials and, with repeats, of configurations; the one to show first comes first."""
    boards = {"trials": replace(data.board, columns=data.columns)}
    if data.configurations is not None:
        boards["configurations"] = data.configurations
    return dict(sorted(boards.items(), key=lambda pair: (pair[0] == "configurations") is not data.has_means))


def _shown(data: ReportData, table: Table) -> tuple[str, ...]:
    """Return the columns to show first: the most important ones, without those that are the same in all rows."""
    most = overview(table, [column_beside_statistics(name) for name in data.axes])
    names = {"rank", "trial", "value", "mean", "n", *differing(table, most.columns)}
    return tuple(name for name in table.columns if name in names)


def _board_data(data: ReportData, kind: str, table: Table) -> dict[str, Any]:
    names = (*table.columns, *(name for name in table.more if name not in table.columns))
    metrics = [name for name in data.summary["metrics"] if name in names]
    first = table.rows[0] if table.rows else {}
    return {
        "name": kind,
        "columns": table.columns,
        "more": names[len(table.columns) :],
        "shown": _shown(data, table),
        "numeric": [name for name in names if is_numeric(table, name) and not isinstance(first.get(name), bool)],
        "bars": [name for name in ("mean", "value", *metrics) if name in names],
        "intervals": {"mean": ["ci_low", "ci_high"]} if "mean" in names else {},
        "rows": [[_plain(row.get(name)) for name in names] for row in table.rows],
        "nonfinite": [
            (line, place, str(row[name]))
            for line, row in enumerate(table.rows)
            for place, name in enumerate(names)
            if isinstance(value := row.get(name), float) and not math.isfinite(value)
        ],
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
