# ruff: noqa: E501 - a row of the table is a line
"""How jobs ended, dead workers and idle studies, in what `status`, `logs` and `cancel` say; Slurm is two scripts."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from helpers.written import Written
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.cli.ui.watch import _line
from cnn_sweep.execution.study.provenance import fault_event, worker_event
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Cancel, End, Submit
from cnn_sweep.journal.identity import ProcessIdentity, new_writer_name
from cnn_sweep.journal.log import JournalWriter, encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.live import moment
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study

SUBMITTED = int(time.time()) - 1000
NO_ACCOUNTS = "echo Slurm accounting storage is disabled >&2; exit 1"
DOWN = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
SETUP = "cnn-sweep: setup failed with exit code 1 on n2: module load cuda/99"
TRACEBACK = "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'submitit'\n"
MISMATCH = "2026-11-29 01:15:19,793 CRITICAL this pool cannot work: numpy is 1, submitted with 2. Submit from there\n"
SRUN = "srun: error: n2: task 0: Exited with exit code {}\n"


def queued(job="17", state="FAILED", status=256, *, submitted=SUBMITTED, nodes="n2"):
    """Return a line of squeue; the status is that of wait()."""
    times = f"{submitted}|{submitted + 1}|{submitted + 9}"
    return f"{job}|17|{state}|None|0|{times}|{status}|{nodes}|main|"


def accounted(job="17", state="FAILED", code="1:0", *, submitted=SUBMITTED):
    """Return a line of sacct."""
    return f"{job}|17|{state}|{code}|{submitted}|{submitted + 1}|{submitted + 9}|n2"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A study with one running and one waiting trial, submitted as job 17; its worker is a process of that job."""
    programs, results = tmp_path / "bin", tmp_path / "results"
    programs.mkdir()
    results.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    Written(results).study(trials=2, states=("running", "waiting"), epochs=1)
    paths = StudyPaths(results, "digits")
    slurm = {"job_id": "17", "submit_time": str(SUBMITTED)}
    Claims(paths, "w", ProcessIdentity("n2", "other", "pid:[1]", 7, 8, slurm)).claim(0, 0)
    os.utime(paths.claim(0, 0), (SUBMITTED + 5, SUBMITTED + 5))

    def answers(squeue="", sacct="exit 0"):
        for name, script in (("squeue", squeue), ("sacct", sacct), ("scontrol", "echo ClusterName = lab")):
            text = script if script.startswith(("echo", "exit")) else f"cat <<'END'\n{script}\nEND"
            (programs / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (programs / name).chmod(0o755)

    def type_(*words, code=0):
        done = CliRunner().invoke(app, [*words, "--results", str(results)])
        assert done.exit_code == code, done.output
        return done

    def status():
        return json.loads(type_("status", "digits", "--json").stdout)

    def journal(event):
        with JournalWriter(paths.journal(new_writer_name())) as writer:
            writer.append(worker_event(threads=0))
            writer.append(event)

    def submitted(tasks=1, job="17", at=SUBMITTED):
        journal(Submit(at, [{"job": job, "tasks": tasks, "time": at}], "my cpu.toml", "lab"))

    answers()
    return SimpleNamespace(
        answers=answers, type=type_, status=status, submitted=submitted, journal=journal, paths=paths, results=results
    )


class Ending(NamedTuple):
    """How a job ends, and what `status` says: squeue's line, the log, the text, and words of cause and cure."""

    line: str
    log: str | None
    text: str
    cause: str
    cure: str


ENDINGS = [
    Ending(queued(status=4021), None, "1 FAILED (exit code 0:53) on n2", "could not open the job's log", "does not see the folder"),
    Ending(queued(status=127 << 8), "no/python: not found\n" + SRUN.format(127), "1 FAILED (exit code 127) on n2", "no/python: not found", "correct `python` or `setup`"),
    Ending(queued(status=3 << 8), f"module: not found\n{SETUP}\n", "1 FAILED (exit code 3) on n2", SETUP.removeprefix("cnn-sweep: "), "correct this line of `setup`"),
    Ending(queued(status=3 << 8), MISMATCH + SRUN.format(3), "1 FAILED (exit code 3) on n2", "numpy is 1, submitted with 2. Submit from there", ""),
    Ending(queued(), TRACEBACK + SRUN.format(1), "1 FAILED (exit code 1) on n2", "ModuleNotFoundError: No module named 'submitit'", "correct `python`"),
    Ending(queued(), "odd words\n", "1 FAILED (exit code 1) on n2", "odd words", "`cnn-sweep logs digits`"),
    Ending(queued(), "srun: error: no step\n", "1 FAILED (exit code 1) on n2", "srun: error: no step", "`cnn-sweep logs digits`"),
    Ending(queued(state="OUT_OF_MEMORY", status=125), "killed\n", "1 OUT_OF_MEMORY (exit code 0:125) on n2", "memory use", "raise memory"),
    Ending(queued(state="TIMEOUT", status=15), "killed\n", "1 TIMEOUT (exit code 0:15) on n2", "time limit", "raise time_limit"),
    Ending(queued(state="NODE_FAIL", status=0), "2 waiting\n", "1 NODE_FAIL on n2", "its node failed", "requeue = true"),
    Ending(queued(state="PREEMPTED", status=0), "2 waiting\n", "1 PREEMPTED on n2", "another job", "requeue = true"),
    Ending(queued(state="CANCELLED", status=0, nodes=""), None, "1 CANCELLED", "somebody cancelled it", ""),
    Ending(queued(state="COMPLETED", status=0), "2 of 2 trials are finished\n", "1 COMPLETED", "", ""),
]  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS, ids=[f"{number} {ending.text}" for number, ending in enumerate(ENDINGS)])
def test_an_end_has_its_cause_and_its_cure(desk, ending):
    """State, exit code and node are squeue's; the cause is the log's telling line, or what the state means."""
    desk.submitted()
    desk.answers(ending.line)
    if ending.log:
        desk.paths.job_log("17").write_text(ending.log, encoding="utf-8")
    (end,) = desk.status()["ended_jobs"]
    assert (end["job"], end["tasks"], end["text"]) == ("17", 1, ending.text)
    assert ending.cause in end["cause"]
    assert ending.cure in end["cure"]
    assert (bool(end["cause"]), bool(end["cure"])) == (bool(ending.cause), bool(ending.cure))
    lines = [words.strip() for words in desk.type("status", "digits").stdout.splitlines()]
    assert {f"job 17: {ending.text}", *filter(None, (end["cause"], end["cure"]))} <= set(lines)
    assert lines[-1] == "no job is left in the queue: `cnn-sweep resume digits --profile 'my cpu.toml'` continues"


