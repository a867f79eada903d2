"""Studies are renamed and removed in one step, and only when nobody uses them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from helpers.kills import run_and_kill, steps_to_kill
from helpers.study_states import EVERY_STATE
from helpers.written import Written

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.execution.study import in_use, removal
from cnn_sweep.execution.study.in_use import check_unused, who_trains
from cnn_sweep.execution.study.provenance import start_journal
from cnn_sweep.execution.study.removal import (
    check_free_name,
    clear_leftovers,
    find_study,
    remove_study,
    rename_study,
)
from cnn_sweep.journal.events import Start, Submit, Worker
from cnn_sweep.journal.identity import current, new_writer_name, process_tag, tag_is_alive
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths, archive_of, existing_studies
from cnn_sweep.slurm.job_rows import QueueRow, Visibility


@pytest.fixture
def results(tmp_path):
    """A results folder with a finished study."""
    Written(tmp_path).study(trials=4)
    return tmp_path


@pytest.fixture
def paths(results):
    """The study's files."""
    return StudyPaths(results, "digits")


USER = """
import sys
from pathlib import Path
from cnn_sweep.execution.study.provenance import start_journal
from cnn_sweep.journal.paths import StudyPaths
journal = start_journal(StudyPaths(Path(sys.argv[1]), "digits"), "worker", threads=1)
print("begun", flush=True)
sys.stdin.readline()
journal.close()
print("closed", flush=True)
sys.stdin.readline()
"""


def test_a_study_with_a_live_process_is_in_use(paths):
    """A worker with an open journal keeps it from being removed and is named; one that closed its own does neither."""
    command = [sys.executable, "-c", USER, str(paths.results)]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    with user:
        assert user.stdout.readline() == "begun\n"
        with pytest.raises(StudyError, match=rf"is running: process {user.pid} .*`cnn-sweep cancel digits`"):
            check_unused(paths, force=True)
        assert re.fullmatch(rf"1 worker \(process {user.pid} on \S+\)", who_trains(paths) or "")
        user.stdin.write("\n")
        user.stdin.flush()
        assert user.stdout.readline() == "closed\n"
        check_unused(paths, force=False)
        assert who_trains(paths) is None
        user.communicate("\n")


def test_own_journals_do_not_count(paths):
    """A command or a notebook may remove a study in which it wrote itself."""
    with start_journal(paths, "login"):
        check_unused(paths, force=False)


@pytest.mark.parametrize("state", ["running", "under_way", "first_epoch"])
def test_unfinished_trials_elsewhere_need_force(state, tmp_path):
    """Whether a worker of another machine is alive cannot be known, so the user has to say so."""
    EVERY_STATE[state](Written(tmp_path))
    with pytest.raises(StudyError, match=r"may be running: .*on node7.*--force"):
        check_unused(StudyPaths(tmp_path, "digits"), force=False)
    check_unused(StudyPaths(tmp_path, "digits"), force=True)


@pytest.fixture
def slurm(paths, monkeypatch):
    """A Slurm whose queue a test fills, and a submission of job 7."""
    with start_journal(paths, "login") as journal:
        journal.append(Submit(1_000.0, [{"job": "7", "tasks": 1, "time": 1_000.0}], "p.toml", "lab"))
    rows: list[QueueRow] = []

    class Slurm:
        def visibility(self):
            return Visibility("lab")

        def queue(self, ids):
            if rows == ["down"]:
                raise EnvironmentFault("squeue failed: no controller")
            return rows

    monkeypatch.setattr(in_use, "SlurmCli", Slurm)
    monkeypatch.setattr(in_use.shutil, "which", lambda _: "/usr/bin/squeue")
    return rows


def test_a_study_with_jobs_in_the_queue_is_in_use(paths, slurm):
    """Jobs that wait count, too; without an answer of Slurm, the user has to say that there are none."""
    check_unused(paths, force=False)
    slurm[:] = [QueueRow(("7_0",), 70, "PENDING", "Priority", 0, 1_000, 1_001, None, 0, 0, "", "main")]
    with pytest.raises(
        StudyError, match=r"jobs in Slurm's queue: 7 \(1 PENDING: Priority\); `cnn-sweep cancel digits`"
    ):
        check_unused(paths, force=True)
    slurm[:] = ["down"]
    with pytest.raises(EnvironmentFault, match=r"no controller.*--force"):
        check_unused(paths, force=False)
    check_unused(paths, force=True)


def test_a_worker_of_a_job_that_was_not_submitted_keeps_a_study_in_use(paths, slurm):
    """Somebody typed `run` inside salloc: the queue shows that job, although the study knows nothing of it."""
    salloc = replace(current(), boot_id="another", host="n1", slurm={"job_id": "99"})
    with JournalWriter(paths.journal("salloc")) as journal:
        journal.append(Worker(1_000.0, salloc, {}, 1))
        journal.append(Start(1_001.0, 9, 0, "c", 0, 0, {}))
    check_unused(paths, force=False)
    slurm[:] = [QueueRow(("99",), 99, "RUNNING", "", 0, 900, 901, None, 0, 0, "n1", "main")]
    with pytest.raises(StudyError, match=r"may be running: 1 trial has not ended \(trial 9 on n1\)"):
        check_unused(paths, force=False)


