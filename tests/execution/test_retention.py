"""What dead processes were writing is removed; what stays on disk for other reasons stops nobody."""

from __future__ import annotations

import pytest

from cnn_sweep.execution.worker.retention import drop_checkpoints, drop_leftovers, drop_models
from cnn_sweep.journal.events import End, Epoch, Lost, Start
from cnn_sweep.journal.filesystem import aside_of
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import process_tag
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: tidy
data: {source: digits}
model: {layers: [flatten, output: softmax]}
training: {epochs: 1}
"""


@pytest.fixture
def paths(tmp_path):
    """A study with a lost, an ended, a running and an unknown attempt."""
    found = StudyPaths(tmp_path, "tidy")
    found.create()
    with JournalWriter(found.journal("w")) as journal:
        for trial in range(3):
            journal.append(Start(1.0, trial, 0, "c", 0, 0, {}))
        journal.append(Lost(2.0, 0, 0, "killed", ""))
        journal.append(Epoch(2.0, 1, 0, 1, 1.0, {"val_accuracy": 0.5}))
        journal.append(End(2.0, 1, 0, "complete"))
    return found


def test_unfinished_checkpoints_of_ended_and_lost_attempts_are_removed(paths):
    """By the journals, also where the process ran elsewhere or an earlier version; others stay, and whole ones do."""
    elsewhere = "aside-n9-1-2-b-3-ab"
    names = {0: "0123abcd", 1: elsewhere, 2: "0123abcd", 7: elsewhere}
    unfinished = {trial: paths.checkpoints / f".{trial}.0.ckpt.{name}" for trial, name in names.items()}
    others = [aside_of(paths.checkpoint(0, 0)), paths.checkpoint(0, 0), paths.checkpoints / ".odd"]
    for path in (*unfinished.values(), *others):
        path.touch()
    drop_leftovers(paths, History.read(paths))
    assert sorted(paths.checkpoints.iterdir()) == sorted([unfinished[2], unfinished[7], *others])


def test_leftovers_are_found_in_all_folders_of_a_study(paths):
    """Beside its own files, in the results folder, and in its prepared data."""
    dead = process_tag().rsplit("-", 5)
    dead[2] = "1"
    (paths.results / ".data").mkdir()
    paths.logs.mkdir(exist_ok=True)
    folders = [paths.folder, paths.models, paths.logs, paths.results, paths.results / ".data"]
    left = [folder / f".x.aside-{'-'.join(dead)}.keras" for folder in folders]
    for path in left:
        path.touch()
    drop_leftovers(paths, History.read(paths))
    assert [path.exists() for path in left] == [False] * len(left)


def test_files_that_cannot_be_removed_stop_nobody(paths, caplog):
    """A folder in the place of a checkpoint or a model, or a folder that is gone, is logged."""
    for path in (paths.checkpoint(1, 0), paths.model(1)):
        path.mkdir()
    drop_checkpoints(paths, 1)
    sweep = Sweep.parse(SWEEP)
    drop_models(paths, History.read(paths), sweep, keep=0)
    paths.model(1).rmdir()
    paths.models.rmdir()
    drop_models(paths, History.read(paths), sweep, keep=0)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "checkpoints of trial 1 are left",
        "models of other trials are left",
        "models of other trials are left",
    ]
