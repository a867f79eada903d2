"""``init``: from nothing to a sweep file."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.errors import InputError
from cnn_sweep.shipped import example_sweeps
from cnn_sweep.sweep.sweep import Sweep


@pytest.fixture
def init(tmp_path, monkeypatch):
    """Type ``init`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def typed(*words):
        return CliRunner().invoke(app, ["init", *words])

    return typed


def test_the_list_of_examples_names_each(init):
    """``--list`` has a row for each example, on standard output."""
    shown = init("--list").stdout
    assert all(f"\n {name} " in shown for name in example_sweeps())


def test_an_example_is_copied_and_can_be_planned(init, tmp_path):
    """``--example`` writes the sweep and its images into the current folder, and says what to type next."""
    done = init("--example", "cats_dogs_names")
    assert done.exit_code == 0
    assert "next: cnn-sweep plan cats_dogs_names.yaml" in done.stderr
    assert "results on them mean nothing" in done.stderr
    planned = CliRunner().invoke(app, ["plan", "cats_dogs_names.yaml"])
    assert "4 trials" in planned.stdout
    assert "images/cats_dogs exists already" in init("--example", "cats_dogs_names").stderr


def test_images_can_be_left_out(init, tmp_path):
    """With ``--no-images`` only the sweep file is written, under the given name."""
    done = init("--example", "city_nature", "--no-images", "--output", "mine.yaml")
    assert "put the paths of yours under `data`" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_without_an_example_the_valid_ones_are_listed(init):
    """``init`` alone, or with an unknown name, is an error that lists the examples."""
    for words in ((), ("--example", "digit")):
        error = init(*words).exception
        assert isinstance(error, InputError)
        assert "valid: bush, bush_folds, camera_traps, cats_dogs" in str(error)


@pytest.fixture
def photos(tmp_path):
    """Two classes of six images; one is called like a number, one has blanks and accents."""
    random = np.random.default_rng(0)
    for name in ("1", "Füchse & Dachse"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.fromarray(random.integers(0, 255, (12, 12, 3), np.uint8))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def answering(words, folder, *answers):
    """Type a command in a terminal, and an answer at each question; return what is shown and the exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cnn_sweep.cli.main", "init", *words]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "PYTHONUTF8": "1", "PATH": "/nowhere"}
    run = subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text, left = "", list(answers)
    while True:
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # the program has ended
            break
        text += chunk.decode(errors="replace")
        if left and text.rstrip().endswith("]:"):
            os.write(ours, left.pop(0).encode())
    os.close(ours)
    assert not left, text
    return text.replace("\r\n", "\n"), run.wait(60)


def test_a_sweep_is_proposed_for_images(init, photos):
    """Without a terminal there is no question; the file, the remarks and the next commands come at once."""
    done = init("photos", "--budget", "3")
    assert done.exit_code == 0
    assert "Found 20 image files in 2 class folders; 12 x 12 pixels, colour." in done.stdout
    assert "cnn-sweep plan photos.yaml" in done.stderr
    assert "3 trials" in CliRunner().invoke(app, ["plan", "photos.yaml"]).stdout


def test_no_file_is_replaced(init, photos, tmp_path):
    """A sweep file that exists stays as it is, and the message names the option for another name."""
    (tmp_path / "photos.yaml").write_text("mine", encoding="utf-8")
    assert "exists already and is not replaced; give another name with --output" in str(init("photos").exception)
    assert (tmp_path / "photos.yaml").read_text(encoding="utf-8") == "mine"
    assert init("photos", "--output", "other.yaml", "--study", "mine").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.yaml", "photos", "photos.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "big"], "--size 'big' is not a number of pixels, such as 96, or height x width, such as 96x128"),
        (["--study", "a b"], "'a b' cannot name a study"),
        (["--hours", "0"], "--hours 0: must be more than 0"),
        (["--hours", "1", "--budget", "3"], "give --budget or --hours, not both"),
        (["--labels", "labels.csv"], "no such file; name a table, or a pattern"),
        (["--label-column", "species"], "no table in photos"),
        (["--output", "nowhere/a.yaml"], "the folder nowhere does not exist"),
        (["--example", "digits", "--label-column", "x", "-y"], "does not go with PATH, --label-column, --yes"),
    ],
)
def test_a_wrong_option_is_one_message_and_writes_nothing(words, message, init, photos, tmp_path):
    """Each option's message has the value and what is valid."""
    error = init("photos", *words).exception
    assert isinstance(error, InputError)
    assert message in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_table_whose_columns_tell_nothing_is_not_guessed_at(init, photos, tmp_path):
    """Without a terminal to ask on, several columns that could be the classes are an error that names them."""
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.*"))
    rows = [f"{name},{'ab'[place % 2]},{'uvw'[place % 3]}" for place, name in enumerate(names)]
    table = tmp_path / "photos" / "notes.csv"
    table.write_text("\n".join(["file,first,second", *rows]), encoding="utf-8")
    message = str(init(str(table)).exception)
    assert "no column's name says that it holds the classes; name it: --label-column first (a, b)" in message
    assert "--label-column second (u, v, w)" in message
    assert init(str(table), "--label-column", "second").exit_code == 0


def test_many_classes_of_few_images_must_be_confirmed(init, tmp_path):
    """Thirty folders of two images look like individuals; `--yes` says that they are classes."""
    for number in range(90):
        path = tmp_path / "birds" / f"bird{number // 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 2 * number, 0)).save(path)
    assert "30 classes with 3 images each (median) may be a mistake" in str(init("birds").exception)
    assert init("birds", "--yes").exit_code == 0


def test_questions_have_defaults_and_repeat_until_the_answer_is_valid(photos, tmp_path):
    """On a terminal: Enter accepts, a wrong answer is explained, and a name that exists is refused at once."""
    (tmp_path / "photos.yaml").write_text("mine", encoding="utf-8")
    text, code = answering(["photos"], tmp_path, "\n", "many\n", "4\n", "\n", "better\n")
    assert code == 0, text
    assert "Size of the images in pixels, height x width [12x12]:" in text
    assert "'many' is not a number of configurations" in text
    assert "photos.yaml exists already" in text
    assert max(map(len, text.splitlines())) <= 80 or "Error" in text
    sweep = Sweep.load(tmp_path / "better.yaml")
    assert (sweep.study, sweep.search.trials) == ("better", 4)


def test_the_images_are_asked_for_and_an_end_writes_nothing(photos, tmp_path):
    """Without a path the first question is where the images are, and Ctrl-D ends the questions."""
    text, code = answering([], tmp_path, "nosuch\n", "photos\n", "\x04")
    assert (code, [path.name for path in tmp_path.iterdir()]) == (130, ["photos"]), text
    assert "nosuch: no such file or folder" in text
    assert "stopped; nothing was written" in text


def test_proposals_train(here, photos, tmp_path):
    """What is proposed for a folder and for arrays is trained to its end."""
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((40, 8, 8)), y=np.arange(40) % 2)
    for path in (photos, tmp_path / "a.npz"):
        file = tmp_path / f"{path.stem}.yaml"
        done = CliRunner().invoke(app, ["init", str(path), "--budget", "1", "--output", str(file)])
        assert done.exit_code == 0, done.stderr
        here.train(Sweep.load(file))
        states = [row["state"] for row in here.table("leaderboard", path.stem, "--all")]
        assert states == ["complete"]
