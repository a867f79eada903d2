"""``list``, ``rename``, ``archive``, ``unarchive`` and ``delete``, on studies in every state."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import pytest
from helpers.study_states import EVERY_STATE
from helpers.written import Written
from rich.cells import cell_len
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.paths import StudyPaths, archive_of, existing_studies
from cnn_sweep.store.merge import merge
from cnn_sweep.store.queries import list_studies
from cnn_sweep.store.reader import StoreReader

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
# What `list` says of each state of tests/helpers/study_states.py.
STATES = {
    "nothing_begun": "waiting",
    "running": "running",
    "first_epoch": "running",
    "under_way": "running",
    "failures_only": "failed",
    "pruned": "finished",
    "pruned_only": "finished",
    "one_trial": "finished",
    "repeats": "finished",
    "repeats_under_way": "running",
    "several_objectives": "finished",
    "finalized": "finished",
    "extended": "interrupted",
    "cancelled": "cancelled",
    "imported": "waiting",
    "with_budget": "running",
    "renamed_folder": "finished",
    "not_finite": "running",
    "lists_and_null": "finished",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder with a study in every state, named like the state."""
    results = tmp_path_factory.mktemp("states")
    for name, state in EVERY_STATE.items():
        alone = results / f".{name}"
        alone.mkdir()
        state(Written(alone))
        (alone / "digits").rename(results / name)
    merge(results, wait_s=20)
    return results


@pytest.fixture
def results(tmp_path):
    """A results folder with a finished study, and one on which nobody can tell whether anybody works."""
    Written(tmp_path).study(trials=4).study("busy", trials=4, states=("running",))
    return tmp_path


def answer(results, *words, typed=None):
    """Type a command; return what it prints and the message with which it ended; ``typed`` is the user's input."""
    done = CliRunner().invoke(app, [*words, "--results", str(results)], input=typed)
    if isinstance(done.exception, CnnSweepError):
        assert done.exception.exit_code in {2, 3}
        return done.output, str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, (words, done.output)
    return done.output, ""


@pytest.fixture
def somebody(monkeypatch):
    """Let commands believe that somebody can be asked."""
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True)


def table(results, *words):
    """Return the rows of the list."""
    return list(csv.DictReader(io.StringIO(answer(results, "list", "--format", "csv", *words)[0])))


def test_every_state_has_a_word(made):
    """The list has all studies with state, counts, best value, time and size."""
    rows = {row["study"]: row for row in table(made)}
    assert {name: row["state"] for name, row in rows.items()} == STATES
    assert set(STATES) == set(EVERY_STATE)
    finalized = rows["finalized"]
    assert (finalized["done"], finalized["planned"], finalized["metric"]) == ("8", "8", "val_accuracy")
    assert 0.5 < float(finalized["best"]) < 1
    assert float(finalized["last_event"]) == 2_000.0
    assert 9_000 < int(finalized["bytes"]) < 12_000
    assert rows["failures_only"]["best"] == ""


def test_the_newest_activity_is_first(made):
    """Studies are in the order of their last events, in all formats."""
    times = [float(row["last_event"]) for row in table(made)]
    assert times == sorted(times, reverse=True)
    assert [row["last_event"] for row in json.loads(answer(made, "list", "--format", "json")[0])] == times


def test_the_best_value_follows_the_direction(tmp_path):
    """The best loss is the smallest one."""
    Written(tmp_path).study("loss", trials=5, metric="val_loss", direction="minimize").study("accuracy", trials=5)
    for row in table(tmp_path):
        (best,) = csv.DictReader(
            io.StringIO(answer(tmp_path, "leaderboard", row["study"], "--top", "1", "--format", "csv")[0])
        )
        assert float(row["best"]) == float(best["value"])


