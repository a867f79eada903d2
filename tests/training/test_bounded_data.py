"""Images, arrays and tables that would fill memory or take for ever are refused in a moment, with the reason."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from helpers.bounded import Answer, check, typed
from PIL import Image

from cnn_sweep.csv_tables import MAX_COLUMNS, read_csv
from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import ArrayFiles
from cnn_sweep.training.data import arrays, image_decoder, rds
from cnn_sweep.training.data.image_files import walk

if TYPE_CHECKING:
    from pathlib import Path

_VECTOR, _LIST = 14, 19  # R's types


def png(path: Path, width: int, height: int) -> None:
    """Write a PNG whose header says a size, with few pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))


def npy(header: dict[str, Any] | bytes, numbers: bytes = b"\0\1" * 640, length: int | None = None) -> bytes:
    """Return an array file with any header, whose length may be another one than it says."""
    text = header if isinstance(header, bytes) else repr(header).encode()
    return b"\x93NUMPY\2\0" + struct.pack("<I", len(text) if length is None else length) + text + numbers


def images(*shape: Any, descr: str = "|u1") -> dict[str, Any]:
    """Return the header of an array."""
    return {"descr": descr, "fortran_order": False, "shape": shape}


def r_file(*numbers: int) -> bytes:
    """Return an .rds file with anything after its head."""
    return b"X\n" + struct.pack(f">iii{len(numbers)}i", 2, 0x40100, 0x20300, *numbers)


ARRAYS: Final = {
    "negative.npy": (npy(images(-5, 8, 8)), "the shape (-5, 8, 8)"),
    "huge.npy": (npy(images(10**15, 8, 8)), "6.4e+04 TB, but it holds 1.28 kB"),
    "beyond.npy": (npy(images(10**30, 8, 8)), "but it holds 1.28 kB"),
    "objects.npy": (npy(images(20, 8, 8, descr="|O")), "it holds Python objects"),
    "floating.npy": (npy(images(20.0, 8, 8)), "is not a .npy file of numbers"),
    "brackets.npy": (npy(b"(" * 9_000), "is not a .npy file of numbers"),
    "no-mapping.npy": (npy(b"[1]"), "is not a .npy file of numbers"),
    "head.npy": (npy(b"{}", length=2**32 - 1), "is not a .npy file of numbers"),
    "void.npy": (npy(images(20, 8, 8, descr="|V999999999")), "but it holds 1.28 kB"),
    "pipe": (None, "a named pipe, not a regular file"),
    "pipe.npz:x": (None, "a named pipe, not a regular file"),
    "/dev/zero": (None, "a device, not a regular file"),
    "lying.npz:x": (npy(images(10**12, 8, 8)), "but it holds 1.28 kB"),
    "archive.npz:z": (npy(images(20, 8, 8)), "no array 'z'; it has x"),
}
R_FILES: Final = {
    "vector.rds": (r_file(_VECTOR, 2**31 - 1), "of the shape (0,), not width x height"),
    "list.rds": (r_file(_LIST, 2**31 - 1), "is not an .rds file"),
    "long.rds": (r_file(_VECTOR, -1, 2**20, 0), "of the shape (1,), not width x height"),
    "deep.rds": (r_file(*[_LIST, 1] * 9_000), "is not an .rds file"),
    "pipe.rds": (None, "a named pipe, not a regular file"),
}
TABLES: Final = {
    "pipe.csv": (None, "a named pipe, not a regular file"),
    "/dev/zero": (None, "a device, not a regular file"),
    "sparse.csv": (b"filename,label\n", "the table is not text (it holds NUL bytes)"),
    "line.csv": (b"filename,label\n" + b"x" * 2_100_000, "line 2 is longer than 1,000,000 bytes"),
    "wide.csv": (b",".join([b"c"] * 100_000), "line 1: 100,000 columns; a table can have 16,384"),
    "damaged.parquet": (b"PAR1" + bytes(99) + b"PAR1", "damaged.parquet: Could not open Parquet input source"),
}
REASONS: Final = (
    "a/pipe.png: cannot be read: a named pipe, not a regular file",
    "a/socket.png: cannot be read: a socket, not a regular file",
    "a/zero.png: cannot be read: a device, not a regular file",
    "a/loop.png: cannot be read: Too many levels of symbolic links",
    "a/large.png: too large: 13,000 x 13,000 pixels; the limit is 125,000,000; to allow it, write max_pixels",
)


