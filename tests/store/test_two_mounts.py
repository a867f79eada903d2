"""One folder, mounted twice, so that a lock that one mount grants is granted by the other as well."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import pytest
from helpers.mounts import mounted

from cnn_sweep.journal.filesystem import judge
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.store import queries
from cnn_sweep.store.check import check
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader

pytestmark = pytest.mark.faults

PROCESSES = 8
CLAIMS = 2000
TRIALS = 80
_LOCKER = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("mine", flush=True)
    sys.stdin.readline()
"""
_CLAIMER = """
import random, sys
from pathlib import Path
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.paths import StudyPaths
claims = Claims(StudyPaths(Path(sys.argv[1]), "digits"), new_writer_name(), current())
print("ready", flush=True)
sys.stdin.readline()
numbers = list(range(int(sys.argv[2])))
random.Random(int(sys.argv[3]) // 4).shuffle(numbers)  # several in the same order, so that they collide
print(*(n for n in numbers if claims.claim(n, 0)))
"""
_WORKER = """
import sys
from pathlib import Path
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.store.merge import merge
results, me = Path(sys.argv[1]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
with JournalWriter(StudyPaths(results, "digits").journal(f"w{me}")) as journal:
    for trial in range(me, int(sys.argv[2]), 8):
        journal.append(Start(1.0, trial, 0, f"c{trial}", 0, 1, {"filters": 4}))
        for epoch in range(1, 4):
            journal.append(Epoch(2.0, trial, 0, epoch, 0.1, {"val_accuracy": trial / 1000}))
        journal.append(End(3.0, trial, 0, "complete", None, None, 3, 1.0))
        merge(results, wait_s=1e-9 if trial % 3 else 0)
print("done")
"""


@pytest.fixture
def mounts(tmp_path):
    """Two FUSE mounts of one folder: their paths."""
    back = tmp_path / "back"
    back.mkdir()
    with mounted(back, tmp_path / "a", tmp_path / "b") as folders:
        yield folders


def _race(code, mounts, size):
    """Start processes on both mounts, let them go at one time and return what they print."""
    command = [sys.executable, "-c", code]
    racers = [
        subprocess.Popen(
            [*command, str(mounts[number % 2]), str(size), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        for number in range(PROCESSES)
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * PROCESSES
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=200)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * PROCESSES
    return answers


def test_the_two_mounts_do_not_see_each_others_locks(mounts):
    """The premise: one exclusive lock is granted on both mounts, and such mounts are not trusted."""
    (mounts[0] / "lock").touch()
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", _LOCKER, mount / "lock"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        for mount in mounts
    ]
    assert [holder.stdout.readline() for holder in holders] == ["mine\n", "mine\n"]
    for holder in holders:
        holder.communicate("\n")
    assert not judge(mounts[0]).honest


def test_each_attempt_has_one_owner_whoever_races_for_it(mounts):
    """Eight processes on both mounts race for 2,000 claims: each is given once, none is left."""
    StudyPaths(mounts[0], "digits").create()
    answers = _race(_CLAIMER, mounts, CLAIMS)
    given = Counter(int(number) for answer in answers for number in answer.split())
    assert given == dict.fromkeys(range(CLAIMS), 1)
    assert sum(bool(answer.split()) for answer in answers) > 1


def test_mergers_on_both_mounts_make_a_correct_store(mounts, new_study, tables):
    """Eight processes write and merge on both mounts at once: the store ends up sound and complete."""
    study = new_study(mounts[0])
    study.plan(TRIALS)
    _race(_WORKER, mounts, TRIALS)
    for mount in mounts:
        _poll(lambda mount=mount: merge(mount, wait_s=5) and _complete(mount) == TRIALS)
        _poll(lambda mount=mount: check(mount).sound)
        assert tables.now(mount) == tables.anew(mount)
    assert not list(mounts[0].glob("sweeps.db.corrupt-*"))


def _complete(results):
    return queries.counts(StoreReader(results), "digits")["complete"]


def _poll(is_true):
    """Wait until something is true: each mount shows what happened on the other a second late."""
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
