"""The live page that the pools of a study write on a real cluster, read on another mount."""

import json
import time
from pathlib import Path

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
live = {every_s = 2}
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


def test_two_pools_write_one_page(desk, tmp_path, epochs_per_s):
    """One of them at a time; when its job is killed, the other goes on; a reader elsewhere sees whole pages only."""
    sweep = desk.write("seen.yaml", SWEEP.format(epochs=round(12 * epochs_per_s)))
    desk.submit(sweep, desk.write("two.toml", PROFILE))
    live = desk.results / "seen" / "live"
    desk.cluster.until((live / "data.js").exists, 180, "the page")
    with mounted(desk.results, tmp_path / "elsewhere") as (elsewhere,):
        data = elsewhere / "seen" / "live" / "data.js"
        shell = data.with_name("index.html").read_bytes()
        (first,) = desk.cluster.until(lambda: writers(desk.results), 30, "a writer")
        reads = [received(data)["written"] for _ in range(READS // 2)]
        desk.cluster.slurm.run("scancel", "--signal=KILL", "--full", first)
        killed = time.time()
        desk.cluster.until(lambda: set(writers(desk.results)) - {first}, 120, "another writer")
        desk.cluster.until(lambda: received(data)["written"] > killed, 120, "a page of the other writer")
        desk.wait_until_complete("seen", len(RATES), 400)
        while len(reads) < READS or not received(data)["finished"]:
            assert time.time() < killed + 900
            reads.append(received(data)["written"])
        assert data.with_name("index.html").read_bytes() == shell
    assert len({*reads}) > 1
    assert reads == sorted(reads)
    assert len(writers(desk.results)) == 0
