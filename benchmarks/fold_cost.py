"""What cross-validation costs: five folds of a sweep beside one split of the same shares, as whole processes.

24 configurations of the bush sweep with 200 images. The split trains with 160 of them and validates with 40, and so
does each fold. Both take turns. Five folds are five times the training; more than that is what folds cost.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from contenders import ours
from results_page import write_section
from sweep_cases import CASES, Case

FOLDS = 5
KINDS = {"one split": "validation: 0.2", f"{FOLDS} folds": f"folds: {FOLDS}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials and epochs; prints, and writes nothing")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    case = CASES["bush"].short() if asked.quick else CASES["bush"]
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        folder = Path(place)
        case.write(folder)
        for _ in range(1 if asked.quick else asked.rounds):
            for kind, shares in KINDS.items():
                seconds[kind].append(_timed(folder, shares, case))
                print(f"{kind}: {seconds[kind][-1]:.1f} s", file=sys.stderr)
    medians = {kind: statistics.median(found) for kind, found in seconds.items()}
    one = medians["one split"]
    rows = [(kind, str(len(seconds[kind])), f"{found:.1f}", f"{found / one:.2f}x") for kind, found in medians.items()]
    note = f"{len(case.configurations)} configurations. Medians of alternating runs; whole processes."
    header = ("study", "runs", "seconds", "time")
    write_section("Five folds beside one split", header, rows, note=note, quick=asked.quick)


def _timed(folder: Path, shares: str, case: Case) -> float:
    """Run the sweep with other shares of its training images; return the seconds from the command to its results."""
    sweep = folder / "sweep.yaml"
    data = f"data: {{source: arrays, train: {{x: x_train.npy, y: y_train.npy}}, {shares}}}"
    lines = sweep.read_text(encoding="utf-8").splitlines()
    sweep.write_text("\n".join(data if line.startswith("data:") else line for line in lines), encoding="utf-8")
    began = time.perf_counter()
    found = ours("bush", case, folder)
    taken = time.perf_counter() - began
    expected = len(case.configurations) * (FOLDS if "folds" in shares else 1)
    if found["trials"] != expected:
        raise SystemExit(f"{found['trials']} of {expected} trials were trained")
    return taken


if __name__ == "__main__":
    main()
