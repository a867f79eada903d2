"""Files of images, arrays and R's lists, and tables of labels, of any content: prepared, or named in a message."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
from helpers.fuzz_images import write_images
from helpers.fuzzing import ODD_TEXTS, corpus, finding, fuzz, mutated, typed
from hypothesis import strategies as st

SWEEP = """\
study: s
data: {data}
model: {{layers: [flatten, {{dense: {{units: $u}}}}, output]}}
space: {{u: [2, 4]}}
search: {{method: grid}}
training: {{epochs: 1}}
"""
ARRAYS = "{source: arrays, train: {x: 'NAME', y: y.npy}}"
# By target: where the content goes, the sweep's section of data, and the argument of `init`.
TARGETS = {
    "npy": ("x.npy", ARRAYS.replace("NAME", "x.npy"), "x.npy"),
    "npz": ("a.npz", ARRAYS.replace("NAME", "a.npz:x"), "a.npz"),
    "rds": ("a.rds", "{source: rds, classes: {a: {train: a.rds}, b: {train: b.rds}}}", "a.rds"),
    "images": ("images/a/0.png", "{source: folder, train: images, image_size: 8}", "images"),
    "jpegs": ("images/a/0.jpg", "{source: folder, train: images, image_size: 8}", "images"),
    "label_tables": (
        "images/labels.csv",
        "{source: files, train: images, image_size: 8, labels: {table: images/labels.csv}}",
        "images/labels.csv",
    ),
    "tile_tables": (
        "tiles.csv",
        "{source: tiles, picture: picture.png, size: 8, labels: {table: tiles.csv}}",
        "tiles.csv",
    ),
}
CASES = {name: corpus(name) for name in TARGETS}
SHAPES = [
    (),
    (0,),
    (24, 8, 8),
    (24, 8, 8, 1),
    (24, 0, 8),
    (-1, 8, 8),
    (10**12, 8, 8),
    (2**63, 2, 2),
    (1,) * 33,
    (1536,),
]
TYPES = [
    "|u1",
    "<f4",
    ">f8",
    "<f2",
    "|b1",
    "<i8",
    "<U3",
    "|O",
    "<c16",
    "<M8[D]",
    "|V8",
    "[('a', '<i4')]",
    "nonsense",
    "|S0",
]


@st.composite
def npy(draw):
    """A .npy file whose header says what its content may not be."""
    header = {
        "descr": draw(st.sampled_from(TYPES)),
        "fortran_order": draw(st.sampled_from([False, False, True, "no", 1])),
        "shape": draw(st.sampled_from(SHAPES)),
    }
    if draw(st.integers(0, 4)) == 0:
        header[draw(st.sampled_from(["descr", "shape", "more", "fortran_order"]))] = draw(st.sampled_from(ODD_TEXTS))
    text = repr(header).encode("utf-8", "replace") + draw(st.sampled_from([b"\n", b"", b" " * 5 + b"\n", b"\0"]))
    version = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]))
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + bytes(draw(st.sampled_from([0, 1, 1536, 6144])))


@st.composite
def npz(draw):
    """An archive of arrays with odd names, sizes and members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for name in draw(
            st.lists(st.sampled_from(["x.npy", "y.npy", "x", "é.npy", "../x.npy", ".npy", "x.txt"]), unique=True)
        ):
            archive.writestr(name, draw(st.one_of(npy(), st.just(b""), st.just(b"text"))))
    data = bytearray(file.getvalue())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        data[at : at + 4] = draw(st.sampled_from([b"\xff" * 4, b"\0" * 4, b"PK\1\2"]))
    return bytes(data)


@st.composite
def tables(draw, lines):
    """A table with other rows, separators, quotes and encodings."""
    rows = [line.split(",") for line in lines]
    for _ in range(draw(st.integers(0, 4))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        kind = draw(st.integers(0, 4))
        odd = draw(st.sampled_from([*ODD_TEXTS, "NA", '"a', "a/0.png", "a", "-1", "1e999", "99999999999"]))
        if kind == 0:
            row.append(odd)
        elif kind == 1:
            row.pop() if len(row) > 1 else rows.append(list(row))
        else:
            row[draw(st.integers(0, len(row) - 1))] = odd
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(draw(st.sampled_from(",;\t|")).join(row) for row in rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"]))
    return text.encode(encoding, "replace")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with sound files of every source."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    shutil.copy(folder / "labels.csv", folder / "images" / "labels.csv")
    return folder


@pytest.fixture
def make_target(folder, monkeypatch):
    """Make the target of a kind of file: `init`, `plan` and `data prepare` with it."""

    def make(kind):
        name, data, argument = TARGETS[kind]
        file = folder / name
        sound = file.read_bytes() if file.exists() else None
        (folder / "s.yaml").write_text(SWEEP.format(data=data), encoding="utf-8")

        def examine(content):
            file.write_bytes(content)
            try:
                for words in (
                    ("init", argument, "--yes", "-o", "new.yaml"),
                    ("plan", "s.yaml"),
                    ("data", "prepare", "s.yaml"),
                ):
                    (folder / "new.yaml").unlink(missing_ok=True)
                    shutil.rmtree(folder / "results", ignore_errors=True)
                    typed(folder, *words, names=[Path(name).name, "images", "s.yaml"])
            finally:
                file.unlink() if sound is None else file.write_bytes(sound)

        return examine

    return make


@pytest.mark.parametrize("case", [f"{kind}/{case}" for kind, cases in CASES.items() for case in cases])
def test_kept_files(make_target, case):
    """Files that once made trouble, and sound ones to begin with."""
    kind, _, name = case.partition("/")
    assert finding(make_target(kind), CASES[kind][name]) is None


@pytest.mark.parametrize("kind", TARGETS)
def test_files(make_target, kind):
    """Any file is used, left out with a reason, or named in a message."""
    made = {
        "npy": npy(),
        "npz": npz(),
        "label_tables": tables(CASES["label_tables"]["sound.csv"].decode().splitlines()),
        "tile_tables": tables(CASES["tile_tables"]["sound.csv"].decode().splitlines()),
    }
    odd = mutated(list(CASES[kind].values()))
    contents = st.one_of(made[kind], made[kind], odd) if kind in made else odd
    fuzz(kind, make_target(kind), contents, few=5, share=0.1)
