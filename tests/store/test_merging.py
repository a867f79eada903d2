from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from cnn_sweep.journal.events import Artifact, Cancel, Checkpoint, End, Epoch, Finalize, Lost, Start, Submit
from cnn_sweep.store import ingest, queries
from cnn_sweep.store.merge import merge, rebuild
from cnn_sweep.store.reader import StoreReader


def test_all_that_happened_is_in_the_tables(study, results, locks, tables):
    """States, values, best epochs, attempts and epochs of all trials are there after one merge."""
    report = merge(results, wait_s=1)
    assert (report.events, report.skipped, report.bad_lines) == (17, None, 0)
    trials = {row["trial"]: row for row in queries.leaderboard(StoreReader(results), "digits")[1]}
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


def test_a_relative_folder_is_another_one_elsewhere(study, results, tmp_path, monkeypatch):
    """A process that changes its folder, such as a notebook, reads and merges the studies that are there."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(results, elsewhere / results.name)
    shutil.rmtree(elsewhere / results.name / "digits")
    monkeypatch.chdir(results.parent)
    merge(Path(results.name))
    assert queries.list_studies(StoreReader(Path(results.name)))
    monkeypatch.chdir(elsewhere)
    merge(Path(results.name))
    assert not queries.list_studies(StoreReader(Path(results.name)))
    assert queries.list_studies(StoreReader(results))


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
    monkeypatch.setattr("cnn_sweep.store.ingest.READ_LIMIT", 100)
    monkeypatch.setattr(ingest.apply_new, "__kwdefaults__", {"limits": None, "batch_bytes": 300})
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
    detail = queries.trial_detail(StoreReader(results), "digits", 3)
    assert (detail["trial"]["value"], detail["trial"]["best_epoch"], detail["trial"]["epochs"]) == (0.61, 3, 3)
    assert (detail["trial"]["state"], detail["trial"]["attempts"]) == ("complete", 2)
    counted = {(e["attempt"], e["epoch"]): e["counted"] for e in detail["epochs"]}
    assert counted == {(0, 1): 1, (0, 2): 0, (0, 3): 0, (1, 2): 1, (1, 3): 1}
    assert detail["attempts"][0]["state"] == "complete"


def test_a_lost_attempt_interrupts_its_trial(study, results):
    """A trial whose worker was declared lost is neither failed nor running."""
    study.tell("judge", Lost(1040.0, 3, 0, "killed", "process 7 is gone"))
    merge(results)
    row = queries.trial_detail(StoreReader(results), "digits", 3)["trial"]
    assert (row["state"], row["cause"], row["message"]) == ("interrupted", "killed", "process 7 is gone")


def test_events_of_all_kinds_have_their_rows(study, results, tables):
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
        Submit(11.0, [{"job": "7", "tasks": 2, "time": 10.5}, {"job": "8", "tasks": 1, "time": 10.6}], "p.toml", "c"),
    )
    merge(results)
    detail = queries.trial_detail(StoreReader(results), "digits", 0)
    assert detail["attempts"][0]["checkpoint_epoch"] == 2
    assert detail["artifacts"][0]["path"] == "models/0.keras"
    assert detail["trial"]["test_metrics"] == {"test_accuracy": 0.8}
    summary = queries.study_summary(StoreReader(results), "digits")
    assert summary["cancelled"] == 10.0
    assert [job[2] for job in tables.now(results)["jobs"]] == ["7", "8"]
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
    assert queries.trial_detail(StoreReader(results), "digits", 3)["trial"]["value"] == 0.8


def test_numbers_and_texts_that_no_column_takes_stop_nothing(study, results):
    """Numbers of more than 64 bits, characters that are none, NaN and infinities stop no merge."""
    study.tell(
        "z",
        Start(1.0, 4, 0, "c4", 0, 2**70, {}),
        End(2.0, 5, 0, "failed", "exception", "broken \udc80 name \0", 0, 0.0),
        Epoch(3.0, 3, 0, 3, 0.5, {"val_accuracy": float("nan"), 'odd " name': float("inf")}),
    )
    assert merge(results).skipped is None
    assert queries.trial_detail(StoreReader(results), "digits", 5)["trial"]["message"] == "broken ? name \\0"
    epoch = queries.trial_detail(StoreReader(results), "digits", 3)["epochs"][-1]
    assert epoch["value"] is None
    assert epoch['odd " name'] == float("inf")


def test_a_line_of_another_writer_stops_no_merge(study, results, new_study):
    """Characters beyond ASCII and a name that occurs twice, as only other programs write them, are read like JSON."""
    new_study(results, "other").plan(1)
    line = '{"type":"epoch","time":3e3,"trial":%d,"attempt":0,"epoch":1,"seconds":1,"metrics":{"val_accuracy":%s}}'
    bodies = [(line % (5, '0.1,"Schärfe":0.5')).encode(), (line % (6, '0.1,"val_accuracy":0.2')).encode()]
    study.append("z", b"".join(b"%08x %b\n" % (crc32(body), body) for body in bodies))
    assert merge(results).skipped is None
    assert list(results.glob("sweeps.db*")) == [results / "sweeps.db"]  # nothing was set aside as damaged
    epochs = [queries.trial_detail(StoreReader(results), "digits", trial)["epochs"][0] for trial in (5, 6)]
    assert [epoch["val_accuracy"] for epoch in epochs] == [0.1, 0.2]
    assert epochs[0]["Schärfe"] == 0.5
    with closing(sqlite3.connect(results / "sweeps.db")) as connection:
        query = "SELECT value, json_extract(metrics_json, '$.val_accuracy') FROM epochs WHERE trial = 6"
        assert connection.execute(query).fetchone() == (0.2, 0.2)


def test_a_removed_study_leaves_the_store(study, results, new_study, locks, tables):
    """The store matches the folders; other studies are untouched."""
    other = new_study(results, "other")
    other.run("w", 0, [0.4])
    merge(results, wait_s=1)
    shutil.rmtree(study.paths.folder)
    assert merge(results, wait_s=1).notes == ("digits: its folder was removed, so the store forgot it",)
    assert queries.list_studies(StoreReader(results)) == ["other"]
    assert tables.now(results) == tables.anew(results)


def test_a_study_that_was_made_anew_under_its_name_has_no_past(study, results, new_study, locks, tables):
    """After its folder was removed and made again, nothing of the old one is left."""
    merge(results, wait_s=1)
    shutil.rmtree(study.paths.folder)
    new_study(results).run("x", 0, [0.4])
    merge(results, wait_s=1)
    assert [row["trial"] for row in queries.leaderboard(StoreReader(results), "digits")[1]] == [0]
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
    text = study.paths.sweep.read_text(encoding="utf-8")
    study.paths.sweep.write_text("study: [", encoding="utf-8")
    report = merge(results)
    assert report.events == 17
    assert any("sweep.yaml" in note for note in report.notes)
    assert queries.leaderboard(StoreReader(results), "digits")[1][0]["trial"] == 1
    study.paths.sweep.write_text(
        text.replace("val_accuracy, direction: maximize", "val_loss, direction: minimize"), encoding="utf-8"
    )
    study.run("a", 4, [0.3])
    merge(results)
    assert queries.study_summary(StoreReader(results), "digits")["metric"] == "val_loss"
    assert queries.trial_detail(StoreReader(results), "digits", 0)["trial"]["value"] == pytest.approx(2 / 3)
    assert tables.now(results) == tables.anew(results)


def test_without_a_results_folder_there_is_nothing_to_do(tmp_path):
    """Merging a missing folder does nothing and does not create it."""
    assert merge(tmp_path / "missing").events == 0
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("locks", ["honest", "dishonest"])
def test_elsewhere_the_store_is_its_owners_alone(study, results, monkeypatch, locks):
    """Nobody else can read the store, whatever the umask allows."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", locks)
    assert merge(results, wait_s=5).skipped is None
    stores = [path for path in results.rglob("*.db") if not path.is_symlink()]
    assert stores
    assert [path for path in stores if path.stat().st_mode & 0o077 and path.parent == results] == []


@pytest.mark.parametrize("locks", ["honest", "dishonest"])
def test_a_group_can_merge_into_a_store_that_one_of_them_made(study, results, monkeypatch, locks):
    """In a group's folder, with umask 0002, everything that a merge leaves is writable for the group."""
    results.chmod(0o2775)
    monkeypatch.setenv("CNN_SWEEP_LOCKS", locks)
    before = os.umask(0o002)
    try:
        assert merge(results, wait_s=5).skipped is None
        assert rebuild(results).skipped is None
    finally:
        os.umask(before)
    made = [path for path in results.rglob("*") if study.paths.folder not in (path, *path.parents)]
    assert results / "sweeps.db" in made
    assert [path for path in made if not path.stat().st_mode & stat.S_IWGRP] == []
