"""``r``: prints the functions for R users."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cnn_sweep.shipped import r_functions


def r() -> None:
    """Print the functions for R. Save them with `cnn-sweep r > cnn_sweep.R`, and in R type source("cnn_sweep.R").

    They write grids, run sweeps, and read leaderboards and learning curves as data frames.

    Examples:
      cnn-sweep r
    """
    print(_command_line(Path(sys.argv[0])) + r_functions().read_text(encoding="utf-8"), end="")


def _command_line(program: Path) -> str:
    """Return the line of R that names this installation's command, for an R that does not have it on its PATH."""
    if program.name != "cnn-sweep" or not program.is_file():  # python -m
        return ""
    name = json.dumps(str(program.absolute()))  # R reads the same escapes, and the line is ASCII
    return f"if (is.null(getOption('cnn_sweep.command'))) options(cnn_sweep.command = {name})\n\n"
