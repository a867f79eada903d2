"""Seconds from typing a login-node command to its answer: whole processes, alternating, medians."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results_page import write_section

RUNS = 7
ROOT = Path(__file__).parents[1]
COMMANDS = {
    "cnn-sweep --help": ["--help"],
    "cnn-sweep plan sweeps/digits.yaml": ["plan", "sweeps/digits.yaml"],
    "cnn-sweep status (no study)": ["status", "--results", "{results}"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    ours = str(Path(sys.executable).with_name("cnn-sweep"))
    bare = {"python -c pass": [sys.executable, "-c", "pass"]}
    peers = {"optuna --help": [str(Path(sys.executable).with_name("optuna")), "--help"]}
    with tempfile.TemporaryDirectory() as results:
        contenders = bare | peers
        contenders |= {name: [ours, *(w.format(results=results) for w in words)] for name, words in COMMANDS.items()}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for run in range(RUNS + 1):
            for name, command in contenders.items():
                took = seconds(command)
                if run:  # the first round fills the disk cache
                    times[name].append(took)
    rows = [
        (name, f"{statistics.median(taken):.3f}", f"{min(taken):.3f}", f"{max(taken):.3f}")
        for name, taken in times.items()
    ]
    write_section("Start-up of login-node commands", ("command", "median s", "min", "max"), rows)


if __name__ == "__main__":
    main()
