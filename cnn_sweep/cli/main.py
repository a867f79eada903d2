"""The program: its commands in the order of its help, and how an error ends it.

A command's file is imported when the command is typed, so that help and commands for login nodes start quickly.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import cnn_sweep
from cnn_sweep import streams
from cnn_sweep.cli.ui.help import register
from cnn_sweep.errors import CnnSweepError, EnvironmentFault, Interrupted

# The line of each command in the list of commands. A command's file is `commands/NAME.py`; it has a function of that
# name, or `app`, a group of commands.
COMMANDS: Final = {
    "init": "Write a sweep file to start from.",
    "run": "Run a sweep on this machine.",
    "submit": "Submit a sweep to Slurm as array jobs.",
    "resume": "Continue a study, also with a larger budget.",
    "repeat": "Add repeats with new seeds to the best configurations.",
    "plan": "Show the trials of a sweep without running them.",
    "threads": "Measure the fastest division of cores between workers.",
    "status": "Show the progress of one study or all studies.",
    "leaderboard": "Rank the trials of one study or several.",
    "show": "Show one trial in detail.",
    "report": "Write a report on a study as HTML or Markdown.",
    "dashboard": "Serve optuna-dashboard for a study.",
    "finalize": "Evaluate the best trials on the sealed test set.",
    "confusion": "Show the confusion matrix of a trial's model.",
    "misclassified": "List the images that a trial's model misclassifies.",
    "predict": "Predict the classes of images with a trial's model.",
    "activations": "Draw the activations of a layer for an image.",
    "model": "Save a trial's model as a plain Keras file.",
    "sql": "Query the store with SQL, read-only.",
    "importance": "Show which hyperparameters matter most.",
    "export": "Export a study to CSV, Parquet, MLflow and other formats.",
    "cancel": "Stop a study, or cancel one trial.",
    "logs": "Show the logs of workers and jobs.",
    "doctor": "Check this machine, Slurm, GPUs and the results folder.",
    "data": "Prepare or draw the images of a sweep.",
    "store": "Merge, rebuild or check the database of results.",
    "import": "Import trials from other programs.",
    "r": "Print the functions for R.",
}


class _Commands(TyperGroup):
    """A group that imports only the command that is typed."""

    # Typed as Any, because newer versions of typer include their own copy of click.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the typed command, for which help has only a one-line stub."""
        if args[0] in COMMANDS:
            self.commands[args[0]] = load_command(args[0])
        return super().resolve_command(ctx, args)


def load_command(name: str) -> Any:
    """Import a command or a group of commands and return it for click."""
    file = "import_optuna" if name == "import" else name
    module = import_module(f"cnn_sweep.cli.commands.{file}")
    group = getattr(module, "app", None)
    if group is None:
        single = typer.Typer(add_completion=False)
        register(single, getattr(module, name))
        command: Any = typer.main.get_command(single)
    else:
        command = typer.main.get_group(group)
    command.name = name
    return command


app = typer.Typer(
    name="cnn-sweep",
    help="Hyperparameter sweeps of convolutional networks: on this machine or as Slurm array jobs.",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"cnn-sweep {cnn_sweep.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options of the program itself; typer calls it before a command."""


for _name, _line in COMMANDS.items():
    app.command(_name, help=_line)(lambda: None)


def main() -> None:
    """Run a command; print our own errors as one message and return their exit codes."""
    streams.for_people()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here a closed pipe is handled; at the interpreter's exit it would print a traceback
    except CnnSweepError as error:
        print(f"cnn-sweep: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:  # a file's name: texts are always written in UTF-8
        if error.encoding != sys.getfilesystemencoding():
            raise
        name, cure = error.object, f"this locale's encoding is {error.encoding}; set PYTHONUTF8=1 or LC_ALL=C.UTF-8"
        print(f"cnn-sweep: {name!r} cannot be used as a file name: {cure}", file=sys.stderr)
        sys.exit(EnvironmentFault.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:  # the reader of our output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
