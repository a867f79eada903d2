"""Images of one group, such as a site or a patient, stay in one split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import FilesData, FolderData
from cnn_sweep.training.data.dataset import items
from cnn_sweep.training.data.groups import groups_of_paths, name_of
from cnn_sweep.training.data.prepare import prepare, read_report
from cnn_sweep.training.data.splits import Labelled, divide

SITES = 12
EACH = 5  # images of a site, alternately of two classes


@pytest.fixture
def folder(tmp_path):
    """Images of two classes from twelve sites, as CLASS/SITE/NUMBER.png, and a table with the sites."""
    rows = ["filename,label,site,set"]
    for site in range(SITES):
        for k in range(EACH):
            name = f"{'ab'[k % 2]}/s{site}/{site}-{k}.png"
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4), 4 * (EACH * site + k), np.uint8)).save(path)
            rows.append(f"{name},{'ab'[k % 2]},s{site},{('train', 'validation', 'test')[site % 3]}")
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def by_folder(**data):
    """Describe images by class folders."""
    return FolderData(source="folder", train="images", image_size=(4, 4), **data)


def by_table(*, labels=None, **data):
    """Describe images by a table."""
    labels = {"table": "t.csv", **(labels or {})}
    return FilesData(source="files", train="images", image_size=(4, 4), labels=labels, **data)


def sites_of(spec, folder):
    """Prepare a data set; return the sites of each split and the report."""
    path = prepare(spec, folder, folder / "root")
    report = read_report(path)
    return {name: {item.name.split("/")[1] for item in items(path, name)} for name in report["images"]}, report


@pytest.mark.parametrize(
    "spec",
    [
        by_folder(validation=0.25, test=0.25, group="*/{site}/*"),
        by_table(validation=0.25, test=0.25, group="site"),
        by_table(validation=0.25, test=0.25, group="{site}-*"),
        by_table(labels={"split": "set"}, group="site"),
    ],
    ids=["folder", "column", "name", "given"],
)
def test_no_group_is_in_two_splits(spec, folder):
    """Whether a folder, a column or the file's name tells the site, its images stay together."""
    sites, report = sites_of(spec, folder)
    assert len(sites["train"]) + len(sites["validation"]) + len(sites["test"]) == SITES
    assert sorted(set().union(*sites.values())) == sorted({f"s{k}" for k in range(SITES)})
    is_given = getattr(getattr(spec, "labels", None), "split", None) is not None
    assert len(sites["validation"]) == len(sites["test"]) == (4 if is_given else 3)
    assert all(min(counts.values()) > 0 for counts in report["images"].values())
    assert any(note.endswith("none in two sets") for note in report["notes"])


def test_another_site_of_an_image_makes_another_split(folder):
    """A corrected table is noticed, though no image changed."""
    spec = by_table(validation=0.25, group="site")
    before = prepare(spec, folder, folder / "root")
    table = folder / "t.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",s1,", ",s0,"), encoding="utf-8")
    assert prepare(spec, folder, folder / "root") != before


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(6, 30),
    classes=st.integers(2, 4),
    share=st.sampled_from([0.1, 0.2, 0.3, 0.5]),
    seed=st.integers(0, 99),
)
def test_shares_and_classes_are_kept_as_well_as_groups_allow(groups, classes, share, seed):
    """With every class in each group, both sets have all classes, and sizes within two groups of what is asked."""
    y = np.tile(np.arange(classes, dtype=np.int32), groups * 2)
    group = [str(k // (2 * classes)) for k in range(len(y))]
    parts = divide(Labelled(y, groups=group), validation=share, test=0.0, seed=seed)
    inside = {name: {group[k] for k in part} for name, part in parts.items()}
    assert not inside["train"] & inside["validation"]
    assert abs(len(inside["validation"]) - max(1, share * groups)) <= 2
    assert all(set(y[part]) == set(range(classes)) for part in parts.values())
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(y)))


MISTAKES = {
    "a class of one site": (
        by_folder(validation=0.25, group="{kind}/*/*"),
        r"the classes a, b have images of only one group each, .* both the training and the validation set takes two",
    ),
    "a pattern that fits no file": (
        by_folder(validation=0.25, group="{site}_*"),
        r"data.group: 60 files do not match '\{site\}_\*', such as a/s0/0-0.png; each image needs a group",
    ),
    "no such column": (
        by_table(group="sit"),
        r"data.group: .*no column 'sit' \(did you mean 'site'\?\); it has filename",
    ),
    "sites in two given sets": (
        by_table(labels={"split": "set"}, group="label"),
        r"data.group: 2 groups are in the train and the validation set: a, b",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_groups_that_cannot_be_kept_apart_are_refused(mistake, folder):
    """The message names the class, the file or the column."""
    spec, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        prepare(spec, folder, folder / "root")


def test_images_without_a_group_are_refused(folder):
    """An empty cell would silently put images of one site into both sets."""
    table = folder / "t.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",s1,", ",NA,"), encoding="utf-8")
    with pytest.raises(InputError, match=r"5 images have no value in the column 'site': a/s1/1-0.png"):
        prepare(by_table(group="site"), folder, folder / "root")


@pytest.mark.parametrize("group", ["site", "{a}/{b}/*", "{site"])
def test_a_pattern_has_one_name_in_braces(group):
    """Folders have no columns, and two names would be two groups."""
    with pytest.raises(ValidationError, match="pattern"):
        by_folder(group=group)


def test_a_group_is_the_shortest_part_that_fits():
    """In ``{site}_*`` the site ends at the first underscore; a pattern with slashes spans the whole path."""
    assert groups_of_paths("{site}_*", ["x/s1_a_b.jpg", "y/s2_c.jpg"]) == ("s1", "s2")
    assert groups_of_paths("*/{camera}/???.jpg", ["fox/c1/001.jpg"]) == ("c1",)


def test_a_group_has_a_name_for_people():
    """A column, or what stands in the braces of a pattern."""
    assert [name_of(group) for group in ("site", "{site}_*", "*/{camera}/*")] == ["site", "site", "camera"]
