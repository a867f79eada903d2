"""Two unix users and a group: whose code runs in whose name, what a declaration shares, and what stays one's own."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from helpers.users import GROUP, User
from helpers.written import Written

from cnn_sweep.journal.sharing import NAME


def _are_there():
    try:
        return os.geteuid() == 0 and bool(pwd.getpwnam("alice") and pwd.getpwnam("bob"))
    except KeyError:
        return False


pytestmark = pytest.mark.skipif(
    not _are_there(), reason="needs root, and the users alice and bob: SLURM_USERS='alice bob' make cluster-up"
)
RUNS_CODE = (
    ("run", "digits.yaml"),
    ("submit", "digits.yaml", "--profile", "cpu.toml"),
    ("resume", "digits"),
    ("resume", "digits", "--profile", "cpu.toml"),
    ("finalize", "digits", "--yes"),
    ("confusion", "digits"),
    ("misclassified", "digits"),
    ("predict", "digits", "image.png"),
    ("activations", "digits", "image.png", "--layer", "1", "--output", "maps.png"),
    ("model", "digits", "--output", "best.keras"),
)
READS = (
    ("status",),
    ("status", "digits"),
    ("list",),
    ("leaderboard", "digits"),
    ("show", "digits", "0"),
    ("logs", "digits"),
    ("importance", "digits"),
    ("sql", "SELECT count(*) FROM trials"),
    ("export", "digits", "--to", "csv", "tables"),
    ("report", "digits", "--no-predictions", "--output", "digits.html"),
    ("share",),
    ("efficiency", "digits"),
)
CHANGES = (
    ("cancel", "digits"),
    ("repeat", "digits", "--top", "1", "--repeats", "2"),
    ("rename", "digits", "other"),
    ("archive", "digits"),
    ("archive", "digits", "--keep", "--to", "mine.tar.gz"),
    ("delete", "digits", "--yes"),
    ("unarchive", "old"),
    ("share", "--group", GROUP),
    ("share", "--private"),
    ("store", "merge"),
    ("store", "rebuild"),
)
PLANTED = "open('{marker}', 'w')\ndef build(shape, classes):\n    pass\n"


@pytest.fixture
def place():
    """A folder that other users can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def alice(place):
    """A user with a study of three trials."""
    user = User("alice", place / "alice")
    user.folder.mkdir()
    results = user.folder / "results"
    results.mkdir()
    Written(results).study(trials=3)
    user.gets(user.folder)
    return user


@pytest.fixture
def bob(place):
    """Another user, of the same group."""
    user = User("bob", place / "bob")
    user.folder.mkdir()
    user.gets(user.folder)
    return user


@pytest.fixture
def results(alice):
    """The results folder of alice, private."""
    return alice.folder / "results"


@pytest.fixture
def shared(alice, results):
    """The same, shared by declaration."""
    alice.types_one("share", results, "--group", GROUP)
    return results


def open_to_all(folder):
    """Let everybody read a folder."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def plant(study, marker):
    """Put a module into a study, whose import would leave a mark, as the user whose study it is."""
    owner = study.stat()
    (study / "code").mkdir()
    (study / "code" / "mine.py").write_text(PLANTED.format(marker=marker), encoding="utf-8")
    text = (study / "sweep.yaml").read_text(encoding="utf-8")
    (study / "sweep.yaml").write_text(re.sub(r"model:\n(  .*\n)+", "model: {build: 'mine:build'}\n", text), "utf-8")
    for path in (study / "code", *study.rglob("*.py")):
        os.chown(path, owner.st_uid, owner.st_gid)


def snapshot(folder):
    """Return the content and mode of everything in a folder, without what the lock of the store leaves."""
    return {
        path: (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
        if path.name != ".sweeps.lock"
    }


def test_code_of_another_user_is_refused_and_reading_runs_none(alice, bob, results, place):
    """Each command that would run code says whose it is and what to do; those that read go on, and write nothing."""
    marker = place / "marker"
    plant(results / "digits", marker)
    open_to_all(results)
    place.chmod(0o777 | stat.S_ISVTX)
    shutil.copy(results / "digits" / "sweep.yaml", bob.folder / "digits.yaml")
    before = snapshot(results)
    for words, done in zip(RUNS_CODE, bob.types(*((*w, "--results", results) for w in RUNS_CODE)), strict=True):
        assert done.returncode in {2, 3}, (words, done)
        assert "Traceback" not in done.stderr, (words, done)
        assert "belongs to alice (mode 0755), so code of others could run in your name" in done.stderr, (words, done)
        assert "  - if you trust all who can write there with your account: --trust" in done.stderr
    for words, done in zip(READS, bob.types(*((*w, "--results", results) for w in READS)), strict=True):
        assert done.returncode == 0 or (words[0] in {"logs", "importance"} and done.returncode == 2), (words, done)
        assert "Traceback" not in done.stderr, (words, done)
    assert not marker.exists()
    assert snapshot(results) == before


CHECKS = """
import os
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.trust import check_study
results, cases = data
def told(folder, mode, trust):
    path = Path(results, folder).resolve()
    before = path.stat().st_mode & 0o7777
    os.environ["CNN_SWEEP_TRUST"] = trust
    if mode is not None:
        path.chmod(mode)
    try:
        check_study(StudyPaths(Path(results), "digits"))
    except CnnSweepError as error:
        return str(error)
    finally:
        if mode is not None:
            path.chmod(before)
    return ""
