from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from zlib import crc32

import pytest

from cnn_sweep.errors import InputError
from cnn_sweep.journal.events import Artifact, Cancel, Checkpoint, End, Epoch, Finalize, Lost, Start
from cnn_sweep.store import apply, queries, versions
from cnn_sweep.store import merge as module
from cnn_sweep.store.check import check
from cnn_sweep.store.files import lease
from cnn_sweep.store.merge import merge, rebuild


def test_all_that_happened_is_in_the_tables(study, results, locks, tables):
    """States, values, best epochs, attempts and epochs of all trials are there after one merge."""
    report = merge(results, wait_s=1)
    assert (report.events, report.skipped, report.bad_lines) == (17, None, 0)
    trials = {row["trial"]: row for row in queries.leaderboard(results, "digits")[1]}
    assert [trials[n]["state"] for n in range(4)] == ["complete", "complete", "failed", "running"]
    assert [trials[n]["value"] for n in range(4)] == [0.7, 0.9, 0.1, 0.6]
    assert [trials[n]["best_epoch"] for n in range(4)] == [2, 2, 1, 2]
    assert [trials[n]["seconds"] for n in range(4)] == [4.5, 4.5, 4.5, 1.0]
    assert len(tables.now(results)["epochs"]) == 8


def test_a_line_is_applied_once(study, results, locks, tables):
    """A second merge finds nothing, and leaves the tables as they are."""
    merge(results, wait_s=1)
    before = tables.now(results)
    assert merge(results, wait_s=1).events == 0
    assert tables.now(results) == before
    assert sum(row[3] for row in before["journals"]) == 17


def test_lines_that_come_one_by_one_make_the_same_tables(study, results, locks, tables):
    """Merging after every line ends where one merge of everything does, also with half lines in between."""
    study.run("a", 2, [0.2, 0.3], attempt=1, after=0)
    texts = {path: path.read_bytes() for path in study.paths.journals.iterdir()}
    for path in texts:
        path.write_bytes(b"")
    for path, text in texts.items():
        for start in range(0, len(text), 150):
            with path.open("ab") as file:
                file.write(text[start : start + 150])
            merge(results, wait_s=1)
    assert tables.now(results) == tables.anew(results)


def test_a_rebuilt_store_has_identical_tables(study, results, locks, tables):
    """Without the store everything is made again of the journals alone, row by row and view by view."""
    merge(results, wait_s=1)
    before = tables.now(results)
    assert rebuild(results).events == 17
    assert tables.now(results) == before
    (results / "sweeps.db").unlink()
    assert rebuild(results).skipped is None
    assert tables.now(results) == before


