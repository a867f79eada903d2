from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.kills import run_and_kill

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal import filesystem
from cnn_sweep.journal.filesystem import (
    Locks,
    Mount,
    aside_folder,
    aside_of,
    clear_asides,
    find_mount,
    judge,
    judge_mount,
    parse_mounts,
    write_aside,
    write_once,
)
from cnn_sweep.journal.identity import process_tag

_TABLE = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:50 / /home rw,relatime shared:5 - nfs4 server:/home rw,vers=4.2,local_lock=none
41 27 0:51 / /scratch\040two rw,relatime - lustre mds:/scratch rw,localflock
42 27 0:52 / /home/old rw - nfs server:/old rw,vers=3,nolock,local_lock=all
43 27 0:53 / /home/old rw - fuse.sshfs host: rw
""".lstrip()


def _mount(fstype, options=""):
    return Mount(Path("/x"), fstype, frozenset(options.split(",")))


@pytest.mark.parametrize(
    ("fstype", "options", "honest"),
    [
        ("ext4", "rw", True),
        ("xfs", "rw", True),
        ("tmpfs", "rw", True),
        ("overlay", "rw", True),
        ("nfs4", "rw,vers=4.2,local_lock=none", True),
        ("nfs", "rw,vers=3,local_lock=none", True),
        ("nfs", "rw,nolock,local_lock=all", False),
        ("nfs", "rw,local_lock=posix", False),
        ("nfs", "rw,local_lock=flock", False),
        ("lustre", "rw,flock", True),
        ("lustre", "rw,localflock", False),
        ("lustre", "rw", False),
        ("gpfs", "rw", True),
        ("beegfs", "rw", False),
        ("fuse", "rw", False),
        ("fuse.sshfs", "rw", False),
        ("9p", "rw", False),
        ("cifs", "rw", False),
        ("unknown", "", False),
    ],
)
def test_what_is_mounted_and_how_decides(fstype, options, honest):
    """Known honest mounts are believed; options that make locks local and unknown types are not."""
    locks = judge_mount(_mount(fstype, options))
    assert locks.honest is honest
    assert locks.fstype == fstype
    assert fstype in locks.reason


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        ("/srv/results", "ext4"),
        ("/home/me/results", "nfs4"),
        ("/homestead", "ext4"),
        ("/scratch two/results", "lustre"),
        ("/home/old/x", "fuse.sshfs"),
    ],
)
def test_the_mount_of_a_path_is_the_nearest_above_it(path, fstype):
    """The longest mount point wins, the last mounted of two; spaces in names are understood."""
    assert find_mount(Path(path), parse_mounts(_TABLE)).fstype == fstype


def test_two_processes_do_not_get_one_lock_on_a_local_disk(tmp_path):
    """The probe finds that this machine's own locks exclude, and leaves nothing behind."""
    assert filesystem._locks_exclude(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_locks_that_are_granted_twice_are_found_out(tmp_path, monkeypatch):
    """If a second process gets the lock as well, locking is unreliable, whatever the type of the mount."""
    monkeypatch.setattr(filesystem, "mount_of", lambda results: _mount("ext4"))
    monkeypatch.setattr(filesystem.fcntl, "lockf", lambda *_: None)
    assert judge(tmp_path) == Locks(False, "ext4: two processes got one lock", "ext4")


def test_the_judgement_is_kept_for_all_machines(tmp_path, monkeypatch):
    """The probe runs once for a results folder."""
    monkeypatch.setattr(filesystem, "mount_of", lambda results: _mount("ext4"))
    assert judge(tmp_path).honest
    monkeypatch.setattr(filesystem, "_locks_exclude", lambda results: pytest.fail("probed twice"))
    assert judge(tmp_path).honest


def test_one_machine_that_mistrusts_makes_all_mistrust(tmp_path, monkeypatch):
    """A node with a bad mount overrules the login node's verdict, permanently and for all machines."""
    monkeypatch.setattr(filesystem, "mount_of", lambda results: _mount("nfs4"))
    assert judge(tmp_path).honest
    monkeypatch.setattr(filesystem, "mount_of", lambda results: _mount("nfs", "nolock"))
    assert not judge(tmp_path).honest
    monkeypatch.setattr(filesystem, "mount_of", lambda results: _mount("nfs4"))
    assert not judge(tmp_path).honest
    assert (
        json.loads((tmp_path / filesystem.CACHE_NAME).read_text(encoding="utf-8"))["reason"]
        == "nfs: mounted with nolock"
    )


def test_a_damaged_judgement_is_made_again(tmp_path):
    """Nonsense in the kept judgement is no error."""
    (tmp_path / filesystem.CACHE_NAME).write_text("{nonsense", encoding="utf-8")
    assert isinstance(judge(tmp_path).honest, bool)


@pytest.mark.parametrize("word", ["honest", "dishonest"])
def test_the_user_knows_better(tmp_path, monkeypatch, word):
    """CNN_SWEEP_LOCKS overrules what is mounted, and is not kept."""
    monkeypatch.setenv(filesystem.OVERRIDE, word)
    assert judge(tmp_path).honest is (word == "honest")
    assert list(tmp_path.iterdir()) == []


def test_a_word_that_is_neither_is_refused(tmp_path, monkeypatch):
    """An invalid value of CNN_SWEEP_LOCKS is an error, not a guess."""
    monkeypatch.setenv(filesystem.OVERRIDE, "yes")
    with pytest.raises(EnvironmentFault, match="CNN_SWEEP_LOCKS=yes: choose honest or dishonest"):
        judge(tmp_path)


@pytest.mark.parametrize("write", [write_aside, write_once])
def test_what_a_killed_process_was_writing_is_removed(tmp_path, write):
    """Killed at any step, a writer leaves the file whole or not at all, and the next process removes the rest."""
    file, step = tmp_path / "meta.json", 1
    while run_and_kill(lambda: write(file, b"new"), step):
        assert file.exists() is False or file.read_bytes() == b"new"
        clear_asides(tmp_path)
        assert list(tmp_path.iterdir()) in ([], [file])
        file.unlink(missing_ok=True)
        step += 1
    assert step > 3


def test_what_a_living_or_unknown_process_writes_stays(tmp_path):
    """Files and folders of this process, another container, another machine, and with names of another kind."""
    host, pid, _, boot, namespace, _ = process_tag().rsplit("-", 5)
    unknown = [f"n9-{pid}-1-{boot}-{namespace}-ab", f"{host}-{pid}-1-{boot}-77-ab"]
    kept = [tmp_path / f".m.aside-{tag}" for tag in unknown] + [tmp_path / ".m.0123abcd", tmp_path / "m.aside-x"]
    gone = [tmp_path / f".m.aside-{host}-{pid}-1-{boot}-{namespace}-ab{suffix}" for suffix in ("", ".keras")]
    for path in (*kept, *gone):
        path.touch()
    gone[0].unlink()
    (gone[0] / "study").mkdir(parents=True)
    with aside_folder(tmp_path / "study") as folder:
        (own := aside_of(folder / "m", ".keras")).touch()
        clear_asides(folder)
        clear_asides(tmp_path)
        assert own.exists()
        assert sorted(tmp_path.iterdir()) == sorted([*kept, folder])
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    clear_asides(tmp_path / "missing")


def test_a_write_that_fails_leaves_nothing(tmp_path):
    """The disk was full, or the name is taken by a folder."""
    (tmp_path / "m").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write_aside(tmp_path / "m", b"x")
    with pytest.raises(TypeError):
        write_once(tmp_path / "n", "no bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
