"""The fault campaign: rounds of studies that are broken on purpose, resumed as a user would, and judged.

    make faults FAULTS=1000 SEED=1

Each round follows from the seed and its number alone, as far as the machine's timing allows: a round that failed is
replayed with ``--only``. The verdict is `checker.py`'s, which shares no code with the project.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults import fault_kinds
from faults.checker import KINDS
from faults.fault_shim import build
from faults.rounds import Plan, Round, RoundEndedError, random_of, random_plan

_FAULTS_OF_A_ROUND = 7
_DESTROYING = 0.2  # share of rounds whose journals are damaged
_REAL = 0.03  # share of rounds with real training
_PLAYING: set[Round] = set()
_HEADER = ("kind", "faults", *KINDS, "median recovery (s)", "longest (s)")


def play(one, kinds):
    """Play a round with these kinds of faults; return its result."""
    began = time.monotonic()
    _PLAYING.add(one)
    try:
        one.begin()
        for kind in kinds:
            one.suffer(kind, fault_kinds.KINDS[kind])
        one.finish()
    finally:
        one.close()
        _PLAYING.discard(one)
    one.result.seconds = time.monotonic() - began
    return one.result


def play_random(seed, number, *, folder, library):
    """Play the round that follows from a seed and its number."""
    chance = random_of(seed, number)
    plan = random_plan(chance)
    if chance.random() < _REAL:
        plan = Plan(real=True, epochs=6, epoch_s=0.0, checkpoint_every_s=0.5)
    destroying = chance.random() < _DESTROYING
    kinds = [fault_kinds.draw(chance, destroying=destroying) for _ in range(_FAULTS_OF_A_ROUND)]
    print(f"round {number}: {plan.study}, {plan.storage}: {', '.join(kinds)}", flush=True)
    return play(Round(folder / f"round-{number}", plan, library=library, chance=chance, number=number), kinds)


def table(results):
    """Return the figures by kind as a Markdown table, the sums last."""
    rows = defaultdict(lambda: [0, *[0] * len(KINDS)])
    recoveries = defaultdict(list)
    for result in results:
        for fault in result.faults:
            for row in (rows[fault.kind], rows["all"]):
                row[0] += 1
            for name in (fault.kind, "all"):
                recoveries[name] += [] if fault.recovery_s is None else [fault.recovery_s]
        for place, kind in enumerate(KINDS, 1):
            problems = len(result.verdict.problems[kind])
            for name in {*(fault.kind for fault in result.faults), "all"}:
                rows[name][place] += problems
    lines = ["| " + " | ".join(_HEADER) + " |", "|---" + "|---:" * (len(_HEADER) - 1) + "|"]
    for name in sorted(rows, key=lambda row: (row == "all", row)):
        took = recoveries[name] or [float("nan")]
        times = (f"{statistics.median(took):.1f}", f"{max(took):.1f}")
        lines.append("| " + " | ".join([name.replace("_", " "), *map(str, rows[name]), *times]) + " |")
    return "\n".join(lines)


def report(results, seconds):
    """Print the table, and what it leaves out."""
    epochs, repeated = (sum(getattr(r.verdict, name) for r in results) for name in ("epochs", "repeated"))
    print(f"\n{len(results)} rounds in {seconds:.0f} s; a problem is counted under each kind of its round\n")
    print(table(results))
    print(f"\n{epochs} epochs, {repeated} of them trained again ({repeated / max(epochs, 1):.1%})")


def main():
    """Play rounds until there were enough faults; return 1 if anything was wrong."""
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="cnn-sweep-faults-"))
    library = build(folder)
    began, results, broken = time.monotonic(), [], 0

    def one(number):
        try:
            return play_random(arguments.seed, number, folder=folder, library=library)
        except RoundEndedError:
            return number
        except Exception:  # noqa: BLE001 - the other rounds go on
            traceback.print_exc()
            return number

    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    numbers = [arguments.only] if arguments.only is not None else range(-(-arguments.faults // _FAULTS_OF_A_ROUND))
    with ThreadPoolExecutor(1 if arguments.only is not None else arguments.jobs) as executor:
        for result in executor.map(one, numbers):
            broken += _note(result, results, arguments.seed, folder)
    report(results, time.monotonic() - began)
    if not broken:
        shutil.rmtree(folder)
    return 1 if broken else 0


def _stop(_number, _frame):
    """End all processes of the rounds that are being played, and this one."""
    for one in list(_PLAYING):
        one.close()
        shutil.rmtree(one.folder.parent, ignore_errors=True)
    os._exit(130)


def _note(result, results, seed, folder):
    """Keep a result; print what is wrong with it and how to replay it; return 1 if anything is."""
    number = result if isinstance(result, int) else result.number
    if result is not number:
        results.append(result)
        if result.verdict.sound:
            shutil.rmtree(folder / f"round-{number}")
            return 0
    print(f"round {number} of seed {seed} FAILED; its files: {folder / f'round-{number}'}")
    print(f"  again: make faults SEED={seed} ONLY={number}")
    print("" if result is number else result.verdict, flush=True)
    return 1


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--seed", default="1", help="of all random numbers (%(default)s)")
    parser.add_argument("--only", type=int, help="play this round alone")
    parser.add_argument("--jobs", type=int, default=3, help="rounds at once, which mostly wait (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
