"""A report as Markdown, for a README or the appendix of a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.report.contents import facts
from cnn_sweep.report.contents.rungs import rung_table
from cnn_sweep.report.figures.all_figures import KINDS, figures
from cnn_sweep.report.leaderboards.formats import markdown_text, to_markdown
from cnn_sweep.report.leaderboards.grouping import without_constants
from cnn_sweep.report.leaderboards.leaderboard import Selection, Table, select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.report.contents.material import Material

_TOP = 20


def markdown(material: Material, *, images: str | None = None) -> str:
    """Write the report.

    Args:
        material: What is known.
        images: Where its figures are, relative to the file; None if there are none.
    """
    parts = [
        f"# {markdown_text(material.study)}",
        _pairs(facts.summary(material)),
        "## Search space",
        _table(Table(("hyperparameter", "values", "only with"), tuple(facts.space(material)))),
    ]
    if material.failures:
        failures = Table(("cause", "count", "trial", "message"), tuple(material.failures))
        parts += ["## Failures by cause", _table(failures)]
    if (configurations := material.configurations) is not None:
        top = select(configurations, Selection(top=_TOP))
        parts += ["## Configurations", _table(top), *(f"{markdown_text(note)}." for note in top.notes)]
    parts += ["## Leaderboard", _leaderboard(material)]
    if (rungs := rung_table(material)) is not None:
        parts += ["## Rungs", _table(rungs)]
    if material.findings is not None:
        shares = [one.__dict__ for one in material.findings.importances]
        parts += [
            "## Importance",
            _table(Table(("parameter", "fanova", "fanova_sd", "ped_anova", "trials"), tuple(shares))),
        ]
    if material.best_model is not None:
        parts += [f"## Classes (trial {material.best_model.trial})", _table(material.best_model.classes)]
    if images is not None:
        parts += ["## Figures", *_figures(material, images)]
    parts += ["## Provenance", _pairs(facts.origins(material)), _code("sh", facts.commands(material))]
    parts += [_code("yaml", material.sweep_text)] if material.sweep_text else []
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _leaderboard(material: Material) -> str:
    if not material.board.rows:
        return "No trial has begun yet."
    table = without_constants(select(material.board, Selection(top=_TOP)), list(material.axes))
    rest = len(material.board.rows) - len(table.rows)
    return _table(table) + (f"\nand {rest:,} more trials.\n" if rest > 0 else "")


def _figures(material: Material, images: str) -> list[str]:
    found = [figure for kind in KINDS for figure in figures(material, kind)]
    return [f"![{markdown_text(figure.caption)}]({images}/{figure.name}.svg)" for figure in found]


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {markdown_text(value)}" for name, value in pairs)


def _table(table: Table) -> str:
    return to_markdown(table)


def _code(language: str, text: str) -> str:
    """Write lines as they are, fenced by more backquotes than they have."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
