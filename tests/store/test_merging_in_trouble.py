from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing

import pytest
from helpers.disks import small_disk

from cnn_sweep.store import ingest, published, queries, reader
from cnn_sweep.store import merge as module
from cnn_sweep.store.check import check
from cnn_sweep.store.files import lease
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader


def test_who_cannot_have_the_store_goes_on_at_once(study, results, monkeypatch):
    """Another merger, a writer or a reader at work costs a worker no time, and nothing is lost."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    merge(results)
    study.run("a", 4, [0.3])
    with lease(results, wait_s=0) as granted:
        assert granted
        assert _skipped_at_once(results) == "another merge is running"
    connection = sqlite3.connect(results / "sweeps.db", isolation_level=None)
    for statement in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
        connection.execute(statement)
        assert _skipped_at_once(results) == "another program has the database open"
        connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM trials").fetchone()
    assert _skipped_at_once(results) == "another program has the database open"
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
        [sys.executable, "-c", code, results], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert other.stdout.readline() == "mine\n"
    timer = threading.Timer(0.2, other.communicate, args=["go\n"])
    timer.start()
    assert merge(results, wait_s=30).events == 17
    timer.join()


def test_two_published_stores_do_not_undo_each_other(study, results, monkeypatch, tables):
    """Where somebody published more meanwhile, the poorer copy is not published."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    real = published.publish

    def late(folder, copy, *, number, size):
        monkeypatch.setattr(published, "publish", real)
        study.run("a", 4, [0.3])
        assert merge(results, wait_s=1).events > 0
        return real(folder, copy, number=number, size=size)

    monkeypatch.setattr(published, "publish", late)
    merge(results, wait_s=1)
    assert tables.now(results) == tables.anew(results)


def test_a_worker_leaves_the_store_to_whoever_is_at_it(study, results, monkeypatch):
    """Without reliable locks, a hint keeps workers from merging at the same time; a command merges anyway."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    monkeypatch.setattr("cnn_sweep.store.published._REST", 0)
    hint = results / ".sweeps.merging"
    hint.touch()
    assert merge(results).skipped == "another merge is running"
    assert merge(results, wait_s=1).events == 17
    study.run("a", 4, [0.3])
    os.utime(hint, (1.0, 1.0))  # its merger died long ago
    assert merge(results).events == 3
    assert not hint.exists()


def test_a_large_store_is_not_published_all_the_time(study, results, monkeypatch):
    """Where every publication copies all of it, workers leave pauses that grow with it; commands do not."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    merge(results)
    monkeypatch.setattr("cnn_sweep.store.published._BYTES_PER_S", 1.0)
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
            file.write_text(
                "this is no database, but a text that is long enough to look like one " * 20, encoding="utf-8"
            )
        case "version":
            connection = sqlite3.connect(file)
            connection.execute("UPDATE meta SET value = '999'")
            connection.commit()
            connection.close()


def test_somebody_elses_database_is_set_aside(study, results, locks, tables):
    """A database in the store's place that is not a store is neither changed nor lost."""
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
    """When locks become reliable, or unreliable again, earlier published stores are never written in place."""
    for number, mode in enumerate(["honest", "dishonest", "honest", "dishonest"]):
        monkeypatch.setenv("CNN_SWEEP_LOCKS", mode)
        study.run("a", 10 + number, [0.3])
        assert merge(results, wait_s=1).skipped is None
        assert queries.leaderboard(StoreReader(results), "digits")[1][-1]["trial"] == 2
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


def test_a_long_merge_of_a_worker_is_cut_short_and_goes_on_later(study, results, locks, monkeypatch, tables):
    """A worker gives a backlog a few seconds at a time; every portion stays."""
    monkeypatch.setattr(ingest.apply_new, "__kwdefaults__", {"limits": None, "batch_bytes": 300})
    monkeypatch.setattr(module, "_WORK_S", 0.0)
    monkeypatch.setattr("cnn_sweep.store.published._REST", 0)
    report = merge(results)
    assert 0 < report.events < 17
    assert report.skipped == "there were too many lines for one merge; the next merge continues"
    events = report.events
    while report.skipped:
        report = merge(results)
        events += report.events
    assert events == 17
    monkeypatch.undo()
    assert tables.now(results) == tables.anew(results)


@pytest.mark.faults
def test_a_full_disk_stops_no_worker(study, results, tmp_path, locks, tables):
    """A merge without room for it says so, and what was published before is as good as it was."""
    with small_disk(tmp_path / "disk", "1m") as disk:
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


def test_what_killed_mergers_left_on_the_node_is_removed(study, results, tmp_path, monkeypatch):
    """Private copies older than an hour are removed; younger ones are left alone."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young = tmp_path / "cnn-sweep-store-old", tmp_path / "cnn-sweep-store-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "sweeps.db").touch()
    os.utime(old, (1.0, 1.0))
    merge(results, wait_s=1)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_store_that_stays_locked_is_read_from_the_journals(study, results, monkeypatch, caplog):
    """A job that is suspended during a merge keeps its lock; queries and SQL then answer from the journals."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    monkeypatch.setattr(reader, "_WAIT_S", 0.1)
    merge(results)
    study.run("a", 4, [0.3])
    with closing(sqlite3.connect(results / "sweeps.db", isolation_level=None)) as suspended:
        suspended.execute("BEGIN EXCLUSIVE")
        assert queries.trial_detail(StoreReader(results), "digits", 4)["trial"]["value"] == 0.3
        assert reader.query(results, "SELECT value FROM trials WHERE trial = 4")[1] == [(0.3,)]
    assert "is locked by another program; reading the journals instead" in caplog.text
