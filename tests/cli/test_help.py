"""The help of every command: a line in the list of commands, and examples that the command accepts."""

from __future__ import annotations

import shlex
from importlib import metadata
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import cnn_sweep
from cnn_sweep.cli.main import COMMANDS, app, load_command


def _commands():
    """List the words and the click command of each command, also of those in groups."""
    for name in COMMANDS:
        command = load_command(name)
        members = getattr(command, "commands", None)
        for word, member in (members or {name: command}).items():
            yield ([name, word] if members else [name]), member


@pytest.mark.parametrize(("words", "command"), [pytest.param(*case, id=" ".join(case[0])) for case in _commands()])
def test_every_example_is_accepted(words, command, monkeypatch):
    """The help ends with one or two command lines; the command knows their options and has all arguments it needs."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*words, "--help"]).stdout.splitlines()
    begin = " ".join(["cnn-sweep", *words])
    heading = next(number for number, line in enumerate(shown) if line.strip() == "Examples:")
    examples = [line.strip() for line in shown[heading + 1 :] if line.strip()]
    assert 1 <= len(examples) <= 2
    for example in examples:
        assert example == begin or example.startswith(f"{begin} ")
        command.make_context(begin, shlex.split(example)[len(words) + 1 :])


def test_a_line_of_help_is_one_line(monkeypatch):
    """On a terminal of 80 columns, no command takes two lines of the list."""
    monkeypatch.setenv("COLUMNS", "80")
    listed = CliRunner().invoke(app, ["--help"]).stdout.partition("Commands")[2].splitlines()
    assert [line.strip("│ ").split()[0] for line in listed if line.startswith("│")] == list(COMMANDS)


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
