"""A trial that runs out of its device's memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cnn_sweep.execution.attempts.retries import Retries
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.protocol import Ending, StopRequest, WorkerSettings
from cnn_sweep.journal.events import Retire
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import decode
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: memory
data: {source: digits, validation: 0.2, test: 0.2}
model: {build: "hungry:build"}
space: {want: [once, always, never]}
training: {epochs: 1, batch_size: 512}
"""
HUNGRY = """
import keras, pathlib
import tensorflow as tf

def build(params, image_shape, classes):
    before = pathlib.Path(__file__).with_name("tried")
    if params["want"] == "always" or (params["want"] == "once" and not before.exists()):
        before.touch()
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    out = keras.layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), out])
"""


@pytest.fixture
def work(tmp_path):
    """Run a worker of the study in this process, and return how it ended."""
    (tmp_path / "hungry.py").write_text(HUNGRY, encoding="utf-8")
    study = StudyFolder.open_or_create(Sweep.parse(SWEEP, folder=tmp_path), tmp_path / "results")
    settings = WorkerSettings(study.paths.results, "memory", 1, since=0.0)

    def run(**changes):
        from cnn_sweep.execution.worker.worker import Worker

        return Worker(study, replace(settings, **changes), StopRequest()).run()

    run.study = study  # type: ignore[attr-defined]
    return run


def ends(study):
    """Return the state and cause of all attempts, by trial."""
    history = History(study.paths)
    history.refresh()
    return [
        [(attempt.state, attempt.cause) for _, attempt in sorted(trial.attempts.items())]
        for _, trial in sorted(history.trials.items())
    ]


def test_a_trial_is_tried_once_more_alone_and_then_fails_for_want_of_memory(work):
    """Workers leave it to one that has the device to itself; other trials go on; no attempt is spent on nothing."""
    interrupted, failed, complete = ("interrupted", "oom"), ("failed", "oom"), ("complete", None)
    assert work() is Ending.OUT_OF_MEMORY
    assert work() is Ending.OUT_OF_MEMORY
    assert ends(work.study) == [[interrupted], [interrupted]]
    assert work() is Ending.OUT_OF_MEMORY, "it says that trials are left for a worker that is alone"
    assert ends(work.study) == [[interrupted], [interrupted], [complete]]
    assert work(alone=True) is Ending.OUT_OF_MEMORY
    assert ends(work.study) == [[interrupted, complete], [interrupted, failed], [complete]]
    assert work() is Ending.DONE
    assert work(alone=True) is Ending.DONE


def test_a_profiles_retries_hold_for_exceptions_of_a_trial(work):
    """With `exception = 1` a network that raises is built once more before the trial fails; by default it fails."""
    (work.study.code_folder / "hungry.py").write_text('def build(*_): raise ValueError("no")\n', encoding="utf-8")
    assert work(retries=Retries(exception=1), trials=2) is Ending.DONE
    assert ends(work.study) == [[("interrupted", "exception"), ("failed", "exception")]]
    assert work(trials=1) is Ending.DONE
    assert ends(work.study)[1] == [("failed", "exception")]


def test_a_worker_that_has_grown_says_so_and_ends_after_its_trial(work, monkeypatch):
    """The journal tells why, and the trial is complete."""
    monkeypatch.setattr("cnn_sweep.execution.worker.memory_growth.GrowthWatch.after_trial", lambda _: "2 GB")
    (work.study.code_folder / "tried").touch()
    assert work() is Ending.GROWN
    assert ends(work.study) == [[("complete", None)]]
    lines = [line for path in work.study.paths.folder.glob("journal/*") for line in path.read_bytes().splitlines()]
    assert [event.reason for event in map(decode, lines) if isinstance(event, Retire)] == ["grown: 2 GB"]
