"""A store of 100,000 trials with 50 epochs each: how fast it is filled, and how fast commands answer from it.

The journals are written as workers would have written them (16 writers, six hyperparameters, seven metrics an epoch),
merged once, and read by whole processes of the command line. Beside it Optuna reads trials with 50 values each out
of SQLite; its tables are filled by plain SQL, since it would take hours through its own interface. ``--quick`` is
a short form for CI.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zlib import crc32

from journal import SWEEP, params_of
from results_page import write_section

from cnn_sweep.journal.events import Extend, Start, Worker
from cnn_sweep.journal.identity import current
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.store.merge import merge
from cnn_sweep.sweep.identity import configuration_id

STUDY = "bench"
WRITERS = 16
EPOCHS = 50
RUNS = 3
BEGAN = 1_790_000_000.0
PEER_FIRST = 500  # trials that tell how many can be read in the time
PEER_S = 20.0


def write_study(results: Path, trials: int) -> int:
    """Write the journals of a finished study; return the number of events."""
    paths = StudyPaths(results, STUDY)
    paths.create()
    paths.sweep.write_text(SWEEP, encoding="utf-8")
    chance = random.Random(0)
    for writer in range(WRITERS):
        with paths.journal(f"bench-{writer}").open("wb", buffering=1 << 20) as journal:
            journal.write(encode(Worker(BEGAN, current(), {"cnn-sweep": "0"}, 1)))
            if writer == 0:
                journal.write(encode(Extend(BEGAN, 1, trials, trials, 0, 0)))
            for trial in range(writer, trials, WRITERS):
                journal.writelines(_trial(trial, chance))
    return WRITERS + 1 + trials * (EPOCHS + 2)


def _trial(trial: int, chance: random.Random):
    params, at = params_of(chance), BEGAN + trial
    yield encode(Start(at, trial, 0, configuration_id(params), 0, 0, params, 0, 12345))
    for epoch in range(1, EPOCHS + 1):
        a, b = chance.random(), chance.random()
        yield _line(
            f'{{"type":"epoch","time":{at + epoch},"trial":{trial},"attempt":0,"epoch":{epoch},"seconds":1.5,'
            f'"metrics":{{"loss":{a},"accuracy":{b},"val_loss":{a},"val_accuracy":{b},"val_auc":{a},'
            f'"val_macro_f1":{b},"learning_rate":0.001}}}}'
        )
    yield _line(
        f'{{"type":"end","time":{at + 99},"trial":{trial},"attempt":0,"state":"complete","cause":null,'
        f'"message":null,"epochs":{EPOCHS},"seconds":75.0,"parameters":12345}}'
    )


def _line(text: str) -> bytes:
    body = text.encode()
    return b"%08x %b\n" % (crc32(body), body)


def answers(results: Path, trials: int, runs: int) -> dict[str, list[float]]:
    """Return seconds of whole processes that answer from the store."""
    program = str(Path(sys.executable).with_name("cnn-sweep"))
    verbs = {
        f"leaderboard --top 10 of {trials:,}": ["leaderboard", STUDY, "--top", "10"],
        f"leaderboard, all {trials:,} as CSV": ["leaderboard", STUDY, "--format", "csv"],
        "status": ["status", STUDY],
        f"show {STUDY} {trials // 2}": ["show", STUDY, str(trials // 2)],
    }
    taken: dict[str, list[float]] = {name: [] for name in verbs}
    for _ in range(runs):
        for name, words in verbs.items():
            began = time.perf_counter()
            subprocess.run([program, *words, "--results", str(results)], check=True, stdout=subprocess.DEVNULL)
            taken[name].append(time.perf_counter() - began)
    return taken


def optuna_reads(folder: Path, budget_s: float) -> tuple[int, float]:
    """Return how many trials Optuna was given to read, about as many as the time allows, and how long it took."""
    seconds, trials = _optuna_reads(folder / "first.db", PEER_FIRST), PEER_FIRST
    if seconds < budget_s / 2:
        trials = int(trials * 0.9 * budget_s / seconds)
        seconds = _optuna_reads(folder / "second.db", trials)
    return trials, seconds


def _optuna_reads(file: Path, trials: int) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = f"sqlite:///{file}"
    optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    _fill_optuna(file, trials)
    began = time.perf_counter()
    frame = optuna.load_study(study_name=STUDY, storage=storage).trials_dataframe()
    seconds = time.perf_counter() - began
    if len(frame) != trials:
        raise SystemExit(f"Optuna read {len(frame)} of {trials} trials")
    return seconds


def _fill_optuna(file: Path, trials: int) -> None:
    """Write what `ask`, six suggestions, 50 reports and `tell` would leave behind."""
    import optuna

    float_range = optuna.distributions.distribution_to_json(optuna.distributions.FloatDistribution(0.0, 1.0))
    names = [f"p{k}" for k in range(6)]
    moment = "2026-01-01 00:00:00"
    with sqlite3.connect(file) as db:
        numbers = range(1, trials + 1)
        db.executemany(
            "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
            "VALUES (?, ?, 1, 'COMPLETE', ?, ?)",
            ((k, k - 1, moment, moment) for k in numbers),
        )
        db.executemany(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, 0.5, 'FINITE')",
            ((k,) for k in numbers),
        )
        db.executemany(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, 0.5, ?)",
            ((k, name, float_range) for k in numbers for name in names),
        )
        db.executemany(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (?, ?, 0.5, 'FINITE')",
            ((k, step) for k in numbers for step in range(EPOCHS)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 trials; prints, and writes nothing")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--keep", type=Path, help="use this results folder, and leave it there")
    asked = parser.parse_args()
    trials = asked.trials or (2_000 if asked.quick else 100_000)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        results = asked.keep or Path(place, "results")
        events = write_study(results, trials) if not (results / STUDY).exists() else 0
        merged = merge(results, wait_s=60)
        taken = answers(results, trials, 1 if asked.quick else RUNS)
        peer_trials, peer_s = optuna_reads(Path(place), 2.0 if asked.quick else PEER_S)
    if events and (merged.skipped or merged.events != events):
        raise SystemExit(f"{merged.events} of {events} events arrived: {merged}")
    rows = [(name, f"{statistics.median(times):.2f}", f"{max(times):.2f}") for name, times in taken.items()]
    rows.append((f"Optuna's trials_dataframe() of {peer_trials:,}", f"{peer_s:.2f}", ""))
    note = (
        f"{trials:,} trials, {trials * EPOCHS:,} epochs. Merged at {merged.events / merged.seconds:,.0f} events/s "
        f"({merged.seconds:.0f} s in all). Whole processes, medians of {len(taken['status'])}; Optuna's call alone, "
        f"{EPOCHS} values a trial, {peer_trials / peer_s:,.0f} trials/s: {60 * peer_trials / peer_s:,.0f} in a minute."
    )
    header = ("answer", "median s", "largest")
    write_section("Answers from a large store", header, rows, note=note, quick=asked.quick)


if __name__ == "__main__":
    main()
