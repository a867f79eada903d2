"""Archives of studies: what is in them, that they are checked, and that a kill loses nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile

import pytest
from helpers.kills import run_and_kill, steps_to_kill
from helpers.written import Written

from cnn_sweep.errors import EnvironmentFault, InputError, StudyError
from cnn_sweep.execution.study import archive as archives
from cnn_sweep.execution.study import archive_reader
from cnn_sweep.execution.study.archive import Extras, archive_study, complete_archive, entries_of
from cnn_sweep.execution.study.archive_reader import MANIFEST, read_archive, read_summary, restore_study
from cnn_sweep.execution.study.removal import clear_leftovers, remove_study
from cnn_sweep.journal.paths import StudyPaths, archive_of, existing_studies


@pytest.fixture
def paths(tmp_path):
    """A study with a model, a checkpoint and two claims of one worker."""
    results = tmp_path / "results"
    results.mkdir()
    Written(results).study(trials=4)
    found = StudyPaths(results, "digits")
    found.model(0).write_bytes(random.Random(1).randbytes(50_000))
    found.checkpoint(1, 0).write_bytes(b"")
    (found.claims / ".owner-w").write_text("{}", encoding="utf-8")
    for trial in (0, 1):
        os.link(found.claims / ".owner-w", found.claim(trial, 0))
    return found


@pytest.fixture
def extras(tmp_path):
    """A summary, and a folder with a table."""
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "trials.csv").write_text("study,trial\ndigits,0\n", encoding="utf-8")
    return Extras({"metric": "val_accuracy"}, tables)


@pytest.fixture
def archive(paths, extras):
    """The study's archive; the study is still there."""
    return archive_study(paths, archive_of(paths.results, "digits"), extras).file


def files_of(folder):
    """Return the content of each file below a folder, and None for each folder."""
    return {entry.name: None if entry.is_folder else entry.path.read_bytes() for entry in entries_of(folder)}


def names(folder):
    """Return the names in a folder, sorted, those of hidden files, too."""
    return sorted(path.name for path in folder.iterdir())


def rewritten(archive, change):
    """Write an archive anew with its members changed, and return it; ``change`` gets and returns (info, data) pairs."""
    with tarfile.open(archive) as tar:
        pairs = [(info, tar.extractfile(info).read() if info.isreg() else b"") for info in tar]
    with tarfile.open(archive, "w:gz") as tar:
        for info, data in change(pairs):
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive


def test_ordinary_tools_read_an_archive(archive, tmp_path):
    """``tar`` unpacks it, and ``sha256sum`` finds every file as the manifest has it."""
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", archive], cwd=tmp_path / "unpacked", check=True)
    folder = tmp_path / "unpacked" / "digits"
    checked = subprocess.run(
        ["sha256sum", "-c", MANIFEST], cwd=folder, check=True, capture_output=True, encoding="utf-8"
    )
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {line.partition(": ")[0] for line in checked.stdout.splitlines()} == there - {MANIFEST}
    assert {"README.txt", "SUMMARY.json", "tables/trials.csv", "study/sweep.yaml", "study/models/0.keras"} <= there
    assert "tar -xzf digits.tar.gz" in (folder / "README.txt").read_text(encoding="utf-8")
    assert json.loads((folder / "SUMMARY.json").read_text(encoding="utf-8"))["metric"] == "val_accuracy"


def test_the_same_study_gives_the_same_bytes(archive, paths, extras, tmp_path):
    """Nothing in an archive depends on when it was written, and its members are sorted."""
    again = archive_study(paths, tmp_path / "digits.tar.gz", extras).file
    assert again.read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as tar:
        names = [name for name in tar.getnames() if name.startswith("digits/study/")]
    assert names == sorted(names)


def test_a_restored_study_is_the_study_that_was_archived(archive, paths):
    """Files, empty folders, modes, times in seconds, and claims as links to one file come back."""
    before, times = files_of(paths.folder), paths.model(0).stat()
    shutil.rmtree(paths.folder)
    assert restore_study(archive, paths.results) == paths
    assert files_of(paths.folder) == before
    assert paths.folder.stat().st_mode & 0o777 == 0o700
    assert paths.model(0).stat().st_mtime == int(times.st_mtime)
    assert paths.model(0).stat().st_mode == times.st_mode
    assert paths.claim(0, 0).stat().st_ino == paths.claim(1, 0).stat().st_ino
    assert names(paths.results) == [".filesystem.json", ".sweeps.lock", "archive", "digits", "sweeps.db"]


def test_an_archive_replaces_nothing_unasked(archive, paths, extras):
    """A second archive of the name is refused, and so is a study over one that exists."""
    with pytest.raises(StudyError, match="exists"):
        archive_study(paths, archive, extras)
    with pytest.raises(StudyError, match="already a study 'digits'"):
        restore_study(archive, paths.results)
    archive_study(paths, archive, extras, replace=True)


