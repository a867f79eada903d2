"""The commands in the README work."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)  # the fixture runs ten commands, several of which start TensorFlow

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(block for block in blocks if containing in block)


def _commands() -> list[str]:
    """Read the commands that the README asks for, those on a cluster last."""
    lines = _block("sh", "cnn-sweep plan").splitlines() + _block("sh", "cnn-sweep submit").splitlines()
    return [line.partition("  #")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the README's sweep file."""
    found = tmp_path_factory.mktemp("readme")
    (found / "first.yaml").write_text(_block("yaml", "study: my-first"), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def ran(folder):
    """The commands of the README in their order, run with its sweep file."""
    names = {"STUDY": "my-first"}
    done = {}
    for command in _commands():
        program, *words = [names.get(word, word) for word in shlex.split(command)]
        if "--profile" in words or words[0] == "profile":
            continue  # needs a cluster: tests/slurm/ runs it
        assert program == "cnn-sweep"
        done[command] = subprocess.run(
            [sys.executable, "-m", "cnn_sweep.cli.main", *words],
            cwd=folder,
            env=os.environ | {"CNN_SWEEP_RESULTS": "results"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    return done


def test_every_command_of_the_readme_runs(ran):
    """Each line of the command list ends with exit code 0."""
    assert len(ran) >= 9
    for command, done in ran.items():
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_the_view_that_the_readme_names_is_there(ran, folder):
    """The README's SQL works on the study that it trains."""
    statement = re.search(r"'(SELECT .*?)'", README).group(1)
    with sqlite3.connect(folder / "results" / "sweeps.db") as store:
        assert len(store.execute(statement).fetchall()) == 5


def test_the_python_lines_of_the_readme_run(ran, folder):
    """The README's Python gives a DataFrame."""
    code = _block("python", "Study")
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, check=True)


def test_make_targets_of_the_readme_exist():
    """Every `make` target that the README and CONTRIBUTING name is one."""
    root = Path(__file__).parents[1]
    text = README + (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^ *|`|[A-Z]=\w+ )make ([a-z-]+)", text, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test", "lint", "bench"} <= named <= targets


def test_the_first_result_is_on_the_first_screen():
    """Who opens the README sees the report and the command that leads to a leaderboard, within 40 lines."""
    screen = "\n".join(README.splitlines()[:40])
    assert "![" in screen
    assert "make demo" in screen
    assert "cnn-sweep leaderboard" in screen
