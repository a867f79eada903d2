from __future__ import annotations

import random
import sqlite3
from zlib import crc32

import pytest

from cnn_sweep.journal.events import Cancel
from cnn_sweep.journal.log import encode
from cnn_sweep.store import queries
from cnn_sweep.store.check import check
from cnn_sweep.store.merge import merge, rebuild
from cnn_sweep.store.reader import StoreReader


def test_a_sound_store_has_no_findings(study, results, locks):
    """A sound store gives no findings, even while lines are waiting to be merged."""
    merge(results, wait_s=1)
    assert check(results).sound
    study.run("a", 4, [0.3])
    report = check(results)
    assert report.sound
    assert report.waiting_bytes > 0


def test_without_a_store_only_journals_are_looked_at(study, results):
    """Before the first merge there is nothing to compare."""
    report = check(results)
    assert report.sound
    assert report.waiting_bytes > 1000
    assert not (results / "sweeps.db").exists()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE trials SET value = 0.99 WHERE trial = 0", "('digits', 0): value is 0.99 and should be 0.7"),
        ("DELETE FROM epochs WHERE trial = 1 AND epoch = 2", "table epochs: row ('digits', 1, 0, 2) is missing"),
        ("INSERT INTO configurations VALUES ('digits', 'zz', '{}')", "('digits', 'zz') is in no journal"),
        ("UPDATE journals SET \"offset\" = 7 WHERE writer = 'a'", "('digits', 'a') is in no journal"),
        ("DROP VIEW leaderboard_digits", "view leaderboard_digits: is missing"),
        ("DELETE FROM studies", "table studies: row ('digits',) is missing"),
        ("DROP TABLE artifacts", "layout is version unknown"),
    ],
)
def test_whatever_the_journals_do_not_say_is_found(study, results, statement, finding):
    """A row that is changed, missing or too many is named, and a rebuild mends it."""
    merge(results)
    connection = sqlite3.connect(results / "sweeps.db")
    connection.execute(statement)
    connection.commit()
    connection.close()
    report = check(results)
    findings = report.findings
    assert not report.is_store_sound
    assert any(finding in found for found in findings), findings
    assert all("sweeps.db" in found for found in findings)
    rebuild(results)
    assert check(results).sound


def test_an_edited_line_is_found_and_one_of_a_newer_version_is_none(study, results):
    """The finding says which value has another type; both are counted as unknown."""
    edits = (b'{"type":"cancel","time":1.0,"trial":"3"}', b'{"type":[1],"time":1.0}', b"[" * 3000)
    bodies = (*edits, b'{"type":"dream","time":1.0}')
    study.append("z", b"".join(b"%08x %b\n" % (crc32(body), body) for body in bodies))
    merge(results)
    edited, listed, deep = check(results).findings
    assert edited.endswith("z.jsonl: cancel with 'trial': '3'")
    assert listed.endswith("z.jsonl: an event of the unknown type [1]")
    assert "z.jsonl: no event: b'[[[" in deep
    summary = queries.study_summary(StoreReader(results), "digits")
    assert (summary["bad_lines"], summary["unknown_lines"]) == (0, 4)


def test_a_flipped_byte_in_a_journal_is_found_with_its_place(study, results):
    """Damage behind and before the merge is named with file and offset; every other line survives."""
    merge(results)
    file = study.paths.journal("a")
    text = bytearray(file.read_bytes())
    place = text.index(b'"epoch":2')
    text[place] ^= 1
    file.write_bytes(text)
    report = check(results)
    assert report.bad_lines == 1
    start = text.rindex(b"\n", 0, place) + 1
    assert any(f"{file}: byte {start}:" in finding for finding in report.findings)
    assert any("('digits', 0, 0, 2) is in no journal" in finding for finding in report.findings)
    assert rebuild(results).bad_lines == 1
    assert [e["epoch"] for e in queries.trial_detail(StoreReader(results), "digits", 0)["epochs"]] == [1, 3]
    assert queries.trial_detail(StoreReader(results), "digits", 0)["trial"]["state"] == "complete"
    report = check(results)
    assert (len(report.findings), report.bad_lines) == (1, 1)


def test_a_journal_that_is_gone_or_cut_is_found(study, results):
    """The store records what it has read, so a journal that lost lines is reported."""
    merge(results)
    study.paths.journal("b").unlink()
    file = study.paths.journal("a")
    file.write_bytes(file.read_bytes()[:100])
    findings = check(results).findings
    assert any("b.jsonl: the store has read" in found and "is gone" in found for found in findings)
    assert any("a.jsonl: the store has read" in found and "has only 100 bytes" in found for found in findings)


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_in_the_store_is_found_or_changes_nothing(study, results, monkeypatch, seed, tables):
    """The check detects any changed byte of the file, unless all readable content is unchanged."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    merge(results)
    before = tables.now(results)
    file = results / "sweeps.db"
    data = bytearray(file.read_bytes())
    chance = random.Random(seed)
    used = [place for place, byte in enumerate(data) if byte]
    data[chance.choice(used)] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    if check(results).sound:
        assert tables.now(results) == before
    study.tell("a", Cancel(1.0))
    merge(results)
    rebuild(results)
    assert check(results).sound
    assert tables.now(results) == tables.anew(results)


def test_damaged_values_stop_no_merge(study, results, tables):
    """Counts, offsets, names and lists that are none are damage: the store is made anew, and nothing raises."""
    for damage in (
        "UPDATE journals SET \"offset\" = 'x'",
        "UPDATE journals SET events = NULL",
        "UPDATE journals SET last_event = 'x'",
        "UPDATE studies SET parameters_json = '{'",
        "UPDATE studies SET metrics_json = '7'",
        "UPDATE studies SET cancelled = 'x'",
        "UPDATE revisions SET revision = 'x'",
        "UPDATE studies SET study = '../x'",
        "UPDATE journals SET study = '../x'",
        "UPDATE configurations SET params_json = x'ff'",
        "UPDATE journals SET writer = CAST(x'ff' AS TEXT)",
    ):
        merge(results)
        connection = sqlite3.connect(results / "sweeps.db")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        try:
            connection.execute(damage)
        except sqlite3.IntegrityError:
            continue  # the database itself refuses it
        finally:
            connection.commit()
            connection.close()
        study.append("a", encode(Cancel(1.0)))
        assert merge(results).skipped is None, damage
        rebuild(results)
        assert tables.now(results) == tables.anew(results), damage
