"""The Tab key in bash, zsh and fish: what it completes, what it costs, and that it never complains."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest
from helpers.written import Written

from cnn_sweep.cli import options_table
from cnn_sweep.cli.completion import answer as answers
from cnn_sweep.cli.completion.scripts import script
from cnn_sweep.cli.completion.suggestions import TABLE, suggestions
from cnn_sweep.cli.main import COMMANDS
from cnn_sweep.store.column_names import leaderboard_columns
from cnn_sweep.study import Study

DEADLINE_S = 60
HEAVY = {"typer", "rich", "pydantic", "sqlalchemy", "pandas", "numpy", "optuna", "tensorflow", "ruamel"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two studies, a sweep file, a profile, and the program on the path."""
    found = tmp_path_factory.mktemp("completion")
    written = Written(found / "results")
    written.study("digits", trials=2)
    written.study("digits-large", trials=2)
    (found / "results" / "archive").mkdir()
    (found / "results" / "archive" / "old.tar.gz").write_bytes(b"an archive")
    for name in ("first.yaml", "second.yml", "cpu.toml", "notes.txt"):
        (found / name).write_text("", encoding="utf-8")
    (found / "sweeps").mkdir()
    program = found / "bin" / "cnn-sweep"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cnn_sweep.cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o700)
    for shell in ("bash", "zsh", "fish"):
        (found / f"completion.{shell}").write_text(script(shell), encoding="utf-8")
    return found


