"""Each source of images, laid out as in the example workflows, gives the splits, classes and items that one expects."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import SOURCES, FolderData
from cnn_sweep.training.data.dataset import Item, grid, image_options, items, load
from cnn_sweep.training.data.image_decoder import read_images
from cnn_sweep.training.data.prepare import prepare, read_report
from cnn_sweep.training.data.sources import describe
from cnn_sweep.validation import validate

ALL = ("train", "validation", "test", "unlabelled")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The stand-ins for the workflows' images, few of each."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        module = importlib.import_module("make_images")
    finally:
        sys.path.remove(str(EXAMPLES))
    scale = module.Scale(grid=(5, 7), tiles=8, scenes=8, pets=6, named=8, sites=2)
    folder = tmp_path_factory.mktemp("made")
    module.make_bush(folder / "bush", scale, module.Photographs(1))
    module.make_scenes(folder / "scenes", scale, module.Photographs(2))
    module.make_pets(folder / "pets", scale, module.Photographs(3))
    module.make_named(folder / "named", scale, module.Photographs(4))
    return folder


def spec_of(source, **data):
    """Read a data section as a sweep file has it."""
    spec, faults = validate(SOURCES[source], {"source": source, **data})
    assert not faults, faults
    return spec


@pytest.fixture
def ready(made, tmp_path):
    """Prepare a data section; what `describe` says beforehand must be what is found."""

    def run(source, folder=made, **data):
        spec = spec_of(source, **data)
        path = prepare(spec, folder, tmp_path / "root")
        assert describe(spec, folder) == load(path).info
        return path

    return run


def sizes(path):
    """Images of each split."""
    return {name: len(split.y) for name, split in load(path, splits=ALL).splits.items()}


def test_tiles_with_a_table_are_the_bush_workflow(ready, made):
    """Labelled tiles go where the table says, with mirror images; the others are the prediction set, in their grid."""
    labels = {"table": "bush/tiles.csv", "split": "split"}
    path = ready("tiles", picture="bush/picture.png", size=50, labels=labels, mirror=True)
    assert sizes(path) == {"train": 16, "validation": 8, "unlabelled": 19}
    assert load(path).info.class_names == ("bush", "other")
    cut = grid(path)
    assert (cut.rows, cut.columns, cut.size, cut.picture) == (5, 7, (50, 50), (250, 350))
    picture = np.asarray(Image.open(made / "bush" / "picture.png"))
    for split in ("train", "unlabelled"):
        data = load(path, splits=(split,)).splits[split]
        for item, pixels, label in zip(items(path, split), data.x, data.y, strict=True):
            tile = picture[item.row * 50 : (item.row + 1) * 50, item.column * 50 : (item.column + 1) * 50]
            is_mirrored = item.name.endswith(" (mirrored)")
            np.testing.assert_array_equal(pixels, tile[:, ::-1] if is_mirrored else tile)
            assert (label < 0) == (split == "unlabelled")
    assert sum(item.name.endswith(" (mirrored)") for item in items(path, "train")) == 8
    positions = [(item.row, item.column) for item in items(path, "unlabelled")]
    assert positions == sorted(positions)


def test_tiles_with_a_mask_have_the_class_that_covers_them(ready):
    """The mask's values name the classes; where no class covers enough a tile is not labelled."""
    classes = {"bush": 1, "other": 2}
    path = ready(
        "tiles", picture="bush/picture.png", size=50, labels={"mask": "bush/mask.png"}, classes=classes, validation=0.5
    )
    assert sizes(path) == {"train": 8, "validation": 8, "unlabelled": 19}
    shifted = ready(
        "tiles",
        picture="bush/picture.png",
        size=50,
        stride=25,
        labels={"mask": "bush/mask.png", "cover": 0.9},
        classes=classes,
    )
    assert sum(sizes(shifted).values()) == 9 * 13
    assert "tiles overlap, so neighbours that are in two sets share pixels" in read_report(shifted)["notes"]


