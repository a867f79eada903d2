"""The sections of a report, in their order; one without anything to show says why."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

from cnn_sweep.report.document import markup
from cnn_sweep.report.document import summary as facts
from cnn_sweep.report.document.markup import Section, escaped
from cnn_sweep.report.document.reproduction import commands, sweep_files
from cnn_sweep.report.document.rungs import rung_table
from cnn_sweep.report.figures.all_figures import figures
from cnn_sweep.report.figures.contact_sheets import thumbnail_uris
from cnn_sweep.report.figures.importance_rows import interaction_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.report.report_data import Material

# Rows of the leaderboard that stand in the page for readers without scripts.
_STATIC_ROWS = 20


def all_sections(material: Material) -> list[Section]:
    """Make every section; one that fails says so, and is among the material's problems."""
    makers: dict[tuple[str, str], Callable[[], Section | None]] = {
        ("summary", "Summary"): lambda: _summary(material),
        ("configurations", "Configurations"): lambda: _configurations(material),
        ("leaderboard", "Leaderboard"): lambda: _leaderboard(material),
        ("rungs", "Rungs"): lambda: _rungs(material),
        ("history", "Optimization history"): lambda: _figures(material, "history", "Optimization history"),
        ("curves", "Learning curves"): lambda: _curves(material),
        ("parallel", "Parallel coordinates"): lambda: _figures(material, "parallel", "Parallel coordinates"),
        ("importance", "Importance"): lambda: _importance(material),
        ("slices", "One hyperparameter at a time"): lambda: _figures(
            material, "slices", "One hyperparameter at a time", several=True
        ),
        ("contours", "Two hyperparameters at a time"): lambda: _contours(material),
        ("pareto", "Trade-offs"): lambda: _figures(material, "pareto", "Trade-offs", several=True),
        ("model", "Best model"): lambda: _model(material),
        ("provenance", "Provenance"): lambda: _provenance(material),
    }
    found = [_attempted(material, name, title, make) for (name, title), make in makers.items()]
    return [section for section in found if section is not None]


def _attempted(material: Material, name: str, title: str, make: Callable[[], Section | None]) -> Section | None:
    def whole() -> Section | None:
        section = make()
        if section is not None:  # what JSON has no word for would spoil the whole page
            json.dumps([(one.data, one.layout) for one in section.figures], allow_nan=False, default=str)
        return section

    return material.problems.attempt(
        f"the section {title}", whole, lambda why: Section(name, title, f'<p class="error">{escaped(why)}</p>')
    )


def _nothing(material: Material) -> str:
    return f'<p class="quiet">{escaped(material.nothing_complete)}</p>'


def _summary(material: Material) -> Section:
    body = markup.facts((name, escaped(value)) for name, value in facts.summary(material))
    body += "<h3>Search space</h3>" + markup.table(("hyperparameter", "values", "only with"), facts.space(material))
    constraints = [one.text for one in material.sweep.constraints] if material.sweep else []
    if constraints:
        body += (
            f"<p>Only configurations with {', '.join(f'<code>{html.escape(one)}</code>' for one in constraints)}.</p>"
        )
    if material.failures:
        body += "<h3>Failures by cause</h3>" + markup.table(
            ("cause", "count", "trial", "message"), facts.failures(material)
        )
    return Section("summary", "Summary", body)


def _configurations(material: Material) -> Section | None:
    """List the means of configurations that were trained with several seeds, the best first."""
    table = material.configurations
    if table is None:
        return None
    body = markup.table(table.columns, table.rows[:_STATIC_ROWS])
    rest = len(table.rows) - _STATIC_ROWS
    notes = [*table.notes, *([f"{rest:,} more: cnn-sweep leaderboard {material.study}"] if rest > 0 else [])]
    return Section("configurations", "Configurations", body + "".join(f"<p>{escaped(note)}.</p>" for note in notes))


