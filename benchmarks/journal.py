"""Whole trial lifecycles from many processes: our journals and their merge, beside Optuna's storages.

A lifecycle is what a worker records of a trial: it claims it, says that it starts (with six hyperparameters),
reports ten epochs, and says that it is complete. Ours is forced to the disk at every change of state and
carries seven metrics an epoch; Optuna's carries one value an epoch. All contenders do it in the same run, one
after the other, several times in alternation; the table has medians. ``--quick`` is the short form for CI.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from results_page import write_section

from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Start, Worker
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths

EPOCHS = 10
STUDY = "bench"
SWEEP = f"""
study: {STUDY}
data: {{source: digits, validation: 0.2, test: 0.2}}
model: {{layers: [flatten, dropout: $dropout, dense: {{units: $units, activation: $activation}}, output: softmax]}}
space:
  dropout: {{low: 0.0, high: 0.5}}
  units: [16, 32, 64]
  activation: [relu, tanh]
  learning_rate: {{low: 1.0e-4, high: 1.0e-1, log: true}}
  batch_size: [16, 32, 64]
  optimizer: [sgd, adam]
search: {{method: random, trials: 1000000}}
training:
  epochs: {EPOCHS}
  batch_size: $batch_size
  optimizer: {{name: $optimizer, learning_rate: $learning_rate}}
"""
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_macro_f1", "learning_rate")


@dataclass(frozen=True)
class Size:
    """How much a round does.

    Attributes:
        processes: Writers at one time.
        rounds: How often each contender has its turn.
        trials: Trials of all processes together, by contender; slow ones get fewer.
    """

    processes: int
    rounds: int
    trials: dict[str, int]


FULL = Size(32, 3, {"ours": 6400, "rdb": 64, "journal_file": 192})
QUICK = Size(8, 1, {"ours": 1600, "rdb": 32, "journal_file": 80})
NAMES = {
    "ours": "cnn-sweep journals",
    "rdb": "Optuna RDBStorage, SQLite",
    "journal_file": "Optuna JournalStorage, file",
}


def params_of(chance: random.Random) -> dict[str, object]:
    return {
        "dropout": chance.uniform(0, 0.5),
        "units": chance.choice([16, 32, 64]),
        "activation": chance.choice(["relu", "tanh"]),
        "learning_rate": 10 ** chance.uniform(-4, -1),
        "batch_size": chance.choice([16, 32, 64]),
        "optimizer": chance.choice(["sgd", "adam"]),
    }


def write_ours(folder: Path, number: int, processes: int, trials: int) -> None:
    """Claim trials from a place of one's own on, so that workers meet only at the end, and record them."""
    paths = StudyPaths(folder, STUDY)
    me, writer, chance = current(), new_writer_name(), random.Random(number)
    claims = Claims(paths, writer, me)
    share = trials // processes
    with JournalWriter(paths.journal(writer)) as journal:
        journal.append(Worker(time.time(), me, {"cnn-sweep": "0"}, 1))
        journal.flush()
        wait_for_go()
        for step in range(trials):
            trial = (number * share + step) % trials
            if claims.claim(trial, 0):
                record(journal, trial, params_of(chance), chance)
            elif step >= share:
                break  # the next one's share is being worked on by its owner


def record(journal: JournalWriter, trial: int, params: dict[str, object], chance: random.Random) -> None:
    journal.append(Start(time.time(), trial, 0, f"{trial:012x}", 0, 1, params, 0, 12345))
    for epoch in range(1, EPOCHS + 1):
        metrics = {name: chance.random() for name in METRICS}
        journal.append(Epoch(time.time(), trial, 0, epoch, 0.5, metrics))
    journal.append(End(time.time(), trial, 0, "complete", None, None, EPOCHS, 5.0, 12345))


