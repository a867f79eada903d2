"""What ``plan --probe`` expects of core hours and wall time, beside what sacct then says.

Plans a sweep with a probe, submits it to the cluster that SLURM_CONF names, waits for its end, and compares. Nothing
else may run on the machine: the probe and the job must meet the same conditions.

    python benchmarks/cost_estimate.py                 digits, and a part of bush
    python benchmarks/cost_estimate.py --quick         a few trials of digits; the page of results is left alone
    python benchmarks/cost_estimate.py --trials 12 --epochs 3     both, with less of each
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from results_page import write_section

from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.job_states import LIVING

PROJECT: Final = Path(__file__).resolve().parents[1]
PATIENCE_S: Final = 7200.0
LOOK_EVERY_S: Final = 5.0
PROFILE: Final = """\
time_limit = 60
cpus = {cpus}
memory = "{memory}G"
array_width = 1
workers_per_task = {cpus}
signal_delay_s = 60
"""


@dataclass(frozen=True)
class Case:
    """A sweep, and the part of it that is trained: numbers of trials and epochs, None for all."""

    sweep: str
    trials: int | None = None
    epochs: int | None = None

    @property
    def settings(self) -> list[str]:
        """Options that cut the sweep."""
        changes = {"search.trials": self.trials, "training.epochs": self.epochs}
        return [word for key, value in changes.items() if value is not None for word in ("--set", f"{key}={value}")]


def command(*words: object) -> str:
    """Run one of this program's commands and return its standard output."""
    ours = Path(sys.executable).with_name("cnn-sweep")
    done = subprocess.run([ours, *map(str, words)], stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode} of: cnn-sweep {' '.join(map(str, words))}")
    return done.stdout


def compared(case: Case, folder: Path) -> tuple[str, ...]:
    """Plan, submit and wait; return a row of the table."""
    sweep, profile = PROJECT / "sweeps" / f"{case.sweep}.yaml", folder / "profile.toml"
    results = ("--results", folder / "results")
    planned = command("plan", sweep, *case.settings, "--profile", profile, "--probe", "--json", *results)
    cost: dict[str, Any] = json.loads(planned)["cost"]
    expected = cost["expected"]
    jobs = [int(line.split()[1]) for line in submitted(sweep, case, profile, results)]
    hours, wall_s = used(jobs)
    print(command("efficiency", case.sweep, *results))
    return (
        f"{case.sweep}, {cost['trials']} trials, {cost['epochs']:.0f} epochs",
        f"{expected['core_hours']:.4f}",
        f"{hours:.4f}",
        f"{expected['core_hours'] / hours:.2f}",
        f"{expected['wall_s']:.0f}",
        f"{wall_s:.0f}",
        f"{expected['wall_s'] / wall_s:.2f}",
    )


def submitted(sweep: Path, case: Case, profile: Path, results: tuple[str, Path]) -> list[str]:
    """Submit a case; return the lines with its jobs."""
    return command("submit", sweep, *case.settings, "--profile", profile, *results).splitlines()


def used(jobs: list[int]) -> tuple[float, float]:
    """Wait until jobs have ended; return their core hours and the seconds of the longest."""
    slurm, deadline = SlurmCli(), time.monotonic() + PATIENCE_S
    while any(row.state in LIVING for row in slurm.queue(jobs)):
        if time.monotonic() > deadline:
            raise SystemExit(f"jobs {jobs} did not end within {PATIENCE_S:.0f} s")
        time.sleep(LOOK_EVERY_S)
    time.sleep(LOOK_EVERY_S)  # sacct knows the end a little later
    runs = slurm.usage(jobs) or []
    if not runs or any(run.state in LIVING for run in runs):
        raise SystemExit("sacct does not know how the jobs ended; the cluster needs accounting")
    return sum(run.elapsed_s * run.cpus for run in runs) / 3600, max(run.elapsed_s for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few trials of digits, for a test")
    parser.add_argument("--trials", type=int, help="trials of each sweep")
    parser.add_argument("--epochs", type=int, help="epochs of a trial")
    given = parser.parse_args()
    if "SLURM_CONF" not in os.environ:
        raise SystemExit("SLURM_CONF names no cluster: slurm/dev-cluster/up.sh, then . $SLURM_LAB/env.sh")
    cases = [Case("digits", given.trials, given.epochs), Case("bush", given.trials or 48, given.epochs or 10)]
    if given.quick:
        cases = [Case("digits", 4, 2)]
    if not given.quick and not (PROJECT / "examples" / "images" / "bush").exists():
        images = (PROJECT / "examples" / "make_images.py", PROJECT / "examples" / "images")
        subprocess.run([sys.executable, *images], check=True)
    cores = len(os.sched_getaffinity(0))
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:  # nodes see the project
        profile = PROFILE.format(cpus=cores, memory=2 * cores)
        Path(folder, "profile.toml").write_text(profile, encoding="utf-8")
        rows = [compared(case, Path(folder)) for case in cases]
    header = ("sweep", "core hours, plan", "sacct", "ratio", "wall time, plan, s", "sacct", "ratio")
    note = f"`plan --probe` before, sacct after; one job with {cores} workers on the development cluster."
    write_section("Cost as planned and as charged", header, rows, note=note, quick=given.quick)


if __name__ == "__main__":
    main()
