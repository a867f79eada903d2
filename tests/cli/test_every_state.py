"""Every verb that reads, on a study in every state and in every form: an answer, never a traceback."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from helpers.study_states import EVERY_STATE
from helpers.written import Written
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.cli.ui import watch
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.events import Artifact
from cnn_sweep.report.live import line, moment
from cnn_sweep.store import reader
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study

TABLES = (
    ("status",),
    ("status", "digits"),
    ("leaderboard", "digits"),
    ("leaderboard", "digits", "--all"),
    ("leaderboard", "digits", "--diff", "--per", "trial"),
    ("leaderboard", "digits", "--per", "configuration"),
    ("leaderboard", "digits", "--by", "filters"),
    ("leaderboard", "digits", "--columns", "trial,cause,message", "--sort", "-val_accuracy", "--top", "3"),
    ("leaderboard", "digits", "--where", "value > 0.5 and filters == 4"),
    ("show", "digits", "0"),
    ("show", "digits", "3"),
    ("importance", "digits"),
    ("sql", "SELECT * FROM leaderboard_digits"),
    ("logs", "digits"),
    ("logs", "digits", "0"),
)
FORMS = (
    ("status", "digits", "--json"),
    *(("leaderboard", "digits", "--format", form) for form in ("table", "csv", "json", "markdown", "latex", "html")),
    ("show", "digits", "0", "--json"),
    ("importance", "digits", "--format", "json"),
    ("importance", "digits", "--format", "csv"),
    ("methods", "digits"),
    ("methods", "digits", "--format", "bibtex"),
    ("sql", "SELECT * FROM trials", "--format", "json"),
    ("store", "check"),
)
# Those that say with exit code 2 why there is nothing to show: a trial that has not begun, too few complete ones.
MAY_REFUSE = {"show", "importance", "logs"}
CONTRACT = ["rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(params=EVERY_STATE)
def results(request, tmp_path):
    """A results folder with the study digits in one of its states."""
    folder = tmp_path / "results"
    folder.mkdir()
    EVERY_STATE[request.param](Written(folder))
    return folder


@pytest.fixture
def terminal(monkeypatch):
    """Let commands in this process believe that they write to a terminal of 80 columns."""
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "80")


def answer(results, words):
    """Type a command; return its output, and the message with which it ended."""
    done = CliRunner().invoke(app, [*words, "--results", str(results)])
    if isinstance(done.exception, CnnSweepError):
        assert done.exception.exit_code in {2, 3}
        return done.stdout, str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, (words, done.output)
    return done.stdout, ""


def test_every_verb_answers_on_a_terminal(results, terminal):
    """Each verb ends well or with one message, and no line is wider than the terminal."""
    for words in TABLES:
        shown, message = answer(results, words)
        assert words[0] in MAY_REFUSE or not message, (words, message)
        for text in ESCAPES.sub("", shown).splitlines():
            assert cell_len(text) <= 80, (words, text)
    study = Study.open(results, "digits")
    report, found = study.status(), moment(StoreReader(results), "digits", 2_000.0)
    Console(file=io.StringIO()).print(watch.page(report, found))
    assert line(report, found).startswith("digits: ")


def test_every_verb_answers_in_a_pipe(results):
    """Machine-readable output is complete in every state: JSON parses, and CSV has the documented columns."""
    for words in FORMS:
        shown, message = answer(results, words)
        assert words[0] in MAY_REFUSE or not message, (words, message)
        if "json" in words[-1] and not message:
            json.loads(shown)
        if words[-1] == "csv" and not message:
            rows = list(csv.reader(io.StringIO(shown)))
            assert {len(row) for row in rows} == {len(rows[0])}
            assert words[0] != "leaderboard" or [name for name in rows[0] if name in CONTRACT] == CONTRACT


@pytest.mark.parametrize(
    "words",
    [
        ("status", "digits"),
        ("leaderboard", "digits"),
        ("leaderboard", "digits", "other"),
        ("leaderboard", "digits", "--by", "filters"),
        ("show", "digits", "0"),
        ("importance", "digits"),
        ("logs", "digits", "0"),
        ("sql", "SELECT 1"),
        ("export", "digits", "--to", "csv", "out"),
        ("report", "digits", "--no-predictions", "--output", "page.html"),
    ],
    ids=" ".join,
)
def test_a_command_reads_one_copy_where_locks_are_dishonest(words, tmp_path, monkeypatch):
    """All that a command shows is of one moment."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    monkeypatch.chdir(tmp_path)
    written = Written(tmp_path)
    EVERY_STATE["repeats"](written)
    written.study("other", trials=3)
    copies = []
    fetch = reader.readable_file
    monkeypatch.setattr(reader, "readable_file", lambda *of: copies.append(of) or fetch(*of))
    answer(tmp_path, words)
    assert len(copies) == 1


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("nothing_begun", "digits: no trial has begun; `cnn-sweep resume digits` runs them"),
        ("running", "digits: no trial is complete yet: 2 waiting, 6 running"),
        ("pruned_only", "digits: no trial is complete yet: 8 pruned"),
        ("failures_only", "digits: all 4 trials that began failed (4 by exception); `cnn-sweep logs digits` and"),
    ],
)
def test_an_empty_leaderboard_says_why(state, reason, tmp_path):
    """Without a complete trial, standard error has the reason, in each format."""
    EVERY_STATE[state](Written(tmp_path))
    for form in ("table", "csv"):
        done = CliRunner().invoke(app, ["leaderboard", "digits", "--format", form, "--results", str(tmp_path)])
        assert reason in done.stderr