def test_the_mode_of_merging_leaves_no_trace(study, results, tables, monkeypatch):
    """Stores that are written in place and stores that are published hold the same."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    merge(results, wait_s=1)
    before = tables.now(results)
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    rebuild(results)
    assert tables.now(results) == before


def test_small_batches_make_the_same_tables(study, results, tables, monkeypatch):
    """How much is applied in one transaction does not matter."""
    monkeypatch.setattr("cnn_sweep.store.apply.READ_LIMIT", 100)
    monkeypatch.setattr(apply.apply_new, "__kwdefaults__", {"limits": None, "batch_bytes": 300})
    merge(results, wait_s=1)
    monkeypatch.undo()
    assert tables.now(results) == tables.anew(results)


def test_a_late_result_of_a_superseded_attempt_is_kept_and_not_counted(study, results, locks):
    """What an attempt says after another took over is in the tables, and changes nothing of the trial."""
    study.tell("judge", Lost(1040.0, 3, 0, "killed", "gone"))
    study.run("c", 3, [0.41, 0.61], attempt=1, after=1)
    merge(results, wait_s=1)
    metrics = {"val_accuracy": 0.99}
    study.tell("b", Epoch(1041.0, 3, 0, 3, 0.5, metrics), End(1042.0, 3, 0, "complete", None, None, 3, 9.0))
    assert merge(results, wait_s=1).events == 2
    detail = queries.trial_detail(results, "digits", 3)
    assert (detail["trial"]["value"], detail["trial"]["best_epoch"], detail["trial"]["epochs"]) == (0.61, 3, 3)
    assert (detail["trial"]["state"], detail["trial"]["attempts"]) == ("complete", 2)
    counted = {(e["attempt"], e["epoch"]): e["counted"] for e in detail["epochs"]}
    assert counted == {(0, 1): 1, (0, 2): 0, (0, 3): 0, (1, 2): 1, (1, 3): 1}
    assert detail["attempts"][0]["state"] == "complete"


def test_a_lost_attempt_interrupts_its_trial(study, results):
    """A trial whose worker was declared lost is neither failed nor running."""
    study.tell("judge", Lost(1040.0, 3, 0, "killed", "process 7 is gone"))
    merge(results)
    row = queries.trial_detail(results, "digits", 3)["trial"]
    assert (row["state"], row["cause"], row["message"]) == ("interrupted", "killed", "process 7 is gone")


def test_events_of_all_kinds_have_their_rows(study, results):
    """Checkpoints, artifacts, test results and cancellations arrive as well; the newest of a kind counts."""
    study.tell(
        "a",
        Checkpoint(5.0, 0, 0, 2, "checkpoints/0.0.ckpt", 10),
        Checkpoint(4.0, 0, 0, 1, "checkpoints/0.0.ckpt", 10),
        Artifact(6.0, 0, 0, "model", "models/0.keras", 99, "ab" * 32),
        Finalize(8.0, 0, {"test_accuracy": 0.8}),
        Finalize(7.0, 0, {"test_accuracy": 0.7}),
        Cancel(9.0, 5),
        Cancel(10.0, None),
    )
    merge(results)
    detail = queries.trial_detail(results, "digits", 0)
    assert detail["attempts"][0]["checkpoint_epoch"] == 2
    assert detail["artifacts"][0]["path"] == "models/0.keras"
    assert detail["trial"]["test_metrics"] == {"test_accuracy": 0.8}
    summary = queries.study_summary(results, "digits")
    assert summary["cancelled"] == 10.0
    assert summary["trials"]["waiting"] == 4  # a trial that was cancelled before it began did not begin


def test_lines_of_newer_versions_stop_nothing(study, results):
    """Unknown events, and known ones with other fields, are counted and passed over."""
    for text in (b'{"type":"dream","time":1}', b'{"type":"epoch","time":1,"trial":[]}', b"[1]", b"1,2"):
        study.append("z", b"%08x %b\n" % (crc32(text), text))
    study.tell("z", Epoch(2000.0, 3, 0, 3, 0.5, {"val_accuracy": 0.8}))
    assert merge(results).events == 22
    connection = sqlite3.connect(results / "sweeps.db")
    assert connection.execute(
        "SELECT unknown, bad FROM journals, (SELECT count(*) AS bad FROM bad_lines) WHERE writer = 'z'"
    ).fetchone() == (4, 0)
    connection.close()
    assert queries.trial_detail(results, "digits", 3)["trial"]["value"] == 0.8


def test_numbers_and_texts_that_no_column_takes_stop_nothing(study, results):
    """Numbers of more than 64 bits, characters that are none, NaN and infinities stop no merge."""
    study.tell(
        "z",
        Start(1.0, 4, 0, "c4", 0, 2**70, {}),
        End(2.0, 5, 0, "failed", "exception", "broken \udc80 name \0", 0, 0.0),
        Epoch(3.0, 3, 0, 3, 0.5, {"val_accuracy": float("nan"), 'odd " name': float("inf")}),
    )
    assert merge(results).skipped is None
    assert queries.trial_detail(results, "digits", 5)["trial"]["message"] == "broken ? name \\0"
    epoch = queries.trial_detail(results, "digits", 3)["epochs"][-1]
    assert epoch["value"] is None
    assert epoch['odd " name'] == float("inf")


def test_who_cannot_have_the_store_goes_on_at_once(study, results, monkeypatch):
    """Another merger, a writer or a reader at work costs a worker no time, and nothing is lost."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    merge(results)
    study.run("a", 4, [0.3])
    with lease(results, wait_s=0) as granted:
        assert granted
        assert _skipped_at_once(results) == "another merge is at work"
    connection = sqlite3.connect(results / "sweeps.db", isolation_level=None)
    for statement in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
        connection.execute(statement)
        assert _skipped_at_once(results) == "somebody else has the database open"
        connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM trials").fetchone()
    assert _skipped_at_once(results) == "somebody else has the database open"
    connection.close()
    assert merge(results).events == 3