def write_optuna(kind: str, folder: Path, number: int, trials: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna_storage(kind, folder)
    study = optuna.load_study(study_name=STUDY, storage=storage, sampler=optuna.samplers.RandomSampler(seed=number))
    chance = random.Random(number)
    wait_for_go()
    for _ in range(trials):
        trial = study.ask()
        trial.suggest_float("dropout", 0, 0.5)
        trial.suggest_categorical("units", [16, 32, 64])
        trial.suggest_categorical("activation", ["relu", "tanh"])
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        trial.suggest_categorical("batch_size", [16, 32, 64])
        trial.suggest_categorical("optimizer", ["sgd", "adam"])
        for epoch in range(1, EPOCHS + 1):
            trial.report(chance.random(), epoch)
        study.tell(trial, chance.random())


def optuna_storage(kind: str, folder: Path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if kind == "journal_file":
        return optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    patience = {"connect_args": {"timeout": 300}}  # as Optuna's manual advises for several processes
    return optuna.storages.RDBStorage(f"sqlite:///{folder / 'optuna.db'}", engine_kwargs=patience)


def wait_for_go() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def run_processes(kind: str, folder: Path, processes: int, trials: int) -> float:
    """Let all writers go at one time; return the seconds until the last one was done."""
    command = [sys.executable, __file__, "--writer", kind, str(folder), str(processes), str(trials)]
    writers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(processes)
    ]
    for writer in writers:
        writer.stdout.readline()
    began = time.perf_counter()
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
    seconds = time.perf_counter() - began
    if failed := [writer.returncode for writer in writers if writer.returncode]:
        raise SystemExit(f"{kind}: {len(failed)} writers failed")
    return seconds


def run_ours(folder: Path, size: Size) -> dict[str, float]:
    """Measure lifecycles, the merge into SQL, and how long a sampler takes to read all of it."""
    from cnn_sweep.store import queries
    from cnn_sweep.store.merge import merge
    from cnn_sweep.store.reader import StoreReader

    paths = StudyPaths(folder, STUDY)
    paths.create()
    paths.sweep.write_text(SWEEP, encoding="utf-8")
    trials = size.trials["ours"]
    seconds = run_processes("ours", folder, size.processes, trials)
    merged = merge(folder, wait_s=60)
    began = time.perf_counter()
    history = History(paths)
    history.refresh()
    read = time.perf_counter() - began
    complete = queries.counts(StoreReader(folder), STUDY)["complete"]
    if merged.skipped or complete != trials or len(history.trials) != trials:
        raise SystemExit(f"{complete} of {trials} trials arrived: {merged}")
    events = merged.events
    return {
        "trials": trials / seconds,
        "merged": events / merged.seconds,
        "stored": trials / (seconds + merged.seconds),
        "read": events / read,
    }


def run_optuna(kind: str, folder: Path, size: Size) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna_storage(kind, folder)
    optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    trials = size.trials[kind] // size.processes * size.processes
    seconds = run_processes(kind, folder, size.processes, trials)
    study = optuna.load_study(study_name=STUDY, storage=optuna_storage(kind, folder))
    complete = len(study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]))
    if complete != trials:
        raise SystemExit(f"{NAMES[kind]}: {complete} of {trials} trials arrived")
    return {"trials": trials / seconds, "stored": trials / seconds}


def measure(size: Size, folder: str | None) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in NAMES}
    for turn in range(size.rounds):
        for kind, runs in found.items():
            with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-", dir=folder) as place:
                run = run_ours(Path(place), size) if kind == "ours" else run_optuna(kind, Path(place), size)
            runs.append(run)
            figures = ", ".join(f"{name} {value:,.0f}/s" for name, value in run.items())
            print(f"round {turn + 1} of {size.rounds}: {NAMES[kind]}: {figures}", file=sys.stderr)
    return found


def table(found: dict[str, list[dict[str, float]]], size: Size) -> list[tuple[str, ...]]:
    def median(kind: str, figure: str) -> float:
        return statistics.median(run[figure] for run in found[kind])

    rows = []
    for kind, name in NAMES.items():
        rate, stored = median(kind, "trials"), median(kind, "stored")
        ratio = median("ours", "trials") / rate
        rows.append(
            (name, str(size.trials[kind]), f"{rate:,.0f}", f"{rate * EPOCHS:,.0f}", f"{stored:,.0f}", f"{ratio:,.1f}x")
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form for CI: fewer processes, one round")
    parser.add_argument("--dir", help="where to write; default: the system's folder for temporary files")
    parser.add_argument("--writer", nargs=5, metavar="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.writer:
        kind, folder, *numbers = asked.writer
        processes, trials, number = map(int, numbers)
        if kind == "ours":
            write_ours(Path(folder), number, processes, trials)
        else:
            write_optuna(kind, Path(folder), number, trials // processes)
        return
    size = QUICK if asked.quick else FULL
    found = measure(size, asked.dir)
    rows = table(found, size)
    merged, read = (statistics.median(run[name] for run in found["ours"]) for name in ("merged", "read"))
    note = (
        f"{size.processes} processes, {EPOCHS} epochs a trial, medians of {size.rounds} alternating runs. "
        f"Merged into SQLite at {merged:,.0f} events/s; read by a sampler at {read:,.0f} events/s."
    )
    report(rows, note, quick=asked.quick)


def report(rows: list[tuple[str, ...]], note: str, *, quick: bool) -> None:
    header = ("storage", "trials", "trials/s", "epochs/s", "trials/s until in SQL", "ours is faster by")
    write_section("Recording trials from many processes", header, rows, note=note, quick=quick)


if __name__ == "__main__":
    main()
