"""The live page that the pools of a study write on a real cluster, read on another mount."""

import json
import time
from pathlib import Path

import pytest
from helpers.mounts import mounted

READS = 1_000
RATES = [round(0.001 * k, 3) for k in range(1, 13)]
SWEEP = f"""
study: seen
data: {{{{source: digits, validation: 0.2, test: 0.2}}}}
model: {{{{layers: [{{{{conv2d: {{{{filters: 2, kernel_size: 3}}}}}}}}, flatten, output: softmax]}}}}
space: {{{{rate: {RATES}}}}}
search: {{{{method: grid}}}}
training: {{{{epochs: {{epochs}}, batch_size: 8, optimizer: {{{{name: adam, learning_rate: $rate}}}}}}}}
"""
PROFILE = """
time_limit = 15
memory = "1500M"
threads = 1
array_width = 2
live = {every_s = 30}
"""


def writers(results):
    """Return the elements of jobs that write a live page of these results."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            lines = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if b"--watch" in words and str(results).encode() in words:
            known = dict(line.split("=", 1) for line in lines if "=" in line)
            found.append(f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}")
    return found


def received(file):
    """Return what a page takes from the script with the data, which must be whole."""
    text = file.read_text(encoding="utf-8")
    assert text.startswith("receive({")
    assert text.endswith("});\n")
    return json.loads(text.removeprefix("receive(").removesuffix(");\n"))


@pytest.mark.long  # a writer must be silent for a minute and a half before another one takes its turn
def test_two_pools_write_one_page(desk, tmp_path, epochs_per_s):
    """One of them at a time; when its job is killed, the other goes on; a reader elsewhere sees whole pages only."""
    sweep = desk.write("seen.yaml", SWEEP.format(epochs=round(40 * epochs_per_s)))
    desk.submit(sweep, desk.write("two.toml", PROFILE))
    live = desk.results / "seen" / "live"
    desk.cluster.until((live / "data.js").exists, 180, "the page")
    with mounted(desk.results, tmp_path / "elsewhere") as (elsewhere,):
        data = elsewhere / "seen" / "live" / "data.js"
        shell = data.with_name("index.html").read_bytes()
        reads = []

        def reading(condition, seconds, what):
            def met():
                reads.append(received(data)["written"])
                return condition()

            return desk.cluster.until(met, seconds, what)

        (first,) = reading(lambda: writers(desk.results), 60, "a writer")
        reading(lambda: len({*reads}) > 1, 120, "a renewal")
        desk.cluster.slurm.run("scancel", "--signal=KILL", "--full", first)
        killed = time.time()
        (second,) = reading(lambda: {*writers(desk.results)} - {first}, 240, "another writer")
        reading(lambda: reads[-1] > killed + 30, 120, "a page of the other writer")
        reading(lambda: received(data)["finished"] and len(reads) >= READS, 900, "the end")
        assert data.with_name("index.html").read_bytes() == shell
    assert second != first
    assert reads == sorted(reads)
    assert desk.journaled("seen", b'"state":"complete"') == len(RATES)
    desk.cluster.until(lambda: not writers(desk.results), 60, "the last writer to end")
