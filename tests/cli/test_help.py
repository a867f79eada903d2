"""The help of every command: a line in the list of commands, and examples that the command accepts."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import cnn_sweep
from cnn_sweep.cli import root_help
from cnn_sweep.cli.main import COMMANDS, GROUPS, app, load_command
from cnn_sweep.errors import InputError


def _commands():
    """List the words and the click command of each command, also of those in groups."""
    for name in COMMANDS:
        command = load_command(name)
        members = getattr(command, "commands", None)
        for word, member in (members or {name: command}).items():
            yield ([name, word] if members else [name]), member


@pytest.mark.parametrize(("words", "command"), [pytest.param(*case, id=" ".join(case[0])) for case in _commands()])
def test_every_example_is_accepted(words, command, monkeypatch):
    """The help ends with a few command lines; the command knows their options and has all arguments it needs."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*words, "--help"]).stdout.splitlines()
    begin = " ".join(["cnn-sweep", *words])
    heading = next(number for number, line in enumerate(shown) if line.strip() == "Examples:")
    examples = [line.strip() for line in shown[heading + 1 :] if line.strip()]
    assert 1 <= len(examples) <= 6
    for example in examples:
        assert example == begin or example.startswith(f"{begin} ")
        command.make_context(begin, shlex.split(example)[len(words) + 1 :])


@pytest.mark.parametrize("words", [pytest.param(case[0], id=" ".join(case[0])) for case in _commands()])
def test_no_help_shows_a_type_of_python(words, monkeypatch):
    """A value is named by what it is, such as STUDY or FILE; a switch has no value."""
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, [*words, "--help"]).stdout
    types = re.findall(r"<(?:str|int|bool|float|path|list)\b[^>]*>|\bTEXT\b", shown)
    assert not types, shown


def test_the_list_of_commands_fits_on_a_terminal():
    """Every command is on one line of at most 80 columns, under a heading, in ASCII."""
    shown = root_help.full(GROUPS)
    assert shown.isascii()
    assert max(map(len, (shown + root_help.first_steps()).splitlines())) <= 80
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line.strip()[0] != "-"]
    assert listed == list(COMMANDS)


def _typed(*words):
    """Type a command; return what it prints, its exit code, and the modules that it loaded."""
    code = (
        "import sys; from cnn_sweep.cli.main import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)\n"
    )
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["--version"]], ids=lambda words: " ".join(words) or "alone")
def test_the_program_itself_answers_without_typer(words):
    """Its own help and version load neither typer nor rich, and so take a quarter of the time."""
    done = _typed(*words)
    assert done.stdout
    assert not {"typer", "rich"} & set(done.stderr.split())


def test_the_name_alone_says_what_to_do_first():
    """The first steps are on standard output, each with a command that exists; the exit code is that of a mistake."""
    done = _typed()
    assert done.returncode == 2
    steps = re.findall(r"^  cnn-sweep ([\w-]+)", done.stdout, re.MULTILINE)
    assert steps == ["init", "run", "leaderboard"]
    assert set(steps) <= set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "x.yaml", "--workers", "two"], "'--workers' / '-n': must be a whole number, not 'two'"),
        (["run", "x.yaml", "--workers", "0"], "'--workers' / '-n': must be at least 1, not '0'"),
        (["show", "digits", "x"], "'TRIAL': must be a whole number, not 'x'"),
        (["status", "--interval", "slow"], "'--interval': must be a number, not 'slow'"),
        (["schema", "foo"], "'foo' is not one of 'sweep', 'profile'."),
        (["plann"], "No such command 'plann'. Did you mean 'plan'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_value_is_told_in_our_words(words, message, monkeypatch):
    """What pydantic says to typer is not shown."""
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not re.search("Input should|Value error", done.stderr)


def test_a_file_in_place_of_a_command_gets_a_hint(tmp_path, monkeypatch):
    """Who types a sweep file first probably wants to run it."""
    monkeypatch.chdir(tmp_path)
    for name in ("my.yaml", "digits"):
        (tmp_path / "digits").write_text("", encoding="utf-8")
        with pytest.raises(InputError, match=f"did you mean `cnn-sweep run {name}`"):
            CliRunner().invoke(app, [name], catch_exceptions=False)


@pytest.mark.parametrize("words", [["help"], ["help", "run"]])
def test_help_is_a_command_too(words):
    """As in other programs, ``help`` and ``help COMMAND`` are ``--help``."""
    shown = [
        subprocess.run([sys.executable, "-m", "cnn_sweep.cli.main", *one], capture_output=True, check=True).stdout
        for one in (words, [*words[1:], "--help"])
    ]
    assert shown[0] == shown[1] != b""


def test_both_ways_to_the_help_agree():
    """The program for typer prints the same help."""
    assert CliRunner().invoke(app, ["--help"]).stdout.strip() == root_help.full(GROUPS).strip()


def test_only_the_typed_command_is_imported():
    """The list of commands shows placeholders; a misspelt command still names the closest one."""
    group: Any = get_command(app)
    assert group.commands["leaderboard"].params == []
    assert "Did you mean 'leaderboard'?" in CliRunner().invoke(app, ["leaderbord"]).output


def test_the_version_is_the_installed_one():
    """``--version`` and ``cnn_sweep.__version__`` agree with the package's metadata."""
    known = metadata.version("cnn-sweep")
    assert CliRunner().invoke(app, ["--version"]).stdout == f"cnn-sweep {known}\n"
    assert cnn_sweep.__version__ == known
