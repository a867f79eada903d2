"""Studies with lost, damaged and replaced files: a message that names the file, never a traceback or another result."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from zlib import crc32

import pytest
from helpers.planned_study import TEXT, lines_of, value_of, write_small_study
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal import sweep_files
from cnn_sweep.store.merge import merge
from cnn_sweep.study import Study
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.prepare import prepare


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a finished study, its sweep file, its data set and a merged store."""
    folder = tmp_path_factory.mktemp("whole")
    study = write_small_study(folder / "results", folder)
    prepare(study.sweep.data, study.sweep.folder, study.data_root)
    assert merge(folder / "results", wait_s=20).skipped is None
    return folder


@pytest.fixture
def here(whole, tmp_path, monkeypatch):
    """A copy of that folder, which is the current one."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    sweep_files._warn.cache_clear()
    return tmp_path


def typed(*words):
    """Type a command; return its exit code and everything that it says."""
    done = CliRunner().invoke(app, [*map(str, words), "--results", "results"])
    if isinstance(done.exception, CnnSweepError):
        return done.exception.exit_code, f"{done.output}\n{done.exception}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


VERBS = (
    ("status", "small"),
    ("leaderboard", "small"),
    ("show", "small", "1"),
    ("report", "small", "--no-predictions", "--format", "markdown"),
    ("export", "small", "tables", "--to", "csv"),
    ("store", "check"),
    ("run", "small.yaml", "--workers", "1"),
    ("resume", "small"),
    ("archive", "small", "--keep"),
    ("delete", "small", "--yes"),
)


def test_the_verbs_work_on_the_sound_study(here):
    """Each verb ends with 0, so that what is seen below comes from the damage."""
    for words in VERBS:
        code, said = typed(*words)
        assert code == 0, (words, said)


def _flipped(content, bit=0x80):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ bit]) + content[middle + 1 :]


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": lambda path: path.write_bytes(_flipped(path.read_bytes())),
    "other": lambda path: path.write_bytes(_flipped(path.read_bytes(), 0x01)),
    "garbage": lambda path: path.write_bytes(bytes(range(256))),
    "list": lambda path: path.write_bytes(b"[1, 2]"),
    "deep": lambda path: path.write_bytes(b"[" * 3_000 + b"]" * 3_000),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "unreadable": lambda path: (path.unlink(), path.symlink_to(path.name)),  # for root, too: it links to itself
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}
OWN = ("sweep.yaml", "provenance.json", "threads", "note.txt", "data.sha256")
IN_RESULTS = {
    "journal": "small/journal/w.jsonl",
    "claim": "small/claims/1.0",
    "locks": ".filesystem.json",
    "pointer": ".data/.newest-*",
    "images": ".data/digits-*/meta.json",
    "images' report": ".data/digits-*/report.json",
}
FILES = {**{name: f"small/{name}" for name in OWN}, **IN_RESULTS}
# What can be left out or derived again; a command goes on without it.
OPTIONAL = {"provenance.json", "threads", "note.txt", "data.sha256", "claim", "locks", "pointer", "images' report"}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_or_derived_again(here, caplog, monkeypatch, name):
    """Whatever becomes of one file, commands end without a traceback, and name the file if they cannot do without."""
    monkeypatch.setattr("cnn_sweep.cli.commands.run.train", lambda *_: None)
    (file,) = (here / "results").glob(FILES[name])
    for kind, damage in DAMAGES.items():
        if (name, kind) == ("sweep.yaml", "deep"):
            continue  # the reader of YAML refuses it, after a second
        kept = file.read_bytes()
        damage(file)
        for words in (("status", "small"), ("run", "small.yaml")):
            caplog.clear()
            sweep_files._warn.cache_clear()
            code, said = typed(*words)
            assert code in {0, 2, 3}, said
            assert code == 0 or file.name in said + caplog.text, said
            assert code == 0 or name not in OPTIONAL, said
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        file.write_bytes(kept)


@pytest.mark.parametrize("damage", ["missing", "truncated", "other", "garbage", "unreadable"])
def test_a_lost_sweep_file_is_said_and_restored(here, caplog, damage):
    """Without a sound sweep file no result is shown; only a sweep of the same meaning restores it."""
    file = here / "results/small/sweep.yaml"
    DAMAGES[damage](file)
    for words in (
        ("status", "small"),
        ("leaderboard", "small"),
        ("resume", "small"),
        ("export", "small", "t", "--to", "csv"),
    ):
        code, said = typed(*words)
        assert (code, "results/small/sweep.yaml: " in said, "cnn-sweep run" in said) == (2, True, True), said
    assert typed("store", "check")[0] == 3
    other = Path("other.yaml")
    other.write_text(TEXT.replace("[2, 4, 8]", "[2, 4, 16]"), encoding="utf-8")
    code, said = typed("run", "other.yaml")
    assert (code, "results/small/sweep.yaml: " in said, "0.95" in said) == (2, True, False)
    Path("small.yaml").write_text(f"# the same\n{TEXT}", encoding="utf-8")
    code, said = typed("run", "small.yaml")
    assert (code, "already finished" in said) == (0, True), said
    assert "it is restored from small.yaml" in caplog.text
    assert Sweep.load(file).digest == Sweep.load("small.yaml").digest
    assert typed("leaderboard", "small")[0] == 0


def test_results_of_another_sweep_are_recognised(here):
    """Neither trials beyond the plan nor those of another sweep file are taken for the study's."""
    journals = here / "results/small/journal"
    for journal in journals.iterdir():  # the event with the checksum is gone, and the file means something else
        if b'"extend"' in journal.read_bytes():
            journal.unlink()
    file = here / "results/small/sweep.yaml"
    file.write_text(TEXT.replace("[2, 4, 8]", "[2, 4, 16]"), encoding="utf-8")
    code, said = typed("run", str(shutil.copy(file, here / "small.yaml")))
    assert (code, "sweep.yaml: it is not the sweep file with which trial 0 was started" in said) == (2, True), said