print(json.dumps([told(*case) for case in cases]))
"""


def checked(user, results, *cases):
    """Check a study as a user, each time after a folder got a mode; return the messages, and what went to stderr."""
    done = user.runs(CHECKS, [str(results), cases])
    return json.loads(done.stdout), done.stderr


def test_who_can_write_can_run_code(alice, results):
    """A user's own study is refused where others can write it, or everybody can rename a folder above it."""
    gid = grp.getgrnam(GROUP).gr_gid
    for path in (alice.folder, results, results / "digits", results / "digits" / "slurm"):
        os.chown(path, alice.uid, gid)
    cases = {
        (".", 0o777): r"results can be written by everybody \(mode 0777\)",
        ("digits", 0o702): r"digits can be written by everybody",
        ("digits/slurm", 0o770): rf"slurm can be written by the group {GROUP} \(mode 0770\)",
        (
            ".",
            0o770,
        ): rf"the group {GROUP}(.*\n)*  - `chmod go-w \S+results` keeps(.*\n)*.*share \S+results --group {GROUP}",
        (".", 0o1770): "results can be written by the group",
        ("..", 0o775): "",
        ("..", 0o777): r"alice can be written by everybody",
        ("..", 0o1777): "",
        (".", 0o755): "",
    }
    messages, _ = checked(alice, results, *((folder, mode, "") for folder, mode in cases))
    for (case, wanted), message in zip(cases.items(), messages, strict=True):
        assert re.search(wanted or "^$", message), (case, message)


def test_the_group_of_one_user_is_nobody_else(alice, results):
    """Where each user has a group of their own, umask 002 is usual, and harmless; a list of others is not."""
    assert checked(alice, results, (".", 0o775, "")) == ([""], "")
    subprocess.run(["setfacl", "-m", "u:bob:rwx", str(results)], check=True)
    (message,), _ = checked(alice, results, (".", None, ""))
    assert "can be written by bob by an access control list, see `getfacl`" in message


def test_trust_is_said_loudly_or_for_a_folder(bob, results):
    """--trust tells what it lets pass; the variable holds for what is below its folders, and names whole paths."""
    open_to_all(results)
    below = [(".", None, trust) for trust in (f"/nowhere:{results.parent}", "/nowhere", "results")]
    (let_pass, elsewhere, relative), nothing = checked(bob, results, *below)
    assert (let_pass, nothing) == ("", "")
    assert f"export CNN_SWEEP_TRUST={results}" in elsewhere
    assert relative == "CNN_SWEEP_TRUST=results: name the whole path of a folder, beginning with /"
    shown = bob.types_one("resume", "digitz", "--trust", "--results", results, code=2)
    assert f"{results} belongs to alice (mode 0755); trusted, as you said" in shown


