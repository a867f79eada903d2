from __future__ import annotations

import os

import pytest

from cnn_sweep.errors import StudyError
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.filesystem import write_aside, write_once
from cnn_sweep.journal.identity import current
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths, existing_studies


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "-x", ".x", "a b", "a\n", "x" * 65, "ä"])
def test_a_name_that_could_leave_the_results_folder_is_refused(tmp_path, name):
    """No study name leads out of the results folder or to a hidden file."""
    with pytest.raises(StudyError, match="cannot name a study"):
        StudyPaths(tmp_path, name)


def test_every_file_of_a_study_is_below_its_folder(tmp_path):
    """All files are at their documented places below results/<study>."""
    paths = StudyPaths(tmp_path, "digits")
    found = {
        "sweep": paths.sweep,
        "second": paths.revision(2),
        "journal": paths.journal("w"),
        "claim": paths.claim(17, 0),
        "checkpoint": paths.checkpoint(17, 0),
        "model": paths.model(17),
    }
    assert {name: str(path.relative_to(tmp_path / "digits")) for name, path in found.items()} == {
        "sweep": "sweep.yaml",
        "second": "sweep.2.yaml",
        "journal": "journal/w.jsonl",
        "claim": "claims/17.0",
        "checkpoint": "checkpoints/17.0.ckpt",
        "model": "models/17.keras",
    }


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_in_a_groups_folder_the_umask_tells_who_may_use_a_study(tmp_path, umask):
    """As documented for groups: with umask 0002 the group may write folders; a file is changed by its writer alone."""
    tmp_path.chmod(0o2775)
    before = os.umask(umask)
    try:
        paths = StudyPaths(tmp_path, "s")
        paths.create()
        JournalWriter(paths.journal("w")).close()
        Claims(paths, "w", current()).claim(0, 0)
        write_aside(paths.threads, b"1")
        write_once(paths.sweep, b"study: s")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (paths.folder, *paths.folder.rglob("*"))}
    folders = {path.name for path in (paths.folder, *paths.folder.rglob("*")) if path.is_dir()}
    assert len(modes) > len(folders) > 5
    assert modes == {name: (0o777 if name in folders else 0o644) & ~umask for name in modes}


def test_elsewhere_a_study_is_its_owners_alone(tmp_path):
    """Whatever the umask allows, nobody else may enter its folder."""
    before = os.umask(0o002)
    try:
        paths = StudyPaths(tmp_path, "s")
        paths.create()
    finally:
        os.umask(before)
    assert paths.folder.stat().st_mode & 0o777 == 0o700


def test_studies_are_found_by_their_journals(paths):
    """A folder without journals and a plain file are no studies."""
    (paths.results / "notes").mkdir()
    (paths.results / "sweeps.db").touch()
    assert existing_studies(paths.results) == ["digits"]
    assert existing_studies(paths.results / "missing") == []


def test_studies_of_other_people_are_left_out(paths, monkeypatch):
    """A folder that may not be read is no study of ours, and no error."""

    def refuse(folder):
        raise PermissionError(folder)

    monkeypatch.setattr(type(paths.journals), "is_dir", refuse)
    assert existing_studies(paths.results) == []


def test_revisions_are_counted_up_to_the_first_gap(paths):
    """Revisions are the frozen sweep files that exist, oldest first."""
    for number in (1, 2, 4):
        paths.revision(number).touch()
    assert paths.revisions() == (paths.revision(1), paths.revision(2))
