"""Seconds to prepare a folder of JPEGs, beside Keras reading them once; where they go; from TensorFlow to training.

Each run is a process of its own, all read files that are in the machine's cache already, and imports are not
counted. Ours ends with a prepared folder, from which every later worker and epoch reads; Keras's ends with every
batch seen once. What we write takes 1.2 GB of memory until it is on the disk. A virtual machine may have to ask its
host for that, page by page, which a machine of its own does not; so ours is measured in memory as it comes, and both in
memory that was used a moment before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from results_page import write_section

ROOT = Path(__file__).parents[1]
RUNS = 3
AT_HAND = 2 * 2**30  # bytes that are used and given back before a run

USE_MEMORY = """
import mmap, sys
size = int(sys.argv[1])
if size:
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1
"""

PREPARE = f"""
import json, os, resource, sys, time
from pathlib import Path
from cnn_sweep.sweep.spec.data import FolderData
from cnn_sweep.training.data.prepare import prepare
import sklearn.model_selection
folder, root = map(Path, sys.argv[2:])
def used():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)
{USE_MEMORY}
before = used()
began = time.perf_counter()
prepare(FolderData(source="folder", train="images", image_size=(128, 128)), folder, root)
wall = time.perf_counter() - began
print(json.dumps([wall, used() - before]))
"""
KERAS = f"""
import json, resource, sys, time
import keras
folder = sys.argv[2]
{USE_MEMORY}
before = resource.getrusage(resource.RUSAGE_SELF)
began = time.perf_counter()
data = keras.utils.image_dataset_from_directory(
    folder + "/images", image_size=(128, 128), batch_size=32, shuffle=False, verbose=False
)
count = sum(len(labels) for _, labels in data)
wall = time.perf_counter() - began
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime]))
"""
PHASES = """
import json, os, sys, tempfile, time
from pathlib import Path
import numpy as np
from cnn_sweep.sweep.spec.data import FolderData
from cnn_sweep.training.data.image_files import list_files, stamp
from cnn_sweep.training.data.image_decoder import ImageOptions, content_digest, decode_into, read_bytes
folder, options = Path(sys.argv[1]), ImageOptions(128, 128)
def each(work, over):
    began = time.process_time()
    for one in over:
        work(one)
    return (time.process_time() - began) / len(over) * 1e6
began = time.process_time()
files = list_files(FolderData(source="folder", train="images", image_size=(128, 128)), folder).splits
stamp(files)
listing = (time.process_time() - began) / len(files["train"].names) * 1e6
names = [f"{folder}/images/{name}" for name in files["train"].names[::5]]
reading = each(read_bytes, names)
contents = [read_bytes(name) for name in names]
pixels = np.zeros(options.shape, np.uint8)
decoding = each(lambda content: decode_into(pixels, content, options), contents)
digesting = each(content_digest, contents)
with tempfile.TemporaryFile(dir=folder) as file:
    fd, data, size = file.fileno(), memoryview(pixels).cast("B"), pixels.nbytes
    writing = each(lambda row: os.pwrite(fd, data, row * size), range(len(names)))
print(json.dumps([listing, reading, decoding, digesting, writing]))
"""
WORKER = """
import json, sys, time
from pathlib import Path
from cnn_sweep.training.session import configure
configure(threads=1)
import keras, tensorflow
began = time.perf_counter()
from cnn_sweep.execution.worker.study_trainer import StudyTrainer
from cnn_sweep.execution.study.study_folder import StudyFolder
study = StudyFolder.open(Path(sys.argv[1]), "pets")
engine = StudyTrainer(study)
ready = time.perf_counter() - began

class Monitor:
    first = None
    def epoch(self, *_): pass
    def checkpoint(self, *_): pass
    def checkpoint_later(self, *_): pass
    def decision(self): return "continue"
    def should_stop(self):
        self.first = self.first or time.perf_counter() - began
        return True

monitor = Monitor()
trial = study.plan.trials[0]
engine.train(study.sweep.resolve(trial.params), seed=trial.seed, monitor=monitor)
print(json.dumps([ready, monitor.first]))
"""
SWEEP = """
study: pets
data: {source: folder, train: images, image_size: 128}
model: {layers: [{conv2d: {filters: 4, kernel_size: 8, strides: 8}}, global_pool, output]}
training: {epochs: 100}
"""


def make_images(folder: Path, count: int) -> None:
    """Write real photographs' pieces of 128 x 128, in two classes."""
    sys.path.insert(0, str(ROOT / "examples"))
    from make_images import Photographs, write_jpeg

    photographs = Photographs(0)
    for number in range(count):
        name = ("china", "flower")[number % 2]
        write_jpeg(folder / "images" / name / f"{number}.jpg", photographs.piece(name, 128, 128))