def test_scene_folders_are_grouped_into_classes(ready, made):
    """Six folders make two classes; files of another size are brought to the one that is asked for."""
    groups = {"city": ["buildings", "street"], "nature": ["forest", "glacier", "mountain", "sea"]}
    path = ready(
        "folder",
        train="scenes/seg_train",
        test="scenes/seg_test",
        unlabelled="scenes/seg_pred",
        validation=0.25,
        seed=42,
        classes=groups,
        image_size=150,
        color="grayscale",
    )
    assert sizes(path) == {"train": 36, "validation": 12, "test": 12, "unlabelled": 2}
    data = load(path, splits=ALL)
    assert data.info.class_names == ("city", "nature")
    assert data.info.image_shape == (150, 150, 1)
    for item, label in zip(items(path, "train"), data.train.y, strict=True):
        assert label == (item.name.split("/")[0] not in groups["city"])
    assert np.bincount(data.validation.y).tolist() == [4, 8], "stratified"
    files = [made / "scenes" / "seg_train" / item.name for item in items(path, "validation")]
    again, bad = read_images(files, image_options(path))
    assert not bad
    np.testing.assert_array_equal(again, data.validation.x)


def test_folders_of_their_own_are_the_splits(ready):
    """Training, validation and test folders; numbers of each class can be limited."""
    folders = {split: f"pets/{split}" for split in ("train", "validation", "test")}
    path = ready("folder", **folders, image_size=[12, 16], per_class={"train": 4})
    assert sizes(path) == {"train": 8, "validation": 6, "test": 6}
    assert load(path).info.class_names == ("cats", "dogs")
    assert {item.name.split("/")[0] for item in items(path, "test")} == {"cats", "dogs"}


def test_labels_in_file_names(ready):
    """`cat.0.jpg` is a cat; a share by seed 42 is stratified, and so many of each class can be drawn."""
    pattern = {"pattern": "{class}.*.jpg"}
    path = ready("files", train="named", labels=pattern, validation=0.25, seed=42, image_size=16)
    assert sizes(path) == {"train": 12, "validation": 4}
    data = load(path)
    assert data.info.class_names == ("flower", "temple")
    names = [item.name.partition(".")[0] for item in items(path, "train")]
    assert [data.info.class_names[label] for label in data.train.y] == names
    counts = {"train": 3, "validation": 2, "test": 1}
    few = ready("files", train="pets/all", labels=pattern, validation=0.25, test=0.25, per_class=counts, image_size=16)
    assert sizes(few) == {"train": 6, "validation": 4, "test": 2}
    chosen = [item.name for split in counts for item in items(few, split)]
    assert len(set(chosen)) == 12


def test_labels_in_a_table(ready, made, tmp_path):
    """A CSV or a saved DataFrame names files and labels, and splits if one likes; rows without label are to predict."""
    shutil.copytree(made / "named", tmp_path / "named")
    rows = [(f"{label}.{k}.jpg", label.upper()) for label in ("flower", "temple") for k in range(7)]
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([("Datei", "Art"), *rows, ("flower.7.jpg", "")])
    labels = {"table": "labels.csv", "filename": "Datei", "label": "Art"}
    path = ready("files", tmp_path, train="named", labels=labels, validation=0.5, image_size=8)
    assert sizes(path) == {"train": 7, "validation": 7, "unlabelled": 1}
    assert load(path).info.class_names == ("FLOWER", "TEMPLE")
    assert items(path, "unlabelled") == (Item("flower.7.jpg"),)

    import pandas as pd

    frame = pd.DataFrame(rows, columns=["filename", "label"])
    frame["set"] = ["train", "validation"] * 7
    frame.to_parquet(tmp_path / "labels.parquet")
    saved = {"table": "labels.parquet", "split": "set"}
    path = ready("files", tmp_path, train="named", labels=saved, image_size=8, classes=["TEMPLE", "FLOWER"])
    assert sizes(path) == {"train": 7, "validation": 7}
    assert items(path, "validation")[0].name == "flower.1.jpg"
    assert load(path).validation.y[0] == 1, "classes are numbered in the order that is given"


