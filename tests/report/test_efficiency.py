"""What jobs asked for and used, and which lines of the profile to change."""

import csv
import io
import json
import os
from typing import Any

import pytest
from helpers.fake_slurm import FakeSlurm
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.journal.events import End, Epoch, Event, Start, Submit, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths

AT = 1_795_914_908
ALLOCATION = (
    "{cluster}|17_{task}|{raw}|{state}|{at}|{at}|{start}|3600|4|01:00:00||||billing=4,cpu=4,mem=12G,node=1|480\n"
    "{cluster}|{raw}.0|{raw}.0|{state}|{start}|{start}|{start}|3600|4|01:00:00|{peak}M|cpu=01:00:00,mem=5G|{energy}|cpu=4|\n"
)


def allocation(task=0, **changes):
    """Return what sacct says of an element of the array that ran for an hour."""
    values: dict[str, Any] = {"state": "COMPLETED", "at": AT, "peak": 4096, "energy": 0, "cluster": "lab"} | changes
    return ALLOCATION.format(**values, task=task, raw=100 + task, start=values["at"] + 600)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster of scripts; sacct answers with the file ``usage``."""
    found = FakeSlurm(tmp_path, "me")
    found.program("sacct", 'cat "$home/usage"')
    monkeypatch.setenv("PATH", f"{found.programs}:{os.environ['PATH']}")
    return found


def submitted(written, *, workers=4, again=False):
    """Write a study whose one pool of workers had a trial of half an hour each, then nothing."""
    written.study(trials=workers, states=("waiting",))
    paths = StudyPaths(written.results, "digits")
    for number in range(workers):
        identity = ProcessIdentity("n1", "boot", "pid:[1]", number, 8, {"job_id": "100"})
        began = AT + 610.0
        lines: list[Event] = [Worker(began, identity, {}, 1)]
        start = Start(began + 90, number, 0, f"c{number}", 0, number, {"filters": 4})
        lines += [start, Epoch(began + 1000, number, 0, 1, 900.0, {"val_accuracy": 0.5})]
        if again and number == 0:
            lines.append(Start(began + 1100, 0, 1, "c0", 0, 0, {"filters": 4}))
            lines.append(Epoch(began + 1900, 0, 1, 1, 800.0, {"val_accuracy": 0.5}))
        lines.append(End(began + 1900, number, int(again and number == 0), "complete", epochs=1, seconds=1800.0))
        (paths.journals / f"w{number}.jsonl").write_bytes(b"".join(map(encode, lines)))
    job = {"job": "17", "tasks": 2, "time": AT + 1.0}
    identity = ProcessIdentity("login", "boot", "pid:[1]", 1, 8)
    lines = [Worker(AT, identity, {}, 0), Submit(AT + 1.0, [job], "slurm/cpu.toml", "lab")]
    (paths.journals / "login.jsonl").write_bytes(b"".join(map(encode, lines)))


def answer(written, *words):
    """Type ``efficiency digits``, and return what it prints."""
    done = CliRunner().invoke(app, ["efficiency", "digits", *words, "--results", str(written.results)])
    assert done.exit_code == 0, done.output
    return done.stdout


def rows_of(written):
    """Return the rows by part and unit."""
    return {(row["part"], row["unit"]): row for row in json.loads(answer(written, "--format", "json"))}


def test_each_resource_has_what_was_asked_what_was_used_and_the_line_to_change(slurm, written):
    """Cores idle half of the time and memory used by a third are each a line of the profile; energy is in kWh."""
    submitted(written)
    slurm.tell("usage", allocation(energy=7_200_000))
    rows = rows_of(written)
    cores, memory = rows["cores", "core h"], rows["memory", "GB a task"]
    assert (cores["asked"], cores["used"], cores["share"]) == (4, 1, 0.25)
    assert (memory["asked"], memory["used"], memory["profile"]) == (12, 4, 'memory = "5G"')
    assert rows["time limit", "h at most"]["profile"] == 'time_limit = "1:30:00"'
    assert rows["queue", "h at most"]["used"] == pytest.approx(1 / 6, abs=1e-4)
    assert (rows["billing", "unit h"]["used"], rows["energy", "kWh"]["used"]) == (4, 2)
    assert rows["no trial", "worker h"]["used"] == pytest.approx(4 - 2 - 0.1)
    assert cores["profile"] == "workers_per_task = 2"
    text = answer(written)
    assert 'Change in slurm/cpu.toml: workers_per_task = 2; memory = "5G"; time_limit = "1:30:00".' in text
    assert len(list(csv.DictReader(io.StringIO(answer(written, "--format", "csv"))))) == len(rows)


def test_waste_is_told(slurm, written):
    """Epochs that were trained again, jobs that ended early, and jobs that cannot be counted yet."""
    submitted(written, again=True)
    running = allocation(2, state="RUNNING")
    slurm.tell("usage", allocation() + allocation(1, state="OUT_OF_MEMORY", peak=11_900) + running)
    rows = rows_of(written)
    assert rows["repeated epochs", "worker h"]["used"] == 0.25
    assert rows["memory", "GB a task"]["profile"] == 'memory = "18G"'
    assert rows["cores", "core h"]["asked"] == 8
    text = answer(written)
    assert "1 job that waits or runs is not counted" in text
    assert "jobs ended early: 1 OUT_OF_MEMORY (4 core hours)" in text
    assert "1 epoch had to be trained again" in text


def test_jobs_of_others_with_the_same_id_are_not_ours(slurm, written):
    """Slurm gives out IDs again, and another cluster has the same ones."""
    submitted(written)
    slurm.tell("usage", allocation(at=AT - 10**7) + allocation(at=AT + 10**7) + allocation(cluster="other"))
    assert "sacct knows no job of the study here; they ran on cluster lab" in answer(written)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo "Slurm accounting storage is disabled" >&2; exit 1', "This cluster keeps no accounting"),
        ('echo "sacct: error: Connection refused" >&2; exit 1', "does not answer (sacct failed: Connection refused)"),
    ],
)
def test_without_accounting_the_journals_tell_what_they_know(slurm, written, script, words):
    """How workers spent their time and when the first began is known; the rest is said to be missing."""
    submitted(written)
    slurm.program("sacct", script)
    rows = rows_of(written)
    assert rows["counted epochs", "worker h"]["used"] == 1
    assert rows["queue", "h"]["used"] == pytest.approx((610 - 1) / 3600, abs=1e-4)
    assert ("cores", "core h") not in rows
    assert words in answer(written)


def test_a_study_that_was_never_submitted_asks_slurm_nothing(slurm, written):
    """Its journals are all there is."""
    written.study(trials=3)
    slurm.program("sacct", 'touch "$home/asked"')
    assert "was not submitted to Slurm" in answer(written)
    assert not (slurm.home / "asked").exists()
    written.study(name="new", trials=0)
    done = CliRunner().invoke(app, ["efficiency", "new", "--results", str(written.results)])
    assert done.exit_code == 0, done.output


def test_a_report_has_the_table(slurm, written, tmp_path):
    """In both forms, for studies that were submitted."""
    submitted(written)
    slurm.tell("usage", allocation())
    for form in ("html", "markdown"):
        file = tmp_path / f"report.{form}"
        words = ["report", "digits", "--format", form, "-o", str(file), "--results", str(written.results)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert "workers_per_task = 2" in file.read_text(encoding="utf-8")