def _leaderboard(material: Material) -> Section:
    board = material.board
    if not board.rows:
        return Section("leaderboard", "Leaderboard", '<p class="quiet">No trial has begun yet.</p>')
    hint = html.escape('val_accuracy > 0.9 and optimizer in ("adam", "sgd")')
    controls = (
        '<div class="controls" hidden><label for="filter">Filter</label>'
        f'<input id="filter" type="search" placeholder="{hint}" autocomplete="off" spellcheck="false" '
        'aria-describedby="hint"></div><p id="problem" class="error" role="status"></p>'
        '<p id="count" class="quiet" role="status"></p>'
        '<p id="hint" class="quiet controls" hidden><span>Conditions are those of <code>--where</code>: '
        "<code>== != &lt; &lt;= &gt; &gt;= in</code>, <code>and or not</code>, <code>missing(momentum)</code>, "
        '<code>like(optimizer, "ad*")</code>; texts stand in quotes. A single word is looked for in all columns. '
        "A tick draws the learning curve below.</span></p>"
    )
    head = "".join(
        f'<th scope="col" data-column="{html.escape(name)}" aria-sort="{"ascending" if name == "rank" else "none"}">'
        f"{escaped(name)}</th>"
        for name in material.columns
    )
    rows = "".join(
        f'<tr><td class="pick"></td>{"".join(f"<td>{escaped(row.get(name))}</td>" for name in material.columns)}</tr>'
        for row in board.rows[:_STATIC_ROWS]
    )
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Leaderboard"><table id="board">'
        f'<thead><tr><th scope="col" class="pick">curve</th>{head}</tr></thead>'
        f'<tbody id="rows">{rows}</tbody></table></div>'
        '<p class="controls" hidden><button id="more">Show more</button></p>'
    )
    return Section("leaderboard", "Leaderboard", controls + table)


def _rungs(material: Material) -> Section | None:
    table = rung_table(material)
    if table is None:
        return None
    body = "<p>Trials pause at rungs, and the best of each go on.</p>" + markup.table(table.columns, table.rows)
    return Section("rungs", "Rungs", body)


def _figures(material: Material, name: str, title: str, *, several: bool = False) -> Section:
    there = tuple(figures(material, name))
    if not there:
        return Section(name, title, _nothing(material))
    body = "".join(markup.figure(figure, heading=several) for figure in there)
    return Section(name, title, f'<div class="several">{body}</div>' if several else body, there)


def _curves(material: Material) -> Section:
    found = figures(material, "curves")
    if not found:
        return Section("curves", "Learning curves", '<p class="quiet">No epoch is done yet.</p>')
    # The page draws these itself, of the trials that are ticked.
    body = markup.choice_of(found, "Metric").replace('data-figure="curves-', 'data-curve="')
    return Section("curves", "Learning curves", body)


def _importance(material: Material) -> Section:
    title, findings = "Importance", material.findings
    if findings is None:
        return Section(
            "importance",
            title,
            f'<p class="quiet">{escaped(material.no_findings)}</p>' if material.ranked else _nothing(material),
        )
    (figure,) = figures(material, "importance")
    body = markup.figure(figure)
    if (pairs := interaction_table(findings)) is not None:
        body += "<h3>Interactions</h3>" + markup.table(pairs.columns, pairs.rows)
    return Section("importance", title, body, (figure,))


def _contours(material: Material) -> Section:
    found = figures(material, "contours")
    if not found:
        none = '<p class="quiet">There are no two hyperparameters to compare.</p>'
        nothing = none if material.ranked else _nothing(material)
        return Section("contours", "Two hyperparameters at a time", nothing)
    body = markup.choice_of(found, "Hyperparameters")
    return Section("contours", "Two hyperparameters at a time", body, tuple(found))


def _model(material: Material) -> Section:
    title, best = "Best model", material.best_model
    if best is None:
        return Section(
            "model", title, f'<p class="quiet">{escaped(material.no_model or material.nothing_complete)}</p>'
        )
    words = f"{best.wrong:,} of {best.images:,} validation images are taken for another class by trial {best.trial}."
    (confusion,) = figures(material, "confusion")
    body = f"<p>{words}</p>" + markup.figure(confusion)
    body += markup.table(best.classes.columns, best.classes.rows)
    if best.mistakes:
        pictures = "".join(
            f'<figure><img src="{picture}" alt="{escaped(one.name)}"><figcaption>{escaped(one.true)} taken for '
            f"{escaped(one.predicted)}, {one.probability:.3f}<br>{escaped(one.name)}</figcaption></figure>"
            for one, picture in zip(best.mistakes, thumbnail_uris(best.mistaken), strict=True)
        )
        body += f'<h3>Surest mistakes</h3><div class="images">{pictures}</div>'
    return Section("model", title, body, (confusion,))


def _provenance(material: Material) -> Section:
    body = markup.facts((name, escaped(value)) for name, value in facts.origins(material))
    body += "<h3>Do it again</h3>" + markup.listing(commands(material))
    files = sweep_files(material)
    for name, text in files.items():
        body += f"<h3>Sweep file {escaped(name)}</h3>" + markup.listing(text)
    body += "" if files else "<h3>Sweep file</h3>" + markup.listing("The sweep file cannot be read.")
    diff = (material.provenance.get("git") or {}).get("diff")
    body += markup.details("Changes since the commit", markup.listing(diff)) if diff else ""
    return Section("provenance", "Provenance", body)