def test_a_fault_that_says_the_same_is_shown_once(desk):
    """A pool that could journal why it cannot work needs no second line from its log."""
    desk.submitted()
    desk.answers(queued(status=3 << 8))
    desk.paths.job_log("17").write_text(MISMATCH, encoding="utf-8")
    desk.journal(fault_event("numpy is 1, submitted with 2. Submit from there"))
    assert desk.type("status", "digits").stdout.count("numpy is 1") == 1


def test_what_squeue_forgot_is_in_the_accounts_or_in_the_log(desk):
    """Without both, the job has ended all the same, and the log's own words tell why."""
    desk.submitted()
    desk.answers("", accounted(code="127:0"))
    assert desk.status()["ended_jobs"][0]["text"] == "1 FAILED (exit code 127) on n2"
    for sacct in (NO_ACCOUNTS, "echo slurmdbd is down >&2; exit 1", accounted(submitted=SUBMITTED - 9000)):
        desk.answers("", sacct)
        (end,) = desk.status()["ended_jobs"]
        assert (end["text"], end["cause"]) == ("1 ended; Slurm no longer knows how", "it left no log")
    desk.paths.job_log("17").write_text(f"{SETUP}\n", encoding="utf-8")
    assert "module load cuda/99" in desk.status()["ended_jobs"][0]["cause"]
    desk.paths.job_log("17").write_text("2 waiting\n", encoding="utf-8")
    assert desk.status()["ended_jobs"][0]["cause"] == ""


def test_elements_that_ended_alike_are_one_line(desk):
    """Those that wait or run are no ends, and a job of another time with our number is not ours."""
    desk.submitted(tasks=6)
    rows = [queued(f"17_{task}", nodes=f"n{task}") for task in (0, 1)]
    rows += [queued("17_2", "COMPLETED", 0), queued("17_3", "RUNNING", 0), queued("17_[4-5]", "PENDING", 0)]
    desk.answers("\n".join(rows))
    status = desk.status()
    assert [end["text"] for end in status["ended_jobs"]] == ["1 COMPLETED", "2 FAILED (exit code 1) on n0, n1"]
    assert status["jobs"][0]["states"] == {"RUNNING": 1, "PENDING": 2}
    assert status["idle"] is None
    desk.answers(queued("17_0", submitted=SUBMITTED + 9000))
    assert [end["text"] for end in desk.status()["ended_jobs"]] == ["6 ended; Slurm no longer knows how"]


