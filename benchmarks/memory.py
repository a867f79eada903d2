"""Memory of workers: of four on one data set of 1 GB, and of pools that fork their workers or start each by itself.

What counts is the proportional set size: a page that four processes share is a quarter of a page in each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from results_page import write_section

from cnn_sweep.execution.pool.worker_processes import START_METHOD, WorkerStarter
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.protocol import WorkerSettings
from cnn_sweep.journal.history import History
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.prepare import prepare

WORKERS = 4
IMAGES = 22_000  # of 128 x 128 x 3 bytes: 1.08 GB

WORKER = """
import sys
from pathlib import Path
import numpy as np
from cnn_sweep.training.session import configure
configure(threads=1)
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.spec.trial import TrialSpec
from cnn_sweep.training.engines import device_data
from cnn_sweep.training.data.dataset import Dataset, Split
from cnn_sweep.training.trial.trainer import Trainer

how, file = sys.argv[1:]
x = np.load(file, mmap_mode="r")
if how == "bare":
    x = np.array(x[:64])
if how == "copied":
    device_data._mapped = lambda x: device_data.tf.constant(np.asarray(x))
y = (np.arange(len(x)) % 2).astype(np.int32)
data = Dataset(
    splits={"train": Split(x, y), "validation": Split(x[:64], y[:64])},
    info=ImageInfo(image_shape=x.shape[1:], class_names=("0", "1")), rescale=1 / 255, fingerprint="",
)
layers = ({"kind": "conv2d", "filters": 4, "kernel_size": 8, "strides": 8}, {"kind": "global_pool"}, {"kind": "output"})

class Monitor:
    def epoch(self, *_): pass
    def checkpoint(self, *_): pass
    def should_stop(self): return False

