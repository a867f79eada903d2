from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from cnn_sweep.journal.filesystem import aside_of
from cnn_sweep.store import published, queries
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("CNN_SWEEP_KILLS", "6"))
# Small batches, so that there are many moments to be killed at: in a batch, in a commit, between two of them.
_MERGER = """
import sys
from pathlib import Path
from cnn_sweep.store import ingest
from cnn_sweep.store.merge import merge, rebuild
ingest.apply_new.__kwdefaults__["batch_bytes"] = 200_000
print("ready", flush=True)
(rebuild if sys.argv[2] == "rebuild" else merge)(Path(sys.argv[1]), wait_s=60)
"""


def _kill_one(results, verb, seconds):
    """Start a merger and kill it so many seconds after it began; tell whether it was still at it."""
    command = [sys.executable, "-c", _MERGER, str(results), verb]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as merger:
        assert merger.stdout.readline() == b"ready\n"
        try:
            merger.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            merger.send_signal(signal.SIGKILL)
        return merger.wait() == -signal.SIGKILL


def test_mergers_that_are_killed_lose_nothing_and_count_nothing_twice(study, results, locks, tables):
    """However often and whenever mergers die, the tables are what an undisturbed merge makes of the journals."""
    chance = random.Random(7)
    killed = 0
    for turn in range(KILLS):
        for trial in range(10 + 150 * turn, 160 + 150 * turn):
            study.run("ab"[trial % 2], trial, [chance.random() for _ in range(4)])
        killed += _kill_one(results, chance.choice(["merge", "merge", "rebuild"]), chance.uniform(0.01, 0.3))
    assert killed >= KILLS // 4
    report = merge(results, wait_s=30)
    assert report.skipped is None
    assert tables.now(results) == tables.anew(results)
    assert not list(results.glob("sweeps.db.corrupt-*"))
    assert queries.counts(StoreReader(results), "digits")["complete"] == 2 + 150 * KILLS


def test_a_reader_finds_a_whole_store_after_a_merger_was_killed(study, results, locks, tables):
    """What a killed merger had not finished is undone by the first one who looks."""
    merge(results, wait_s=5)
    before = tables.now(results)
    for trial in range(10, 400):
        study.run("a", trial, [0.1, 0.2, 0.3])
    chance = random.Random(3)
    for _ in range(KILLS // 2):
        _kill_one(results, "rebuild", chance.uniform(0.01, 0.3))
        found = {row["trial"] for row in queries.leaderboard(StoreReader(results), "digits")[1]}
        assert found in ({0, 1, 2, 3}, {0, 1, 2, 3, *range(10, 400)})
    assert before["workers"] == tables.now(results)["workers"]


def test_what_a_killed_rebuild_left_goes_with_the_next_merge(study, results, monkeypatch):
    """A half-built store, as large as the store itself, does not stay beside it until somebody rebuilds again."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    merge(results, wait_s=5)
    left = results / ".sweeps.rebuilding"
    left.write_bytes(b"half")
    merge(results, wait_s=5)
    assert not left.exists()


def test_what_killed_publishers_left_goes_with_the_next_publication(study, results, monkeypatch):
    """Of a dead process at once, of one on another machine when it is old, and never of one that runs."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    merge(results, wait_s=5)
    mine = aside_of(results / "sweeps.db")
    host, pid, started, *rest = mine.name.rsplit("-", 5)
    dead = mine.with_name("-".join((host, pid, f"{started}0", *rest)))
    elsewhere = mine.with_name(mine.name.replace("aside-", "aside-elsewhere-"))
    for left in (mine, dead, elsewhere):
        os.link(results / "sweeps.db", left)
    study.run("a", 10, [0.1])
    merge(results, wait_s=5)
    assert [left.exists() for left in (mine, dead, elsewhere)] == [True, False, True]
    monkeypatch.setattr(published, "_LEFTOVER_AGE_S", -1.0)
    study.run("a", 11, [0.1])
    merge(results, wait_s=5)
    assert [left.exists() for left in (mine, elsewhere)] == [True, False]
