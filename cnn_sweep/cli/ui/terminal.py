"""The terminal: its width, and messages to the user."""

from __future__ import annotations

import shutil
import sys

from rich.console import Console


def terminal_width() -> int | None:
    """Return the width of the terminal in columns, or None if standard output is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def can_redraw(console: Console) -> bool:
    """Return whether a console can redraw a display in place; a dumb terminal, like a file, cannot."""
    return console.is_terminal and not console.is_dumb_terminal


def print_words(text: str, *, stderr: bool = False) -> None:
    """Print a sentence: wrapped between words on a terminal, as one line in a pipe or a file."""
    if (width := terminal_width()) is None:
        print(text, file=sys.stderr if stderr else sys.stdout)
    else:  # On a dumb terminal, rich ignores a width without a height.
        Console(stderr=stderr, width=width, height=1, highlight=False).print(text, markup=False)


def warn(text: str) -> None:
    """Print a message to standard error, after the program's name."""
    print(f"cnn-sweep: {text}", file=sys.stderr, flush=True)