def test_ends_before_the_newest_submission_are_history(desk):
    """Jobs of an earlier submission are shown if they ended after the newest."""
    desk.submitted()
    desk.submitted(job="18", at=SUBMITTED + 500)
    desk.answers("\n".join((queued(), queued("18", "COMPLETED", 0, submitted=SUBMITTED + 500))))
    assert [end["job"] for end in desk.status()["ended_jobs"]] == ["18"]


def test_a_trial_of_a_job_that_ended_is_interrupted(desk):
    """Nobody journals the end of a worker whose node failed: `status` asks Slurm, and changes nothing."""
    desk.submitted()
    desk.answers(queued(state="NODE_FAIL", status=0), accounted(state="NODE_FAIL", code="0:0"))
    status = desk.status()
    assert (status["trials"]["running"], status["trials"]["interrupted"]) == (0, 1)
    assert status["dead"] == [{"trial": 0, "why": "job 17: NODE_FAIL on n2"}]
    assert "trial 0 was interrupted: job 17: NODE_FAIL on n2" in desk.type("status", "digits").stdout
    desk.answers(queued(state="RUNNING", status=0))
    assert desk.status()["trials"]["running"] == 1


def test_a_trial_that_ended_after_the_merge_is_not_dead(desk):
    """The worker's own word about its trial counts, even if the store does not have it yet."""
    desk.submitted()
    desk.answers(queued(state="COMPLETED", status=0), accounted(state="COMPLETED", code="0:0"))
    with desk.paths.journal("w").open("ab") as journal:
        journal.write(encode(End(1_100.0, 0, 0, "complete")))
    study = Study.open(desk.results, "digits", merge=False)
    assert study.status()["dead"] == []


def test_a_job_in_which_somebody_typed_run_is_not_taken_for_dead(desk):
    """Its job was not submitted by this program, and runs."""
    desk.answers(queued(state="RUNNING", status=0))
    assert desk.status()["dead"] == []


def test_an_unfinished_study_says_what_continues_it(desk):
    """Cancelled, without jobs, or with a silent Slurm, which proves nothing."""
    desk.answers(queued(state="NODE_FAIL", status=0), accounted(state="NODE_FAIL"))
    desk.submitted()
    desk.answers(DOWN)
    assert desk.status()["idle"] is None
    assert "jobs are not known" in desk.status()["faults"][0]
    desk.answers("")
    status = desk.status()
    store = StoreReader(desk.results)
    with store:
        found = moment(store, "digits", time.time())
    assert status["idle"].startswith("no job is left in the queue")
    assert _line(status, found).endswith(status["idle"])
    desk.journal(Cancel(time.time()))
    assert desk.status()["idle"] == "cancelled; `cnn-sweep resume digits` continues"


def test_logs_tell_of_jobs_that_left_none(desk):
    """A node that does not see the folder leaves no file; what `setup` printed stands in the job's output."""
    desk.submitted()
    desk.answers(queued(status=4021))
    words = desk.type("logs", "digits").stderr
    assert "there are no logs of digits" in words
    assert "job 17: 1 FAILED (exit code 0:53) on n2: Slurm could not open the job's log" in words
    desk.paths.job_log("17").write_text("no\n", encoding="utf-8")
    desk.paths.job_log("17").with_suffix(".out").write_text("loading cuda\n", encoding="utf-8")
    desk.paths.job_log("16").with_suffix(".out").write_text("submitit INFO: Starting\n", encoding="utf-8")
    done = desk.type("logs", "digits")
    assert "loading cuda" in done.stdout
    assert "submitit" not in done.stdout
    assert done.stderr == ""


def test_a_study_is_cancelled_although_slurm_does_not_answer(desk):
    """The journal has it, so pools stop; the message says that jobs may be in the queue, with exit code 1."""
    desk.submitted()
    desk.answers(DOWN)
    words = desk.type("cancel", "digits", code=1).stderr
    assert "digits stops once its running trials have written checkpoints" in words
    assert "its jobs could not be cancelled: squeue failed: slurm_load_jobs error: Unable to contact" in words
    assert "`cnn-sweep cancel digits` tries again" in words
    assert desk.status()["cancelled"] is not None
