"""Editing the text of a sweep file: one value changes, and everything else stays as the user wrote it."""

from __future__ import annotations

import pytest

from cnn_sweep.sweep.file import yaml
from cnn_sweep.sweep.file.edits import REMOVED, flow, with_values

TEXT = """\
# the first line
study: digits   # its name

training:
    epochs: 10          # enough
    optimizer: {name: adam, learning_rate: 0.1}  # in brackets
    empty:
# before the space
space:
- a
-   b: 1
# the last line
"""


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        (("study",), "other", "digits ", "other "),
        (("training", "epochs"), 5, "epochs: 10", "epochs: 5"),
        (("training", "optimizer", "name"), "sgd", "adam", "sgd"),
        (("training", "optimizer", "rho"), 0.9, "0.1}", "0.1, rho: 0.9}"),
        (("training", "optimizer"), "$o", "{name: adam, learning_rate: 0.1}", "$o"),
        (("training", "empty"), [1, 2], "empty:", "empty: [1, 2]"),
        (("training", "empty", "deep"), 1, "empty:", "empty: {deep: 1}"),
        (("training", "new"), {"a": 1}, "    empty:\n", "    empty:\n    new: {a: 1}\n"),
        (("space", 0), [8, 16], "- a", "- [8, 16]"),
        (("space", 1, "b"), "x, y", "b: 1", "b: 'x, y'"),
        (("space", 2), "c", "b: 1\n", "b: 1\n- c\n"),
        (("models", "keep"), 2, "b: 1\n", "b: 1\nmodels: {keep: 2}\n"),
        pytest.param(("study",), REMOVED, "study: digits   # its name\n", "", id="removed"),
    ],
    ids=str,
)
def test_only_the_value_changes(path, value, old, new):
    """Comments, spacing and the form of other values stay."""
    assert with_values(TEXT, {path: value}) == TEXT.replace(old, new)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a: &x [1, 2]\nb: *x\n", ("a",), 3),
        ("a: &x {k: 1}\nb: {<<: *x, l: 2}\n", ("b", "k"), 5),
        ("{a: 1, # one\n b: 2 # two\n}\n", ("c",), 3),
        ("{a: 1, b: 2}\n", ("a",), REMOVED),
        ("a: |\n  text\n\nb: 1\n", ("c",), 1),
        ("a: 1", ("b", "c", "d"), None),
    ],
)
def test_an_edited_text_means_what_it_should(text, path, value):
    """Where the text cannot be cut, it is written anew; its other values stay the same."""
    data = yaml.read(with_values(text, {path: value}), source="")[0].data
    before = yaml.read(text, source="")[0].data
    for key in before:
        if key != path[0]:
            assert data[key] == before[key]
    if value is REMOVED:
        assert path[0] not in data
    else:
        for key in path:
            data = data[key]
        assert data == value


@pytest.mark.parametrize(
    "value",
    [None, True, 5, 5.0, 1e-4, "true", "012", "a: b", "a, b", "#", "$x", "a\nb", "", [], {}, [{"a": 1}], {"a": ["b"]}],
    ids=repr,
)
def test_a_value_on_one_line_keeps_its_type(value):
    """A text that looks like a number stays a text, with and without brackets around it."""
    for text in (f"k: {flow(value)}", f"{{k: {flow(value)}}}"):
        assert yaml.read(text, source="")[0].data == {"k": value}
