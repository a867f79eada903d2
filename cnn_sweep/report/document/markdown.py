"""A report as Markdown, for a README or the appendix of a paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from cnn_sweep.report.document import answer
from cnn_sweep.report.document import summary as facts
from cnn_sweep.report.document.summary import commands, rung_rule, rung_table, sweep_files
from cnn_sweep.report.figures.plots import all_figures
from cnn_sweep.report.leaderboards.formats import markdown_text, to_markdown
from cnn_sweep.report.leaderboards.grouping import without_constants
from cnn_sweep.report.leaderboards.leaderboard import Selection, Table, select
from cnn_sweep.report.worker_times import worker_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cnn_sweep.report.report_data import ReportData

_TOP = 20


def markdown(data: ReportData, *, images: str | None = None) -> str:
    """Write the report.

    Args:
        data: The study's data.
        images: The folder of its figures, relative to the file; None without figures.
    """
    makers: dict[str, Callable[[], list[str]]] = {
        "Answer": lambda: _answer(data),
        "Configurations": lambda: _configurations(data),
        "Leaderboard": lambda: [_leaderboard(data)],
        "Rungs": lambda: (
            [markdown_text(rung_rule(data)), _table(rungs)] if (rungs := rung_table(data)) is not None else []
        ),
        "Failures": lambda: _failures(data),
        "Importance": lambda: _importance(data),
        "Best model": lambda: _classes(data),
        "Workers": lambda: [_table(worker_table(data.worker_times))] if data.worker_times else [],
        "Efficiency": lambda: _efficiency(data),
        "Figures": lambda: _figures(data, images) if images is not None else [],
        "Search space and data": lambda: [
            _pairs(facts.summary(data)),
            _table(Table(("hyperparameter", "values", "only with"), tuple(facts.space(data)))),
        ],
        "Provenance": lambda: [
            _pairs(facts.origins(data)),
            _code("sh", commands(data)),
            *(part for name, text in sweep_files(data).items() for part in (f"`{name}`:", _code("yaml", text))),
        ],
    }
    parts = [f"# {markdown_text(data.study)}"]
    for title, make in makers.items():
        made = data.problems.attempt(f"the section {title}", make, lambda why: [markdown_text(why)])
        parts += [f"## {title}", *made] if made else []
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _answer(data: ReportData) -> list[str]:
    lines = [markdown_text(answer.headline(data))]
    for title, steps in answer.in_lines(data).items():
        if steps:
            lines += [f"**{title}**", "\n".join(map(_step, steps))]
    return lines


def _step(step: answer.Step) -> str:
    return f"- {markdown_text(step.why)}" + (f":\n  {_inline_code(step.command)}" if step.command else "")


def _inline_code(text: str) -> str:
    """Write text as code in a line, between more backticks than any run in the text."""
    mark = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{mark}{text}{mark}"


def _failures(data: ReportData) -> list[str]:
    rows = tuple(facts.failures(data))
    return [_table(Table(facts.FAILURES, rows))] if rows else []


def _configurations(data: ReportData) -> list[str]:
    if data.configurations is None:
        return []
    top = select(data.configurations, Selection(top=_TOP))
    return [_table(top), *(f"{markdown_text(note)}." for note in top.notes)]


def _importance(data: ReportData) -> list[str]:
    parts = []
    for metric, found in data.all_findings.items():
        shares = tuple(one.__dict__ for one in found.importances)
        parts += [f"For {markdown_text(metric)}:"] if len(data.all_findings) > 1 else []
        parts.append(_table(Table(("parameter", "fanova", "fanova_sd", "ped_anova", "trials"), shares)))
        parts += [found.certainty] if found.certainty else []
    return parts


def _classes(data: ReportData) -> list[str]:
    best = data.best_model
    if best is None:
        return []
    before, after = best.calibration.error
    scaled = (
        "" if best.calibration.is_at_bound else f", {after:.4f} with temperature {best.calibration.temperature:.3g}"
    )
    return [
        f"Each class, as trial {best.trial} predicts it:",
        _table(best.classes),
        f"Expected calibration error of its probabilities: {before:.4f}{scaled}.",
    ]


def _efficiency(data: ReportData) -> list[str]:
    if data.efficiency is None:
        return []
    return [_table(data.efficiency), *(f"{markdown_text(note)}." for note in data.efficiency.notes)]


def _leaderboard(data: ReportData) -> str:
    if not data.board.rows:
        return "No trial has begun yet."
    table = without_constants(select(data.board, Selection(top=_TOP)), list(data.axes))
    rest = len(data.board.rows) - len(table.rows)
    return _table(table) + (f"\nand {rest:,} more trials.\n" if rest > 0 else "")


def _figures(data: ReportData, images: str) -> list[str]:
    return [f"![{markdown_text(figure.caption)}]({quote(images)}/{figure.name}.svg)" for figure in all_figures(data)]


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {markdown_text(value)}" for name, value in pairs)


def _table(table: Table) -> str:
    return to_markdown(table)


def _code(language: str, text: str) -> str:
    """Write text as a code block, with a fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