def test_a_missing_later_revision_is_named(here):
    """A gap in the revisions, or trials of a revision that is lost, is a damaged study."""
    wider = Sweep.parse(TEXT.replace("[2, 4, 8]", "[2, 4, 8, 16]"), folder=here)
    extended = StudyFolder.open_or_create(wider, here / "results", extend=True)
    with extended.paths.journal("v").open("wb") as file:
        file.writelines(lines_of(extended)[-5:])
    second = here / "results/small/sweep.2.yaml"
    second.rename(here / "results/small/sweep.3.yaml")
    code, said = typed("status", "small")
    assert (code, "sweep.2.yaml: the file is missing" in said) == (2, True), said
    (here / "results/small/sweep.3.yaml").unlink()
    code, said = typed("resume", "small")
    assert (code, "sweep.2.yaml: the file is missing with which trial 7 was started" in said) == (2, True), said


def _journal_lines(results):
    for journal in sorted((results / "small/journal").iterdir()):
        for number, line in enumerate(journal.read_bytes().splitlines(keepends=True)):
            yield journal, number, line


def _damage_line(journal, number):
    """Flip a bit of a line, merge everything anew, and return the journal as it was."""
    kept = journal.read_bytes()
    lines = kept.splitlines(keepends=True)
    lines[number] = _flipped(lines[number], 0x01)
    journal.write_bytes(b"".join(lines))
    results = journal.parent.parent.parent
    for file in results.glob("sweeps.db*"):
        file.unlink()
    assert merge(results, wait_s=20).skipped is None
    return kept


