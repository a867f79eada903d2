"""Help of commands: shows a docstring's text above the options and its examples below them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer import Typer

_HEADING = "Examples:"


def register(app: Typer, command: Callable[..., Any], name: str | None = None) -> None:
    """Add a function to an app as a command; everything from ``Examples:`` on goes to the end of its help."""
    text, found, examples = (inspect.getdoc(command) or "").partition(f"\n\n{_HEADING}\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))  # typer keeps line breaks
    epilog = f"{_HEADING}\n{examples}" if found else None
    app.command(name, help=text, epilog=epilog)(command)
