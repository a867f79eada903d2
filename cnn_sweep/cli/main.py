"""The program: its table of commands, its own help, and how an error ends it.

Nothing is imported here that a command's start or the help does not need; typer is loaded when a command is typed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep import streams
from cnn_sweep.cli import ctrl_c, root_help
from cnn_sweep.errors import (
    CnnSweepError,
    EnvironmentFault,
    InputError,
    Interrupted,
    fault_of,
    faults_of_the_system,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# The commands by purpose, each with its line in the help. A command's file is `commands/NAME.py`; it has a function of
# that name, or `app`, a group of commands. Commands named by a word of Python's have files with longer names.
GROUPS: Final = {
    "Prepare": {
        "init": "Write a sweep file for your images, or copy an example.",
        "plan": "Show the trials of a sweep without running them.",
        "profile": "Write a profile for this cluster, or check one.",
        "data": "Prepare or draw the images of a sweep.",
        "copy": "Write the sweep of a study as a new file, with changes.",
        "threads": "Measure the fastest division of cores between workers.",
        "schema": "Print the JSON Schema of sweep files or profiles.",
    },
    "Train": {
        "run": "Run a sweep on this machine.",
        "submit": "Submit a sweep to Slurm as array jobs.",
        "resume": "Continue a study, also with a larger budget.",
        "repeat": "Add repeats with new seeds to the best configurations.",
        "cancel": "Stop a study, or cancel one trial.",
    },
    "Look at results": {
        "status": "Show the progress of one study or all studies.",
        "list": "List all studies: state, best value, last activity, size.",
        "leaderboard": "Rank the trials of one study or several.",
        "show": "Show one trial in detail.",
        "importance": "Show which hyperparameters matter most.",
        "report": "Write a report on a study as HTML or Markdown.",
        "methods": "Write the methods section of a paper about a study.",
        "dashboard": "Serve optuna-dashboard for a study.",
        "logs": "Show the logs of workers and jobs.",
        "efficiency": "Compare what jobs asked for with what they used.",
    },
    "Use trained models": {
        "finalize": "Evaluate the best trials on the sealed test set.",
        "confusion": "Show the confusion matrix of a trial's model.",
        "misclassified": "List the images that a trial's model misclassifies.",
        "compare": "Test whether two trials differ by more than chance.",
        "calibration": "Show how far the probabilities of a trial can be believed.",
        "threshold": "Find the score that reaches a class's precision or recall.",
        "ensemble": "Choose trials whose predictions are best averaged.",
        "predict": "Predict the classes of images with a trial's model.",
        "activations": "Draw the activations of a layer for an image.",
        "model": "Save a trial's model as a plain Keras file.",
    },
    "Exchange with other programs": {
        "export": "Export a study to CSV, Parquet, MLflow and other formats.",
        "import": "Import trials from other programs.",
        "sql": "Query the store with SQL, read-only.",
        "r": "Print the functions for R.",
    },
    "Keep order": {
        "rename": "Give a study another name.",
        "archive": "Put a study into one file, and remove its folder.",
        "unarchive": "Restore a study from an archive, or check an archive.",
        "delete": "Delete studies for good.",
        "share": "Share a results folder with a group, or end that.",
    },
    "Maintain": {
        "store": "Merge, rebuild or check the database of results.",
        "doctor": "Check this machine, Slurm, GPUs and the results folder.",
        "completion": "Let the Tab key complete commands in bash, zsh or fish.",
    },
}
# The word that a shell's script types in place of a command, to ask what can come next.
ASKED: Final = "__complete"
# Exit code of a command that SIGTERM ends, as a shell counts it.
_TERMINATED: Final = 128 + signal.SIGTERM
COMMANDS: Final = {name: line for commands in GROUPS.values() for name, line in commands.items()}


def __getattr__(name: str) -> Any:
    """Return ``app``, the program for typer, or ``load_command``; the program's own help needs neither."""
    if name not in {"app", "load_command"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cnn_sweep.cli import app as for_typer

    return for_typer.load_command if name == "load_command" else for_typer.program(root_help.full(GROUPS), COMMANDS)


def main() -> None:
    """Run a command; print our own errors as one message and return their exit codes."""
    try:
        with _signals():
            streams.for_people()
            try:
                with faults_of_the_system():
                    _answer(sys.argv[1:])
            finally:
                sys.stdout.flush()  # here a closed pipe is handled; at Python's exit it would print a traceback
    except CnnSweepError as error:
        _end(f"cnn-sweep: {error}", error.exit_code)
    except UnicodeEncodeError as error:  # a file's name: texts are always written in UTF-8
        if error.encoding != sys.getfilesystemencoding():
            raise
        name, cure = error.object, f"this locale's encoding is {error.encoding}; set PYTHONUTF8=1 or LC_ALL=C.UTF-8"
        _end(f"cnn-sweep: {name!r} cannot be used as a file name: {cure}", EnvironmentFault.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except (BrokenPipeError, SystemExit) as end:  # typer and rich exit with 1 if a pipe is closed
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # its reader, such as `head`, has ended
        sys.exit(0)
    except OSError as error:  # of the output itself, such as a file on a full disk
        with suppress(OSError, ValueError):  # the rest would fail again at Python's exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end(f"cnn-sweep: standard output: {fault_of(error)}", EnvironmentFault.exit_code)


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: what it began is undone or ended, and temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if ctrl_c.IS_PROGRAM and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if ctrl_c.IS_PROGRAM:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to be ended


def _end(message: str, code: int) -> None:
    """Print a message if somebody reads it, and end."""
    with suppress(OSError):
        print(message, file=sys.stderr)
    sys.exit(code)


def _answer(words: list[str]) -> None:
    """Answer a question about the program itself, or run a command."""
    if not words:
        print(root_help.first_steps(), end="")
        sys.exit(InputError.exit_code)
    if words[0] == "help":
        words = [*words[1:], "--help"]
    if words in (["--help"], ["-h"]):
        print(root_help.full(GROUPS), end="")
    elif words == ["--version"]:
        print(root_help.version())
    elif words[0] == ASKED:
        from cnn_sweep.cli.completion.answer import answer

        answer(words[1:], COMMANDS)
    else:
        app: Any = __getattr__("app")
        app(words)


if __name__ == "__main__":
    main()
