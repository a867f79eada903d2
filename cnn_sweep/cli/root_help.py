"""What the program says about itself, as plain text: its help, the first steps, its version.

Drawing these as typer does would take four times as long, because it loads a renderer of Markdown for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cnn_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAM: Final = "Hyperparameter sweeps of convolutional networks: on this machine or as Slurm\narray jobs."
_STEPS: Final = {
    "cnn-sweep init": "write a sweep file for your images",
    "cnn-sweep run SWEEP.yaml": "train its trials on this machine",
    "cnn-sweep leaderboard STUDY": "rank them; STUDY is the name in the file",
}
_OPTIONS: Final = {"-h, --help": "Show this message and exit.", "--version": "Show the version and exit."}


def first_steps() -> str:
    """Return what somebody should do who types nothing but the program's name."""
    return (
        f"{_PROGRAM}\n\nFirst steps:\n{_rows(_STEPS)}\n"
        "`cnn-sweep --help` lists all commands; `cnn-sweep COMMAND --help` explains one.\n"
    )


def full(groups: Mapping[str, Mapping[str, str]]) -> str:
    """Return the help of the program.

    Args:
        groups: The commands and their lines, by purpose.
    """
    width = max(len(name) for commands in groups.values() for name in commands)
    parts = [f"{heading}:\n{_rows(commands, width)}" for heading, commands in groups.items()]
    return "\n".join(
        [
            f"Usage: cnn-sweep COMMAND [ARGUMENTS]\n\n{_PROGRAM}\n",
            *parts,
            f"Options:\n{_rows(_OPTIONS, width)}",
            "`cnn-sweep COMMAND --help` explains a command, with examples.\n",
        ]
    )


def version() -> str:
    """Return the program's name and version."""
    return f"cnn-sweep {cnn_sweep.__version__}"


def _rows(rows: Mapping[str, str], width: int = 0) -> str:
    width = max([width, *map(len, rows)])
    return "".join(f"  {name:{width}}  {line}\n" for name, line in rows.items())
