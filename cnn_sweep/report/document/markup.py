"""Pieces of HTML; whatever is not a piece already is escaped."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.leaderboards.leaderboard import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.report.figures.figure import Figure


@dataclass(frozen=True)
class Section:
    """One section of a report.

    Attributes:
        name: Its anchor.
        title: Its heading.
        body: Its HTML.
        figures: Those that its body has places for.
    """

    name: str
    title: str
    body: str
    figures: tuple[Figure, ...] = ()


def escaped(value: Any) -> str:
    """Write a value as text of a page."""
    return html.escape(shown(value))


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Write a list of names and pieces of HTML."""
    items = "".join(f"<dt>{escaped(name)}</dt><dd>{piece}</dd>" for name, piece in pairs)
    return f'<dl class="facts">{items}</dl>'


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write a small table."""
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in columns)
    lines = ["".join(_cell(row.get(name)) for name in columns) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    label = f"Table by {escaped(columns[0])}"
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{whole}</div>'


def _cell(value: Any) -> str:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return f'<td class="number">{escaped(value)}</td>' if numeric else f"<td>{escaped(value)}</td>"


def listing(text: str) -> str:
    """Write lines as they are, with a button that copies them."""
    button = '<p class="controls" hidden><button data-copy>Copy</button></p>'
    return f'<div>{button}<pre tabindex="0">{html.escape(text)}</pre></div>'


def details(title: str, piece: str) -> str:
    """Write a part that opens on demand."""
    return f"<details><summary>{escaped(title)}</summary>{piece}</details>"


def figure(one: Figure, *, heading: bool = False, choice: bool = False, hidden: bool = False) -> str:
    """Write the place of a figure, with its caption."""
    name = html.escape(one.name)
    extra = (f' data-choice="{name}"' if choice else "") + (" hidden" if hidden else "")
    title = f"<h3>{escaped(one.title)}</h3>" if heading else ""
    place = f'<div class="plot" data-figure="{name}" role="group" aria-label="{escaped(one.title)}"></div>'
    return f"<figure{extra}>{title}{place}<figcaption>{escaped(one.caption)}</figcaption></figure>"


def choice_of(figures: Sequence[Figure], label: str) -> str:
    """Write figures of which one is shown at a time."""
    options = "".join(f'<option value="{html.escape(one.name)}">{escaped(one.title)}</option>' for one in figures)
    chooser = f'<p class="controls" hidden><label>{escaped(label)} <select data-choose>{options}</select></label></p>'
    return chooser + "".join(figure(one, choice=True, hidden=i > 0) for i, one in enumerate(figures))
