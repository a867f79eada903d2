"""Paths that users write, in sweep files and on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.folders import LabelWishes
from cnn_sweep.first_sweep.look import look_at
from cnn_sweep.validation import path_in


def test_where_a_path_leads(tmp_path, monkeypatch):
    """Relative paths start at the folder, `~` is the home folder, and nothing needs to be there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert path_in(tmp_path, "images/train") == tmp_path / "images" / "train"
    assert path_in(tmp_path, "/data") == Path("/data")
    assert path_in(tmp_path, "~/images") == tmp_path / "home" / "images"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("~nobody_here/images", "'~nobody_here' is nobody's home folder here; write the whole path"),
        ("a\0b", "cannot be a file's name"),
        ("a" * 300, "File name too long"),
        ("a/" * 3000, "File name too long"),
    ],
    ids=["user", "nul", "name", "path"],
)
def test_what_no_file_can_be_called(tmp_path, name, reason):
    """The message begins with the name, in the notation of sweep files and not longer than a line."""
    with pytest.raises(InputError, match=reason) as error:
        path_in(tmp_path, name)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200
    with pytest.raises(InputError, match=reason):
        look_at(name, LabelWishes())
