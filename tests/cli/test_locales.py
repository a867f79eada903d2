"""Commands in locales whose encoding is not UTF-8."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

SWEEP = """\
# Größe: ein Umlaut und „Anführungszeichen“
study: klein
data: {source: digits}
space: {n: [2, 4], art: [groß, "…"]}
objective: {metric: güte, function: "ziel:ziel"}
"""
MODULE = '''"""Ein Ziel für Größen."""


def ziel(trial):
    print("Größe …", trial.params["art"])
    return float(trial.params["n"])
'''


# One process types all commands, which saves imports; each ends with its exit code.
DRIVER = """
import json, sys
from cnn_sweep.cli.main import main
for sys.argv[1:] in json.loads(sys.argv[1]):
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    sys.stderr.flush()
    print("===", code, flush=True)
"""


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """The environment of a German terminal of before Unicode."""
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not on this machine")
    made = tmp_path_factory.mktemp("locale") / "de_DE.ISO-8859-1"
    done = subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", made], capture_output=True, check=False)
    if not made.is_dir():
        pytest.skip(f"localedef cannot make a locale: {done.stderr.decode(errors='replace')}")
    return {"LOCPATH": str(made.parent), "LC_ALL": made.name, "PYTHONUTF8": "0"}


@pytest.fixture(scope="module")
def ascii_only():
    """The environment of a locale that has no letters but those of English."""
    return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(("name", "word"), [("ascii_only", b"gro\\xdf"), ("latin", "groß".encode("latin-1"))])
def test_verbs_work_in_every_locale(name, word, tmp_path, request):
    """Files are UTF-8 in any locale, and what a terminal cannot show is written in other characters."""
    environment = {key: value for key, value in os.environ.items() if key not in ("LC_ALL", "LANG", "PYTHONUTF8")}
    environment |= {"COLUMNS": "200", "NO_COLOR": "1", "FORCE_COLOR": "1"} | request.getfixturevalue(name)
    (tmp_path / "klein.yaml").write_text(SWEEP, encoding="utf-8")
    (tmp_path / "ziel.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "falsch.yaml").write_text(SWEEP.replace("art:", "größe:"), encoding="utf-8")

    commands = [
        *("plan klein.yaml", "plan falsch.yaml", "run klein.yaml --workers 1", "leaderboard klein"),
        *("leaderboard klein --format csv", "logs klein", "report klein --output bericht.html"),
        *("show klein 0", "status klein", "status klein --watch"),
    ]
    words = json.dumps([command.split() for command in commands])
    program = [sys.executable, "-c", DRIVER, words]
    done = subprocess.run(
        program, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    )
    assert b"Traceback" not in done.stdout, done.stdout.decode(errors="replace")
    pieces = re.split(rb"=== (\d+)\n", done.stdout)
    said = dict(zip(commands, pieces[::2], strict=False))
    assert [int(code) for code in pieces[1::2]] == [2 if "falsch" in command else 0 for command in commands], said

    assert word in said["plan klein.yaml"]
    assert b"falsch.yaml:4: space.gr" in said["plan falsch.yaml"]
    table = said["leaderboard klein"]
    assert word in table
    assert b"..." in table
    assert b"\x1b[3" not in table, "NO_COLOR is not honoured"
    assert all(said.values())
    assert word in said["leaderboard klein --format csv"]
    assert word in said["logs klein"]
    assert "groß" in (tmp_path / "bericht.html").read_text(encoding="utf-8")
