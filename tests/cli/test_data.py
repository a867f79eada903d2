"""The commands `data prepare` and `data show`: bad images are reported, and good ones are used."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from helpers.images import encoded
from PIL import Image
from typer.testing import CliRunner

from cnn_sweep.cli.main import app

SWEEP = """
study: odd
data: {source: folder, train: images, validation: 0.25, image_size: 12, on_bad_image: skip}
model: {layers: [{conv2d: {filters: 2, kernel_size: 3}}, flatten, output]}
training: {epochs: 1, batch_size: 16, augmentation: {horizontal_flip: true, rotation: 20}}
"""


def odd_images():
    """Return 60 files that are not plain pictures: (name, content, text in the report)."""
    random = np.random.default_rng(0)

    def noise(mode="RGB"):
        return Image.fromarray(random.integers(0, 256, (20, 14, 3), np.uint8)).convert(mode)

    def turned():
        image = noise()
        exif = image.getexif()
        exif[0x0112] = 8
        return encoded(image, "JPEG", exif=exif)

    def sixteen():
        return encoded(Image.fromarray(random.integers(0, 65536, (9, 9)).astype(np.uint16)), "PNG")

    kinds = [
        ("empty.jpg", lambda: b"", "the file is empty"),
        ("cut.jpg", lambda: encoded(noise(), "JPEG")[:-200], "truncated"),
        ("cut.png", lambda: encoded(noise(), "PNG")[:90], "damaged"),
        ("text.jpg", lambda: random.bytes(50).hex().encode(), "not an image"),
        ("page.html.png", lambda: b"<html>" + random.bytes(9).hex().encode(), "not an image"),
        ("float.tif", lambda: encoded(noise("L").convert("F"), "TIFF"), "floating-point"),
        ("cmyk.jpg", lambda: encoded(noise("CMYK"), "JPEG"), "CMYK converted"),
        ("palette.gif", lambda: encoded(noise("P"), "GIF"), "palette converted"),
        ("sixteen.png", sixteen, "16 bits made 8"),
        ("turned.jpg", turned, "turned as its EXIF data say"),
        ("clear.png", lambda: encoded(noise("RGBA"), "PNG"), "transparency made white"),
        ("two.tif", lambda: encoded(noise(), "TIFF", save_all=True, append_images=[noise()]), "first of 2 frames"),
    ]
    return [(f"{k}-{name}", make(), told) for k in range(5) for name, make, told in kinds]


@pytest.fixture
def odd(cli):
    """A command line beside a folder of two classes, with 60 odd images among 40 plain ones."""
    random = np.random.default_rng(1)
    for label, name in enumerate(("dark", "light")):
        folder = cli.folder / "images" / name
        folder.mkdir(parents=True)
        for k in range(20):
            pixels = random.integers(label * 100, label * 100 + 100, (15, 15, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"plain{k}.png")
    for k, (name, content, _) in enumerate(odd_images()):
        (cli.folder / "images" / ("dark", "light")[k % 2] / name).write_bytes(content)
    (cli.folder / "odd.yaml").write_text(SWEEP, encoding="utf-8")
    return cli


@pytest.fixture
def odd_folder(tmp_path, monkeypatch):
    """A folder, the current one, with two classes and a table of labels."""
    for name in ("dark", "light"):
        (tmp_path / "images" / name).mkdir(parents=True)
    (tmp_path / "labels.csv").write_text("filename,label\na.png,dark\nb.png,light\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sixty_odd_images_are_each_named_and_a_model_is_trained(odd):
    """Each odd image is in the report with its reason: 30 that are left out, 30 that are converted."""
    shown = odd("data", "prepare", "odd.yaml").stdout
    (file,) = odd.results.glob(".data/folder-*/report.json")
    report = json.loads(file.read_text(encoding="utf-8"))
    told = {remark["file"].rpartition("/")[2]: remark["reason"] for remark in report["bad"] + report["converted"]}
    assert len(report["bad"]) == len(report["converted"]) == 30
    for name, _, reason in odd_images():
        assert reason in told[name], (name, told[name])
    assert "30 images cannot be used and are left out:" in shown
    assert "converted: 5 images: CMYK converted" in shown
    assert "70 images of 12 x 12 x 3" in shown
    ended = odd("run", "odd.yaml", "--workers", 1)
    assert "complete" in ended.stdout
    sheet = odd("data", "show", "odd.yaml", "--samples", 3).stdout.strip()
    with Image.open(odd.folder / sheet) as plain:
        assert plain.height > 2 * 96
    made = odd("data", "show", "odd.yaml", "--augmented", "--output", "changed.png").stdout.strip()
    with Image.open(odd.folder / made) as image:
        changed = np.asarray(image)
    first, second = changed[22:118, 4:100], changed[22:118, 112:208]
    assert first.std() > 0
    assert (first != second).any()


def test_a_sweep_may_insist_on_good_images(odd):
    """With `on_bad_image: fail` the bad images are listed and no study is left behind."""
    (odd.folder / "odd.yaml").write_text(SWEEP.replace("on_bad_image: skip", "on_bad_image: fail"), encoding="utf-8")
    said = odd("run", "odd.yaml", code=2).stderr
    assert "30 images cannot be used:" in said
    assert "dark/0-cut.png: damaged" in said
    assert "write on_bad_image: skip" in said
    assert not (odd.results / "odd").exists()


def test_data_prepare_says_the_same_twice_and_names_files_of_any_bytes(odd):
    """A second `data prepare` does nothing and prints the same; an undecodable file name gives no traceback."""
    name = os.fsdecode(b"\xff.png")  # an ordinary name where the encoding is Latin-1
    (odd.folder / "images" / "dark" / name).write_bytes(b"no image")
    (odd.folder / "images" / "loose.png").write_bytes(b"")
    done = odd("data", "prepare", "odd.yaml")
    first, note = done.stdout, "1 image is in no class folder"
    assert (first.count(note), done.stderr.count(note)) == (1, 0), "a note is told once"
    files = {file: file.stat().st_mtime_ns for file in odd.results.glob(".data/*/*")}
    assert odd("data", "prepare", "odd.yaml").stdout == first
    assert {file: file.stat().st_mtime_ns for file in odd.results.glob(".data/*/*")} == files
    assert "31 images cannot be used and are left out:" in first
    shown = name.encode("utf-8", "backslashreplace").decode("utf-8")
    assert f"dark/{shown}: not an image of a known format" in first
    assert "6 images: the file is empty" not in first
    assert "5 images: the file is empty" in first, "each reason is counted where there are too many to list"


@pytest.mark.parametrize("verb", [["plan"], ["data", "prepare"], ["run"], ["submit", "--profile", "none.toml"]])
@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        ("source: folder, train: none", "3: data.train", "none: no such folder"),
        ("source: folder, train: images, test: none", "3: data.test", "none: no such folder"),
        ("source: folder, train: images,\n  validation: 0,2", "4: data.validation", "write a decimal point: 0.2"),
        ("source: folder, train: images, classes: [dark, day]", "3: data.classes", "no subfolder 'day'"),
        ("source: files, train: images,\n  labels: {table: none.csv}", "4: data.labels.table", "No such file"),
        (
            "source: files, train: images, labels: {table: labels.csv,\n  label: kind}",
            *("4: data.labels.label", "labels.csv: no column 'kind'; it has filename, label"),
        ),
    ],
)
def test_data_that_are_missing_are_told_with_the_sweep_files_line(odd_folder, verb, data, place, words):
    """Each command reports the line and key of a missing folder, file or column, and leaves no study."""
    text = SWEEP.replace("source: folder, train: images, validation: 0.25", data)
    (odd_folder / "odd.yaml").write_text(text.replace(", on_bad_image: skip", ""), encoding="utf-8")
    words_of_verb = [*verb[:2], "odd.yaml"] if verb[0] == "data" else [verb[0], "odd.yaml", *verb[1:]]
    done = CliRunner().invoke(app, [*words_of_verb, *([] if verb[0] == "plan" else ["--results", "results"])])
    said = str(done.exception)
    assert f"odd.yaml:{place}: " in said
    assert words in said
    assert not (odd_folder / "results" / "odd").exists()
