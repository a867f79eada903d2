"""The program for typer, whose commands are imported when they are typed."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from cnn_sweep.cli import root_help
from cnn_sweep.cli.ui.help import register, tidy
from cnn_sweep.errors import InputError
from cnn_sweep.streams import printable

if TYPE_CHECKING:
    from collections.abc import Mapping


_FILES: Final = {"import": "import_optuna", "list": "list_studies"}


class _Commands(TyperGroup):
    """A group that imports only the command that is typed.

    Attributes:
        text: The help of the program.
    """

    text = ""

    # Typed as Any, because newer versions of typer include their own copy of click.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the typed command; until then it is a stub."""
        if args[0] in self.commands:
            self.commands[args[0]] = load_command(args[0])
        elif args[0].endswith((".yaml", ".yml")) or os.path.isfile(args[0]):  # noqa: PTH113 - pathlib imports slowly
            raise InputError(f"{args[0]!r} is a file, not a command; did you mean `cnn-sweep run {args[0]}`?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a mistake that pydantic found for typer is told in our words."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(error, typer.BadParameter) and callable(details := getattr(error.__cause__, "errors", None)):
                from cnn_sweep.validation import in_words

                error.message = in_words(details()[0])
            if isinstance(message := getattr(error, "message", None), str):
                vars(error)["message"] = printable(message)  # typer prints it past our streams
            raise

    def format_help(self, _ctx: Any, formatter: Any) -> None:
        """Write the help of the program."""
        formatter.write(self.text)


def load_command(name: str) -> Any:
    """Import a command or a group of commands and return it for click."""
    file = _FILES.get(name, name)
    module = import_module(f"cnn_sweep.cli.commands.{file}")
    group = getattr(module, "app", None)
    if group is None:
        single = typer.Typer(add_completion=False)
        register(single, getattr(module, file))
        command: Any = typer.main.get_command(single)
    else:
        command = typer.main.get_group(group)
    command.name = name
    tidy(command)
    return command


def program(help_text: str, commands: Mapping[str, str]) -> typer.Typer:
    """Return the program.

    Args:
        help_text: Its own help.
        commands: The line of each command.
    """
    return _program(help_text, tuple(commands))


@cache
def _program(help_text: str, names: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer(
        name="cnn-sweep",
        cls=type("_Program", (_Commands,), {"text": help_text}),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in names:
        app.command(name)(lambda: None)
    return app


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda wanted: _print_version(wanted=wanted), is_eager=True)
    ] = False,
) -> None:
    """Take the options of the program itself; typer calls it before a command."""


def _print_version(*, wanted: bool) -> None:
    if wanted:
        print(root_help.version())
        raise typer.Exit