outcome = Trainer(data).train(TrialSpec(params={}, layers=layers, training={"epochs": 1}), 0, Monitor())
print(outcome.state, flush=True)
sys.stdin.read()
"""


def pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def total_mb(how: str, file: Path) -> float:
    """Return what all workers hold together, each having gone through its data once."""
    command = [sys.executable, "-c", WORKER, how, str(file)]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8")
        for _ in range(WORKERS)
    ]
    try:
        said = [worker.stdout.readline().strip() for worker in workers]
        assert said == ["complete"] * WORKERS, said
        return sum(pss_mb(worker.pid) for worker in workers)
    finally:
        for worker in workers:
            worker.communicate()


SWEEP = """
study: pool
data: {source: digits}
model: {layers: [conv2d: {filters: 4, kernel_size: 3}, flatten, output: softmax]}
training: {epochs: 1000000, batch_size: 512}
search: {repeats: 100}
"""
KILLS = 5
SUCCESSFUL_OPEN = re.compile(r"open(?:at2?)?\(.* = \d+", re.MULTILINE)


def run_pool(folder: Path, size: int, kills: int) -> None:
    """Start workers until each of them trains; print their memory, and how soon the successors of killed ones train."""
    study = StudyFolder.open(folder, "pool")
    starter = WorkerStarter(WorkerSettings(folder, "pool", 1, since=time.time()), study.paths.logs)
    history, workers = History(study.paths), []
    try:
        began = time.monotonic()
        await_true(starter.is_ready)
        workers += [starter.start(place, None, alone=False) for place in range(size)]
        await_true(lambda: {worker.pid for worker in workers} <= trained_by(history).keys())
        seconds = time.monotonic() - began
        memory = sum(map(pss_mb, children(os.getpid())))
        gaps = [seconds_to_successor(starter, workers, history) for _ in range(kills)]
        assert starter.news() == []
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        starter.close()
    print(json.dumps({"mb": memory, "seconds": seconds, "successor_s": statistics.median(gaps or [0.0])}))


def seconds_to_successor(starter: WorkerStarter, workers: list, history: History) -> float:
    """Kill a worker; return the seconds from then until its successor begins a trial."""
    killed = workers.pop()
    killed.kill()
    killed.wait()
    died = time.time()
    workers.append(starter.start(0, None, alone=False))
    await_true(lambda: workers[-1].pid in trained_by(history))
    return trained_by(history)[workers[-1].pid] - died


def trained_by(history: History) -> dict[int, float]:
    """Return when each worker that has trained an epoch began its first trial, by process ID."""
    history.refresh()
    found: dict[int, float] = {}
    for trial in history.trials.values():
        for attempt in trial.attempts.values():
            worker = history.workers.get(attempt.writer or "")
            if worker is not None and worker.identity is not None and attempt.start is not None and attempt.epochs:
                began = attempt.start.time
                found[worker.identity.pid] = min(began, found.get(worker.identity.pid, began))
    return found


def await_true(condition) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text(encoding="utf-8").split()]


def measure_pool(size: int, method: str, *, trace: bool = False) -> dict[str, float]:
    """Run a pool in a process of its own; with ``trace``, count the files that all its processes open."""
    with tempfile.TemporaryDirectory() as folder:
        study = StudyFolder.open_or_create(Sweep.parse(SWEEP), Path(folder) / "results")
        prepare(study.sweep.data, study.sweep.folder, study.data_root)
        calls = Path(folder) / "calls"
        traced = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", str(calls)] if trace else []
        command = [*traced, sys.executable, __file__, "--pool", str(Path(folder) / "results"), str(size)]
        command.append("0" if trace else str(KILLS))
        environment = os.environ | {START_METHOD: method}
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment, encoding="utf-8")
        opened = len(SUCCESSFUL_OPEN.findall(calls.read_text(encoding="utf-8", errors="replace"))) if trace else 0
        return {**json.loads(done.stdout.splitlines()[-1]), "opened": opened}


def compare_pools() -> None:
    """Write the section on both ways of starting workers."""
    names = {"spawn": "each imports TensorFlow", "forkserver": "forked"}
    rows = []
    for size, method in ((WORKERS, "spawn"), (WORKERS, "forkserver"), (4 * WORKERS, "forkserver")):
        found = measure_pool(size, method)
        cells = (f"{found['mb']:,.0f}", f"{found['mb'] / size:,.0f}")
        rows.append((f"{size}, {names[method]}", *cells, f"{found['seconds']:.1f}", f"{found['successor_s']:.2f}"))
    header = ("workers", "MB in all", "MB a worker", "s until all train", "s from a death to the next trial")
    note = f"Proportional set size of all processes of a pool. Deaths: medians of {KILLS} kills; the others train on."
    if shutil.which("strace"):
        files = {method: measure_pool(8, method, trace=True)["opened"] for method in names}
        share = files["forkserver"] / files["spawn"]
        note += " Files opened by a pool of 8 (strace): "
        note += f"{files['spawn']:,} where each imports TensorFlow, {files['forkserver']:,} forked ({share:.0%})."
    write_section("Memory and start of a pool's workers", header, rows, note=note)


def main() -> None:
    if "--pool" in sys.argv:
        run_pool(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    compare_pools()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.npy"
        x = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(IMAGES, 128, 128, 3))
        x[:] = np.random.default_rng(0).integers(0, 255, x.shape[1:], dtype=np.uint8)
        x.flush()
        size = x.nbytes / 2**20
        totals = {how: total_mb(how, file) for how in ("bare", "mapped", "copied")}
    names = {"bare": "64 images", "mapped": f"{size:,.0f} MB, mapped (as we do)", "copied": f"{size:,.0f} MB, copied"}
    rows = [(names[how], f"{total:,.0f}", f"{total - totals['bare']:,.0f}") for how, total in totals.items()]
    header = (f"{WORKERS} workers on", "MB in all", "more than bare")
    write_section("Memory of workers on one data set", header, rows, note="Proportional set size after one epoch.")


if __name__ == "__main__":
    main()
