"""The report as one HTML file that needs no network: it contains its scripts and styles.

Templates escape every value. The content security policy allows only the file's own scripts, by their hashes. A
study's values are embedded as JSON and shown as text, so nothing in them can run. :mod:`.live_page` makes the same
page in two files, of which one is renewed while the study runs.
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
from typing import TYPE_CHECKING, Any, Final

import jinja2

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.messages import moment
from cnn_sweep.report.document import answer
from cnn_sweep.report.document import summary as facts
from cnn_sweep.report.document.page_data import boards, page_data, shown_columns
from cnn_sweep.report.figures.contact_sheets import thumbnail_uris
from cnn_sweep.report.figures.plots import figures
from cnn_sweep.report.figures.sketch import sketch
from cnn_sweep.report.leaderboards.formats import to_html
from cnn_sweep.report.leaderboards.leaderboard import Selection, Table, overview, select, shown
from cnn_sweep.report.report_data import gather
from cnn_sweep.report.worker_times import worker_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnn_sweep.report.figures.figure import Figure
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.store.reader import StoreReader

Makers = dict[tuple[str, str], "Callable[[ReportData], Made]"]  # by name and title of the section
# The leaderboard's script comes first, so that it works while the browser still parses Plotly, most of the file.
_START = "startFigures();"
_BRUSHING = "Drag across an axis to filter by a range of it; double-click to forget the ranges."
# Rows of the leaderboard in plain HTML, for browsers without scripts.
_STATIC_ROWS = 20


@dataclass(frozen=True)
class Content:
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
class Section:
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
Made = Content | str | None


def page(data: ReportData) -> str:
    """Write the report of a study.

    Raises:
        EnvironmentFault: Plotly's script is not installed.
    """
    sections, absent = sections_of(data, SECTIONS)
    scripts = (*own_scripts("filters.js", "script.js", "selection.js", "leaderboard.js"), plotly(), _START)
    content = {
        "headline": answer.headline(data),
        "sections": sections,
        "footer": footer(absent, time.time()),
        "json": embedded(page_data(data, figures_of(sections))),
    }
    return document(data.study, scripts, policy(scripts), content)


def document(
    study: str, scripts: Sequence[str], allowed: str, content: dict[str, Any], *, is_live: bool = False
) -> str:
    """Write a page: its title, policy, style and scripts, and its content unless it is live."""
    (style,) = own_scripts("style.css")
    return from_template(
        "page.html", study=study, policy=allowed, style=style, scripts=scripts, is_live=is_live, **content
    )


def from_template(name: str, **arguments: Any) -> str:
    """Write a page from one of the templates."""
    return _templates().get_template(name).render(**arguments)


def footer(absent: dict[str, list[str]], now: float) -> str:
    """Write the last lines: which sections are absent and why, the version and the time."""
    arguments = {"absent": absent, "version": metadata.version("cnn-sweep"), "made": moment(now)}
    return rendered(Content("footer", arguments))


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
    return rendered(Content("glance", content))


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


def rendered(content: Content) -> str:
    """Render the macro of a section."""
    macros: Any = _templates().get_template("sections.html").module
    body: str = getattr(macros, content.macro)(**content.arguments)
    return body


def sections_of(data: ReportData, makers: Makers) -> tuple[list[Section], dict[str, list[str]]]:
    """Make the sections in order, and list the titles of absent ones by the reason.

    A section that fails shows why and is noted among the data's problems.
    """
    sections: list[Section] = []
    absent: dict[str, list[str]] = {}
    for (name, title), make in makers.items():
        made = _attempted(data, name, title, make)
        if isinstance(made, Section):
            sections.append(made)
        elif made is not None:
            absent.setdefault(made, []).append(title)
    return sections, absent


def figures_of(sections: Sequence[Section]) -> list[Figure]:
    """Return the figures of all sections, in order."""
    return [figure for section in sections for figure in section.figures]


def _attempted(data: ReportData, name: str, title: str, make: Callable[[ReportData], Made]) -> Section | str | None:
    def whole() -> Section | str | None:
        content = make(data)
        if not isinstance(content, Content):
            return content
        # Checked here, because one value that JSON cannot express would break the whole page.
        json.dumps([(one.data, one.layout) for one in content.figures], allow_nan=False, default=str)
        return Section(name, title, rendered(content), content.figures)

    def failed(why: str) -> Section:
        return Section(name, title, rendered(Content("error", {"words": why})), ())

    return data.problems.attempt(f"the section {title}", whole, failed)


def _drivers(data: ReportData) -> dict[str, Any] | None:
    drivers, certainty = answer.drivers(data), answer.certainty(data)
    return {"drivers": drivers, "certainty": certainty} if drivers or certainty else None


def _answer(data: ReportData) -> Content:
    """Make the cards, each by itself: one that fails leaves the others, and one without content is left out."""
    makers: dict[str, Callable[[], dict[str, Any] | None]] = {
        "best": lambda: {"best": answer.best(data), "nothing": data.nothing_complete},
        "verdict": lambda: {"step": answer.verdict(data)} if data.ranked else None,
        "drivers": lambda: _drivers(data),
        "steps": lambda: {"steps": answer.next_steps(data)},
        "cost": lambda: {"pairs": answer.cost(data)},
    }

    def card(name: str) -> str | None:
        def made() -> str | None:
            arguments = makers[name]()
            return None if arguments is None else rendered(Content(f"card_{name}", arguments))

        def failed(why: str) -> str:
            return rendered(Content("error", {"words": why}))

        return data.problems.attempt(f"the part {answer.PARTS[name]!r} of the answer", made, failed)

    cards = {title: body for name, title in answer.PARTS.items() if (body := card(name)) is not None}
    return Content("answer", {"cards": cards})


def _history(data: ReportData) -> Made:
    over, beside = tuple(figures(data, "history")), (*figures(data, "best"), *figures(data, "distribution"))
    if not over:
        return data.nothing_complete
    return Content("history", {"over": over, "beside": beside}, (*over, *beside))


def _failures(data: ReportData) -> Made:
    rows = facts.failures(data)
    return Content("table", {"columns": facts.FAILURES, "rows": rows}) if rows else None


def _study(data: ReportData) -> Content:
    arguments = {
        "pairs": facts.summary(data),
        "space": facts.space(data),
        "constraints": [one.text for one in data.sweep.constraints] if data.sweep else [],
    }
    return Content("study", arguments)


def leaderboard(data: ReportData, *, static_rows: int = _STATIC_ROWS) -> Made:
    """Make the leaderboard; a page that is never read without scripts needs no static rows."""
    if not data.board.rows:
        return "No trial has begun yet."
    found = boards(data)
    table = next(iter(found.values()))
    arguments = {
        "views": list(found),
        "columns": shown_columns(data, table) if static_rows else (),
        "rows": table.rows[:static_rows],
        "notes": data.configurations.notes if data.configurations else (),
    }
    return Content("leaderboard", arguments)


def _rungs(data: ReportData) -> Content | None:
    table = facts.rung_table(data)
    if table is None:
        return None
    found = tuple(figures(data, "rungs"))
    figure = found[0] if found else None
    arguments = {"rule": facts.rung_rule(data), "columns": table.columns, "rows": table.rows, "figure": figure}
    return Content("rungs", arguments, found)


def _figure(data: ReportData, kind: str, hint: str) -> Made:
    found = tuple(figures(data, kind))
    return Content("single", {"figure": found[0], "hint": hint}, found) if found else _nothing_varies(data)


def _several(data: ReportData, kind: str) -> Made:
    found = tuple(figures(data, kind))
    return Content("several", {"figures": found}, found) if found else _nothing_varies(data)


def _nothing_varies(data: ReportData) -> str:
    return "No hyperparameter varies." if data.ranked else data.nothing_complete


def _curves(data: ReportData) -> Made:
    found = figures(data, "curves")
    if not found:
        return "No epoch is complete yet."
    return Content("choice", {"figures": found, "label": "Metric", "are_curves": True})


def _importance(data: ReportData) -> Made:
    if data.findings is None:
        return _sentence(data.no_findings) if data.ranked else data.nothing_complete
    found = tuple(figures(data, "importance"))
    return Content("importance", {"figures": found, "interactions": facts.interaction_table(data.all_findings)}, found)


def _sentence(words: str) -> str:
    return words if words.endswith(".") else f"{words}."


def _contours(data: ReportData) -> Made:
    found = tuple(figures(data, "contours"))
    if not found:
        return "No two hyperparameters vary." if data.ranked else data.nothing_complete
    return Content("choice", {"figures": found, "label": "Hyperparameters", "are_curves": False}, found)


def _model(data: ReportData) -> Made:
    best = data.best_model
    if best is None:
        return data.no_model or (None if data.ranked else data.nothing_complete)
    found = (*figures(data, "confusion"), *figures(data, "reliability"))
    arguments = {"best": best, "figures": found, "thumbnails": thumbnail_uris(best.mistaken)}
    return Content("model", arguments, found)


def _timeline(data: ReportData) -> Made:
    found = tuple(figures(data, "timeline"))
    if not found:
        return "No trial has begun yet."
    table = worker_table(data.worker_times)
    return Content("timeline", {"figure": found[0], "columns": table.columns, "rows": table.rows}, found)


def _efficiency(data: ReportData) -> Content | None:
    table = data.efficiency
    if table is None:
        return None
    return Content("noted_table", {"columns": table.columns, "rows": table.rows, "notes": table.notes})


def _provenance(data: ReportData) -> Content:
    arguments = {
        "pairs": facts.origins(data),
        "commands": facts.commands(data),
        "files": facts.sweep_files(data),
    }
    return Content("provenance", arguments)


# The sections of a report, in order.
SECTIONS: Final[Makers] = {
    ("answer", "Answer"): _answer,
    ("history", "Best so far"): _history,
    ("leaderboard", "Leaderboard"): leaderboard,
    ("rungs", "Rungs"): _rungs,
    ("failures", "Failures"): _failures,
    ("curves", "Learning curves"): _curves,
    ("importance", "Importance"): _importance,
    ("parallel", "Parallel coordinates"): lambda data: _figure(data, "parallel", _BRUSHING),
    ("slices", "One hyperparameter at a time"): lambda data: _several(data, "slices"),
    ("contours", "Two hyperparameters at a time"): _contours,
    ("pareto", "Trade-offs"): lambda data: _several(data, "pareto"),
    ("model", "Best model"): _model,
    ("timeline", "Timeline"): _timeline,
    ("efficiency", "Efficiency"): _efficiency,
    ("study", "Search space and data"): _study,
    ("provenance", "Provenance"): _provenance,
}


def embedded(data: Any) -> str:
    """Write JSON that cannot close its script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def policy(scripts: Sequence[str], *more: str) -> str:
    """Return the policy that allows these scripts, by their hashes, and ``more`` sources of scripts."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts]
    sources = " ".join([*hashes, *more])
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def own_scripts(*names: str) -> list[str]:
    """Read files of this folder."""
    return [(resources.files("cnn_sweep.report.document") / name).read_text(encoding="utf-8") for name in names]


def plotly() -> str:
    """Read Plotly's script.

    Raises:
        EnvironmentFault: It is not installed.
    """
    try:
        found = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise EnvironmentFault(f"reports need the package plotly: pip install plotly ({error})") from error
    return re.sub(r"</(script)", r"<\\/\1", found, flags=re.IGNORECASE)