def test_an_archive_is_known_to_be_complete(archive, paths):
    """An archive of the study as it is now is recognized; after any change it is not."""
    assert complete_archive(archive, paths).files == len(read_archive(archive).sums)
    paths.note.write_text("new", encoding="utf-8")
    assert complete_archive(archive, paths) is None
    paths.note.unlink()
    paths.sweep.write_text(paths.sweep.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert complete_archive(archive, paths) is None


def test_every_flipped_byte_is_noticed(archive, paths, tmp_path):
    """Wherever an archive is damaged or cut, it is refused, and nothing is restored."""
    data = archive.read_bytes()
    draw = random.Random(2)
    places = [draw.randrange(10, len(data)) for _ in range(25)]  # the first ten bytes are gzip's, with unused ones
    damaged = [data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :] for at in places]
    damaged += [data[:at] for at in (0, 5, len(data) // 2, len(data) - 1)]
    results = tmp_path / "elsewhere"
    file = tmp_path / "digits.tar.gz"
    for bad in damaged:
        file.write_bytes(bad)
        with pytest.raises((EnvironmentFault, InputError), match=r"digits\.tar\.gz"):
            restore_study(file, results)
        assert not results.exists() or not names(results)


def test_the_damaged_file_is_named(archive):
    """The message names the member whose checksum differs, those that are missing, and those that are new."""

    def change(pairs):
        for info, data in pairs:
            if info.name.endswith("0.keras"):
                yield info, data[:-1] + b"x"
            elif not info.name.endswith("1.0.ckpt"):
                yield info, data
        yield tarfile.TarInfo("digits/study/new"), b""

    rewritten(archive, change)
    with pytest.raises(EnvironmentFault) as error:
        read_archive(archive)
    for words in ("1 file has another checksum (study/models/0.keras)", "(study/checkpoints/1.0.ckpt)", "(study/new)"):
        assert words in str(error.value)


def _named(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "info",
    [
        _named("/etc/x"),
        _named("digits/../../x"),
        _named("digits/study/../../../x"),
        _named("other/study/x"),
        _named("digits//study"),
        _named("digits/study/sweep.yaml"),
        _named("digits/study/x", tarfile.SYMTYPE, "/etc/passwd"),
        _named("digits/study/x", tarfile.LNKTYPE, "/etc/passwd"),
        _named("digits/study/x", tarfile.LNKTYPE, "digits/study/../../../x"),
        _named("digits/study/x", tarfile.FIFOTYPE),
        _named("digits/study/x", tarfile.CHRTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type.decode()}",
)
def test_a_member_cannot_leave_its_folder(info, archive, paths, tmp_path):
    """Odd paths, links out, devices and names that come twice are refused, and nothing is written."""
    rewritten(archive, lambda pairs: [*pairs[:-1], (info, b""), pairs[-1]])
    there = sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "elsewhere"))
    with pytest.raises(EnvironmentFault, match="damaged"):
        restore_study(archive, tmp_path / "elsewhere")
    assert not names(tmp_path / "elsewhere")
    assert there == sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "elsewhere"))


def test_an_archive_does_not_restore_more_than_it_says(archive, tmp_path):
    """A few kilobytes of an archive that become gigabytes of zeros are refused, before they are on the disk."""

    def change(pairs):
        for info, data in pairs:
            yield (info, bytes(10 << 20)) if info.name.endswith("0.keras") else (info, data)

    rewritten(archive, change)
    with pytest.raises(EnvironmentFault, match=r"the files are larger than SUMMARY\.json says"):
        restore_study(archive, tmp_path / "elsewhere")
    assert not names(tmp_path / "elsewhere")


def test_what_is_no_archive_is_refused(tmp_path, paths):
    """Other files and other archives are named as such, like damaged ones; a missing file is a wrong name."""
    file = tmp_path / "other.tar.gz"
    with pytest.raises(InputError, match="no such file"):
        read_archive(file)
    file.write_bytes(b"text")
    with pytest.raises(EnvironmentFault, match="no archive of a study"):
        read_archive(file)
    with tarfile.open(file, "w:gz") as tar:
        tar.add(paths.sweep, "readme")
        tar.add(paths.sweep, "data/x")
    for read in (read_archive, read_summary):
        with pytest.raises(EnvironmentFault, match="no archive of a study"):
            read(file)
    newer = json.dumps({"format": 99}).encode()
    with tarfile.open(file, "w:gz") as tar:
        info = _named("digits/SUMMARY.json")
        info.size = len(newer)
        tar.addfile(info, io.BytesIO(newer))
    with pytest.raises(EnvironmentFault, match="newer version"):
        read_summary(file)


