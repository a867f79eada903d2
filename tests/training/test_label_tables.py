"""Tables of labels as spreadsheets, R and pandas write them: each gives the right labels, or one clear message."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import FilesData
from cnn_sweep.training.data.dataset import items, load
from cnn_sweep.training.data.prepare import prepare, read_report
from cnn_sweep.training.data.sources import describe

FILES = [f"i{k}.png" for k in range(8)]
ROWS = [(name, "ab"[k % 2]) for k, name in enumerate(FILES)]
WHOLE = {f"i{k}.png": "ab"[k % 2] for k in range(8)}


@pytest.fixture
def folder(tmp_path):
    """Eight different images, i0.png to i7.png."""
    write_images(tmp_path, FILES)
    return tmp_path


def write_images(folder, names):
    """Write images that all differ."""
    for k, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 30 * k, np.uint8)).save(path)


def text(rows=ROWS, separator=",", end="\n", header=("filename", "label")):
    """Write rows as CSV."""
    return "".join(separator.join(row) + end for row in (header, *rows))


def ready(folder, table, **data):
    """Prepare images with a table; returns their labels by name, and the report."""
    path = folder / "t.csv"
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    labels = {"table": "t.csv", **data.pop("labels", {})}
    share = {} if "split" in labels else {"validation": 0.5}  # a column of splits leaves nothing to share out
    given = {"image_size": (4, 4), **share, **data}
    spec = FilesData(source="files", train="images", labels=labels, **given)
    made = prepare(spec, folder, folder / "root")
    found = load(made, splits=("train", "validation", "test", "unlabelled"))
    assert describe(spec, folder) == found.info
    named = {}
    for split, images in found.splits.items():
        names = [*found.info.class_names, ""]
        named |= {item.name: names[y] for item, y in zip(items(made, split), images.y, strict=True)}
    return named, read_report(made)


SAME = {
    "semicolons, Windows lines": text(separator=";", end="\r\n").encode(),
    "old Mac lines": text(end="\r").encode(),
    "Excel's separator": ("sep=;\n" + text(separator=";")).encode(),
    "byte order mark": text().encode("utf-8-sig"),
    "Excel's Unicode text": text(separator="\t", end="\r\n").encode("utf-16"),
    "empty rows": (text() + ",\n\n , \n").encode(),
    "empty columns": "".join(f"{line},,\n" for line in text().splitlines()).encode(),
    "spaces": text([(f" {name} ", f"{label}\u00a0") for name, label in ROWS], header=("filename ", " label")).encode(),
    "quotes with lines": ("filename,label,note\n" + "".join(f'{a},{b},"x\n,y"\n' for a, b in ROWS)).encode(),
    "a comma in a header": ('"a, b, c";filename;label\n' + "".join(f"x;{a};{b}\n" for a, b in ROWS)).encode(),
}


@pytest.mark.parametrize("table", SAME.values(), ids=SAME)
def test_a_table_is_read_as_programs_write_it(table, folder):
    """Separators, ends of lines, encodings, empty rows and columns, spaces and quotes change no label."""
    found, report = ready(folder, table)
    assert (found, report["notes"], report["bad"]) == (WHOLE, [], [])


def test_a_line_separator_within_a_value_cuts_no_row(folder):
    """U+0085 and its like end lines for Python's splitlines, but not in a table."""
    found, _ = ready(folder, text([(name, f"{label}\x85\u2028x") for name, label in ROWS]))
    assert set(found.values()) == {"a\x85\u2028x", "b\x85\u2028x"}


def test_a_table_in_windows_letters_is_read_and_said(folder):
    """What is no UTF-8 is read as cp1252, as Excel saves CSV in western Europe, with a note."""
    found, report = ready(folder, text([(name, f"{label}é") for name, label in ROWS]).encode("cp1252"))
    assert set(found.values()) == {"aé", "bé"}
    assert "read as Windows text (cp1252)" in report["notes"][0]


NAMED = {
    "without ending": lambda name: name.removesuffix(".png"),
    "in capitals": str.upper,
    "with backslashes": lambda name: f".\\{name}",
    "with the folder": lambda name: f"images/{name}",
    "of another machine": lambda name: f"C:\\Users\\me\\{name}",
}


@pytest.mark.parametrize("written", NAMED.values(), ids=NAMED)
def test_names_find_their_files(written, folder):
    """A name may lack its ending, be in another case, or have another machine's path; it is said."""
    found, report = ready(folder, text([(written(name), label) for name, label in ROWS]))
    assert found == WHOLE
    assert "8 names are not written like the file, such as" in report["notes"][0]