def test_the_list_fits_on_a_terminal(made, monkeypatch, somebody):
    """No line is wider than 80 columns; times and sizes are as people read them."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    shown = ESCAPES.sub("", answer(made, "list")[0])
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert "1970-01-01 00:33" in shown
    assert "kB" in shown
    assert "kB" not in answer(made, "list", "--no-size")[0]


def test_a_folder_without_studies_says_what_to_do(tmp_path):
    """People get a sentence, programs an empty table."""
    for folder in (tmp_path, tmp_path / "missing"):
        assert "`cnn-sweep run SWEEP.yaml` starts one" in answer(folder, "list", "--archived")[0]
        assert answer(folder, "list", "--format", "json")[0] == "[]\n"
        assert answer(folder, "list", "--format", "csv", "--no-size")[0].startswith("study,state,done,planned,")


def test_a_renamed_study_leaves_nothing_under_its_old_name(results):
    """Folder, store and views have the new name; the user is told what to change in the sweep file."""
    before = answer(results, "leaderboard", "digits", "--format", "csv")[0]
    shown, _ = answer(results, "rename", "digits", "7.new")
    assert shown == "digits is now 7.new\nto run or extend it with sweep.yaml, write `study: 7.new` there\n"
    assert existing_studies(results) == list_studies(StoreReader(results)) == ["7.new", "busy"]
    assert answer(results, "leaderboard", "7.new", "--format", "csv")[0] == before
    assert "no study 'digits'" in answer(results, "status", "digits")[1]
    assert answer(results, "sql", 'SELECT count(*) AS n FROM "leaderboard_7.new"', "--format", "csv")[0] == "n\n4\n"
    assert answer(results, "store", "check")[0].endswith("sound\n")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("rename", "digits", "busy"), "already a study 'busy'"),
        (("rename", "digits", "Busy"), "in case only"),
        (("rename", "digits", "old"), "archive of that name"),
        (("rename", "digits", "a b"), "cannot name a study; it must be 1 to 64 of the letters a-z and A-Z, digits"),
        (("rename", "digits", "käfer"), "Try 'kaefer'"),
        (("rename", "digits", "archive"), "not 'sweeps.db' or 'archive'"),
        (("rename", "digts", "new"), "did you mean 'digits'"),
        (("rename", "busy", "new"), "--force"),
        (("delete", "digits", "busy", "--yes"), "may be running"),
        (("delete", "digits", "digts", "--yes"), "did you mean 'digits'"),
        (("delete", "digits"), "without --yes"),
        (("archive", "busy"), "may be running"),
        (("archive", "digts"), "did you mean 'digits'"),
        (("archive", "digits", "--to", "digits.zip"), "ends with .tar.gz or .tgz"),
        (("unarchive", "odl"), "did you mean 'old'"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_refused(words, reason, results, monkeypatch):
    """Mistakes get one message with exit code 2, and nothing changes."""
    archive_of(results, "old").parent.mkdir()
    archive_of(results, "old").write_bytes(b"nothing")
    monkeypatch.chdir(results)
    before = sorted(results.rglob("*"))
    done = CliRunner().invoke(app, [*words, "--results", str(results)])
    assert isinstance(done.exception, CnnSweepError)
    assert done.exception.exit_code == 2
    assert reason in str(done.exception)
    assert sorted(results.rglob("*")) == before


def test_what_is_no_archive_is_found_with_the_code_of_checks(results):
    """Garbage and a damaged archive end alike, as for `store check`."""
    archive_of(results, "old").parent.mkdir()
    archive_of(results, "old").write_bytes(b"nothing")
    for words in (["old"], ["old", "--check"]):
        done = CliRunner().invoke(app, ["unarchive", *words, "--results", str(results)])
        assert isinstance(done.exception, CnnSweepError)
        assert (done.exception.exit_code, "no archive of a study" in str(done.exception)) == (3, True)


def test_deleting_asks_and_says_what_goes(results, somebody):
    """After no, everything is there; after yes, the folder, the rows and the views are gone."""
    StudyPaths(results, "digits").model(0).write_bytes(b"model")
    shown, message = answer(results, "delete", "digits", typed="n\n")
    assert "digits (trials: 4 complete, 1 model, " in shown
    assert message == "nothing was deleted"
    assert answer(results, "delete", "digits", typed="y\n")[0].endswith("digits is deleted\n")
    assert existing_studies(results) == list_studies(StoreReader(results)) == ["busy"]
    answer(results, "delete", "busy", "--force", "--yes")
    assert list_studies(StoreReader(results)) == []
    assert "leaderboard_" not in answer(results, "sql", "SELECT name FROM sqlite_master", "--format", "csv")[0]


def test_what_is_left_of_a_study_can_be_deleted(results):
    """Without its sweep file and with an unreadable store, a study still goes."""
    StudyPaths(results, "digits").sweep.unlink()
    (results / "sweeps.db").write_bytes(b"damaged")
    assert "digits is deleted" in answer(results, "delete", "digits", "--yes")[0]


def test_studies_in_every_state_can_be_renamed_and_archived(made, tmp_path):
    """Leaderboards and lists are the same after each study was renamed, archived, removed and restored."""
    results = tmp_path / "results"
    shutil.copytree(made, results)
    before = table(results)
    boards = {name: board(results, name) for name in EVERY_STATE}
    for name in EVERY_STATE:
        answer(results, "rename", name, f"new.{name}", "--force")
        shown, _ = answer(results, "archive", f"new.{name}", "--force")
        assert f"`cnn-sweep unarchive new.{name}` restores it" in shown
    assert existing_studies(results) == list_studies(StoreReader(results)) == []
    for row, was in zip(table(results, "--archived"), before, strict=True):
        assert row["state"] == "archived"
        same = ("done", "planned", "metric", "best", "last_event")
        assert [row[name] for name in same] == [was[name] for name in same]
    for name in EVERY_STATE:
        answer(results, "unarchive", f"new.{name}")
    after = table(results)
    assert [row | {"study": row["study"].removeprefix("new.")} for row in after] == before
    assert {name: board(results, f"new.{name}") for name in EVERY_STATE} == boards
    assert answer(results, "store", "check")[0].endswith("sound\n")


def board(results, name):
    """Return a study's leaderboard, without the sentences on standard error."""
    return CliRunner().invoke(app, ["leaderboard", name, "--format", "csv", "--results", str(results)]).stdout


