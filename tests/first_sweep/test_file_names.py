"""Classes and groups in file names."""

from __future__ import annotations

import pytest

from cnn_sweep.first_sweep.file_names import group_in, patterns_in

CASES = {
    "cat.{n}.jpg dog.{n}.jpg": ("{class}.{number}.jpg", ["cat", "dog"]),
    "golden_retriever_{n}.jpg pug_{n}.jpg": ("{class}_{number}.jpg", ["golden_retriever", "pug"]),
    "cat{n}.png dog{n}.png": ("{class}{number}.png", ["cat", "dog"]),
    "IMG_{n}_fox.JPG IMG_{n}_deer.JPG": ("IMG_{number}_{class}.JPG", ["deer", "fox"]),
    "2024-05-0{n}_fox.jpg 2024-06-0{n}_deer.jpg": ("2024-{number}-{number}_{class}.jpg", ["deer", "fox"]),
    "oak {n}.tif elm {n}.TIF": ("{class} {number}.*", ["elm", "oak"]),
    "fox (1{n}).jpg deer (1{n}).jpg": ("{class} ({number}).jpg", ["deer", "fox"]),
    "img_{n}_label_0.png img_{n}_label_1.png": ("img_{number}_label_{class}.png", ["0", "1"]),
}


def names_of(case):
    """Return nine files of each of a case's names."""
    return [
        part.replace("\0", " ").replace("{n}", str(n))
        for n in range(1, 10)
        for part in case.replace(" {n}", "\0{n}").replace(" (", "\0(").split(" ")
    ]


@pytest.mark.parametrize("case", CASES)
def test_the_pattern_of_file_names_is_found(case):
    """Usual ways to put a class into a file's name yield one pattern and its classes."""
    pattern, classes = CASES[case]
    found = patterns_in(names_of(case))
    assert [(one.pattern, one.classes) for one in found] == [(pattern, classes)]


def test_words_come_before_codes_where_both_could_be_the_class():
    """Of two parts, the one without digits is the likelier class; the other is offered too, and is a group."""
    names = [f"{('fox', 'deer')[n % 2]}_{('site1', 'site2', 'site3')[n % 3]}_{n:03}.jpg" for n in range(30)]
    found = patterns_in(names)
    assert [one.pattern for one in found] == ["{class}_*_{number}.jpg", "*_{class}_{number}.jpg"]
    group = group_in(names, found[0].labels)
    assert (group.count, group.examples) == (3, ("site1", "site2", "site3"))


def test_numbers_alone_are_no_classes():
    """Names that differ only in a running number show no class and no group."""
    names = [f"IMG_{n:04}.jpg" for n in range(40)]
    assert patterns_in(names) == []
    assert group_in(names, ["a", "b"] * 20) is None


def test_a_part_that_names_the_class_is_no_group():
    """If each class folder repeats its name in its files, images are not warned of as groups."""
    names = [f"{name}/{name}_{n}.jpg" for name in ("fox", "deer") for n in range(10)]
    assert group_in(names, [name.partition("/")[0] for name in names]) is None