def measured(code: str, *arguments: object) -> list[float]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, encoding="utf-8")
    return json.loads(done.stdout.splitlines()[-1])


def compare(folder: Path) -> dict[str, list[list[float]]]:
    """Alternate all; return wall and processor time of each run in seconds."""
    ours, as_it_comes, keras = (
        "cnn-sweep data prepare",
        "the same, in memory as it comes",
        "image_dataset_from_directory",
    )
    found: dict[str, list[list[float]]] = {ours: [], as_it_comes: [], keras: []}
    for run in range(RUNS):
        # In this order, since what one run leaves is at hand for the next.
        for name, size in ((as_it_comes, 0), (ours, AT_HAND)):
            with tempfile.TemporaryDirectory(dir=folder) as root:
                found[name].append(measured(PREPARE, size, folder, root))
        found[keras].append(measured(KERAS, AT_HAND, folder))
        print(f"run {run + 1} of {RUNS}: {[times[-1] for times in found.values()]}", file=sys.stderr)
    return found


def in_rows(found: dict[str, list[list[float]]], count: int) -> list[tuple[str, ...]]:
    """Return the rows of the table of all runs."""
    ours, *_ = (min(times)[0] for times in found.values())
    rows = []
    for name, times in found.items():
        wall, best = statistics.median(wall for wall, _ in times), min(times)[0]
        cores = statistics.median(cpu / wall for wall, cpu in times)
        rows.append((name, f"{wall:.2f}", f"{best:.2f}", f"{count / best:,.0f}", f"{cores:.2f}", f"{best / ours:.2f}x"))
    return rows


def where_it_goes(folder: Path, count: int, runs: list[list[float]]) -> list[tuple[str, ...]]:
    """Return microseconds of processor time an image: each phase alone in one process, and the rest of whole runs."""
    names = ("find the file, its size and time", "read it", "decode it", "its SHA-256", "write the pixels")
    alone = [measured(PHASES, folder) for _ in range(3)]
    phases = dict(zip(names, (statistics.median(column) for column in zip(*alone, strict=True)), strict=True))
    whole = min(cpu for _, cpu in runs) / count * 1e6
    phases |= {"the rest: processes, splits, report, two decoders at once": whole - sum(phases.values()), "all": whole}
    return [(name, f"{value:.1f}") for name, value in phases.items()]


def start_of_a_worker(folder: Path) -> list[tuple[str, ...]]:
    """Prepare the same images for a study, and return how long a worker takes to use them."""
    (folder / "pets.yaml").write_text(SWEEP, encoding="utf-8")
    results = folder / "results"
    code = (
        "import sys; from pathlib import Path; from cnn_sweep.sweep.sweep import Sweep;"
        "from cnn_sweep.execution.study.study_folder import StudyFolder;"
        "from cnn_sweep.training.data.prepare import prepare;"
        "study = StudyFolder.open_or_create(Sweep.load(sys.argv[1]), Path(sys.argv[2]));"
        "prepare(study.sweep.data, study.sweep.folder, study.data_root); print([])"
    )
    measured(code, folder / "pets.yaml", results)
    times = [measured(WORKER, results) for _ in range(3)]
    ready, first = (statistics.median(column) for column in zip(*times, strict=True))
    return [("study read, data mapped, training begins", f"{ready:.2f}"), ("first steps done", f"{first:.2f}")]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="2,000 images instead of 25,000")
    quick = parser.parse_args().quick
    count = 2_000 if quick else 25_000
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_images(folder, count)
        found = compare(folder)
        write_section(
            "Preparing images",
            ("way", "seconds", "best", "images/s", "cores used", "takes"),
            in_rows(found, count),
            note=f"{count:,} JPEGs of 128x128, medians and the best of {RUNS} alternating runs, without imports; "
            "images/s and the last column are those of the best. "
            f"{AT_HAND // 2**30} GiB of memory are used and given back before each run but those in memory as it "
            "comes: there the host of this virtual machine must find the memory for what is written.",
            quick=quick,
        )
        write_section(
            "Where the time of preparing goes",
            ("phase", "us an image"),
            where_it_goes(folder, count, found["cnn-sweep data prepare"]),
            note="Processor time of the same images: each phase alone in one process, and the rest of the best run.",
            quick=quick,
        )
        write_section(
            "From TensorFlow's import to training",
            ("what a worker has done", "seconds after the import"),
            start_of_a_worker(folder),
            note=f"On the same {count:,} images, prepared; medians of 3 processes with one thread.",
            quick=quick,
        )


if __name__ == "__main__":
    main()