def test_code_and_profiles_beside_a_sweep_file_count(alice, bob, place):
    """A module beside a sweep file, and a profile, run in the name of whoever uses them."""
    desk = bob.folder / "desk"
    desk.mkdir()
    (desk / "mine.py").write_text(PLANTED.format(marker=place / "marker"), encoding="utf-8")
    text = "study: new\ndata: {source: digits}\nmodel: {build: 'mine:build'}\ntraining: {epochs: 1}\n"
    (desk / "new.yaml").write_text(text, encoding="utf-8")
    (desk / "cpu.toml").write_text("time_limit = 10\n", encoding="utf-8")
    shutil.copy(alice.folder / "results" / "digits" / "sweep.yaml", alice.folder / "plain.yaml")
    bob.gets(desk)
    run, submit = alice.types(("run", desk / "new.yaml"), ("submit", "plain.yaml", "--profile", desk / "cpu.toml"))
    assert f"{desk} belongs to bob" in run.stderr
    assert f"{desk / 'cpu.toml'} belongs to bob" in submit.stderr
    assert (run.returncode, submit.returncode, list(alice.folder.glob("results/new"))) == (3, 3, [])
    profile = alice.folder / "own.toml"
    profile.write_text("time_limit = 10\n", encoding="utf-8")
    os.chown(profile, alice.uid, grp.getgrnam(GROUP).gr_gid)
    profile.chmod(0o664)
    (own,) = alice.types(("submit", "plain.yaml", "--profile", profile))
    assert f"own.toml can be written by the group {GROUP} (mode 0664), who could run code in your name" in own.stderr
    assert "code of others" not in own.stderr


def test_members_train_one_study_whatever_their_umask(alice, bob, shared):
    """Each continues what the other began, reads all of it, and the tables say whose trial it is."""
    sweep = bob.folder / "shared.yaml"
    text = (shared / "digits" / "sweep.yaml").read_text(encoding="utf-8")
    text = text.replace("study: digits", "study: together").replace("epochs: 3", "epochs: 1")
    text = re.sub(r"space:\n(  .*\n)+", "space: {filters: [4]}\n", text).replace("$optimizer", "sgd")
    text = text.replace("learning_rate: $learning_rate, momentum: $momentum", "learning_rate: 0.1")
    sweep.write_text(text, encoding="utf-8")
    bob.types_one("run", sweep, "--workers", 1, "--results", shared, umask=0o077)
    words = ("repeat", "together", "--top", 1, "--repeats", 2, "--results", shared)
    repeat, resume = alice.types(words, ("resume", "together", "--workers", 1, "--results", shared), umask=0o022)
    assert (repeat.returncode, resume.returncode) == (0, 0), (repeat, resume)
    board = ("leaderboard", "together", "--per", "trial", "--columns", "trial,user", "--format", "csv")
    shown, status, trial = bob.types(
        (*board, "--results", shared),
        ("status", "together", "--results", shared),
        ("show", "together", 1, "--results", shared),
    )
    assert sorted(shown.stdout.split()[1:]) == ["0,bob", "1,alice"]
    assert "users: 1 trial by alice, 1 trial by bob" in status.stdout
    assert ", by alice" in trial.stdout
    assert not any("last merge" in done.stderr for done in (shown, status, trial))
    gid = grp.getgrnam(GROUP).gr_gid
    for path in (shared, *shared.rglob("*")):
        info = path.stat()
        wanted = 0o770 if path.is_dir() else 0o040
        assert (info.st_gid, info.st_mode & wanted, info.st_mode & 0o007) == (gid, wanted, 0), (path, oct(info.st_mode))


def test_nobody_removes_or_renames_the_study_of_another(alice, bob, shared):
    """The program refuses, and so does the file system; a journal is changed by its writer alone."""
    verbs = (("delete", "digits", "--yes"), ("rename", "digits", "mine"), ("archive", "digits"), ("share", "--private"))
    for done in bob.types(*((*words, "--results", shared) for words in verbs)):
        assert done.returncode == 2, done
        assert "belongs to alice, who alone can" in done.stderr
    program = """
journal = data + "/journal/w.jsonl"
for what in ((os.rename, data, data + "x"), (os.remove, journal), (open, journal, "a")):
    try:
        what[0](*what[1:])
    except PermissionError:
        print("refused")
"""
    assert bob.runs(program, str(shared / "digits")).stdout.split() == ["refused"] * 3
    bob.types_one("cancel", "digits", "--results", shared)  # which leaves a journal of bob's in it
    assert any(path.owner() == "bob" for path in shared.rglob("*.jsonl"))
    assert "is deleted" in alice.types_one("delete", "digits", "--yes", "--force", "--results", shared)
    assert not (shared / "digits").exists()


