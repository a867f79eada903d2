"""Control characters in names, values, messages, file names and logs do not reach a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys

import pytest
from helpers.typed import typed_here
from helpers.written import Written
from rich.table import Table
from rich.text import Text

from cnn_sweep import streams
from cnn_sweep.cli.ui.terminal import Console
from cnn_sweep.execution.pool.notifications import notice_of
from cnn_sweep.execution.pool.progress import Pace, Progress
from cnn_sweep.journal.events import End, Epoch, Fault, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths

EVIL = "a\x1b]0;title\x07b\x9b31mc\rd\u202ee\x08f\u2066g\x7fhi\u2028j"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder in which every string that a user controls has control characters."""
    folder = tmp_path_factory.mktemp("evil") / "results"
    folder.mkdir()
    Written(folder).study(trials=4, states=("complete", "failed"))
    paths = StudyPaths(folder, "digits")
    params = {"filters": 8, "optimizer": EVIL, EVIL: EVIL}
    worker = Worker(9_000.0, ProcessIdentity(EVIL, "boot", "pid:[1]", 9, 9), {EVIL: EVIL}, 1)
    more = [worker]
    for trial, state in ((4, "complete"), (5, "failed"), (6, None)):
        more.append(Start(9_000.0, trial, 0, f"c{trial}", 0, 6, params))
        more.append(Epoch(9_001.0, trial, 0, 1, 1.0, {"val_accuracy": 0.99, EVIL: 0.5}))
        if state:
            more.append(End(9_002.0, trial, 0, state, EVIL if state == "failed" else None, EVIL, 1, 1.0))
    paths.journal("evil").write_bytes(b"".join(map(encode, more)))
    pool = [Worker(9_000.0, ProcessIdentity(EVIL, "boot", "pid:[1]", 8, 8), {}, 0), Fault(9_003.0, EVIL, EVIL)]
    paths.journal("pool").write_bytes(b"".join(map(encode, pool)))
    paths.logs.mkdir(exist_ok=True)
    (paths.logs / f"worker-{EVIL}-9.log").write_text(f"{EVIL}\n", encoding="utf-8")
    paths.note.write_text(EVIL, encoding="utf-8")
    provenance = json.loads(paths.provenance.read_text(encoding="utf-8"))
    provenance |= {"command": EVIL, "host": EVIL, "folder": str(folder)}
    paths.provenance.write_text(json.dumps(provenance), encoding="utf-8")
    return folder


COMMANDS = [
    *("status", "status digits", "status digits --json", "list", "list --format csv", "list --format markdown"),
    *("leaderboard digits", "leaderboard digits --format csv", "leaderboard digits --format json"),
    *("leaderboard digits --format markdown", "leaderboard digits --format latex", "leaderboard digits --format html"),
    *("leaderboard digits --columns *", "show digits 4", "show digits 5", "show digits 6", "logs digits"),
    *("logs digits 4", "importance digits", "efficiency digits", "store check", "resume digits --trials 1"),
    "leaderboard digits --diff",
]


