"""YAML text to plain data with lines."""

from __future__ import annotations

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.sweep.file import yaml


def read(text: str):
    """Read text; give the document and its mistakes by line."""
    document, problems = yaml.read(text, source="x.yaml")
    return document, [(problem.line, problem.where, problem.message) for problem in sorted(problems)]


def place(document, path):
    """Return the path and the line at which a document has a value."""
    found = document.locate(path)
    return found.path, found.line


def data(text: str):
    """Read text without mistakes."""
    document, problems = read(text)
    assert not problems
    return document.data


def test_numbers_without_a_point_before_the_exponent_are_numbers():
    """YAML 1.2 is read: 1e-4 is a number and `no` a text, unlike in YAML 1.1."""
    assert data("a: 1e-4\nb: no\nc: 012\nd: 0x1f\ne: 1_000") == {"a": 1e-4, "b": "no", "c": 12, "d": 31, "e": 1000}


def test_all_kinds_of_plain_values_are_read():
    """Text, whole numbers, real numbers, truth values, nothing, lists and mappings come as Python's own."""
    read_data = data("[text, 'quoted', 1, -2.5, true, False, ~, null, [], {}, 2024-01-01]")
    assert read_data == ["text", "quoted", 1, -2.5, True, False, None, None, [], {}, "2024-01-01"]


def test_a_value_is_found_at_the_line_of_its_key():
    """The line of a value in a mapping is that of its key, of an item that of the item."""
    document, _ = read("a:\n  b:\n    [1,\n     2]\nc:\n- x\n- y: 3\n")
    assert place(document, ("a", "b")) == (("a", "b"), 2)
    assert place(document, ("a", "b", 1)) == (("a", "b", 1), 4)
    assert place(document, ("c", 1, "y")) == (("c", 1, "y"), 7)


def test_a_place_that_is_not_in_the_file_is_found_at_what_surrounds_it():
    """A path that leads out of the file ends at the last value that is there."""
    document, _ = read("a:\n  b: 1\n")
    assert place(document, ("a", "b", "rate")) == (("a", "b"), 2)
    assert place(document, ("a", "missing")) == (("a",), 1)


def test_a_key_that_comes_twice_is_a_mistake_with_both_lines():
    """Of two equal keys the second is reported, and the first named."""
    _, problems = read("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n")
    assert [(line, where) for line, where, _ in problems] == [(4, "b.c"), (5, "a")]
    assert "first on line 3" in problems[0][2]


@pytest.mark.parametrize(
    ("text", "line", "where", "words"),
    [
        ("a: 1\n2: x", 2, "2", "must be text"),
        ("a: " + "9" * 400, 1, "a", f"{'9' * 30}… is too large for a whole number (up to 2**63 - 1)"),
        ("a: " + "9" * 5_000, 1, "a", f"{'9' * 30}… is too large"),
        ("a: -0x" + "f" * 30, 1, "a", "is too large for a whole number"),
        ("a: 1e400", 1, "a", "1e400 is not a finite number"),
        ("a: .inf", 1, "a", "not a finite number"),
        ("a: [1, .nan]", 1, "a[1]", "not a finite number"),
        ("a: !!python/object:os.system x", 1, "a", "tag"),
        ("? [a, b]\n: 1", 1, "?", "must be text"),
    ],
)
def test_what_has_no_place_in_a_sweep_file_is_a_mistake(text, line, where, words):
    """Keys that are no text, numbers that are not finite, and tags are told with their place."""
    try:
        _, problems = read(text)
    except SweepFileError as error:  # no other number can stand in for one that is none
        problems = [(one.line, one.where, one.message) for one in error.problems]
    assert [(at, path) for at, path, _ in problems] == [(line, where)]
    assert words in problems[0][2]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\nb: 3", 2),
        ("a: 'x", 1),
        ("a:\n\t- b", 2),
        ("a: b: c", 1),
        ("a: *nowhere", 1),
        ("a: 1\n---\nb: 2", 2),
        ("a: \x00", 0),
        ("a: &x [*x]", 0),
        ("a: " + "[" * 5_000, 0),
        ("a: " + "[" * 60 + "]" * 60, 0),
    ],
)
def test_text_that_is_no_yaml_is_one_mistake(text, line):
    """Broken YAML ends with one message, with its line where the parser knows it."""
    with pytest.raises(SweepFileError) as caught:
        read(text)
    assert [problem.line for problem in caught.value.problems] == [line]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\t- b", "spaces, not with tabs"),
        ("a: b: c", "a text with a colon in quotes"),
        ("a: 1\n  b: 2", "how far this line is indented"),
        ("a:\n  b: 1\n c: 2", "indent all lines of one section equally"),
        ("a: 1\nb 2\nc: 3", "write `key: value`"),
    ],
)
def test_common_mistakes_of_yaml_come_with_a_hint(text, hint):
    """YAML's own words are for those who know its grammar."""
    with pytest.raises(SweepFileError) as caught:
        read(text)
    assert hint in caught.value.problems[0].message


def test_aliases_cannot_blow_up_the_file():
    """A small file that unfolds into millions of values is refused."""
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    for one, before in zip("bcdefg", "abcdef", strict=True):
        bomb += f"{one}: &{one} [{','.join([f'*{before}'] * 10)}]\n"
    with pytest.raises(SweepFileError, match="more than 100,000 values"):
        read(bomb)


def test_merged_mappings_are_read_and_own_keys_count():
    """`<<` brings the keys of another mapping; those written here win."""
    assert data("base: &base {a: 1, b: 2}\nx: {<<: *base, b: 3}")["x"] == {"a": 1, "b": 3}


def test_an_empty_file_has_no_data():
    """Nothing in, nothing out."""
    document, problems = read("# only a comment\n")
    assert document.data is None
    assert problems == []
