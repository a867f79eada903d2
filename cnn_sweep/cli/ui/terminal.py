"""The terminal: its width, rich's console, and messages to the user."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
from typing import IO, TYPE_CHECKING, Any

from rich import console as rich_console
from rich.segment import Segment
from rich.text import Text

from cnn_sweep.slurm.environment import user_name
from cnn_sweep.streams import printable, unescaped

if TYPE_CHECKING:
    from collections.abc import Iterable


class Console(rich_console.Console):
    """rich's console, which alone may write control characters; those in the texts that it prints are spelled out."""

    @property
    def file(self) -> IO[str]:
        """The stream below the one that spells out control characters."""
        return unescaped(super().file)

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream

    def render(self, renderable: Any, options: rich_console.ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the pieces of something, with control characters spelled out in each."""
        if isinstance(renderable, Text) and (plain := printable(renderable.plain)) != renderable.plain:
            renderable = Text(plain, renderable.style, no_wrap=renderable.no_wrap, end=renderable.end)
        for segment in super().render(renderable, options):
            if segment.control or (text := printable(segment.text)) == segment.text:
                yield segment
            else:
                yield Segment(text, segment.style)


def terminal_width() -> int | None:
    """Return the width of the terminal in columns, or None if standard output is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def can_redraw(console: rich_console.Console) -> bool:
    """Return whether a console can redraw a display in place; a dumb terminal, like a file, cannot."""
    return console.is_terminal and not console.is_dumb_terminal


def print_words(text: str, *, stderr: bool = False) -> None:
    """Print a sentence: wrapped between words on a terminal, as one line in a pipe or a file."""
    if (width := terminal_width()) is None:
        print(text, file=sys.stderr if stderr else sys.stdout)
    else:  # On a dumb terminal, rich ignores a width without a height.
        Console(stderr=stderr, width=width, height=1, highlight=False).print(text, markup=False)


def print_data(text: str) -> None:
    """Print what other programs read: unchanged in a pipe or a file, for people to read on a terminal."""
    (sys.stdout if sys.stdout.isatty() else unescaped(sys.stdout)).write(text)


def ssh_tunnel(port: int, to: str) -> str:
    """Return the command, for the user's own machine, that forwards a port there to an address or a socket here."""
    return f"ssh -N -L {port}:{shlex.quote(to)} {user_name()}@{platform.node()}"


def warn(text: str) -> None:
    """Print a message to standard error, after the program's name."""
    print(f"cnn-sweep: {text}", file=sys.stderr, flush=True)
