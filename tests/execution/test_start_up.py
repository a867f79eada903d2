"""What processes load before they do anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"tensorflow", "keras", "optuna", "pandas", "sklearn", "scipy"}


@pytest.mark.parametrize(
    "modules", ["cnn_sweep.execution.worker.process", "cnn_sweep.cli.running, cnn_sweep.cli.submitting"]
)
def test_no_process_waits_for_libraries_that_it_may_never_need(modules):
    """Each worker and each command would pay for them, seconds in all, before its first trial."""
    code = f"import sys, {modules}; print(*({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []
