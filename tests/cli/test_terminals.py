"""Every verb that prints a table or a live page, in real terminals of several sizes."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from helpers.study_states import LONG
from helpers.written import Written
from rich.cells import cell_len
from rich.console import Console

from cnn_sweep.cli.ui import tables
from cnn_sweep.cli.ui.training_progress import _picture
from cnn_sweep.execution.pool.progress import Pace, Progress
from cnn_sweep.journal.events import End
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.search.budget import Limit

SIZES = [(80, 24), (40, 24), (120, 40), (200, 50)]
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
# One process types all commands, which saves imports; what models would say stands in for a process with TensorFlow.
DRIVER = """
import json, sys
import numpy as np
from pathlib import Path
from cnn_sweep.cli.main import app
from cnn_sweep.cli.ui.tables import print_first_rows
from cnn_sweep import streams
from cnn_sweep.execution.models import client
from cnn_sweep.report.models import predictions
from cnn_sweep.report.models.predictions import prediction_table
from cnn_sweep.training.data.dataset import Item

chances = np.random.default_rng(0).dirichlet(np.ones(30), 90).astype("float32")
names = tuple(f"class {number}" for number in range(30))
found = client.Predictions(3, names, chances, np.arange(90, dtype="int32") % 30, Path())
client.predict_split = lambda *_, **__: found
predictions.kept_of = lambda *_, **__: None
streams.for_people()
for words in json.loads(sys.argv[1]):
    print(f"=== {' '.join(words)}", flush=True)
    if words[0] == "predict":
        print_first_rows(prediction_table(found, [Item(f"a/folder/of/images/number-{n:04}.png") for n in range(90)]))
        continue
    try:
        app(words)
    except SystemExit:
        pass
    sys.stdout.flush()
"""
COMMANDS = (
    ("leaderboard", "wide"),
    ("leaderboard", "wide", "--all", "--top", "3"),
    ("leaderboard", "wide", "--columns", "trial,state,cause,message,val_*,*rate*"),
    ("leaderboard", "wide", "--by", "filters,pooling_of_the_first_block"),
    ("leaderboard", "repeated"),
    ("leaderboard", "repeated", "--all"),
    ("leaderboard", "wide", "repeated"),
    ("show", "wide", "2"),
    ("status", "wide", "--watch"),
    ("sql", "SELECT * FROM leaderboard_wide LIMIT 5"),
    ("confusion", "wide"),
    ("predict",),
)
MORE = (  # at the narrowest alone, since they take longer
    ("show", "wide", "0"),
    ("status",),
    ("sql", "SELECT * FROM attempts LIMIT 5"),
    ("importance", "repeated"),
    ("plan", "sweep.yaml"),
    ("data", "prepare", "sweep.yaml"),
    ("logs", "wide"),
    ("doctor",),
)
SWEEP = """
study: planned
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: $filters_of_the_first_convolution, kernel_size: $kernel_size_of_the_first_convolution}
    - flatten
    - dense: {units: $units_of_the_dense_layer}
    - dropout: $dropout_before_the_output
    - output: softmax
space:
  filters_of_the_first_convolution: [2, 4]
  kernel_size_of_the_first_convolution: [3, 30]
  units_of_the_dense_layer: [8, 16]
  dropout_before_the_output: [0.0, 0.25]
search: {method: grid}
training: {epochs: 1}
"""


def wide_params(draw):
    """Draw a dozen hyperparameters with long names, with lists and null among their values."""
    params = {"filters": draw.choice([4, 8, 16]), "learning_rate": 10 ** draw.uniform(-4, -1), "optimizer": "adam"}
    params["pooling_of_the_first_block"] = draw.choice(["max", "average", None])
    params["units_of_the_layers"] = draw.choice([[64, 32], [128, 64, 32, 16, 8, 4, 2, 1]])
    return params | {f"dropout_rate_{number}": draw.uniform(0, 1e-4) for number in range(8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a study of many wide columns, one with repeats, and a sweep file."""
    found = tmp_path_factory.mktemp("terminals")
    (found / "results").mkdir()
    written = Written(found / "results")
    last = End(1_100.0, 2, 0, "failed", "exception", LONG)
    written.study("wide", trials=30, states=("complete", "complete", "failed"), params=wide_params, more=[last])
    written.study("repeated", trials=18, configurations=6)
    (found / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return found


def in_a_terminal(words, folder, size, **environment):
    """Run a command in a terminal of so many columns and rows; return all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    run = subprocess.Popen(
        words, cwd=folder, env=surroundings(folder) | environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    read = b""
    while True:
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # the last process that had it open is gone
            break
        read += chunk
        if not chunk:
            break
    os.close(ours)
    run.wait(60)
    return read.decode()


def surroundings(folder):
    """Return an environment without what would change a terminal's size or colours."""
    gone = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in gone}
    return kept | {"TERM": "xterm-256color", "CNN_SWEEP_RESULTS": str(folder / "results")}


