"""Journals of any lines: history and store agree, every command answers, and other studies keep their results."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from zlib import crc32

import pytest
from helpers.fuzzing import Found, corpus, finding, fuzz, mutated, odd_values, places, removed, replaced, typed
from hypothesis import strategies as st

from cnn_sweep.execution.attempts.candidates import why_nothing_is_left
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.history import History
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.store import queries
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.sweep.direction import Direction

SAMPLE = Path(__file__).parents[1] / "samples" / "grid_of_four"
WRITER = b"--- writer"  # this line begins another writer's journal
CASES = corpus("journals")
READERS = (
    ("status", "sample"),
    ("status", "sample", "--json"),
    ("leaderboard", "sample", "--all"),
    ("leaderboard", "sample", "--format", "json"),
    ("leaderboard", "sample", "--by", "filters"),
    ("show", "sample", "0"),
    ("show", "sample", "3"),
    ("importance", "sample"),
    ("report", "sample", "--output", "r.html"),
    ("report", "sample", "--output", "r.md"),
    ("list",),
    ("store", "check"),
    ("export", "sample", "csv", "--to", "csv"),
    ("export", "sample", "sqlite:///o.db", "--to", "optuna"),
    ("plan", "sample.yaml"),
    ("logs", "sample"),
    ("efficiency", "sample"),
    ("methods", "sample"),
)


def checked(text):
    """Return a line of a journal, with its checksum."""
    body = text.encode("utf-8", "surrogatepass")
    return b"%08x %b" % (crc32(body), body)


@st.composite
def changed(draw):
    """Lines of journals whose values, order and number are others than their writers gave."""
    lines = draw(st.sampled_from(list(CASES.values()))).splitlines()
    for _ in range(draw(st.integers(1, 5))):
        at, kind = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, 9))
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif kind == 2:
            lines.insert(draw(st.integers(0, len(lines))), lines.pop(at))
        elif kind == 3:
            lines.insert(at, WRITER)
        elif kind == 4:
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        else:
            lines[at] = _changed_line(draw, lines[at])
        if not lines:
            return b""
    return b"\n".join(lines) + draw(st.sampled_from([b"\n", b"\n", b""]))


def _changed_line(draw, line):
    try:
        data = json.loads(line[9:])
    except ValueError:
        return line
    if not isinstance(data, dict) or not data:
        return line
    data = copy.deepcopy(data)
    path = draw(st.sampled_from([place for place in places(data) if place]))
    kind = draw(st.integers(0, 7))
    if kind == 0:
        removed(data, path)
    elif kind == 1:
        replaced(data, (*path[:-1], draw(st.sampled_from(["state", "cause", "x", "epoch", "params", "\ud800"]))), 1)
    elif kind <= 4:
        near = [
            0,
            1,
            2,
            3,
            4,
            7,
            10**12,
            2**62,
            1e300,
            -5.0,
            "complete",
            "failed",
            "inf",
            "nan",
            {},
            [],
            {"x": 1},
            None,
        ]
        replaced(data, path, copy.deepcopy(draw(st.sampled_from(near))))
    else:
        replaced(data, path, draw(odd_values()))
    return checked(json.dumps(data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two studies of the same trials; the contents become the journals of the one."""
    folder = tmp_path_factory.mktemp("journals")
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    shutil.copytree(folder / "results" / "sample", folder / "results" / "other")
    return folder


@pytest.fixture
def target(folder, monkeypatch):
    """Check what readers make of a study's journals: two commands, which the content chooses."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "honest")
    monkeypatch.chdir(folder)
    _write(folder, b"")
    merge(folder / "results")
    others = _rows(folder, "other")

    def examine(content, *, every=False):
        _write(folder, content)
        merge(folder / "results")
        _compare(folder)
        if _rows(folder, "other") != others:
            raise Found("another study changed")
        study = StudyFolder.open(folder / "results", "sample")
        why_nothing_is_left(study, study.history())
        chosen = crc32(content) % len(READERS)
        for words in READERS if every else (READERS[chosen], READERS[chosen // 2]):
            (folder / "o.db").unlink(missing_ok=True)
            typed(folder, *words)

    return examine


def _write(folder, content):
    """Write the contents as journals, and remove the store."""
    for file in (folder / "results").glob("sweeps.db*"):
        file.unlink()
    journals = folder / "results" / "sample" / "journal"
    shutil.rmtree(journals)
    journals.mkdir()
    for number, text in enumerate(content.split(WRITER + b"\n")):
        (journals / f"node1-{number}-1-{number:08x}.jsonl").write_bytes(text)


def _rows(folder, study):
    return list(queries.export_trials(StoreReader(folder / "results"), study)[1])


def _compare(folder):
    """Compare the store with the history.

    Raises:
        Found: They differ.
    """
    paths = StudyPaths(folder / "results", "sample")
    history = History.read(paths)
    studies = queries.list_studies(StoreReader(folder / "results"))
    rows = {row["trial"]: row for row in _rows(folder, "sample")} if "sample" in studies else {}
    if set(rows) != set(history.trials):
        raise Found(f"trials of the store {sorted(rows)[:9]}, of the history {sorted(history.trials)[:9]}")
    for number, trial in history.trials.items():
        row, best = rows[number], trial.best(Direction.MAXIMIZE) or (None, None)
        one = (row["state"], row["cause"], row["attempts"], row["best_epoch"], row["value"])
        other = (trial.state, trial.last.cause, len(trial.attempts), *best)
        if one != other:
            raise Found(f"the store has {_names(one)}, the history {_names(other)}")


def _names(values):
    return tuple(type(value).__name__ if isinstance(value, int | float) else value for value in values)


@pytest.mark.parametrize("case", CASES)
def test_kept_journals(target, case):
    """Journals that once made trouble, and sound ones to begin with: every command answers."""
    assert finding(lambda content: target(content, every=True), CASES[case]) is None


def test_journals(target):
    """Any journal is read; what is no event is left out."""
    contents = st.one_of(changed(), changed(), changed(), mutated(list(CASES.values())))
    fuzz("journals", target, contents, few=8, share=0.3)
