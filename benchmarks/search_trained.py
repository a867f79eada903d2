"""The same question as in ``search.py``, with real training: ``cnn-sweep run`` with four workers, random and TPE.

Trials are ordered by when they ended. The networks are those of ``digits.yaml``, trained for 9 epochs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from digits_table import SWEEP
from results_page import write_section
from search import RANDOM_TRIALS, first_reach

from cnn_sweep.study import Study

WORKERS = 4
EPOCHS = 9
TPE_TRIALS = RANDOM_TRIALS // 2  # as many as it may need


def values(method: str, seed: int, trials: int, results: Path) -> list[float]:
    """Run a study and return the trials' values in the order of their ends; 0 for one that failed."""
    name = f"{method}-{seed}"
    text = SWEEP.read_text(encoding="utf-8").replace("digits-table", name).replace("epochs: 27", f"epochs: {EPOCHS}")
    text = text.replace("{method: grid}", f"{{method: {method}, trials: {trials}, seed: {seed}}}")
    file = results / f"{name}.yaml"
    file.write_text(text + "models: {keep: 0}\n", encoding="utf-8")
    command = [sys.executable, "-m", "cnn_sweep.cli.main", "run", str(file), "--results", str(results)]
    done = subprocess.run([*command, "--workers", str(WORKERS), "--threads", "1"], check=False, capture_output=True)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr.decode())
    frame = Study.open(results, name).trials().sort_values(["ended", "trial"])
    return [0.0 if value != value else float(value) for value in frame["value"]]  # noqa: PLR0124 - NaN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    rows, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            random = values("random", seed, RANDOM_TRIALS, Path(folder))
            tpe = values("tpe", seed, TPE_TRIALS, Path(folder))
            target = max(random)
            needed = first_reach(tpe, target)
            ratios.append(needed / RANDOM_TRIALS)
            first = first_reach(random, target)
            rows.append((str(seed), f"{target:.4f}", f"{first:g}", f"{needed:g}", f"{max(tpe):.4f}"))
            print(rows[-1], file=sys.stderr, flush=True)
    write_section(
        "The same with real training",
        ("seed", "best of 200 random", "found by random trial", "reached by TPE trial", f"TPE's best of {TPE_TRIALS}"),
        rows,
        note=f"digits, {EPOCHS} epochs, `cnn-sweep run` with {WORKERS} workers. TPE needed {np.median(ratios):.2f} of "
        f"the 200 trials in the median ({min(ratios):.2f} to {max(ratios):.2f}; inf: more than 0.5).",
    )


if __name__ == "__main__":
    main()