def _skipped_at_once(results):
    began = time.monotonic()
    report = merge(results)
    assert time.monotonic() - began < 0.5
    assert report.events == 0
    return report.skipped


def test_who_may_wait_gets_its_turn(study, results, monkeypatch):
    """A command that waits merges as soon as the other one is done."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    code = (
        "import sys; from pathlib import Path; from cnn_sweep.store.files import lease\n"
        "with lease(Path(sys.argv[1]), wait_s=0): print('mine', flush=True); sys.stdin.readline()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, results], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "mine\n"
    timer = threading.Timer(0.2, other.communicate, args=["go\n"])
    timer.start()
    assert merge(results, wait_s=30).events == 17
    timer.join()


def test_two_published_stores_do_not_undo_each_other(study, results, monkeypatch, tables):
    """Where somebody published more meanwhile, the poorer copy is not published."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    real = versions.publish

    def late(folder, copy, *, number, size):
        monkeypatch.setattr(versions, "publish", real)
        study.run("a", 4, [0.3])
        assert merge(results, wait_s=1).events > 0
        return real(folder, copy, number=number, size=size)

    monkeypatch.setattr(versions, "publish", late)
    merge(results, wait_s=1)
    assert tables.now(results) == tables.anew(results)


def test_a_worker_leaves_the_store_to_whoever_is_at_it(study, results, monkeypatch):
    """Where locks lie a hint keeps workers from doing the same work twice; a command merges all the same."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    monkeypatch.setattr("cnn_sweep.store.publish._REST", 0)
    hint = results / ".sweeps.merging"
    hint.touch()
    assert merge(results).skipped == "another merge is at work"
    assert merge(results, wait_s=1).events == 17
    study.run("a", 4, [0.3])
    os.utime(hint, (1.0, 1.0))  # its merger died long ago
    assert merge(results).events == 3
    assert not hint.exists()


def test_a_large_store_is_not_published_all_the_time(study, results, monkeypatch):
    """Where every publication copies all of it, workers leave pauses that grow with it; commands do not."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    merge(results)
    monkeypatch.setattr("cnn_sweep.store.publish._BYTES_PER_S", 1.0)
    study.run("a", 4, [0.3])
    assert merge(results).skipped == "the store was published a moment ago"
    assert merge(results, wait_s=1).events == 3


@pytest.mark.parametrize("damage", ["header", "middle", "truncated", "text", "version"])
def test_a_store_of_no_use_is_set_aside_and_made_anew(study, results, locks, damage, tables):
    """A damaged store, or one of another layout, is kept under another name, and nothing is missing."""
    merge(results, wait_s=1)
    file = results / "sweeps.db"
    _break(file, damage)
    broken = file.read_bytes()
    study.run("a", 4, [0.3])
    report = merge(results, wait_s=1)
    assert report.skipped is None
    (aside,) = results.glob("sweeps.db.corrupt-*")
    assert aside.read_bytes() == broken
    assert any(aside.name in note for note in report.notes)
    assert tables.now(results) == tables.anew(results)