KILLED = """
import sqlite3
store = sqlite3.connect(data, isolation_level=None)
store.execute("PRAGMA journal_mode=TRUNCATE")
store.execute("PRAGMA cache_size=1")
store.execute("BEGIN EXCLUSIVE")
store.execute("UPDATE studies SET metric = 'lost'")
store.execute("CREATE TABLE large (i)")
store.executemany("INSERT INTO large VALUES (?)", ((i,) for i in range(50_000)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_merge_that_was_killed_is_rolled_back_by_another_user(alice, bob, shared):
    """In a folder where nobody may remove another's files, the rollback journal is emptied instead."""
    bob.types_one("store", "merge", "--results", shared)
    alice.runs(KILLED, str(shared / "sweeps.db"), umask=0o007, code=-9)
    assert (shared / "sweeps.db-journal").stat().st_size
    shown = bob.types_one("leaderboard", "digits", "--results", shared)
    assert "val_accuracy" in shown
    assert "last merge" not in shown


def test_members_merge_where_the_store_is_replaced(alice, bob, results):
    """Where locks are unreliable, a merge renames: the folder is shared without the sticky bit, which is said."""
    unreliable = {"CNN_SWEEP_LOCKS": "dishonest"}
    shown = alice.types_one("share", results, "--group", GROUP, **unreliable)
    assert "members could rename or remove each other's studies" in shown
    for user, name in ((bob, "first"), (alice, "second")):
        user.runs(
            "from helpers.written import Written\nWritten(Path(data[0])).study(data[1], trials=1)",
            [str(results), name],
            umask=0o077,
            **unreliable,
        )
    shown = bob.types_one("list", "--results", results, **unreliable)
    assert "second" in shown
    assert "last merge" not in shown
    done = bob.types_one("rename", "digits", "mine", "--results", results, code=2, **unreliable)
    assert "belongs to alice" in done


def test_who_may_declare(alice, bob, results, shared):
    """Only the owner shares a folder, with a group of theirs that exists; a forged declaration counts for nothing."""
    refused = alice.types(
        ("share", results, "--group", "nobody-here"), ("share", results, "--group", "root"), ("share", results / "none")
    )
    told = ("there is no such group", "you are no member of it; your groups: alice, users", "is not a folder")
    assert [done.returncode for done in refused] == [2, 2, 2]
    for done, words in zip(refused, told, strict=True):
        assert words in done.stderr
    assert f"is shared with the group {GROUP} by alice since" in bob.types_one("share", shared)
    (shared / NAME).rename(shared / "moved")
    shutil.copy(shared / "moved", shared / NAME)
    os.chown(shared / NAME, bob.uid, -1)
    assert "is not shared by declaration" in bob.types_one("share", shared)
    assert "can be written by the group" in alice.types_one("resume", "digits", "--results", shared, code=3)


def test_files_of_others_are_left_and_named(alice, bob, shared):
    """Whoever declares or withdraws is told whose files stayed as they were; the owner then does the same."""
    (shared / "digits" / "models" / "7.keras").write_bytes(b"")
    os.chown(shared / "digits" / "models" / "7.keras", bob.uid, bob.gid)
    shown = alice.types_one("share", shared, "--group", GROUP)
    assert f"1 file of bob not changed; `cnn-sweep share {shared} --group {GROUP}`, typed by bob, does so" in shown
    assert "1 file changed" in bob.types_one("share", shared, "--group", GROUP)
    assert "is private" in alice.types_one("share", shared, "--private")
    own = [path for path in (shared, *shared.rglob("*")) if path.owner() == "alice"]
    assert not any(path.stat().st_mode & (0o077 | stat.S_ISGID | stat.S_ISVTX) for path in own)
    assert not (shared / NAME).exists()


@pytest.mark.long  # what others may read and run is in the first test
@pytest.mark.parametrize(("mode", "umask"), [("readable", 0o022), ("shared", 0o077), ("archived", 0o077)])
def test_every_verb_of_another_user_answers(alice, bob, results, mode, umask):
    """In a folder that another user lets one read, shares or archived: no traceback, documented exit codes."""
    Written(results).study("old", trials=1)
    alice.gets(results)
    archived = [("archive", "old", "--results", results)]
    archived += [("archive", "digits", "--results", results)] if mode == "archived" else []
    assert [done.returncode for done in alice.types(*archived)] == [0] * len(archived)
    if mode == "shared":
        alice.types_one("share", results, "--group", GROUP)
    else:
        open_to_all(results)
    before = snapshot(results)
    verbs = [words for words in (*READS, *RUNS_CODE, *CHANGES) if mode != "shared" or words not in RUNS_CODE]
    for words, done in zip(verbs, bob.types(*((*w, "--results", results) for w in verbs), umask=umask), strict=True):
        assert done.returncode in {0, 2, 3}, (words, done)
        assert "Traceback" not in done.stderr, (words, done)
    if mode != "shared":
        assert snapshot(results) == before