def test_an_archive_can_be_written_elsewhere_and_kept(results, tmp_path_factory):
    """--to names a file or a folder, --keep leaves the study, and a second archive replaces the first on request."""
    backup = tmp_path_factory.mktemp("backup")
    answer(results, "archive", "digits", "--keep", "--to", str(backup))
    file = backup / "digits.tar.gz"
    assert existing_studies(results) == ["busy", "digits"]
    assert "already a study 'digits'" in answer(results, "unarchive", str(file))[1]
    StudyPaths(results, "digits").note.write_text("new", encoding="utf-8")
    again = ("archive", "digits", "--to", str(file))
    assert "is of another state of digits; --replace replaces it" in answer(results, *again)[1]
    shown, _ = answer(results, *again, "--replace")
    assert f"`cnn-sweep unarchive {file}` restores it" in shown.replace("\n", "")
    assert existing_studies(results) == ["busy"]
    answer(results, "unarchive", str(file))
    assert StudyPaths(results, "digits").read_note() == "new"
    answer(results, *again)  # as after a kill between writing and removing
    assert existing_studies(results) == ["busy"]


def test_an_archive_in_the_studys_own_folder_is_refused(results):
    """It would be removed with the study."""
    to = results / "digits" / "digits.tar.gz"
    assert "the study's own folder" in answer(results, "archive", "digits", "--to", str(to))[1]


def test_a_damaged_archive_is_listed_as_such(results):
    """The list shows it with a warning; the other rows are there."""
    answer(results, "archive", "digits")
    archive_of(results, "odd").write_bytes(b"nothing")
    done = CliRunner().invoke(app, ["list", "--archived", "--format", "csv", "--results", str(results)])
    states = {row["study"]: row["state"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert states == {"busy": "running", "digits": "archived", "odd": "unreadable"}
    assert "odd.tar.gz is no archive of a study" in done.stderr