def sweep(name: str, data: str) -> str:
    """Return a sweep file."""
    return (
        f"study: {name}\ndata: {data}\nmodel: {{layers: [flatten, output]}}\ntraining: {{epochs: $e}}\n"
        "space: {e: [1, 2]}\n"
    )


def pictures(folder: Path) -> None:
    """Fill a folder of two classes."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            x = np.random.default_rng([number, ord(name)]).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(x).save(folder / name / f"{number}.png")


def write(path: Path, content: bytes | None) -> None:
    """Write a file; a named pipe without content, an archive around an array."""
    if path.exists():
        return
    if content is None:
        os.mkfifo(path)
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)


def commands(folder: Path) -> dict[str, tuple[list[str], tuple[str, ...]]]:
    """Make all cases in a folder; return the command of each and the words of its answer."""
    np.save(folder / "y.npy", np.arange(20) % 2)
    pictures(folder / "good")
    pictures(folder / "odd")
    os.mkfifo(folder / "odd/a/pipe.png")
    here = os.open(folder / "odd/a", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as unix:  # by a short name, since names of sockets cannot be long
        unix.bind(f"/proc/self/fd/{here}/socket.png")
    os.close(here)
    (folder / "odd/a/zero.png").symlink_to("/dev/zero")
    (folder / "odd/a/loop.png").symlink_to("loop.png")
    png(folder / "odd/a/large.png", 13_000, 13_000)
    data = {"images": ("{source: folder, train: odd, image_size: [8, 8], on_bad_image: fail}", REASONS)}
    for name, (content, words) in ARRAYS.items():
        write(folder / name.partition(":")[0], content)
        data[f"array {name}"] = f'{{source: arrays, train: {{x: "{name}", y: y.npy}}}}', (words,)
    for name, (content, words) in R_FILES.items():
        write(folder / name, content)
        data[name] = f"{{source: rds, classes: {{a: {{train: {name}}}, b: {{train: {name}}}}}}}", (words,)
    for name, (content, words) in TABLES.items():
        write(folder / name, content)
        labels = f"labels: {{table: {name}}}"
        data[f"table {name}"] = f"{{source: files, train: good, image_size: [8, 8], {labels}}}", (words,)
    os.truncate(folder / "sparse.csv", 1_000_000_000)
    found = {}
    for number, (name, (text, words)) in enumerate(data.items()):
        (folder / f"{number}.yaml").write_text(sweep("s", text), encoding="utf-8")
        found[name] = (["data", "prepare", f"{number}.yaml"], words)
    pipe = "a named pipe, not a regular file"
    found["profile"] = (["profile", "check", "pipe"], (pipe,))
    found["init with a table"] = (["init", "good", "--labels", "wide.csv", "--yes"], ("100,000 columns",))
    found["init with arrays"] = (["init", "pipe.npz", "--yes"], (pipe,))
    return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Answer, tuple[str, ...]]]:
    """Type all commands, in forks of one process."""
    folder = tmp_path_factory.mktemp("bounded")
    cases = commands(folder)
    found = typed([words for words, _ in cases.values()], folder)
    return {name: (answer, cases[name][1]) for name, answer in zip(cases, found, strict=True)}


@pytest.mark.parametrize(
    "case",
    [
        "images",
        *(f"array {name}" for name in ARRAYS),
        *R_FILES,
        *(f"table {name}" for name in TABLES),
        *("profile", "init with a table", "init with arrays"),
    ],
)
def test_data_that_would_fill_memory_are_refused(case: str, answers: dict[str, tuple[Answer, tuple[str, ...]]]) -> None:
    """Each refusal names the file and the reason, and takes less than 5 s and 500 MB."""
    answer, words = answers[case]
    check(answer, *words)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array that was compressed to less than a three-hundredth is not unpacked."""
    monkeypatch.setattr(arrays, "MAX_UNPACKED", 1_000_000)
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((4_000, 32, 32), np.uint8), y=np.arange(4_000) % 2)
    with pytest.raises(InputError, match=r"x would unpack to 4.1 MB, more than 300 times its size .* save it as .npy"):
        arrays.read_pair(ArrayFiles(x="x.npz:x", y="x.npz:y"), tmp_path)
    (tmp_path / "x.rds").write_bytes(gzip.compress(bytes(4_000_000)))
    with pytest.raises(InputError, match=r"it would unpack to more than .* MB, 300 times its size"):
        rds.read_list(tmp_path / "x.rds")