def test_a_flipped_bit_changes_no_result(here):
    """Whichever line of a journal is damaged, each complete trial keeps its value and its hyperparameters."""
    results = here / "results"
    plan = StudyFolder.open(results, "small").plan
    flagged = 0
    of_three = [f'"trial":{number},'.encode() for number in (3, 4, 5)]
    for journal, number, line in list(_journal_lines(results)):
        if any(trial in line for trial in of_three):
            continue  # the others stand for them
        kept = _damage_line(journal, number)
        study = Study.open(results, "small", merge=False)
        rows = {row["trial"]: row for row in study.leaderboard_table("trial").rows}
        complete = {trial for trial, row in rows.items() if row["state"] == "complete"}
        assert len(complete) == len(plan.trials) - (b'{"type":"end"' in line)
        assert study.summary()["planned"] == len(plan.trials)
        history = StudyFolder.open(results, "small").history()
        for trial in complete:
            row, params = rows[trial], plan.trials[trial].params
            assert (row["value"], row["best_epoch"], row["epochs"]) == (value_of(trial, 2), 2, 3), line
            assert {name: row[name] for name in params} == params, line
            assert history.trials[trial].best(Direction.MAXIMIZE) == (2, value_of(trial, 2))
            assert history.trials[trial].params == params
        incomplete = study.summary()["incomplete"]
        assert incomplete == (b'{"type":"epoch"' in line and len(complete) == len(plan.trials))
        flagged += incomplete
        journal.write_bytes(kept)
    assert flagged == 9


@pytest.mark.parametrize("kind", ["start", "epoch", "end", "extend", "worker"])
def test_verbs_work_with_a_damaged_line(here, kind):
    """Importance, report and exports need no line that was damaged, and missing epochs are said."""
    results = here / "results"
    lines = [(j, n) for j, n, line in _journal_lines(results) if f'{{"type":"{kind}"'.encode() in line]
    _damage_line(*lines[1 if len(lines) > 1 else 0])  # the best epoch of the first trial
    for words in (
        ("status", "small"),
        ("leaderboard", "small"),
        ("show", "small", "0"),
        ("importance", "small"),
        ("report", "small", "--no-predictions", "--format", "markdown"),
        ("export", "small", "sqlite:///optuna.db", "--to", "optuna"),
        ("export", "small", "tables", "--to", "csv"),
    ):
        code, said = typed(*words)
        assert code == 0, (words, said)
        if words[0] == "status":
            assert "of 6" in said
            assert ("1 trial: epochs are missing from the journal" in said) == (kind == "epoch")
    if kind == "epoch":
        assert "1 trial: epochs are missing" in typed("leaderboard", "small")[1]
        assert "1 epoch missing from the journal" in typed("show", "small", "0")[1]
        assert "epochs are missing" in Path("small.md").read_text(encoding="utf-8")
        rows = json.loads(typed("leaderboard", "small", "--format", "json")[1].partition("\n1 trial")[0])
        assert [row["missing_epochs"] for row in rows if row["trial"] == 0] == [1]


def test_a_journal_of_an_earlier_version_stays_readable(here):
    """Ends without a result and starts without a digest are read as before."""
    journal = here / "results/small/journal/w.jsonl"
    events = [json.loads(line[9:]) for line in journal.read_bytes().splitlines()]
    for event in events:
        for name in ("value", "best_epoch", "counted", "digest", "sha256"):
            event.pop(name, None)
    bodies = [json.dumps(event, separators=(",", ":")).encode() for event in events]
    journal.write_bytes(b"".join(b"%08x %b\n" % (crc32(body), body) for body in bodies))
    for file in (here / "results").glob("sweeps.db*"):
        file.unlink()
    code, said = typed("status", "small")
    assert (code, "6 complete of 6" in said, "missing" in said) == (0, True, False)
    assert StudyFolder.open(here / "results", "small").history().trials[5].best(Direction.MAXIMIZE) == (2, 0.95)


def test_the_digest_of_a_sweep_stays_the_same():
    """The sweep file of a study that an earlier version made has the digest that was recorded then."""
    sample = Path(__file__).parents[1] / "samples/grid_of_four/results/sample"
    recorded = json.loads((sample / "provenance.json").read_text(encoding="utf-8"))["digest"]
    assert Sweep.load(sample / "sweep.yaml").digest == recorded
