"""The states of studies with jobs in Slurm's queue, with budgets, and with workers of this machine."""

from __future__ import annotations

import pytest
from helpers.written import SWEEP, Written

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.study.provenance import start_journal
from cnn_sweep.journal.events import Submit
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report import study_list
from cnn_sweep.report.study_list import size_of, studies_table
from cnn_sweep.slurm.job_rows import QueueRow, Visibility
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader


def listed(results):
    """Return the state of each study, and the problems."""
    assert merge(results, wait_s=20).skipped is None
    table, problems = studies_table(StoreReader(results))
    return {row["study"]: row["state"] for row in table.rows}, problems


@pytest.fixture
def slurm(monkeypatch):
    """A Slurm with rows in its queue that a test may change; it counts the calls."""

    class Slurm:
        rows = ()
        calls = 0

        def visibility(self):
            return Visibility("lab")

        def queue(self, ids):
            Slurm.calls += 1
            if Slurm.rows is None:
                raise EnvironmentFault("squeue failed")
            return list(Slurm.rows)

    monkeypatch.setattr(study_list, "SlurmCli", Slurm)
    monkeypatch.setattr(study_list.shutil, "which", lambda _: "/usr/bin/squeue")
    return Slurm


def test_jobs_in_the_queue_make_a_study_queued_or_running(tmp_path, slurm):
    """One call of squeue is enough for all studies; without an answer, the list says so."""
    for number, name in enumerate(("first", "second"), start=7):
        submit = Submit(1_000.0, [{"job": str(number), "tasks": 1, "time": 1_000.0}], "p.toml", "lab")
        Written(tmp_path).study(name, trials=2, states=("complete", "waiting"), more=[submit])
    assert listed(tmp_path) == ({"first": "interrupted", "second": "interrupted"}, [])
    slurm.rows = [
        QueueRow(("7_0",), 70, "PENDING", "Priority", 0, 1_000, 1_001, None, 0, 0, "", "main"),
        QueueRow(("8_0",), 70, "RUNNING", "", 0, 1_000, 1_001, None, 0, 0, "n1", "main"),
    ]
    assert listed(tmp_path)[0] == {"first": "queued", "second": "running"}
    slurm.rows = None
    assert listed(tmp_path)[1] == ["jobs are not known: squeue failed"]
    assert slurm.calls == 3


def test_a_worker_of_this_machine_makes_a_study_running(tmp_path):
    """Between two trials, too."""
    Written(tmp_path).study(trials=2, states=("complete", "waiting"))
    with start_journal(StudyPaths(tmp_path, "digits"), "worker", threads=1):
        assert listed(tmp_path) == ({"digits": "running"}, [])


def test_a_study_that_its_budget_ended_is_finished(tmp_path):
    """Its waiting trials will not begin."""
    text = SWEEP + "search: {{method: random, trials: 4, epochs: 6}}\n"
    Written(tmp_path).study(trials=4, states=("complete", "complete", "waiting", "waiting"), sweep=text)
    assert listed(tmp_path)[0] == {"digits": "finished"}


def test_trials_that_all_failed_make_a_study_failed(tmp_path):
    """Others wait, but none begins after failures that are all alike."""
    Written(tmp_path).study(trials=4, states=("failed", "failed", "waiting", "waiting"))
    assert listed(tmp_path)[0] == {"digits": "failed"}


def test_a_size_counts_all_files_but_claims(tmp_path):
    """Claims are links to one file per worker."""
    (tmp_path / "models").mkdir()
    (tmp_path / "claims").mkdir()
    for name, size in (("sweep.yaml", 10), ("models/0.keras", 100), ("claims/0.0", 1_000)):
        (tmp_path / name).write_bytes(bytes(size))
    assert size_of(tmp_path) == 110
    assert size_of(tmp_path / "gone") == 0
