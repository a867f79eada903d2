"""A study that is extended while its workers run: they train the new trials, and its end comes after them."""

from __future__ import annotations

import time

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: growing
data: {source: digits, validation: 0.2, test: 0.2}
model: {layers: [{conv2d: {filters: $filters, kernel_size: 3}}, flatten, output: softmax]}
space: {filters: [2]}
search: {method: grid}
training: {epochs: 25, batch_size: 16}
when_finished: [leaderboard]
"""


def test_running_workers_train_what_is_added(cli):
    """One `run` of one trial ends with three, numbered as in the extended plan; notice and last command have all."""
    (cli.folder / "growing.yaml").write_text(SWEEP, encoding="utf-8")
    run = cli.start("run", "growing.yaml", "--workers", 1, "--notify", 'echo "$CNN_SWEEP_TEXT" >>told')
    deadline = time.monotonic() + 240
    while not any(b'"epoch":3' in file.read_bytes() for file in cli.results.glob("growing/journal/*.jsonl")):
        assert time.monotonic() < deadline, "no trial began"
        time.sleep(0.05)
    wider = Sweep.parse(SWEEP.replace("[2]", "[3, 2, 4]"), folder=cli.folder)
    StudyFolder.open_or_create(wider, cli.results, extend=True)
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 0, errors.decode()
    told = (cli.folder / "told").read_text(encoding="utf-8").splitlines()
    assert [line.partition(";")[0] for line in told] == ["growing is finished: 3 complete"]
    trials = StudyFolder.open(cli.results, "growing").history().trials
    assert [trials[number].params for number in range(3)] == [{"filters": 2}, {"filters": 3}, {"filters": 4}]
    table = (cli.results / "growing" / "finished" / "leaderboard.csv").read_text(encoding="utf-8")
    assert len(table.splitlines()) == 4
    assert b"growing: when finished, leaderboard: " in errors
