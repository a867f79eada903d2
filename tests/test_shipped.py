"""Files that come with the program, as they are found and copied."""

from __future__ import annotations

import re

import pytest

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.shipped import (
    copy_example,
    describe_example,
    example_profiles,
    example_sweeps,
    image_maker,
    images_of_example,
    make_images,
)
from cnn_sweep.sweep.sweep import Sweep


def test_examples_profiles_and_the_image_maker_are_found():
    """The sweeps, profiles and the script that users copy are there."""
    assert {"digits", "bush", "cats_dogs"} <= set(example_sweeps())
    assert {"cpu", "gpu"} <= set(example_profiles())
    assert image_maker().is_file()


@pytest.mark.parametrize("name", example_sweeps())
def test_an_example_is_described_in_one_sentence(name):
    """The description is the first sentence of the example's comment, on one line."""
    description = describe_example(name)
    assert 20 < len(description) < 200
    assert ". " not in description
    assert "\n" not in description


def test_the_line_by_which_editors_find_the_schema_is_no_description(tmp_path, monkeypatch):
    """A comment for editors at the top of an example does not describe it."""
    (tmp_path / "one.yaml").write_text(
        "# yaml-language-server: $schema=x.json\n# Two\n# lines. Three.\nstudy: one\n", encoding="utf-8"
    )
    monkeypatch.setattr("cnn_sweep.shipped._folder", lambda name: tmp_path)
    assert describe_example("one") == "Two lines"


@pytest.mark.parametrize("name", example_sweeps())
def test_a_copy_names_nothing_of_the_checkout(name, tmp_path):
    """A copy is a valid sweep; its paths and comments name no file that only a checkout has."""
    copy_example(name, tmp_path / "mine.yaml")
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert not re.findall(r"\.\./|examples/|sweeps/|docs/|make_images|make demo", text)
    assert set(re.findall(r"images/(\w+)", text)) == set(images_of_example(name))
    assert "--output mine.yaml" in text or not images_of_example(name)
    assert Sweep.load(tmp_path / "mine.yaml").study == name


def test_a_file_with_other_content_is_not_replaced(tmp_path):
    """An example is copied over nothing but the same copy; nothing else is left in the folder."""
    file = tmp_path / "digits.yaml"
    copy_example("digits", file)
    copy_example("digits", file)
    for other in ("mnist", "bush"):
        with pytest.raises(InputError, match=r"digits\.yaml exists already and is not replaced"):
            copy_example(other, file)
    assert "study: digits" in file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """A missing folder, a folder in place of the file and an unknown example are the user's mistakes."""
    with pytest.raises(InputError, match=r"the folder .*none does not exist"):
        copy_example("digits", tmp_path / "none" / "digits.yaml")
    with pytest.raises(InputError, match=r"is a folder; name the file to write, such as .*digits\.yaml"):
        copy_example("digits", tmp_path)
    with pytest.raises(InputError, match=r"unknown example 'digit' \(did you mean 'digits'\?\); valid: bush"):
        copy_example("digit", tmp_path / "digit.yaml")
    (tmp_path / "lost.yaml").symlink_to(tmp_path / "nowhere" / "else.yaml")
    with pytest.raises(InputError, match="exists already"):
        copy_example("digits", tmp_path / "lost.yaml")


def test_images_are_made_once_beside_the_copy(tmp_path):
    """The files that an example names are there afterwards; a folder that exists is left alone."""
    made, kept = make_images("cats_dogs_names", tmp_path)
    assert (made, kept) == ([tmp_path / "images" / "cats_dogs"], [])
    assert len(list((tmp_path / "images" / "cats_dogs" / "all").glob("cat.*.jpg"))) == 40
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["cats_dogs"]
    assert make_images("cats_dogs", tmp_path) == ([], made)
    assert make_images("digits", tmp_path) == ([], [])


def test_images_that_cannot_be_made_leave_nothing(tmp_path, monkeypatch):
    """If the script fails, its last line says why, and no part of a folder is left."""
    script = tmp_path / "make_images.py"
    script.write_text("import sys\nsys.exit('no disk')\n", encoding="utf-8")
    monkeypatch.setattr("cnn_sweep.shipped.image_maker", lambda: script)
    with pytest.raises(EnvironmentFault, match=r"make_images\.py could not make .*bush: no disk"):
        make_images("bush", tmp_path)
    assert list((tmp_path / "images").iterdir()) == []
    with pytest.raises(EnvironmentFault, match="cannot write images into"):
        make_images("bush", script)