def by_command(text):
    """Split what the driver wrote: command to text."""
    text = re.sub(r"\x1b\[H|\x1b\[\?1049l", "\n", text)  # the cursor goes home, or to the other screen
    parts = ESCAPES.sub("", text).replace("\r\n", "\n").split("=== ")[1:]
    return {head: body for head, _, body in (part.partition("\n") for part in parts)}


@pytest.fixture(scope="module")
def whole(folder):
    """Output of the same commands in pipes, where the width is unlimited."""
    commands = [words for words in (*COMMANDS, *MORE) if "--watch" not in words and words[0] != "doctor"]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(commands)],
        cwd=folder,
        env=surroundings(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return by_command(done.stdout)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_table_fits_and_no_number_is_split(size, folder, whole):
    """No line is wider than the terminal, and each number on it is also in the pipe's table."""
    commands = COMMANDS + MORE if size == SIZES[0] else COMMANDS
    shown = by_command(in_a_terminal([sys.executable, "-c", DRIVER, json.dumps(commands)], folder, size))
    assert len(shown) == len(commands)
    for command, text in shown.items():
        assert 'Traceback (most recent call last):\n  File "/' not in text, text
        in_one_piece = command.split()[0] in {"doctor", "logs", "show", "data", "plan"}  # their messages and paths
        for line in text.splitlines():
            assert cell_len(line) <= size[0] or (in_one_piece and "──" not in line), (command, line)
        if command in whole and command.split()[0] != "data":  # its words change from time to time
            there = set(re.split(r"[\s,()\[\]]+", whole[command]))
            numbers = {word for word in re.split(r"[\s,()\[\]]+", text) if NUMBER.fullmatch(word)}
            assert numbers <= there, (command, numbers - there)


def test_a_leaderboard_shows_what_people_look_for_and_names_the_rest(folder):
    """Hyperparameters that differ follow the value; what is the same and what was left out is named below."""
    words = [sys.executable, "-m", "cnn_sweep.cli.main", "leaderboard", "wide", "--top", "5"]
    text = ESCAPES.sub("", in_a_terminal(words, folder, (80, 24)))
    lines = text.replace("\r\n", "\n").splitlines()
    assert lines[1].split()[:5] == ["rank", "trial", "state", "value", "filters"]
    assert len(lines[3].split()) >= 5
    rest = " ".join(text.partition("the same in all rows")[2].split())
    assert rest.startswith(": optimizer adam, momentum none, best_epoch 3, seconds 1.5 not shown: ")
    for name in ("epochs", "val_accuracy", "units_of_the_layers", "dropout_rate_7", "--all", "--columns"):
        assert name in rest


def test_on_a_narrow_terminal_each_row_is_a_card(folder):
    """What identifies a row is a line, and each other value another one; those of the overview alone, or all."""
    words = [sys.executable, "-m", "cnn_sweep.cli.main", "leaderboard", "wide", "--top", "2"]
    short, whole = (ESCAPES.sub("", in_a_terminal([*words, *more], folder, (40, 24))) for more in ((), ("--all",)))
    cards = [card.split("\n") for card in re.split(r"\n\s*\n", short.replace("\r\n", "\n"))[:2]]
    assert [card[0].split(",")[0] for card in cards] == ["rank 1", "rank 2"]
    assert [line.split()[0] for line in cards[0][1:5]] == ["state", "value", "filters", "learning_rate"]
    assert "val_accuracy" not in short.partition("not shown")[0]
    assert re.search(r"val_accuracy +0\.\d+", whole)


def test_a_leaderboard_with_repeats_begins_with_their_statistics(folder):
    """The mean and how sure it is lead, then hyperparameters and intervals; a single repeat's value is left out."""
    words = [sys.executable, "-m", "cnn_sweep.cli.main", "leaderboard", "repeated"]
    text = ESCAPES.sub("", in_a_terminal(words, folder, (200, 50)))
    head = text.splitlines()[1].split()
    assert head[:7] == ["rank", "trial", "mean", "sd", "n", "tied", "filters"]
    assert head.index("learning_rate") < head.index("ci_low") < head.index("parameters")
    assert not {"value", "state"} & set(head)


def test_notes_stand_below_a_leaderboard_on_a_terminal(folder):
    """What the statistics over repeats mean is said there too, with and without --all, wrapped at its width."""
    for option in ((), ("--all",)):
        words = [sys.executable, "-m", "cnn_sweep.cli.main", "leaderboard", "repeated", *option]
        lines = ESCAPES.sub("", in_a_terminal(words, folder, (80, 24))).replace("\r\n", "\n").splitlines()
        assert (
            "ci_low to ci_high and diff_low to diff_high are 95% intervals that hold for all 6 configurations"
            in " ".join(" ".join(lines).split())
        )
        assert max(map(cell_len, lines)) <= 80
    done = subprocess.run(
        words, cwd=folder, env=surroundings(folder), capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stderr.count("\n") == 1


def test_the_parts_of_a_split_table_of_epochs_say_which_epoch(folder):
    """Where the epochs of `show` are too wide, each part of their table begins with attempt and epoch."""
    words = [sys.executable, "-m", "cnn_sweep.cli.main", "show", "wide", "0"]
    text = ESCAPES.sub("", in_a_terminal(words, folder, (62, 24))).replace("\r\n", "\n")
    _, text = re.split(r"^epochs *$", text, flags=re.MULTILINE)
    heads = [line.split() for line in text.splitlines() if "attempt" in line]
    assert len(heads) > 1
    assert all(head[:2] == ["attempt", "epoch"] for head in heads)


@pytest.mark.parametrize("name", ["digits", "a-study-with-a-long-name"])
def test_the_live_line_of_run_leaves_out_what_it_has_no_room_for(name):
    """At 80 columns it is one line with what is done, failed and best; at 220 columns it has all there is to say."""
    limit = Limit("epochs", 1_000, 20_000, reached=False)
    counts = {"complete": 990, "running": 16, "failed": 10, "waiting": 200}
    pace, epochs = Pace(27.8, 3_600.0), {40: 12, 41: 3, 42: 1}
    progress = Progress(1_216, counts, 16, (100, 0.99876), pace, limits=(limit,), epochs=epochs, epochs_planned=50)
    for width in (80, 220):
        console = Console(file=io.StringIO(), width=width, height=24, force_terminal=True)
        (line,) = console.render_lines(_picture(name, progress, width), pad=False)
        text = "".join(part.text for part in line).rstrip()
        assert cell_len(text) <= width
        for words in (name, "1000/1216 done", "10 failed", "best trial 100: 0.9988"):
            assert words in text
        assert ("16 running, trial 40: epoch 12 of 50, trial 41: epoch 3 of 50, …, 10 failed" in text) == (width == 220)
        assert ("27.8 trials/min" in text) == ("16 running" in text) == (width == 220)


@pytest.mark.parametrize(("width", "split"), [(80, True), (160, False), (None, False)])
def test_predictions_fit_on_a_terminal(width, split, monkeypatch, capsys):
    """At 80 columns, rows have the probability of the predicted class alone, and a line says where the others are."""
    monkeypatch.setattr(tables, "terminal_width", lambda: width)
    chances = {f"p_class_{number}": 0.1 for number in range(8)}
    row = {
        "image": "site_07/2024/IMG_0001.JPG",
        "true": "class_1",
        "predicted": "class_2",
        "probability": 0.1,
    } | chances
    tables.print_predictions(Table(tuple(row), (row,)))
    shown = capsys.readouterr().out
    assert ("p_class_7" in shown) != split
    assert ("`--format csv` has the probabilities of all classes" in shown) == split
    assert shown.count("IMG_0001.JPG") == 1


def test_nothing_moves_on_a_dumb_terminal(folder):
    """With TERM=dumb there are no escape sequences, tables use the terminal's width, and --watch prints lines."""
    for words in (("leaderboard", "wide"), ("status", "wide", "--watch")):
        text = in_a_terminal([sys.executable, "-m", "cnn_sweep.cli.main", *words], folder, (120, 40), TERM="dumb")
        assert "\x1b" not in text
    assert "wide: 20 complete, 10 failed of 30, 0 workers alive" in text


def test_no_color_means_no_colour(folder):
    """With NO_COLOR set, doctor's levels have none."""
    words = [sys.executable, "-m", "cnn_sweep.cli.main", "status", "wide", "--watch"]
    assert "\x1b[31m" in in_a_terminal(words, folder, (80, 24))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", in_a_terminal(words, folder, (80, 24), NO_COLOR="1"))


def test_a_reader_that_goes_is_no_traceback(folder):
    """`cnn-sweep leaderboard … | head` ends quietly, however soon the reader goes."""
    for words in (("leaderboard", "wide"), ("leaderboard", "wide", "--format", "csv"), ("status",)):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "cnn_sweep.cli.main", *words]
        done = subprocess.run(
            command,
            env=surroundings(folder),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            encoding="utf-8",
        )
        os.close(writing)
        assert done.stderr == ""
        assert done.returncode in {0, 1}


def test_run_shows_its_progress_and_ends_with_it(folder):
    """The live line of `run` fits 80 columns; the last one says that all trials are done."""
    text = SWEEP.replace("[2, 4]", "[2]").replace("[8, 16]", "[8]").replace("[3, 30]", "[3]").replace("planned", "ran")
    (folder / "ran.yaml").write_text(text, encoding="utf-8")
    words = [sys.executable, "-m", "cnn_sweep.cli.main", "run", "ran.yaml", "--workers", "1"]
    shown = ESCAPES.sub("", in_a_terminal(words, folder, (80, 24)))
    for line in re.split(r"[\r\n]+", shown):
        assert cell_len(line) <= 80, line
    assert "ran: 2/2 done, best trial " in shown
    done = subprocess.run(
        words, cwd=folder, env=surroundings(folder), capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert "ran: 2/2 done, best trial " in done.stderr