def test_scores_on_the_test_set_are_the_last_columns(tmp_path):
    """A study that is finalized has them in csv and json, for --columns, and in `show`; a sealed one has none."""
    EVERY_STATE["finalized"](Written(tmp_path))
    shown, _ = answer(tmp_path, ("leaderboard", "digits", "--format", "csv"))
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert list(rows[0])[-3:] == ["momentum", "test_accuracy", "test_loss"]
    assert {row["trial"] for row in rows if row["test_accuracy"] == "0.9"} == {"0", "1"}
    shown, _ = answer(tmp_path, ("leaderboard", "digits", "--columns", "trial,test_*", "--where", "trial < 1"))
    assert shown.split()[:3] == ["trial", "test_accuracy", "test_loss"]
    assert "test_accuracy    0.9" in answer(tmp_path, ("show", "digits", "0"))[0]
    EVERY_STATE["pruned"](Written(tmp_path / "sealed"))
    assert "test_" not in answer(tmp_path / "sealed", ("leaderboard", "digits", "--format", "csv"))[0]


def test_a_file_that_was_removed_is_not_shown_as_there(tmp_path):
    """Models of trials that are no longer among the best are removed, and `show` says so."""
    models = [Artifact(1_100.0 + trial, trial, 0, "model", f"models/{trial}.keras", 99, "ab" * 32) for trial in (0, 1)]
    Written(tmp_path).study(trials=2, more=models)
    (tmp_path / "digits" / "models" / "1.keras").write_bytes(b"a model")
    for trial, state in enumerate(("removed", "kept")):
        shown, _ = answer(tmp_path, ("show", "digits", str(trial)))
        assert re.search(rf"models/{trial}\.keras +99 +{state}\b", shown)
        assert Study.open(tmp_path, "digits").trial(trial)["artifacts"][0]["kept"] == (state == "kept")


def test_the_objective_has_a_column_before_the_first_epoch(tmp_path):
    """A script that sorts by the objective need not wait until a trial has begun."""
    EVERY_STATE["nothing_begun"](Written(tmp_path))
    shown, _ = answer(tmp_path, ("leaderboard", "digits", "--sort", "-val_accuracy", "--format", "csv"))
    assert "seconds,val_accuracy,spread" in shown


def test_several_studies_in_a_way_in_which_only_one_can_be_shown(tmp_path):
    """--pareto and --per configuration are refused for several studies, not passed over."""
    Written(tmp_path).study("first", trials=3).study("second", trials=3)
    for option in (("--pareto",), ("--per", "configuration")):
        _, message = answer(tmp_path, ("leaderboard", "first", "second", *option))
        assert message.startswith(f"{' '.join(option)} is for one study")


def test_a_misspelt_study_gives_the_closest_one(tmp_path):
    """Every command suggests a similar study for an unknown name; if there are no studies, it says where to look."""
    Written(tmp_path / "full").study("digits", trials=1)
    for words in (("status",), ("leaderboard",), ("show", "digit", "0"), ("resume",), ("cancel",), ("repeat",)):
        _, message = answer(tmp_path / "full", (words[0], "digit", *words[2:]))
        assert "no study 'digit' in" in message
        assert "(did you mean 'digits'?); studies there: digits" in message
    _, message = answer(tmp_path / "empty", ("leaderboard", "digits"))
    assert "; there are no studies there; `--results DIR` (in Python: results) names another folder" in message


def test_a_sweep_file_in_place_of_a_study_gives_the_name_in_it(tmp_path, monkeypatch):
    """Commands that read a study name the one whose file was given; a file that cannot be read gives no hint."""
    Written(tmp_path).study("digits", trials=1)
    monkeypatch.chdir(tmp_path)
    Path("first.yaml").write_text("# mine\nstudy: 'digits'  # here\n", encoding="utf-8")
    for command in ("status", "leaderboard", "resume"):
        _, message = answer(tmp_path, (command, "first.yaml"))
        assert "no study 'first.yaml' in" in message
        assert "(the study of that file is 'digits')" in message
    assert "(the" not in answer(tmp_path, ("status", "other.yaml"))[1]


def test_show_without_a_number_shows_the_best_trial(tmp_path):
    """Before any trial is complete, it says so."""
    Written(tmp_path).study("digits", trials=3)
    best = json.loads(answer(tmp_path, ("status", "digits", "--json"))[0])["best"]["trial"]
    assert answer(tmp_path, ("show", "digits"))[0].startswith(f"trial {best} of digits: complete")
    Written(tmp_path).study("begun", trials=2, states=("failed",))
    assert "study 'begun' has no complete trial yet" in answer(tmp_path, ("show", "begun"))[1]


def test_a_report_is_no_file_of_the_name_of_standard_output(tmp_path, monkeypatch):
    """`--output -` is refused before anything is predicted or drawn, and leaves no file."""
    Written(tmp_path).study("digits", trials=1)
    monkeypatch.chdir(tmp_path)
    _, message = answer(tmp_path, ("report", "digits", "--format", "markdown", "--output", "-"))
    assert "a report goes to a file, not to standard output" in message
    assert not Path("-").exists()


def test_status_without_studies_says_what_to_type(tmp_path):
    """Before the first run, the output explains how to begin."""
    shown, _ = answer(tmp_path, ("status",))
    assert (
        shown == f"no studies in {tmp_path}; `cnn-sweep run SWEEP.yaml` starts one, `--results DIR` looks elsewhere\n"
    )