def test_the_last_images_are_the_validation_set(ready, tmp_path):
    """MNIST with `validation: {last: 0.2}`: the last fifth of the training images, and MNIST's own test set."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (50, 28, 28), np.uint8), np.arange(50) % 10
    np.savez_compressed(tmp_path / "mnist.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    path = ready("mnist", tmp_path, path="mnist.npz", validation={"last": 0.2})
    data = load(path, splits=ALL)
    np.testing.assert_array_equal(data.train.x[..., 0], x[:32])
    np.testing.assert_array_equal(data.validation.x[..., 0], x[32:40])
    np.testing.assert_array_equal(data.splits["test"].y, y[40:])
    assert items(path, "validation")[0].name == "train#32"
    pair = {"x": "mnist.npz:x_train", "y": "mnist.npz:y_train"}
    path = ready("arrays", tmp_path, train=pair, validation={"last": 0.5}, image_size=14, color="rgb")
    assert load(path).train.x.shape == (20, 14, 14, 3)


def test_what_keras_keeps_is_found(ready, tmp_path, monkeypatch):
    """Fashion-MNIST and CIFAR-10 are read from Keras's own downloads, without Keras; else the way is told."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for source in ("mnist", "fashion_mnist", "cifar10"):
        with pytest.raises(InputError, match=rf"{source} is missing: .*`cnn-sweep data prepare` on a machine"):
            ready(source)
    import gzip
    import pickle

    folder = tmp_path / "datasets"
    (folder / "fashion-mnist").mkdir(parents=True)
    for name, count in (("train", 100), ("t10k", 20)):
        images = np.full((count, 28, 28), 7, np.uint8)
        for kind, head, content in (
            ("images-idx3", 16, images),
            ("labels-idx1", 8, np.arange(count, dtype=np.uint8) % 10),
        ):
            file = folder / "fashion-mnist" / f"{name}-{kind}-ubyte.gz"
            file.write_bytes(gzip.compress(bytes(head) + content.tobytes()))
    assert sizes(ready("fashion_mnist")) == {"train": 80, "validation": 20, "test": 20}
    batches = folder / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        data = np.zeros((10, 3, 1024), np.uint8)
        data[:, 2] = 9  # blue
        content = {b"data": data.reshape(10, 3072), b"labels": list(range(10))}
        (batches / name).write_bytes(pickle.dumps(content, protocol=2))
    path = ready("cifar10")
    assert sizes(path) == {"train": 40, "validation": 10, "test": 10}
    assert load(path).train.x[0, 0, 0].tolist() == [0, 0, 9]
    (batches / "data_batch_1").write_bytes(pickle.dumps({b"data": subprocess.run}))
    with pytest.raises(InputError, match=r"data_batch_1: the file is damaged: it holds subprocess\.run"):
        ready("cifar10")


MISTAKES = [
    ("folder", {"train": "nowhere"}, r"nowhere: no such folder"),
    ("folder", {"train": "pets/train/cats"}, r"two classes are needed, but found \(none\); each class is a subfolder"),
    ("folder", {"train": "pets/train", "classes": ["cats", "dog"]}, r"no subfolder 'dog' \(did you mean 'dogs'\?\)"),
    (
        "folder",
        {"train": "pets", "classes": {"a": ["train"], "b": ["train/cats"]}},
        r"'train/cats' of class 'b' is in 'train' of 'a' too",
    ),
    ("folder", {"train": "pets/train", "validation": "pets"}, r"classes that the training set lacks: all, test, train"),
    (
        "folder",
        {"train": "pets/train", "validation": "pets/train"},
        r"12 images are in two sets, .*cats/cat\.0\.jpg \(validation\) is",
    ),
    ("folder", {"train": "empty"}, r"empty: no image of the class nothing, void to train with; put images"),
    (
        "files",
        {"train": "named", "labels": {"pattern": "{class}-*.jpg"}},
        r"none of 16 files matches '\{class\}-\*\.jpg'; the first are flower",
    ),
    (
        "files",
        {"train": "named", "labels": {"table": "bush/tiles.csv"}},
        r"tiles\.csv: no column 'filename'; it has row, column",
    ),
    ("files", {"train": "named", "labels": {"table": "none.csv"}}, r"none\.csv: No such file"),
    ("tiles", {"picture": "bush/none.png", "labels": {"table": "bush/tiles.csv"}}, r"none\.png: No such file"),
    (
        "tiles",
        {"labels": {"mask": "bush/mask.png"}, "classes": {"a": 1, "b": 7}},
        r"no tile of the class b; .*Values in the mask: 0, 1, 2",
    ),
    ("tiles", {"size": 400, "labels": {"table": "bush/tiles.csv"}}, r"250 x 350 pixels are less than one tile"),
    (
        "tiles",
        {"size": 100, "labels": {"table": "bush/tiles.csv"}},
        r"no tile \[.*\]; the grid has 2 rows and 3 columns",
    ),
    (
        "rds",
        {"classes": {"a": {"train": "x.rds", "validation": "x.rds"}, "b": {"train": "x.rds"}}},
        r"x\.rds: No such file",
    ),
]