@pytest.fixture
def suggested(folder, monkeypatch):
    """What comes next after words, as the list of suggestions."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CNN_SWEEP_RESULTS", raising=False)

    def found(*words):
        return list(suggestions(words, COMMANDS).values)

    return found


def test_the_table_has_the_options_of_the_commands():
    """The file that completion reads is what `make completion` writes now."""
    assert TABLE.read_text(encoding="utf-8") == options_table.table(), "run `make completion`"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["leader"], ["leaderboard"]),
        (["--v"], ["--version"]),
        (["data", ""], ["prepare", "show"]),
        (["status", ""], ["digits", "digits-large"]),
        (["leaderboard", "digits", "digits"], ["digits-large"]),
        (["status", "--results", "nowhere", ""], []),
        (["leaderboard", "digits", "--s"], ["--sort"]),
        (["leaderboard", "digits", "--top", "3", "--top"], []),
        (["leaderboard", "digits", "--format", "c"], ["csv"]),
        (["leaderboard", "digits", "--format=c"], ["--format=csv"]),
        (["leaderboard", "digits", "--sort", "-learn"], ["-learning_rate"]),
        (["leaderboard", "digits", "--sort", "cau"], ["cause"]),
        (["leaderboard", "digits", "--columns", "trial,filt"], ["trial,filters"]),
        (["leaderboard", "digits", "--columns", "filters,filt"], []),
        (["leaderboard", "digits", "--where", "val_accuracy > 0.9 and (mom"], ["val_accuracy > 0.9 and (momentum"]),
        (["show", "digits", "--", "--j"], []),
        (["confusion", "digits", "--trial", ""], ["0", "1", "best"]),
        (["show", "digits", ""], ["0", "1"]),
        (["cancel", "nowhere", ""], []),
        (["copy", "digits-"], ["digits-large"]),
        (["unarchive", ""], ["old"]),
        (["init", "--example", "dig"], ["digits"]),
        (["run", "a.yaml", "-n", ""], []),
        (["report", "digits", "-"], [*json.loads(TABLE.read_text(encoding="utf-8"))["report"]["options"]]),
        (["nonsense", ""], []),
        (["data", "nonsense", ""], []),
        (["completion", "z"], ["zsh"]),
    ],
    ids=" ".join,
)
def test_what_can_come_next(suggested, words, expected):
    """Commands, options that are not typed yet, choices, studies of the results folder, columns of the named study."""
    assert suggested(*words) == expected


def test_studies_come_from_the_folder_of_the_environment(suggested, folder, monkeypatch):
    """CNN_SWEEP_RESULTS counts as for the commands, and --results has precedence."""
    monkeypatch.setenv("CNN_SWEEP_RESULTS", str(folder / "nowhere"))
    assert suggested("show", "") == []
    assert suggested("show", "--results", str(folder / "results"), "") == ["digits", "digits-large"]
    assert suggested("show", f"--results={folder / 'results'}", "digits-") == ["digits-large"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", ""], "files .yaml"),
        (["submit", "a.yaml", "--profile", ""], "files .toml"),
        (["copy", ""], "files .yaml"),
        (["unarchive", ""], "files"),
        (["status", "--results", ""], "folders"),
        (["predict", "digits", "scans/"], "files"),
        (["report", "digits", "-o", ""], "files"),
        (["leaderboard", "digits", "--columns", "filters,"], "values nospace"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_shells_complete_files(words, line, folder, monkeypatch):
    """Names of files are left to the shell, with their ending; a list of columns goes on after a column."""
    monkeypatch.chdir(folder)
    assert suggestions(words, COMMANDS).lines()[0] == line


def test_the_columns_are_those_of_the_leaderboard(folder):
    """The names that are read without SQLAlchemy are those that the leaderboard accepts."""
    table = Study.open(folder / "results", "digits").leaderboard_table()
    assert {*leaderboard_columns(folder / "results", "digits")} == {*table.columns, *table.more}


@pytest.mark.parametrize("damage", ["no store", "no database", "empty store", "no folder"])
def test_a_damaged_study_completes_nothing(damage, folder, tmp_path, capfd):
    """Without a readable store there are no columns, and the shell gets neither an error nor a traceback."""
    results = tmp_path / "results"
    if damage != "no folder":
        shutil.copytree(folder / "results", results)
        store = results / "sweeps.db"
        store.unlink()
        if damage != "no store":
            store.write_bytes(b"" if damage == "empty store" else b"not a database" * 100)
    answers.answer(["zsh", "leaderboard", "digits", "--results", str(results), "--sort", ""], COMMANDS)
    answers.answer([], COMMANDS)
    answers.answer(["bash", 'cnn-sweep show "'], COMMANDS)
    out, err = capfd.readouterr()
    assert out.splitlines()[0] == "values"
    assert err == ""


def test_it_loads_nothing_heavy(folder):
    """Even columns are completed without typer, pydantic, SQLAlchemy or pandas."""
    code = (
        "import sys; from cnn_sweep.cli.main import main; main()\n"
        f"print(*({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    words = ["__complete", "bash", "cnn-sweep leaderboard digits --sort val_acc"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.splitlines() == ["values", "val_accuracy\t"]
    assert done.stderr.split() == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [('show "', ["digits", "digits-large"]), ('show "digits"', []), ("show digits\\-l", ["digits-large"])],
)
def test_quotes_of_bash(line, offered, folder, monkeypatch, capfd):
    """An open quote is completed, and a word whose quotes are closed is finished."""
    monkeypatch.chdir(folder)
    answers.answer(["bash", f"cnn-sweep {line}"], COMMANDS)
    assert [row.split("\t")[0] for row in capfd.readouterr().out.splitlines()[1:]] == offered


def _environment(folder):
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def _ended(fd, process):
    """Read what a shell writes until it ends."""
    read, deadline = b"", time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                block = os.read(fd, 65536)
            except OSError:
                break
            read += block
        elif process.poll() is not None:
            break
    return read.decode("utf-8", "replace")


def _completed(shell, folder, lines):
    """Type lines into an interactive shell, press Tab after each, and return the words of the completed lines.

    Ctrl-A and a command before the line turn it into one that writes its words to a file.
    """
    programs = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
    out = folder / f"completed.{shell}"
    out.unlink(missing_ok=True)
    begin = {"bash": "", "zsh": "autoload -U compinit; compinit -u -D; bindkey -e; "}[shell]
    keys = [f"{begin}source ./completion.{shell}; show() {{ printf '[%s]' \"$@\" >> {out}; echo >> {out}; }}\n"]
    keys += [f"{line}\t\x01show \n" for line in lines]
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        programs[shell],
        cwd=folder,
        env=_environment(folder),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        os.write(control, "".join([*keys, "exit\n"]).encode())
        screen = _ended(control, process)
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        os.close(control)
    assert "Traceback" not in screen
    assert out.is_file(), screen
    return [re.findall(r"\[([^\]]*)\]", line) for line in out.read_text(encoding="utf-8").splitlines()]


TYPED = {
    "cnn-sweep leader": ["leaderboard"],
    "cnn-sweep show digits-": ["show", "digits-large"],
    "cnn-sweep status --results resu": ["status", "--results", "results"],
    "cnn-sweep leaderboard digits --sort -learn": ["leaderboard", "digits", "--sort", "-learning_rate"],
    "cnn-sweep leaderboard digits --format=la": ["leaderboard", "digits", "--format=latex"],
    "cnn-sweep leaderboard digits --columns trial,mom": ["leaderboard", "digits", "--columns", "trial,momentum"],
    "cnn-sweep run fir": ["run", "first.yaml"],
    "cnn-sweep run swe": ["run", "sweeps"],
    "cnn-sweep run not": ["run", "notes.txt"],
    "cnn-sweep submit first.yaml --profile=c": ["submit", "first.yaml", "--profile=cpu.toml"],
}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_real_shell_completes(shell, folder):
    """The script works in a shell on a terminal; a file with another ending is completed if no other one fits."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    found = _completed(shell, folder, TYPED)
    for typed, words in zip(TYPED.values(), found, strict=True):
        assert [word.rstrip("/") for word in words] == ["cnn-sweep", *typed]  # zsh takes a slash back at the next key


def test_bash_completes_within_quotes(folder):
    """A condition in quotes is completed where it ends; bash closes the quotes."""
    (words,) = _completed("bash", folder, ['cnn-sweep leaderboard digits --where "value > 0.5 and mom'])
    assert words[-1] == "value > 0.5 and momentum"


def test_fish_completes(folder):
    """Fish, asked for its completions, lists those of the program with a line about each."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    asked = ["cnn-sweep leader", "cnn-sweep show digits-", "cnn-sweep run fir", "cnn-sweep status --results resu"]
    code = "; ".join(["source completion.fish", *(f"complete -C '{line}'" for line in asked)])
    done = subprocess.run(
        ["fish", "--no-config", "-c", code],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        "leaderboard",
        "digits-large",
        "first.yaml",
        "results/",
    ]
    assert done.stderr == ""
