"""Help of commands: a docstring's text above the options, its examples below them, and words for values."""

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


def tidy(command: Any) -> None:
    """Name the values of a command's options, and of those of a group's commands, by words instead of types.

    An option names its value with ``metavar``. Otherwise a number is ``N``, a text or a path has the option's own
    name, and a switch has none.
    """
    listed = command.get_params

    def get_params(context: Any) -> Any:  # replaced, because --help appears only there
        params = listed(context)
        for param in params:
            _name_value(param)
        return params

    command.get_params = get_params
    for member in getattr(command, "commands", {}).values():
        tidy(member)


def _name_value(param: Any) -> None:
    kind = getattr(param, "type_descriptor", None)
    if param.param_type_name == "argument":
        param.display_type_rich = lambda **_context: None  # its name says what it is
    elif param.metavar is None and getattr(param, "is_flag", False):
        param.metavar = ""
    elif param.metavar is None and not getattr(kind, "is_choice", False):
        is_number = getattr(kind, "annotation", None) in (int, float)
        param.metavar = "N" if is_number else param.name.upper().replace("_", "-")