@pytest.mark.parametrize(("source", "data", "message"), MISTAKES)
def test_a_mistake_about_files_is_one_clear_message(source, data, message, ready, made):
    """What is missing, empty, in two sets or in two classes is named before anything trains."""
    for name in ("nothing", "void"):
        (made / "empty" / name).mkdir(parents=True, exist_ok=True)
    given = {"image_size": 8} if source in ("folder", "files") else {}
    if source == "tiles":
        given = {"picture": "bush/picture.png", "size": 50}
    with pytest.raises(InputError, match=message):
        ready(source, **{**given, **data})


def test_an_empty_class_is_found_before_images_are_read(tmp_path):
    """`plan` looks for one file in each class's folder, and says what to do about an empty one."""
    for name in ("cat/more", "dog", "fox/.hidden"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("cat/more/1.png", "dog/1.png", "fox/.DS_Store"):
        (tmp_path / name).write_bytes(b"an image")
    spec = FolderData(source="folder", train=".", image_size=(8, 8))
    with pytest.raises(
        InputError, match=r"class fox to train with; .*, or list the other classes: classes: \[cat, dog\]"
    ):
        describe(spec, tmp_path)
    with pytest.raises(InputError, match="or leave it out of classes"):
        describe(spec.model_copy(update={"classes": ("cat", "dog", "fox")}), tmp_path)
    assert describe(spec.model_copy(update={"classes": ("cat", "dog")}), tmp_path).class_names == ("cat", "dog")


def test_leaks_can_be_accepted(ready):
    """With `on_leak: warn` the same files may be in two sets, and the report says so."""
    path = ready("folder", train="pets/train", validation="pets/train", image_size=8, on_leak="warn")
    assert "12 images are in two sets" in read_report(path)["notes"][0]


def test_hidden_files_and_links_that_lead_up_do_no_harm(ready, made, tmp_path):
    """What file managers leave behind is no image, and a link to a parent folder is not followed for ever."""
    shutil.copytree(made / "pets" / "train", tmp_path / "train")
    (tmp_path / "train" / "cats" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / "cats" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "train" / "cats" / "up").symlink_to(tmp_path / "train" / "cats")
    path = ready("folder", tmp_path, train="train", validation=0.5, image_size=8)
    assert sum(sizes(path).values()) == 12
    assert json.loads((path / "report.json").read_text(encoding="utf-8"))["bad"] == []


def test_a_class_of_bad_images_only_is_named_with_the_reason(ready, tmp_path):
    """Where no image of a class can be decoded, the message says so and why."""
    for name in ("good", "bad"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for k in range(8):
            Image.new("L", (4, 4), k).save(tmp_path / "train" / name / f"{k}.png")
    for file in (tmp_path / "train" / "bad").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"a single class \(good\).* 8 images cannot be used, such as bad/.* is empty"):
        ready("folder", tmp_path, train="train", image_size=4)


def write_named(folder, names):
    """Write images that all differ."""
    for k, name in enumerate(names):
        file = folder / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 20 * k).save(file)
    return folder


needs_unicode_names = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8", reason="in this locale not every character may stand in a file's name"
)
DOGS = [f"{('golden_retriever', 'husky')[k % 2]}_{k}.png" for k in range(8)]


