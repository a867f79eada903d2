"""Benchmarks that look into workers, or simulate studies, still find what they measure."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def quick(benchmark):
    """Return the cells of a benchmark's short form by those of the first column."""
    command = [sys.executable, str(BENCHMARKS / benchmark), "--quick"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if " | " in line]
    return {name: cells for name, *cells in rows}


def test_a_trial_of_a_known_shape_costs_little_beside_its_training():
    """Far less than the 4 s of a new process, on the busiest machine."""
    figures = quick("overhead.py")
    assert 0.0 < float(figures["overhead of a trial, shape seen before, s"][0]) < 1.0
    assert float(figures["share of a warm worker's time inside graphs"][0].rstrip("%")) > 0.0


def test_rounds_of_repeats_seldom_err_and_save_trainings():
    """Equal configurations are kept; where means differ clearly, about half the trainings of a fixed design do."""
    figures = {name: cells[1:3] for name, cells in quick("sequential_repeats.py").items() if name[0].isdigit()}
    assert len(figures) == 4
    assert all(float(wrong.rstrip("%")) < 15 for wrong, _ in figures.values())  # at most 2 of 16 studies
    assert all(float(used) <= 0.6 for name, (_, used) in figures.items() if "4 sd" in name)
