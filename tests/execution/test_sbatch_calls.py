"""Submissions that are made at once, slow, interrupted or without an answer."""

from __future__ import annotations

import json
import time

import pytest

from cnn_sweep.cli.commands import submit as submit_command
from cnn_sweep.errors import CnnSweepError, Interrupted, StudyError
from cnn_sweep.execution.array_jobs import sbatch_calls, slurm
from cnn_sweep.execution.study.jobs import calls_of
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Cancel
from cnn_sweep.journal.identity import current
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.sweep.sweep import Sweep

REFUSES = 'echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1'
TIMES_OUT = 'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1'
SPACE = """
space: {rate: [0.1, 0.2, 0.3, 0.4, 0.5]}
training: {epochs: 1, optimizer: {name: sgd, learning_rate: $rate}}
"""
SHORT_ARRAYS = """case "$*" in *partition*) echo "PartitionName=main Default=YES MaxTime=01:00:00 Nodes=n1 State=UP";;
*) echo "ClusterName = lab"; echo "MaxArraySize = 2";; esac"""


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The queue is searched once for a job, without pauses."""
    monkeypatch.setattr(sbatch_calls, "_LOOK_AFTER_S", (0.0,))


@pytest.fixture
def wide(queue):
    """Five trials for five pools, in arrays of at most two."""
    text = queue.sweep.replace("training: {epochs: 1}\n", SPACE)
    (queue.home / "mine.yaml").write_text(text, encoding="utf-8")
    (queue.home / "my.toml").write_text("time_limit = 10\narray_width = 5\n", encoding="utf-8")
    queue.install("scontrol", SHORT_ARRAYS)
    return queue


def submit(queue):
    """Submit the sweep file."""
    return queue.type("submit", "mine.yaml", "--profile", "my.toml")


def resume(queue):
    """Continue the study."""
    return queue.type("resume", "mine", "--profile", "my.toml")


@pytest.fixture
def interrupted(wide, monkeypatch):
    """A submission of three arrays that is interrupted while the second call of sbatch answers."""
    real = slurm.SlurmExecutor._get_job_id_from_submission_command

    def answer(words):
        if "18" in str(words):
            raise KeyboardInterrupt
        return real(words)

    monkeypatch.setattr(slurm.SlurmExecutor, "_get_job_id_from_submission_command", staticmethod(answer))
    with pytest.raises(Interrupted, match=r"job 17 stays in the queue.*`cnn-sweep resume mine --profile my.toml`"):
        submit(wide)
    return wide


def then(queue, words, *, call=1):
    """Let sbatch do something else after it has queued a job, at one of its calls."""
    sbatch = (queue.home / "bin" / "sbatch").read_text(encoding="utf-8").partition("\n")[2]
    queue.install("sbatch", f"{sbatch}if [ $(wc -l <queue) = {call} ]; then {words}; fi")


def states(queue):
    """Return the jobs of ``status`` by their states."""
    return {job["job"]: job["states"] for job in json.loads(queue.type("status", "mine", "--json").stdout)["jobs"]}


def test_a_study_that_is_being_submitted_is_not_submitted_again(queue):
    """The message names who holds it and since when; nothing is submitted, and nothing is removed."""
    study = StudyFolder.open_or_create(Sweep.load("mine.yaml"), queue.paths.results)
    with (
        Claims(study.paths, "other", current()).submission(),
        pytest.raises(StudyError, match=r"is being submitted by process \d+ on .* since \d{4}-.*cnn-sweep status mine"),
    ):
        submit(queue)
    assert queue.paths.sweep.is_file()
    assert queue.waiting() == []
    submit(queue)
    assert len(queue.waiting()) == 1


def test_who_planned_before_another_submitted_submits_nothing(queue, monkeypatch):
    """Otherwise two commands typed at once would submit twice as many pools as asked; the study stays."""
    planned = submit_command.plan_or_explain

    def meanwhile(*arguments):
        monkeypatch.setattr(submit_command, "plan_or_explain", planned)
        found = planned(*arguments)
        submit(queue)
        return found

    monkeypatch.setattr(submit_command, "plan_or_explain", meanwhile)
    with pytest.raises(StudyError, match="was submitted by another command at this moment, as job 17"):
        submit(queue)
    assert queue.waiting() == ["17"]
    assert states(queue) == {"17": {"PENDING: Priority": 1}}


def test_a_refused_submission_removes_only_its_own_files(queue):
    """A pool that began at that moment keeps its log."""
    study = StudyFolder.open_or_create(Sweep.load("mine.yaml"), queue.paths.results)
    queue.install("sbatch", f"touch {study.paths.slurm}/16_0_0_log.err; {REFUSES}")
    with pytest.raises(CnnSweepError, match="sbatch refused the job"):
        submit(queue)
    assert [path.name for path in study.paths.slurm.iterdir()] == ["16_0_0_log.err"]
    assert calls_of(study.paths) == ([], [])


def test_an_interrupted_submission_leaves_nothing_unknown(interrupted):
    """The array before is journaled, the one that sbatch just queued is found, and `cancel` cancels both."""
    assert len(calls_of(interrupted.paths).submits) == 1
    assert states(interrupted) == {"17": {"PENDING: Priority": 2}, "18": {"PENDING: Priority": 2}}
    interrupted.type("cancel", "mine")
    assert interrupted.waiting() == []
    assert list(interrupted.paths.claims.glob("submission-*")) == []


def test_resume_replaces_a_job_that_lacks_files(interrupted):
    """It would fail without the files that the interrupted command did not finish; it is cancelled and not counted."""
    done = resume(interrupted)
    assert "job 18 of an interrupted submission is cancelled, because it lacked files" in done.stderr
    assert interrupted.waiting() == ["17_[0-1]", "19_[0-1]", "20"]
    assert calls_of(interrupted.paths).unsettled == []


def test_a_job_that_was_accepted_though_sbatch_timed_out_is_adopted(wide):
    """It gets its files and is journaled, and the other arrays follow."""
    then(wide, TIMES_OUT)
    done = submit(wide)
    assert done.stdout.split() == ["mine", "17", "mine", "18", "mine", "19"]
    assert sorted(path.name for path in wide.paths.slurm.glob("17*.pkl")) == [
        "17_0_submitted.pkl",
        "17_1_submitted.pkl",
    ]
    assert calls_of(wide.paths).unsettled == []
    assert len(states(wide)) == 3


def test_a_job_that_comes_after_sbatch_timed_out_is_found(queue):
    """A slow controller queues it later: `status` shows it, and `cancel` cancels it."""
    sbatch = (queue.home / "bin" / "sbatch").read_text(encoding="utf-8")
    queue.install("sbatch", TIMES_OUT)
    with pytest.raises(CnnSweepError, match=r"Socket timed out.*`cnn-sweep cancel mine` cancels it"):
        submit(queue)
    (call,) = calls_of(queue.paths).unsettled
    assert call.comment == f"cnn-sweep mine {call.key}"
    assert states(queue) == {}
    row = f"17|17|PENDING|Priority|0|{int(time.time())}|N/A|N/A|0||main"
    other = row.replace("17", "16", 2)
    (queue.home / "queue").write_text(f"{other}|cnn-sweep mine 0|\n{row}|{call.comment}|\n", encoding="utf-8")
    assert states(queue) == {"17": {"PENDING: Priority": 1}}
    queue.type("cancel", "mine")
    assert queue.waiting() == ["16"]
    queue.install("sbatch", sbatch.partition("\n")[2])
    assert resume(queue).stdout == "mine 19\n"


def test_an_answer_of_sbatch_that_names_no_job_is_no_refusal(queue):
    """A site's wrapper may print other words; the job is found in the queue."""
    then(queue, "echo Thank you; exit 0")
    queue.install("sbatch", (queue.home / "bin" / "sbatch").read_text(encoding="utf-8").replace("echo Submitted", ": "))
    assert submit(queue).stdout == "mine 17\n"


def test_cancel_stops_a_submission_under_way(wide):
    """No array follows, and those submitted before are cancelled."""
    with JournalWriter(wide.home / "cancel.jsonl") as journal:
        journal.append(worker_event(threads=0))
        journal.append(Cancel(time=time.time() + 3600))
    then(wide, f"cp cancel.jsonl {wide.paths.journal('other-1-2-3')}", call=2)
    with pytest.raises(Interrupted, match="was cancelled meanwhile"):
        submit(wide)
    assert wide.waiting() == []
    assert len((wide.home / "queue").read_text(encoding="utf-8").splitlines()) == 2


def test_the_comment_of_a_profile_is_kept(queue):
    """Sites may read it; a job whose fate is open is then found by it and its time."""
    (queue.home / "my.toml").write_text('time_limit = 10\n[sbatch]\ncomment = "project 7"\n', encoding="utf-8")
    then(queue, TIMES_OUT)
    assert submit(queue).stdout == "mine 17\n"
    assert "|project 7|" in (queue.home / "queue").read_text(encoding="utf-8")