def test_a_pattern_that_fits_in_several_ways_is_made_clear_by_the_user(ready, tmp_path):
    """`{class}_*` on golden_retriever_1.png takes neither golden nor another silently: {number} or classes decide."""
    write_named(tmp_path, DOGS)
    given = {"train": "images", "image_size": 4, "validation": 0.5}
    with pytest.raises(InputError, match=r"its class may be golden or golden_retriever \(as with 3 other files\)"):
        ready("files", tmp_path, **given, labels={"pattern": "{class}_*.png"})
    names = ("golden_retriever", "husky")
    path = ready("files", tmp_path, **given, labels={"pattern": "{class}_{number}.png"})
    assert load(path).info.class_names == names
    path = ready("files", tmp_path, **given, labels={"pattern": "{class}_*.png"}, classes=list(names))
    assert sizes(path) == {"train": 4, "validation": 4}


def test_odd_classes_of_folders_are_noted(ready, tmp_path):
    """Classes written alike, numbers in the order of text, a Mac's archive and loose images: a note each."""
    names = [f"{('DOG', 'dog', '__MACOSX')[k % 3]}/{k}.png" for k in range(9)]
    path = ready("folder", write_named(tmp_path / "a", [*names, "x.png"]), train="images", image_size=4, validation=0.5)
    twins, archive, loose = read_report(path)["notes"]
    assert "the classes DOG, dog differ only in how they are written" in twins
    assert "__MACOSX is ignored" in archive
    assert "1 image is in no class folder, so ignored: x.png" in loose
    names = [f"{(0, 1, 10, 2)[k % 4]}/{k}.png" for k in range(8)]
    path = ready("folder", write_named(tmp_path / "b", names), train="images", image_size=4, validation=0.5)
    assert "in the order of text, not of numbers: 0, 1, 10, 2" in read_report(path)["notes"][0]


@needs_unicode_names
def test_classes_have_one_order_on_every_machine(ready, tmp_path):
    """By their characters, whatever the locale, and however a system writes an umlaut: in one character or two."""
    given = {"train": "images", "image_size": 4, "validation": 0.5}
    for form in ("NFC", "NFD"):
        classes = [unicodedata.normalize(form, name) for name in ("Zebra", "affe", "zoo", "Äsche", "ähre")]
        names = [f"{classes[k % 5]}/{k}.png" for k in reversed(range(10))]
        path = ready("folder", write_named(tmp_path / form, names), **given)
        assert load(path).info.class_names == tuple(classes)
        table = "".join(f"{name},{name.partition('/')[0]}\n" for name in names)
        (tmp_path / form / "labels.csv").write_text(f"filename,label\n{table}", encoding="utf-8")
        path = ready("files", tmp_path / form, **given, labels={"table": "labels.csv"})
        assert load(path).info.class_names == tuple(classes)


@needs_unicode_names
def test_classes_that_look_the_same_are_noted(ready, tmp_path):
    """A folder from a Mac beside one from Linux: two classes, and a note with the characters that differ."""
    twins = ("M\u00f6we", "Mo\u0308we")
    names = [f"{twins[k % 2]}/{k}.png" for k in range(8)]
    path = ready("folder", write_named(tmp_path, names), train="images", image_size=4, validation=0.5)
    (note,) = read_report(path)["notes"]
    assert "look the same and are different Unicode" in note
    assert r"('M\xf6we')" in note
    assert r"('Mo\u0308we')" in note


def test_a_set_without_a_usable_image_is_an_error(ready, tmp_path):
    """Where all validation images are damaged the message says so and why."""
    write_named(tmp_path, [f"{'ab'[k % 2]}/{k}.png" for k in range(8)])
    for name in "ab":
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / "x.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"the validation set has no image that can be used\. 2 images cannot be used"):
        ready("folder", tmp_path, train="images", validation="val", image_size=4)


def test_a_picture_of_12_bits_is_not_nearly_black(ready, tmp_path):
    """A scanner's picture of 16 bits is read with the bits that it uses, and a note says so."""
    Image.fromarray(np.full((20, 20), 4095, np.uint16)).save(tmp_path / "p.tif")
    rows = [f"{k // 4},{k % 4},{'ab'[k % 2]}" for k in range(16)]
    (tmp_path / "t.csv").write_text("\n".join(["row,column,label", *rows]), encoding="utf-8")
    path = ready("tiles", tmp_path, picture="p.tif", size=5, labels={"table": "t.csv"})
    assert load(path).train.x.min() == 255
    assert any("no value above 4095, so 4095 is taken for white" in note for note in read_report(path)["notes"])
