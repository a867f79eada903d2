"""The sections of a report, in their order; one without anything to show says why."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from cnn_sweep.report import facts, figures_of_hyperparameters, figures_of_trials
from cnn_sweep.report.page import markup
from cnn_sweep.report.page.markup import Section, escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.figure import Figure
    from cnn_sweep.report.material import Material

# Rows of the leaderboard that stand in the page for readers without scripts.
_STATIC_ROWS = 20
_NONE = '<p class="quiet">No trial is complete yet.</p>'


def all_sections(material: Material) -> list[Section]:
    """Make every section."""
    return [
        _summary(material),
        _leaderboard(material),
        _figures("history", "Optimization history", [figures_of_trials.history(material)]),
        _curves(material),
        _figures("parallel", "Parallel coordinates", [figures_of_trials.parallel(material)]),
        _slices(material),
        _contours(material),
        _figures("pareto", "Trade-offs", figures_of_trials.trade_offs(material), several=True),
        _provenance(material),
    ]


def _summary(material: Material) -> Section:
    body = markup.facts((name, escaped(value)) for name, value in facts.summary(material))
    body += "<h3>Search space</h3>" + markup.table(("hyperparameter", "values", "only with"), facts.space(material))
    constraints = [one.text for one in material.sweep.constraints] if material.sweep else []
    if constraints:
        body += (
            f"<p>Only configurations with {', '.join(f'<code>{html.escape(one)}</code>' for one in constraints)}.</p>"
        )
    if material.failures:
        body += "<h3>Failures by cause</h3>" + markup.table(("cause", "count", "trial", "message"), material.failures)
    return Section("summary", "Summary", body)


def _leaderboard(material: Material) -> Section:
    board = material.board
    if not board.rows:
        return Section("leaderboard", "Leaderboard", '<p class="quiet">No trial has begun yet.</p>')
    hint = "val_accuracy &gt; 0.9 and optimizer = adam"
    controls = (
        '<div class="controls" hidden><label for="filter">Filter</label>'
        f'<input id="filter" type="search" placeholder="{hint}" autocomplete="off" spellcheck="false">'
        '<span id="count" class="quiet" role="status"></span></div><p id="problem" class="error" role="alert"></p>'
        '<p class="quiet">Words are looked for in all columns; <code>column &lt; &lt;= &gt; &gt;= = != ~ value</code>, '
        "joined by <code>and</code>, compare (<code>~</code>: contains). A tick draws the learning curve below.</p>"
    )
    head = "".join(
        f'<th scope="col" data-column="{html.escape(name)}" aria-sort="{"ascending" if name == "rank" else "none"}">'
        f"{escaped(name)}</th>"
        for name in board.columns
    )
    rows = "".join(
        f'<tr><td class="pick"></td>{"".join(f"<td>{escaped(row.get(name))}</td>" for name in board.columns)}</tr>'
        for row in board.rows[:_STATIC_ROWS]
    )
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Leaderboard"><table id="board">'
        f'<thead><tr><th scope="col" class="pick">curve</th>{head}</tr></thead>'
        f'<tbody id="rows">{rows}</tbody></table></div>'
        '<p class="controls" hidden><button id="more">Show more</button></p>'
    )
    return Section("leaderboard", "Leaderboard", controls + table)


def _figures(name: str, title: str, figures: Sequence[Figure | None], *, several: bool = False) -> Section:
    there = tuple(figure for figure in figures if figure is not None)
    if not there:
        return Section(name, title, _NONE)
    body = "".join(markup.figure(figure, heading=several) for figure in there)
    return Section(name, title, f'<div class="several">{body}</div>' if several else body, there)


def _curves(material: Material) -> Section:
    figures = figures_of_trials.curves(material)
    if not figures:
        return Section("curves", "Learning curves", '<p class="quiet">No epoch is done yet.</p>')
    # The page draws these itself, of the trials that are ticked.
    body = markup.choice_of(figures, "Metric").replace('data-figure="curves-', 'data-curve="')
    return Section("curves", "Learning curves", body)


def _slices(material: Material) -> Section:
    return _figures("slices", "One hyperparameter at a time", figures_of_hyperparameters.slices(material), several=True)


def _contours(material: Material) -> Section:
    figures = figures_of_hyperparameters.contours(material)
    if not figures:
        nothing = '<p class="quiet">There are no two hyperparameters to compare.</p>' if material.ranked else _NONE
        return Section("contours", "Two hyperparameters at a time", nothing)
    body = markup.choice_of(figures, "Hyperparameters")
    return Section("contours", "Two hyperparameters at a time", body, tuple(figures))


def _provenance(material: Material) -> Section:
    body = markup.facts((name, escaped(value)) for name, value in facts.origins(material))
    body += "<h3>Do it again</h3>" + markup.listing(facts.commands(material))
    body += "<h3>Sweep file</h3>" + markup.listing(material.sweep_text or "The sweep file cannot be read.")
    diff = (material.provenance.get("git") or {}).get("diff")
    body += markup.details("Changes since the commit", markup.listing(diff)) if diff else ""
    return Section("provenance", "Provenance", body)