def _break(file, damage):
    data = file.read_bytes()
    match damage:
        case "header":
            file.write_bytes(b"garbage" + data[7:])
        case "middle":
            file.write_bytes(data[:8192] + b"\xff" * (len(data) - 8192))
        case "truncated":
            file.write_bytes(data[: len(data) // 2])
        case "text":
            file.write_text("this is no database, but a text that is long enough to look like one " * 20)
        case "version":
            connection = sqlite3.connect(file)
            connection.execute("UPDATE meta SET value = '999'")
            connection.commit()
            connection.close()


def test_somebody_elses_database_is_set_aside(study, results, locks, tables):
    """A database that is no store, and stands in its place, is not written into and not lost."""
    connection = sqlite3.connect(results / "sweeps.db")
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    assert merge(results, wait_s=1).events == 17
    (aside,) = results.glob("sweeps.db.corrupt-*")
    connection = sqlite3.connect(aside)
    assert connection.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    connection.close()
    assert tables.now(results) == tables.anew(results)


def test_a_published_store_that_was_removed_or_replaced_is_back_at_the_next_merge(study, results, monkeypatch, tables):
    """Where locks lie the file is one more name of what was published, and is made so again."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    merge(results, wait_s=1)
    before = tables.now(results)
    (results / "sweeps.db").unlink()
    merge(results, wait_s=1)
    assert tables.now(results) == before
    (results / "sweeps.db").unlink()
    (results / "sweeps.db").write_bytes(b"garbage")
    merge(results, wait_s=1)
    assert tables.now(results) == before


def test_a_folder_whose_locks_are_believed_again_has_one_store(study, results, monkeypatch, tables):
    """From lying locks to honest ones and back: what was published before is never written in place."""
    for number, mode in enumerate(["honest", "dishonest", "honest", "dishonest"]):
        monkeypatch.setenv("CNN_SWEEP_LOCKS", mode)
        study.run("a", 10 + number, [0.3])
        assert merge(results, wait_s=1).skipped is None
        assert queries.leaderboard(results, "digits")[1][-1]["trial"] == 2
        assert check(results).sound
        assert tables.now(results) == tables.anew(results)
    assert not list(results.glob("sweeps.db.corrupt-*"))


def test_old_damaged_stores_do_not_pile_up(study, results):
    """Of the stores that were set aside the last three are kept."""
    for _ in range(5):
        merge(results)
        (results / "sweeps.db").write_bytes(b"garbage" * 1000)
    merge(results)
    assert len(list(results.glob("sweeps.db.corrupt-*"))) == 3


def test_an_empty_file_is_a_new_store(study, results, locks):
    """An empty file in the store's place is filled, not set aside."""
    (results / "sweeps.db").touch()
    assert merge(results, wait_s=1).events == 17
    assert not list(results.glob("sweeps.db.corrupt-*"))


def test_a_removed_study_leaves_the_store(study, results, new_study, locks, tables):
    """What stands in the store is what the folders hold; other studies are untouched."""
    other = new_study(results, "other")
    other.run("w", 0, [0.4])
    merge(results, wait_s=1)
    shutil.rmtree(study.paths.folder)
    assert merge(results, wait_s=1).notes == ("digits: its folder was removed, and so it was from the store",)
    assert queries.list_studies(results) == ["other"]
    assert tables.now(results) == tables.anew(results)


def test_a_study_that_was_made_anew_under_its_name_has_no_past(study, results, new_study, locks, tables):
    """After its folder was removed and made again, nothing of the old one is left."""
    merge(results, wait_s=1)
    shutil.rmtree(study.paths.folder)
    new_study(results).run("x", 0, [0.4])
    merge(results, wait_s=1)
    assert [row["trial"] for row in queries.leaderboard(results, "digits")[1]] == [0]
    assert tables.now(results) == tables.anew(results)


def test_a_journal_that_looks_shorter_than_it_was_is_left_alone(study, results, locks, tables):
    """A size that is out of date removes nothing from the store; the user is told."""
    merge(results, wait_s=1)
    before = tables.now(results)
    file = study.paths.journal("a")
    text = file.read_bytes()
    file.write_bytes(text[:100])
    report = merge(results, wait_s=1)
    assert "where" in report.notes[0]
    assert tables.now(results) == before
    file.write_bytes(text)
    assert merge(results, wait_s=1).notes == ()


def test_zeros_that_become_bytes_are_merged_then(study, results, locks, tables):
    """Lines that a network file system shows late are applied when they show."""
    file = study.paths.journal("a")
    text = file.read_bytes()
    file.write_bytes(text[:10] + bytes(200) + text[210:])
    assert merge(results, wait_s=1).bad_lines > 0
    assert tables.now(results)["bad_lines"]
    file.write_bytes(text)
    assert merge(results, wait_s=1).events > 0
    assert not tables.now(results)["bad_lines"]
    study.tell("b", Cancel(1.0))
    merge(results, wait_s=1)
    fresh = tables.anew(results)
    assert tables.now(results) == fresh


def test_a_sweep_file_that_cannot_be_read_costs_only_its_facts(study, results, tables):
    """A damaged sweep file is reported; results are merged, and read anew once the file is good again."""
    text = study.paths.sweep.read_text()
    study.paths.sweep.write_text("study: [")
    report = merge(results)
    assert report.events == 17
    assert any("sweep.yaml" in note for note in report.notes)
    assert queries.leaderboard(results, "digits")[1][0]["trial"] == 1
    study.paths.sweep.write_text(text.replace("val_accuracy, direction: maximize", "val_loss, direction: minimize"))
    study.run("a", 4, [0.3])
    merge(results)
    assert queries.study_summary(results, "digits")["metric"] == "val_loss"
    assert queries.trial_detail(results, "digits", 0)["trial"]["value"] == pytest.approx(2 / 3)
    assert tables.now(results) == tables.anew(results)


def test_a_long_merge_of_a_worker_is_cut_short_and_goes_on_later(study, results, locks, monkeypatch, tables):
    """A worker gives a backlog a few seconds at a time; every portion stays."""
    monkeypatch.setattr(apply.apply_new, "__kwdefaults__", {"limits": None, "batch_bytes": 300})
    monkeypatch.setattr(module, "_WORK_S", 0.0)
    monkeypatch.setattr("cnn_sweep.store.publish._REST", 0)
    report = merge(results)
    assert 0 < report.events < 17
    assert report.skipped == "there was too much for one time; the next merge goes on"
    events = report.events
    while report.skipped:
        report = merge(results)
        events += report.events
    assert events == 17
    monkeypatch.undo()
    assert tables.now(results) == tables.anew(results)


def test_without_a_results_folder_there_is_nothing_to_do(tmp_path):
    """A folder that does not exist is merged to nothing, and not made."""
    assert merge(tmp_path / "missing").events == 0
    assert not (tmp_path / "missing").exists()


def test_another_place_for_the_store_is_refused_with_the_reason(results):
    """Database servers are for a later version, and that is said."""
    with pytest.raises(InputError, match="postgresql"):
        merge(results, database="postgresql+psycopg://server/sweeps")


@pytest.mark.faults
def test_a_full_disk_stops_no_worker(study, results, tmp_path, locks, tables):
    """A merge without room for it says so, and what was published before is as good as it was."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {mounted.stderr.decode().strip()}")
    try:
        small = disk / "results"
        shutil.copytree(results, small)
        assert merge(small, wait_s=1).events == 17
        before = tables.now(small)
        study.paths = type(study.paths)(small, "digits")
        for trial in range(10, 60):
            study.run("a", trial, [0.1, 0.2, 0.3])
        ballast = disk / "ballast"
        room = os.statvfs(disk)
        ballast.write_bytes(bytes(room.f_bavail * room.f_frsize))
        report = merge(small, wait_s=1)
        assert "full" in report.skipped or "No space left" in report.skipped
        assert tables.now(small) == before
        ballast.unlink()
        assert merge(small, wait_s=1).events == 250
        assert tables.now(small) == tables.anew(small)
    finally:
        subprocess.run(["umount", disk], check=True)