class _Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def _typed(monkeypatch, words, results):
    """Type a command as on a terminal that shows no colours."""
    monkeypatch.setattr("helpers.typed.io.TextIOWrapper", _Terminal)
    environment = {"CNN_SWEEP_RESULTS": str(results), "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    return typed_here(words, results.parent, environment)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_a_terminal_would_obey(results, monkeypatch, command):
    """Tables, messages, data and logs have control characters spelled out on a terminal."""
    done = _typed(monkeypatch, command.split(), results)
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert not OBEYED.findall(printed), printed
    assert printed


def test_the_text_is_there_with_its_control_characters_spelled_out(results, monkeypatch):
    """Nothing is dropped: a title that a terminal would take is shown as text."""
    assert "a\\x1b]0;title\\x07b\\x9b31mc\\x0dd\\u202ee" in _typed(monkeypatch, ["logs", "digits"], results).stdout


@pytest.mark.parametrize(
    "words",
    [["show", EVIL], ["plan", EVIL], ["export", "digits", "--to", EVIL], ["status", "digits", f"--{EVIL}"], [EVIL]],
    ids=["study", "file", "choice", "option", "command"],
)
def test_no_message_about_what_was_typed_is_obeyed(results, monkeypatch, words):
    """A name that somebody else made up, as a shell's pattern finds it, is spelled out in the message about it."""
    done = _typed(monkeypatch, words, results)
    assert done.returncode == 2, done.stderr
    assert not OBEYED.findall(done.stdout + done.stderr), done.stderr


def test_data_in_a_pipe_are_unchanged(results):
    """CSV in a pipe or a file has the text as it is, for the program that reads it."""
    done = typed_here(("leaderboard", "digits", "--format", "csv"), results.parent, {"CNN_SWEEP_RESULTS": str(results)})
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert EVIL in [row["optimizer"] for row in rows]


def test_mistakes_in_a_sweep_file_are_told_without_control_characters(tmp_path, monkeypatch):
    """A sweep file from somebody else cannot write to the terminal of who plans it."""
    file = tmp_path / "a.yaml"
    file.write_text('study: "a\\e]0;t\\a"\n"b\\e[31m": 1\ndata: {source: "c\\e[2J"}\n', encoding="utf-8")
    done = _typed(monkeypatch, ["plan", str(file)], tmp_path / "results")
    assert done.returncode == 2
    assert "\\x1b[31m" in done.stderr
    assert not OBEYED.findall(done.stdout + done.stderr)


def test_rich_colours_but_does_not_pass_on_what_it_prints():
    """The console writes its own colours to a terminal; control characters in texts and cells are spelled out."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, color_system="standard", width=200)
    table = Table("h\x1b[2J")
    table.add_row(Text(EVIL, "red"))
    console.print(table)
    console.print(f"x{EVIL}", markup=False)
    console.print(Text(EVIL, "bold"))
    left = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue())
    assert "\x1b[31m" in output.getvalue()
    assert not OBEYED.findall(left), left


def test_the_page_of_watch_is_drawn_through_the_stream(monkeypatch):
    """The console finds the terminal below the stream that spells out control characters."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    streams.for_people()
    streams.for_people()  # a second time changes nothing
    Console(force_terminal=True, color_system="standard").print("[red]x[/]")
    print("\x1b")
    assert output.getvalue() == "\x1b[31mx\x1b[0m\n\\x1b\n"


WRITE_LOG = """
import errno, io, logging, sys
from cnn_sweep import streams

class Full(io.StringIO):
    def write(self, text):
        if "lost" in text:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return super().write(text)

sys.stderr = Full()
streams.start_log()
logging.warning("lost")
logging.warning("kept")
print(sys.stderr.getvalue(), end="")
"""


def test_a_line_that_a_full_disk_refuses_is_lost_without_a_traceback():
    """The log of a worker goes on with the next line, and has nothing else."""
    found = subprocess.run([sys.executable, "-c", WRITE_LOG], check=True, capture_output=True, encoding="utf-8")
    assert [line.split(" ", 2)[2] for line in found.stdout.splitlines()] == ["WARNING kept"]


def test_a_notification_has_no_control_characters():
    """The text of a notification goes to chats and terminals; a trial's message is part of it."""
    progress = Progress(total=9, counts={"failed": 3}, workers=0, best=None, pace=Pace(0, None), failing_alike=EVIL)
    notice = notice_of("digits", progress)
    assert notice is not None
    assert not OBEYED.findall(notice.text)


def test_rich_is_used_only_through_our_console():
    """No command makes a console of rich's own, which would pass control characters on."""
    from pathlib import Path

    import cnn_sweep

    folder = Path(cnn_sweep.__file__).parent / "cli"
    pattern = re.compile(r"^from rich\.console import .*\bConsole\b|^import rich", re.MULTILINE)
    found = [path.name for path in folder.rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))]
    assert found == []
