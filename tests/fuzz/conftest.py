"""Prints the figures of a long run at its end."""

from __future__ import annotations

import os

from helpers.fuzzing import TALLIES


def pytest_terminal_summary(terminalreporter):
    """Print a line for each target."""
    if TALLIES and "CNN_SWEEP_FUZZ" in os.environ:
        terminalreporter.write_line(f"{'target':<16}{'cases':>8}{'findings':>10}{'slowest':>12}{'growth':>11}")
        for tally in TALLIES:
            terminalreporter.write_line(str(tally))
