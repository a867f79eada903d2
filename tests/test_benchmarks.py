"""The benchmark that looks into a worker still finds there what it measures."""

import subprocess
import sys
from pathlib import Path

OVERHEAD = Path(__file__).parents[1] / "benchmarks" / "overhead.py"


def test_a_trial_of_a_known_shape_costs_little_beside_its_training():
    """Far less than the 4 s of a new process, on the busiest machine."""
    done = subprocess.run(
        [sys.executable, str(OVERHEAD), "--quick"], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    figures = dict(line.split(" | ")[:2] for line in done.stdout.splitlines() if " | " in line)
    assert 0.0 < float(figures["overhead of a trial, shape seen before, s"]) < 1.0
    assert float(figures["share of a warm worker's time inside graphs"].rstrip("%")) > 0.0
