"""Damaged files of a study: every command answers, and other studies keep their results."""

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
from cnn_sweep.store.merge import merge

SAMPLE = Path(__file__).parents[1] / "samples" / "grid_of_four"
FILES = {
    file: (SAMPLE / "results" / file).read_bytes()
    for file in (
        *("sample/sweep.yaml", "sample/provenance.json", "sample/data.sha256", "sample/threads", ".filesystem.json"),
        "sample/claims/.owner-node1-3395-2821772-4e77405e",
    )
}
FILES |= {"sample/sweep.2.yaml": FILES["sample/sweep.yaml"], "sample/note.txt": b"a note\n"}
VERBS = (
    ("status", "sample"),
    ("status",),
    ("leaderboard", "sample", "--all"),
    ("show", "sample", "0"),
    ("importance", "sample"),
    ("report", "sample", "--output", "r.html"),
    ("list",),
    ("store", "check"),
    ("store", "rebuild"),
    ("export", "sample", "csv", "--to", "csv"),
    ("plan", "sample.yaml"),
    ("logs", "sample"),
    ("efficiency", "sample"),
    ("methods", "sample"),
    ("copy", "sample", "new.yaml"),
    ("archive", "sample"),
    ("rename", "sample", "renamed"),
    ("cancel", "sample"),
    ("delete", "sample", "--yes"),
)
# A case is the name of a file, a line break, and what is in the file.
CASES = corpus("study_files")


@st.composite
def changed(draw):
    """A file of a study with other bytes or, as it is JSON, other values."""
    name = draw(st.sampled_from(list(FILES)))
    text = FILES[name]
    if name.endswith(".json") and draw(st.booleans()):
        data = copy.deepcopy(json.loads(text))
        path = draw(st.sampled_from(places(data)))
        if not path:
            data = draw(odd_values())
        elif draw(st.integers(0, 3)) == 0:
            removed(data, path)
        else:
            replaced(data, path, draw(odd_values()))
        return f"{name}\n{json.dumps(data)}".encode("utf-8", "surrogatepass")
    odd = st.one_of(
        mutated([text]), mutated([text]), st.sampled_from([b"", b"\0" * 64, b"[" * 9_000, b"\xff\xfe", b"{}"])
    )
    return name.encode() + b"\n" + draw(odd)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two studies of the same trials, with a store as this version writes it."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    shutil.copytree(folder / "results" / "sample", folder / "results" / "other")
    (folder / "results" / "sweeps.db").unlink()
    merge(folder / "results")
    return folder


@pytest.fixture
def target(template, tmp_path):
    """Check what commands make of a damaged file: some that read, and one that changes the study."""

    def examine(content, *, every=False):
        name, _, text = content.partition(b"\n")
        chosen = crc32(content) % len(VERBS)
        for words in VERBS if every else (VERBS[chosen], VERBS[chosen // 2]):
            _prepare(template, tmp_path)
            (tmp_path / "results" / name.decode()).write_bytes(text)
            typed(tmp_path, *words)
            if "sample" in words:
                _check_other(tmp_path)
        study = StudyFolder.open(tmp_path / "results", "other")
        why_nothing_is_left(study, study.history())

    return examine


def _prepare(template, folder):
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / "new.yaml").unlink(missing_ok=True)
    shutil.copytree(template, folder, dirs_exist_ok=True)


def _check_other(folder):
    done = typed(folder, "leaderboard", "other", "--format", "csv")
    if done.returncode or done.stdout.count("complete") != 2:
        raise Found(f"the other study has {done.stdout.count('complete')} complete trials: {done.stderr[-200:]}")


@pytest.mark.parametrize("case", CASES)
def test_kept_files(target, case):
    """Files that once made trouble, and sound ones to begin with: every command answers."""
    assert finding(lambda content: target(content, every=True), CASES[case]) is None


def test_study_files(target):
    """A damaged file of a study is named by the command that needs it, and stops no other one."""
    fuzz("study_files", target, changed(), few=6, share=0.1)