def test_images_that_compress_well_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is far above what images and one-hot labels reach."""
    monkeypatch.setattr(arrays, "MAX_UNPACKED", 0)
    x = np.random.default_rng(0).integers(0, 9, (2_000, 8, 8), np.uint8)
    one_hot = np.eye(100)[np.random.default_rng(0).integers(0, 100, 2_000)]
    np.savez_compressed(tmp_path / "x.npz", x=x, y=one_hot)
    pair = arrays.read_pair(ArrayFiles(x="x.npz:x", y="x.npz:y"), tmp_path)
    assert (pair.y == one_hot.argmax(axis=1)).all()
    assert pair.classes == 100


def test_max_pixels_allows_larger_images(tmp_path: Path) -> None:
    """The limit of an image's pixels is a setting of the sweep."""
    Image.new("RGB", (30, 40), "red").save(tmp_path / "a.png")
    options = image_decoder.ImageOptions(8, 8, max_pixels=1_000)
    _, bad = image_decoder.read_images([tmp_path / "a.png"], options)
    assert bad[0].reason == "too large: 30 x 40 pixels; the limit is 1,000; to allow it, write max_pixels: 1200"
    assert not image_decoder.read_images([tmp_path / "a.png"], image_decoder.ImageOptions(8, 8, max_pixels=1_200))[1]
    assert "max_pixels" not in image_decoder.ImageOptions(8, 8).to_data()


def test_links_among_folders_end(tmp_path: Path) -> None:
    """Folders that lead to each other are each read once."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for other in ("a", "b"):
            for number in range(3):
                (tmp_path / name / f"to-{other}-{number}").symlink_to(f"../{other}")
    (tmp_path / "a/1.png").touch()
    assert len(walk(tmp_path)) == 1


def test_a_class_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    """The message shows the bytes of the name, and how to rename many folders."""
    pictures(tmp_path / "x")
    (tmp_path / "x" / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / "s.yaml").write_text(sweep("s", "{source: folder, train: x, image_size: [8, 8]}"), encoding="utf-8")
    for answer in typed([["plan", "s.yaml"], ["init", "x", "--yes"]], tmp_path):
        check(answer, r"the name b'caf\xe9' is not text in UTF-8", "convmv")


def test_tables_have_as_many_columns_as_spreadsheets(tmp_path: Path) -> None:
    """A table of 16,384 columns is read, a row with more is not."""
    row = ",".join(["x"] * MAX_COLUMNS)
    (tmp_path / "a.csv").write_text(f"{row}\n{row}\n", encoding="utf-8")
    assert len(read_csv(tmp_path / "a.csv")[0]) == MAX_COLUMNS
    (tmp_path / "a.csv").write_text(f"{row}\n{row},x\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2: 16,385 columns"):
        read_csv(tmp_path / "a.csv")
