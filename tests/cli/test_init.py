"""``init``: from nothing to a sweep file."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.errors import InputError
from cnn_sweep.shipped import example_sweeps


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
        assert "valid: bush, cats_dogs" in str(error)
