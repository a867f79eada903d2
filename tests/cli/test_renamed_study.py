"""A renamed study goes on as if it had always had its new name: the same trials, seeds and values."""

from __future__ import annotations

import time

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings
from cnn_sweep.execution.worker.worker import Worker
from cnn_sweep.journal.history import History
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: {study}  # the first one
data: {{source: digits, test: 0.2}}
model: {{layers: [flatten, dropout: 0.3, output: softmax]}}
space: {{rate: {{low: 0.01, high: 0.5}}}}
search: {{method: random, trials: {trials}}}
training: {{epochs: 3, optimizer: {{learning_rate: $rate}}}}
"""


class AfterAnEpoch(StopRequest):
    """Asks a worker to stop once it has journaled an epoch."""

    def __init__(self, paths):
        super().__init__()
        self._paths = paths

    def __bool__(self):
        trials = History.read(self._paths).trials.values()
        return any(attempt.epochs for trial in trials for attempt in trial.attempts.values())


def work(here, name, stop=None):
    """Train what is left in a study, in this process."""
    study = StudyFolder.open(here.results, name)
    Worker(
        study, WorkerSettings(here.results, name, threads=1, since=time.time()), StopRequest() if stop is None else stop
    ).run()


def values(here, name):
    """Return configuration, seed and value of each trial."""
    rows = here.table("leaderboard", name, "--per", "trial", "--columns", "trial,configuration,repeat,seed,value")
    return sorted(tuple(row.values()) for row in rows)


def test_a_renamed_study_goes_on(here):
    """Renamed in the middle of a trial, it is resumed, extended, repeated, finalized and exported like its twin."""
    text = SWEEP.format(study="twin", trials=1)
    for name in ("twin", "before"):
        StudyFolder.open_or_create(Sweep.parse(text.replace("twin", name), source="my.yaml"), here.results)
    work(here, "before", AfterAnEpoch(StudyFolder.open(here.results, "before").paths))
    assert "my.yaml" in here("rename", "before", "2024")
    work(here, "2024")
    work(here, "twin")
    for name in ("2024", "twin"):
        StudyFolder.open(here.results, name).extend_search({"trials": 2})
        work(here, name)
        here("repeat", name, "--top", "1", "--repeats", "2")
        StudyFolder.open_or_create(
            Sweep.parse(text.replace("twin", f'"{name}"').replace("trials: 1", "trials: 3")), here.results, extend=True
        )
        work(here, name)
    assert values(here, "2024") == values(here, "twin")
    assert len(values(here, "2024")) == 4
    here("finalize", "2024", "--yes")
    here("export", "2024", f"sqlite:///{here.results}/optuna.db", "--to", "optuna")
    here("report", "2024", "--no-predictions", "--output", here.results / "page.html")
    page = (here.results / "page.html").read_text(encoding="utf-8")
    assert "study: &#34;2024&#34;" in page
    assert "study: before" not in page
    assert here("store", "check").endswith("sound\n")
    assert not (here.results / "before").exists()


def test_only_the_name_changes_in_the_text():
    """Comments stay; a name that YAML would read as a number is put in quotes."""
    sweep = Sweep.parse(SWEEP.format(study="before", trials=1))
    renamed = sweep.named("2024")
    assert renamed.study == "2024"
    assert renamed.text == sweep.text.replace("study: before", 'study: "2024"')
    assert renamed.named("before").digest == sweep.digest != renamed.digest
    assert renamed.named("2024") is renamed