def test_what_cannot_be_archived_is_named(paths, extras, tmp_path):
    """Pipes, broken links and links in a circle are refused, and no archive is left."""
    odd = paths.folder / "odd"
    for make in (lambda: os.mkfifo(odd), lambda: odd.symlink_to("gone"), lambda: odd.symlink_to(".")):
        make()
        with pytest.raises(StudyError, match="odd"):
            archive_study(paths, tmp_path / "a" / "digits.tar.gz", extras)
        odd.unlink()
    assert not (tmp_path / "a").exists()


def test_links_to_files_and_folders_elsewhere_are_archived_with_their_content(paths, extras, tmp_path):
    """Checkpoints on another disk come back as files."""
    shutil.move(paths.checkpoints, tmp_path / "scratch")
    paths.checkpoints.symlink_to(tmp_path / "scratch")
    file = archive_study(paths, tmp_path / "digits.tar.gz", extras).file
    assert restore_study(file, tmp_path / "elsewhere").checkpoint(1, 0).read_bytes() == b""


def test_a_disk_without_room_is_noticed_first(archive, paths, extras, tmp_path, monkeypatch):
    """Neither an archive nor a study is begun that cannot be finished; the message says how much is missing."""
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EnvironmentFault, match=r"needs about 5\d\.?\d* kB, and 1 kB are free"):
        archive_study(paths, tmp_path / "a" / "digits.tar.gz", extras)
    with pytest.raises(EnvironmentFault, match="1 kB are free"):
        restore_study(archive, tmp_path / "elsewhere")
    assert names(tmp_path / "a") == names(tmp_path / "elsewhere") == []


def test_a_study_that_changes_meanwhile_is_not_archived(paths, extras, tmp_path, monkeypatch):
    """If a file changes between reading and the end, there is no archive, and later removal is refused, too."""

    def read_and_change(aside, writer):
        paths.note.write_text("new", encoding="utf-8")

    target = tmp_path / "digits.tar.gz"
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_read_back", read_and_change)
        with pytest.raises(StudyError, match="changed while it was archived"):
            archive_study(paths, target, extras)
    assert not target.exists()
    done = archive_study(paths, target, extras)
    paths.note.write_text("newer", encoding="utf-8")
    with pytest.raises(StudyError, match="unchanged"):
        remove_study(paths, unchanged=done.has_all_of)
    assert paths.read_note() == "newer"


def test_an_archive_that_reads_back_differently_is_not_kept(paths, extras, tmp_path, monkeypatch):
    """A disk that loses bytes is noticed before the study is removed."""
    monkeypatch.setattr(archives, "read_archive", lambda file, **_: archive_reader.Contents())
    with pytest.raises(EnvironmentFault, match="reads back differently"):
        archive_study(paths, tmp_path / "digits.tar.gz", extras)
    assert names(tmp_path) == ["results", "tables"]


def digest(folder):
    """Return one checksum for all that a folder has."""
    return hashlib.sha256(repr(sorted(files_of(folder).items())).encode()).hexdigest()


def test_a_kill_loses_nothing(paths, extras, tmp_path):
    """Killed at any step, archiving leaves the study, a sound archive or both; restoring leaves all of it or nothing.

    The next command removes what is left over, and succeeds.
    """
    results, target, whole = paths.results, archive_of(paths.results, "digits"), digest(paths.folder)
    saved = tmp_path / "saved"
    shutil.copytree(results, saved)

    def put():
        done = complete_archive(target, paths) if target.exists() else archive_study(paths, target, extras)
        remove_study(paths, unchanged=done.has_all_of)

    def anew(step, function):
        shutil.rmtree(results)
        shutil.copytree(saved, results)
        return run_and_kill(function, step)

    def check():
        there = existing_studies(results) == ["digits"]
        assert not there or digest(paths.folder) == whole
        if target.exists():
            read_archive(target)
        assert there or target.exists()

    for step in steps_to_kill(lambda step: anew(step, put), 6):
        assert anew(step, put)
        check()
        clear_leftovers(results)
        clear_leftovers(target.parent)
        assert not [path for path in results.rglob(".*-*") if path.name.startswith((".rem", ".arch"))]
        if existing_studies(results):
            put()
        check()
    shutil.rmtree(saved)
    shutil.copytree(results, saved)

    def get():
        restore_study(target, results)

    for step in steps_to_kill(lambda step: anew(step, get), 6):
        assert anew(step, get)
        check()
        if not existing_studies(results):
            get()
        clear_leftovers(results)
        assert digest(paths.folder) == whole
        assert not list(results.glob(".restoring-*"))
