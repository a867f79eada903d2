"""What login-node commands cost as a study grows: seconds, and files left behind.

Whole processes of the command line, from 100 to 100,000 trials: `plan`, `submit --dry-run`, `submit`, then, with the
journals of workers that have trained all but one trial (256 workers from 10,000 trials on), `status` right after they
wrote (it merges), `status` again, and `resume` on the cluster. Slurm's commands are scripts that answer what an idle
cluster would. Files are counted as a file system's quota counts them: a claim's name is one more name of its
worker's file. ``--quick`` is a short form for CI.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from journal import SWEEP, params_of
from results_page import write_section

from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Start, Worker
from cnn_sweep.journal.identity import current
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.sweep.identity import configuration_id

STUDY = "bench"
EPOCHS = 3
MOST_WORKERS = 256
TRIALS_A_WORKER = 40
PROFILE = 'partition = "main"\ncpus = 4\narray_width = 8\nworkers_per_task = 4\n'
SLURM = {
    "scontrol": """case "$*" in
*config*) echo "ClusterName = bench"; echo "MaxArraySize = 1001" ;;
*partition*) echo "PartitionName=main Default=YES MaxTime=UNLIMITED Nodes=n[1-9] State=UP" ;;
esac""",
    "sinfo": 'echo "main|9|64|256000|(null)|x|idle"',
    "squeue": "true",
    "sacct": 'echo "Slurm accounting storage is disabled" >&2; exit 1',
    "sbatch": 'echo "Submitted batch job 17"',
}


def cluster(folder: Path) -> dict[str, str]:
    """Put Slurm's commands into a folder; return the environment in which they are found."""
    folder.mkdir()
    for name, script in SLURM.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def train(paths: StudyPaths, trials: int) -> int:
    """Leave the journals and claims of workers that have trained all trials but the last; return their number."""
    workers = min(MOST_WORKERS, max(1, trials // TRIALS_A_WORKER))
    chance, now = random.Random(0), time.time()
    for worker in range(workers):
        name = f"bench-{worker}"
        claims = Claims(paths, name, current())
        with paths.journal(name).open("wb", buffering=1 << 20) as journal:
            journal.write(encode(Worker(now, current(), {}, 1)))
            for trial in range(worker, trials - 1, workers):
                claims.claim(trial, 0)
                params = params_of(chance)
                journal.write(encode(Start(now, trial, 0, configuration_id(params), 0, 0, params, 0, 12345)))
                for epoch in range(1, EPOCHS + 1):
                    metrics = {"loss": chance.random(), "val_accuracy": chance.random()}
                    journal.write(encode(Epoch(now, trial, 0, epoch, 0.5, metrics)))
                journal.write(encode(End(now, trial, 0, "complete", None, None, EPOCHS, 5.0, 12345)))
    return workers


def files(folder: Path) -> int:
    """Count files as a quota does."""
    return len({path.lstat().st_ino for path in folder.rglob("*")}) if folder.exists() else 0


def measure(trials: int, place: Path, environment: dict[str, str]) -> dict[str, float]:
    """Return seconds by command, and numbers of files."""
    results = place / f"results-{trials}"
    sweep, profile = place / "sweep.yaml", place / "profile.toml"
    sweep.write_text(SWEEP.replace("trials: 1000000", f"trials: {trials}"), encoding="utf-8")
    profile.write_text(PROFILE, encoding="utf-8")
    program = str(Path(sys.executable).with_name("cnn-sweep"))

    def seconds(*words: str) -> float:
        began = time.perf_counter()
        command = [program, *words, "--results", str(results)]
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
        return time.perf_counter() - began

    found: dict[str, float] = {"trials": trials, "plan": seconds("plan", str(sweep))}
    found["dry run"] = seconds("submit", str(sweep), "--profile", str(profile), "--dry-run")
    found["submit"] = seconds("submit", str(sweep), "--profile", str(profile))
    found["files of submit"] = files(results)
    found["workers"] = train(StudyPaths(results, STUDY), trials)
    found["files of all"] = files(results)
    found["status, first"] = seconds("status", STUDY)
    found["status"] = seconds("status", STUDY)
    found["resume"] = seconds("resume", STUDY, "--profile", str(profile))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 1,000 trials; prints, and writes nothing")
    asked = parser.parse_args()
    sizes = (100, 1_000) if asked.quick else (100, 1_000, 10_000, 100_000)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        environment = cluster(Path(place, "slurm"))
        found = []
        for trials in sizes:
            found.append(measure(trials, Path(place), environment))
            print(found[-1], file=sys.stderr)
    header = tuple(found[0])
    rows = [
        tuple(f"{run[name]:,}" if isinstance(run[name], int) else f"{run[name]:.2f}" for name in header)
        for run in found
    ]
    note = (
        f"Seconds of whole processes; {EPOCHS} epochs a trial. `status, first` merges the workers' journals. A "
        "submission is one array of 8 pools of 4 workers, whatever the number of trials."
    )
    write_section("Commands as a study grows", header, rows, note=note, quick=asked.quick)


if __name__ == "__main__":
    main()