def test_names_find_their_files_in_subfolders_and_anywhere(tmp_path):
    """Names without a folder are found in subfolders if that is unambiguous; absolute ones where they lead."""
    write_images(tmp_path, [f"part{k % 3}/{name}" for k, name in enumerate(FILES)])
    found, _ = ready(tmp_path, text())
    assert {name.rpartition("/")[2]: label for name, label in found.items()} == WHOLE
    (tmp_path / "images").rename(tmp_path / "away")
    (tmp_path / "images").mkdir()
    there = [(str(tmp_path / "away" / f"part{k % 3}" / name), label) for k, (name, label) in enumerate(ROWS)]
    found, report = ready(tmp_path, text(there))
    assert (found, report["notes"]) == (dict(there), [])


def test_what_table_and_folder_have_alone_is_named(folder):
    """A file that is missing is a bad image, and an image that no row names is in a note."""
    found, report = ready(folder, text([*ROWS[:7], ("gone.png", "a")]))
    assert len(found) == 7
    assert [(bad["file"], bad["reason"]) for bad in report["bad"]] == [
        ("gone.png", "cannot be read: No such file or directory")
    ]
    assert report["notes"] == [f"{folder / 'images'}: 1 image is not in t.csv, so ignored: i7.png"]


def test_words_for_missing_values_are_no_classes(folder):
    """R's NA is no label, which is said; unless the sweep lists it among the classes."""
    rows = [*ROWS[:4], ("i4.png", "NA"), ("i5.png", "NA"), ("i6.png", ""), ("i7.png", "b")]
    found, report = ready(folder, text(rows))
    assert {name for name, label in found.items() if not label} == {"i4.png", "i5.png", "i6.png"}
    assert "'NA' means no label, in 2 rows" in report["notes"][0]
    found, _ = ready(folder, text(rows), classes=("a", "b", "NA"))
    assert found["i4.png"] == "NA"


def test_whole_numbers_of_parquet_stay_whole(folder):
    """Pandas makes numbers floating-point where one is missing; 1.0 is the class 1 all the same."""
    frame = pd.DataFrame({"filename": FILES, "label": [1, 2, 1, 2, 1, 2, None, 2]})
    frame.to_parquet(folder / "t.parquet")
    found, _ = ready(folder, b"", labels={"table": "t.parquet"})
    assert set(found.values()) == {"1", "2", ""}


MISTAKES = {
    "a long row": (text([*ROWS[:7], ("i7.png", "a", "b")]), r"line 9: 3 values, but there are 2 columns: .*in quotes"),
    "a short row": (text([*ROWS[:7], ("i7.png",)]), r"line 9: 1 value, but there are 2 columns"),
    "a column twice": (
        text([(*row, "x") for row in ROWS], header=("filename", "label", "label")),
        "2 columns are call",
    ),
    "a file twice": (text([*ROWS, ("i0", "b")]), r"files that are listed twice: i0\.png \(as i0\.png, i0\)"),
    "no name": (text([*ROWS[:7], ("", "b")]), "1 row has no value in the column 'filename'"),
    "no such files": (text([(f"x{a}", b) for a, b in ROWS]), "none of its 8 files is in .*; the folder has i0.png"),
    "an open quote": (text([("i0.png", "a"), ('"i1.png', "b"), *ROWS[2:]]), "unclosed quotation mark"),
    "a workbook": (b"PK\x03\x04..", "this is a spreadsheet, not text; save it as CSV"),
    "no text": (text().encode("utf-16-le"), "NUL bytes"),
    "measurements": (
        text([(a, f"{k / 3:.2f}") for k, (a, _) in enumerate(ROWS)]),
        r"the labels look like numbers \(0\.00, .*8 different ones for 8 images",
    ),
    "a class of one": (text([*ROWS[:7], ("i7.png", "c")]), "the class c has only one image"),
    "a share of nothing": (text(), r"validation: 0\.01 of 8 images is 0; give a larger share", {"validation": 0.01}),
    "a share of too few": (text(), r"too few to have each of the 2 classes in both", {"validation": 0.13}),
    "a test of nothing": (text(), r"test: 0\.01 of 8 images is 0", {"test": 0.01}),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_what_a_table_cannot_mean_is_one_clear_message(mistake, folder):
    """Nothing is shifted, chosen or left out silently: the message has the place and what to do."""
    table, message, *data = mistake
    with pytest.raises(InputError, match=message):
        ready(folder, table, **(data[0] if data else {}))


def splits(*names):
    """A table with a column of splits."""
    return text([(*row, name) for row, name in zip(ROWS, names, strict=True)], header=("filename", "label", "split"))


def test_a_column_of_splits_says_which_set_is_empty_or_lacks_a_class(folder):
    """The column says which image is in which set; what is missing there is noted."""
    table = splits(*["train"] * 4, *["validation"] * 2, *["test"] * 2)
    given = {"labels": {"split": "split"}}
    assert ready(folder, table, **given)[1]["notes"] == []
    (note,) = ready(folder, splits(*["train"] * 4, *["test"] * 4), **given)[1]["notes"]
    assert "puts no image into the validation set" in note
    notes = ready(folder, splits(*["train"] * 4, *["validation", "test"] * 2), **given)[1]["notes"]
    assert notes == ["no image of the class b in the validation set", "no image of the class a in the test set"]
