"""Writes the table of arguments and options that completion reads, because importing the commands would be too slow.

``make completion`` runs it after an option has changed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cnn_sweep.cli.app import load_command
from cnn_sweep.cli.completion.suggestions import TABLE
from cnn_sweep.cli.main import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator


def members() -> Iterator[tuple[str, Any]]:
    """Yield the words and the click command of each command, also of those in groups."""
    for name in COMMANDS:
        command = load_command(name)
        group = getattr(command, "commands", None)
        yield from {f"{name} {word}": member for word, member in group.items()}.items() if group else [(name, command)]


def table() -> str:
    """Return the table as JSON: for each command its help, the words of its arguments, and its options."""
    rows = []
    for words, command in members():
        params = command.get_params(command.make_context(words, [], resilient_parsing=True))
        options = dict(_options(params))
        arguments = [_word(param) for param in params if param.param_type_name == "argument"]
        listed = ",\n".join(f"   {json.dumps(name)}: {json.dumps(row)}" for name, row in options.items())
        head = f'  "help": {json.dumps(_first_line(command.help))},\n  "arguments": {json.dumps(arguments)}'
        rows.append(f' {json.dumps(words)}: {{\n{head},\n  "options": {{\n{listed}\n  }}\n }}')
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _options(params: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for param in params:
        if param.param_type_name == "argument" or getattr(param, "hidden", False):
            continue
        names = [*param.opts, *param.secondary_opts]
        short = [name for name in names if not name.startswith("--")]
        for name in names:
            if name.startswith("--"):
                row: dict[str, Any] = {"value": _word(param), "help": _first_line(param.help)}
                yield name, row | ({"short": short[0]} if short else {}) | ({"repeats": True} if param.multiple else {})


def _word(param: Any) -> str:
    """Return the word for a value, or its choices; empty for a switch."""
    kind = param.type_descriptor
    choices = [str(getattr(choice, "value", choice)) for choice in kind.choices or ()] if kind.is_choice else []
    word = "|".join(choices) or param.metavar or ""
    return f"{word}..." if param.nargs == -1 else word


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0]


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
