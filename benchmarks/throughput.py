"""Trials per hour: whole processes, from the command to the leaderboard, beside the ways that people use otherwise.

Contenders take turns within one run. `cnn-sweep` and the limit run before every second peer, so that a machine that
is slower for a while is slower for all; the table has medians. The limit is the bare graphs with no framework
around them (`contenders.py`). ``--quick`` is a short form for CI, ``--rounds`` repeats everything.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results_page import write_section
from sweep_cases import CASES

NAMES = {
    "ours": "cnn-sweep run",
    "limit": "limit: the bare graphs, two processes",
    "keras_tuner": "KerasTuner GridSearch",
    "optuna": "Optuna GridSampler over model.fit",
    "optuna_tuned": "the same with tf.data, an epoch as one execution",
    "process": "submitit, one process a trial, two at a time",
    "ray": "Ray Tune, two actors",
}
# With batches of 128 it takes twice as long as the plain loop; name it to see that.
SLOWER_THAN_ITS_SIBLING = {"bush": (), "built": (), "mnist": ("optuna_tuned",)}
MODULES = {"keras_tuner": "keras_tuner", "ray": "ray"}  # what may be missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials and epochs; prints, and writes nothing")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--case", choices=[*CASES], action="append", help="default: all")
    parser.add_argument("--contender", choices=[*NAMES], action="append", help="default: all that are installed")
    asked = parser.parse_args()
    wanted = asked.contender or [*NAMES]
    warm_up()
    missing = [name for name in wanted if name in MODULES and importlib.util.find_spec(MODULES[name]) is None]
    for name in asked.case or CASES:
        with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
            case = CASES[name].short() if asked.quick else CASES[name]
            case.write(Path(place))
            skipped = {*missing, *(() if asked.contender else SLOWER_THAN_ITS_SIBLING[name])}
            turns = order([one for one in wanted if one not in skipped]) * asked.rounds
            runs = measure(turns, name, Path(place), quick=asked.quick)
        report(CASES[name].title, runs, missing, quick=asked.quick, trials=len(case.configurations))


def warm_up() -> None:
    """Import what contenders import, unmeasured: the first of them would read it from the disk for all others."""
    packages = ["keras", "keras_tuner", "optuna", "ray", "submitit", "tensorflow"]
    found = [name for name in packages if importlib.util.find_spec(name) is not None]
    ours = [
        "cnn_sweep.cli.commands.run",
        "cnn_sweep.execution.worker.worker",
        "cnn_sweep.execution.worker.study_trainer",
    ]
    command = [sys.executable, "-c", f"import {', '.join(found + ours)}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def order(contenders: list[str]) -> list[str]:
    """Put `cnn-sweep` and the limit before every second peer."""
    fixed = [name for name in ("ours", "limit") if name in contenders]
    peers = [name for name in contenders if name not in fixed]
    return [name for k, peer in enumerate(peers) for name in (*(fixed if k % 2 == 0 else ()), peer)] or fixed


def measure(turns: list[str], case: str, folder: Path, *, quick: bool) -> dict[str, list[dict]]:
    runs: dict[str, list[dict]] = {}
    for turn, contender in enumerate(turns, start=1):
        command = [sys.executable, str(Path(__file__).with_name("contenders.py")), contender, case, str(folder)]
        began = time.perf_counter()
        done = subprocess.run(command + ["--quick"] * quick, capture_output=True, encoding="utf-8", check=False)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"{NAMES[contender]} failed:\n{done.stderr}")
        found = json.loads(done.stdout.splitlines()[-1]) | {"seconds": seconds}
        runs.setdefault(contender, []).append(found)
        print(f"{case}, turn {turn} of {len(turns)}: {NAMES[contender]}: {seconds:.1f} s", file=sys.stderr)
    return runs


def report(title: str, runs: dict[str, list[dict]], missing: list[str], *, quick: bool, trials: int) -> None:
    wrong = {NAMES[name]: run["trials"] for name, found in runs.items() for run in found if run["trials"] != trials}
    if wrong:
        raise SystemExit(f"not all of the {trials} trials were trained: {wrong}")
    header = ("contender", "runs", "seconds", "trials/hour", "cnn-sweep is faster by", "best val_accuracy")
    mine = median(runs, "ours", "seconds") if "ours" in runs else float("nan")
    rows = []
    for name, label in NAMES.items():
        if name in runs:
            seconds = median(runs, name, "seconds")
            cells = (f"{seconds:.1f}", f"{3600 * trials / seconds:,.0f}", f"{seconds / mine:.2f}x")
            rows.append((label, str(len(runs[name])), *cells, f"{median(runs, name, 'best'):.3f}"))
    note = notes(runs, missing)
    write_section(title, header, rows, note=note, quick=quick)


def notes(runs: dict[str, list[dict]], missing: list[str]) -> str:
    words = ["Medians of alternating runs; whole processes with the import of TensorFlow."]
    if {"ours", "limit"} <= runs.keys():
        mine, bare = median(runs, "ours", "training"), median(runs, "limit", "training")
        words.append(
            f"From the first trial's start to the last one's end: cnn-sweep {mine:.1f} s, limit {bare:.1f} s: "
            f"{bare / mine:.0%} of the limit."
        )
    if ahead := [NAMES[name] for name, found in runs.items() if name not in {"ours", "limit"} and _ahead(found, runs)]:
        words.append(f"Ahead of cnn-sweep: {', '.join(ahead)}.")
    if missing:
        words.append(f"Not installed, and not measured: {', '.join(NAMES[name] for name in missing)}.")
    return " ".join(words)


def _ahead(found: list[dict], runs: dict[str, list[dict]]) -> bool:
    return "ours" in runs and statistics.median(run["seconds"] for run in found) < median(runs, "ours", "seconds")


def median(runs: dict[str, list[dict]], name: str, figure: str) -> float:
    return statistics.median(run[figure] for run in runs[name])


if __name__ == "__main__":
    main()