def test_a_study_gets_another_name_in_one_step(results, paths):
    """All of it is there under the new name, and nothing under the old one."""
    new = StudyPaths(results, "other")
    rename_study(paths, new)
    assert existing_studies(results) == ["other"]
    assert new.sweep.is_file()


def test_a_name_must_be_free(results, paths):
    """Names of studies, of their archives, of other files, and names that differ in case only are taken."""
    (results / "notes").touch()
    archive_of(results, "old").parent.mkdir()
    archive_of(results, "old").touch()
    for name, words in (
        ("digits", "already a study"),
        ("Digits", "case only"),
        ("notes", "not a study"),
        ("old", "arch"),
    ):
        with pytest.raises(StudyError, match=words):
            check_free_name(StudyPaths(results, name))
    for name in ("archive", "Archive", "a/b", ""):
        with pytest.raises(StudyError, match="cannot name a study"):
            StudyPaths(results, name)
    check_free_name(StudyPaths(results, "archives"))


def test_a_study_that_is_used_at_this_moment_keeps_its_name(results, paths, monkeypatch):
    """A journal that begins between the check and the step undoes it."""
    rename = removal._rename

    def begin_and_rename(folder, target):
        rename(folder, target)
        (target / "journal" / "new.jsonl").touch()

    for act in (lambda: remove_study(paths), lambda: rename_study(paths, StudyPaths(results, "other"))):
        monkeypatch.setattr(removal, "_rename", begin_and_rename)
        with pytest.raises(StudyError, match="used by another process"):
            act()
        assert existing_studies(results) == ["digits"]
        paths.journal("new").unlink()


def test_a_link_to_another_disk_is_removed_with_its_target(results, paths, tmp_path_factory):
    """But not with a target in the results folder itself, which is another study."""
    scratch = tmp_path_factory.mktemp("scratch")
    paths.folder.rename(scratch / "digits")
    paths.folder.symlink_to(scratch / "digits")
    assert remove_study(paths).left is None
    assert not list(scratch.iterdir())
    Written(results).study("kept", trials=1)
    (results / "alias").symlink_to("kept")
    assert remove_study(StudyPaths(results, "alias")).left == results / "kept"
    assert existing_studies(results) == ["kept"]


def test_a_study_without_its_sweep_file_can_be_found(results, paths):
    """What is left of a study by accident can be deleted; names of no study suggest others."""
    paths.sweep.unlink()
    assert find_study(results, "digits") == paths
    with pytest.raises(StudyError, match="did you mean 'digits'"):
        find_study(results, "digit")


def test_leftovers_of_live_commands_are_left_alone(results):
    """Only what killed commands left is removed, and on other machines what nothing has changed for a day."""
    own = process_tag()
    host, pid, started, boot, namespace, _ = own.rsplit("-", 5)
    dead, elsewhere = f"{host}-{pid}-1-{boot}-{namespace}-ab", f"somewhere-{pid}-{started}-{boot}-{namespace}-ab"
    container, rebooted = f"{host}-{pid}-1-{boot}-77-ab", f"{host}-{pid}-{started}-0-{namespace}-ab"
    assert [tag_is_alive(tag) for tag in (own, dead, elsewhere, "odd")] == [True, False, None, None]
    assert [tag_is_alive(tag) for tag in (container, rebooted, new_writer_name())] == [None, False, None]
    made = [results / f"{prefix}{name}" for prefix in (".removed-", ".restoring-") for name in (own, dead, elsewhere)]
    for path in made:
        path.mkdir()
    os.utime(made[-1], (0, 0))
    clear_leftovers(results)
    assert [path.exists() for path in made] == [True, False, True, True, False, False]


def test_a_kill_leaves_the_study_or_none(results, paths, tmp_path_factory):
    """Killed at any step, removal leaves the whole study or no study, and the next command removes the rest."""
    saved = tmp_path_factory.mktemp("saved") / "digits"
    shutil.copytree(paths.folder, saved)
    files = sorted(path.relative_to(saved) for path in saved.rglob("*"))

    def anew(step):
        clear_leftovers(results)
        shutil.rmtree(paths.folder, ignore_errors=True)
        shutil.copytree(saved, paths.folder)
        return run_and_kill(lambda: remove_study(paths), step)

    for step in steps_to_kill(anew, 8):
        assert anew(step)
        if paths.folder.exists():
            assert sorted(path.relative_to(paths.folder) for path in paths.folder.rglob("*")) == files
        assert existing_studies(results) in ([], ["digits"])
        clear_leftovers(results)
        assert not list(results.glob(".removed-*"))
