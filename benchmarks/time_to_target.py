"""Seconds until a tool has found what 200 random trials find: whole processes, real training, two cores.

A contender is a process of its own, which is ended when a network that reaches the target is on disk, or at the limit.
Contenders take turns, seed by seed.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from math import inf
from pathlib import Path

from results_page import write_section
from target_cases import CASES, FASHION, OUR_SEARCHES, RANDOM_TRIALS, TargetCase, use_fashion
from throughput import warm_up

CORES = 2
NAMES = {
    "ours_random": "cnn-sweep random",
    "ours_tpe": "cnn-sweep tpe",
    "ours_asha": "cnn-sweep random, asha",
    "ours_recommended": "cnn-sweep qmc, predictive (recommended)",
    "kt_random": "KerasTuner RandomSearch",
    "kt_hyperband": "KerasTuner Hyperband",
    "kt_bayesian": "KerasTuner BayesianOptimization",
    "optuna_median": "Optuna TPE, median pruner, two processes",
    "optuna_halving": "Optuna TPE, successive halving, two processes",
    "optuna_hyperband": "Optuna TPE, Hyperband, two processes",
    "ray_asha": "Ray Tune ASHA, two actors",
}
MODULES = {"kt_": "keras_tuner", "ray_": "ray"}  # what may be missing
QUICK_TRIALS = 3  # whose median best is the target of the short form


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="an easy target; prints, and writes nothing")
    parser.add_argument("--no-page", action="store_true", help="as asked, but print only")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1800, metavar="S", help="seconds after which a run is ended")
    parser.add_argument("--case", choices=[*CASES], action="append", help="default: all")
    parser.add_argument("--contender", choices=[*NAMES], action="append", help="default: all that are installed")
    parser.add_argument("--fashion", type=Path, default=FASHION, help="folder of Fashion-MNIST's files")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    wanted = asked.contender or [*NAMES]
    missing = [name for name in wanted if _module(name) and find_spec(_module(name)) is None]
    seeds, trials = (1, QUICK_TRIALS) if asked.quick else (asked.seeds, RANDOM_TRIALS)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        has_fashion = use_fashion(asked.fashion, Path(place, "keras"))
        warm_up()
        for name in asked.case or CASES:
            if name == "fashion" and not has_fashion:
                print("Fashion-MNIST is not measured: Debian's package dataset-fashion-mnist is not installed")
                continue
            case = CASES[name]
            target = case.target(trials)
            runs: dict[str, list[dict]] = {}
            for seed in range(seeds):
                for contender in (one for one in wanted if one not in missing):
                    found = measure(case, contender, seed, target, asked.limit)
                    runs.setdefault(contender, []).append(found)
                    print(f"{name}, seed {seed}: {NAMES[contender]}: {found['seconds']:.1f} s", file=sys.stderr)
            report(case, runs, target, trials, asked.limit, missing, quick=asked.quick or asked.no_page)


def _module(contender: str) -> str:
    return next((module for prefix, module in MODULES.items() if contender.startswith(prefix)), "")


def measure(case: TargetCase, contender: str, seed: int, target: float, limit: float) -> dict:
    """Return the seconds of one run, infinite if the limit came first, and the value that it found."""
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        folder = Path(place)
        case.write(folder, target)
        if contender in OUR_SEARCHES:
            (folder / "sweep.yaml").write_text(case.our_sweep(contender, seed), encoding="utf-8")
        command = [sys.executable, str(Path(__file__).with_name("target_contenders.py")), contender, place, str(seed)]
        errors = (folder / "errors.txt").open("w+", encoding="utf-8")
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8", start_new_session=True
        )
        try:
            line = _first_line(process, limit)
            seconds = time.perf_counter() - began
            if line is None:
                return {"seconds": inf, "value": 0.0}
            if not line:
                errors.seek(0)
                raise SystemExit(f"{NAMES[contender]} ended without the target:\n{errors.read()}")
            return json.loads(line) | {"seconds": seconds}
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its workers; what they leave behind is nobody's
            process.wait()
            errors.close()


def _first_line(process: subprocess.Popen, limit: float) -> str | None:
    """Return the line in which a contender announces its network; empty if it ended, None at the limit."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        lines.put(next((line for line in process.stdout if line.startswith('{"value"')), ""))

    threading.Thread(target=read, daemon=True).start()
    try:
        return lines.get(timeout=limit)
    except queue.Empty:
        return None


def report(
    case: TargetCase,
    runs: dict[str, list[dict]],
    target: float,
    trials: int,
    limit: float,
    missing: list[str],
    *,
    quick: bool,
) -> None:
    ours = min((_median(found) for name, found in runs.items() if name in OUR_SEARCHES), default=inf)
    rows = []
    for name, found in runs.items():
        times = [run["seconds"] for run in found]
        reached = f"{sum(seconds < inf for seconds in times)} of {len(times)}"
        ratio = (
            "" if ours == inf else f"{_median(found) / ours:.2f}x" if _median(found) < inf else f">{limit / ours:.1f}x"
        )
        rows.append(
            (NAMES[name], reached, *(_seconds(f, limit) for f in (_median(found), min(times), max(times))), ratio)
        )
    note = (
        f"From the start of a process to a network on disk whose validation accuracy is at least {target:.4f}, the "
        f"median best of {trials} random trials. Values of random trials are the project's own, with its seeds. Every "
        f"contender searches the same space and has the same images, a complete trial has "
        f"{case.sweep.resolve(case.sweep.grid.rows[0]).training.epochs} epochs, and there are {CORES} cores. "
        f"For cnn-sweep, only a complete trial whose model is saved counts; for others, the epoch that reaches the value "
        f"and is saved. Medians; a run that is longer than {limit:g} s counts as infinite."
    )
    if missing:
        note += f" Not installed, and not measured: {', '.join(NAMES[name] for name in missing)}."
    write_section(
        case.title, ("contender", "reached", "seconds", "min", "max", "of our fastest"), rows, note=note, quick=quick
    )


def _median(found: list[dict]) -> float:
    return statistics.median(run["seconds"] for run in found)


def _seconds(value: float, limit: float) -> str:
    return f"{value:.1f}" if value < inf else f">{limit:g}"


if __name__ == "__main__":
    main()
