"""What is found in folders, tables and arrays, and the sweep that is proposed: each one can be planned as it is."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.folders import LabelWishes
from cnn_sweep.first_sweep.look import look_at
from cnn_sweep.first_sweep.proposal import Wishes, proposed_name
from cnn_sweep.sweep.spec.search import AshaSpec
from cnn_sweep.sweep.sweep import Sweep


def numbered(pattern, count, start=0):
    """Return names with numbers filled in."""
    return [pattern.format(number) for number in range(start, start + count)]


def test_class_folders_become_classes(photos, proposed):
    """Each subfolder with images is a class, whatever its name; hidden files and other files are no images."""
    names = ["no", "1", "Füchse & Dachse", 'it\'s #1: "x"']
    root = photos(*(f"{name}/{n}.JPG" for name in names for n in range(6)))
    for odd in (".DS_Store", "no/Thumbs.db", "no/notes.txt"):
        (root / odd).write_text("x", encoding="utf-8")
    (root / "empty").mkdir()
    found, sweep, text = proposed(root)
    assert found.counts == dict.fromkeys(sorted(names), 6)
    assert sorted(sweep.data.classes) == sorted(names)
    assert "train: photos\n" in text
    assert found.notes == (
        "1 folder has no images, so left out: empty",
        "1 other file is among the images (.txt 1); `cnn-sweep data prepare` leaves them out",
    )


def test_folders_of_sets_are_used_as_they_are(photos, proposed):
    """train, val and test keep their images; a test folder without classes is to be predicted."""
    root = photos(*(f"seg_{s}/seg_{s}/{c}/{n}{s}.png" for s in ("train", "val") for c in "ab" for n in range(6)))
    photos(*numbered("seg_test/{}.png", 3))
    found, sweep, _ = proposed(root)
    assert found.sets == {"validation": 12, "unlabelled": 3}
    assert (sweep.data.train, sweep.data.validation) == ("photos/seg_train/seg_train", "photos/seg_val/seg_val")
    assert sweep.data.unlabelled == "photos/seg_test"
    assert sweep.data.test == 0.2


def test_a_class_called_train_is_a_class(photos, proposed):
    """Folders `train` and `bus` are two classes."""
    root = photos(*(f"{name}/{n}.png" for name in ("train", "bus") for n in range(6)))
    assert proposed(root)[0].counts == {"bus": 6, "train": 6}


def test_classes_within_sites_are_grouped_and_sites_are_warned_of(photos, proposed):
    """Of site/class, the inner folders that recur are the classes; images of one site would be in several sets."""
    root = photos(
        *(f"{site}/{name}/{n}.tif" for site in ("s1", "s2", "s3") for name in ("oak", "elm") for n in range(5))
    )
    found, sweep, text = proposed(root)
    assert sweep.data.classes == {"elm": ("s1/elm", "s2/elm", "s3/elm"), "oak": ("s1/oak", "s2/oak", "s3/oak")}
    assert found.group.count == 3
    assert "scores will be too optimistic" in " ".join(text.replace("#", "").split())


def test_classes_in_file_names_become_a_pattern(photos, proposed):
    """A flat folder is read by a pattern; the user may give another one."""
    root = photos(*(f"{('fox', 'deer')[n % 2]}_{'ABC'[n % 3]}_{n:02}.jpg" for n in range(30)))
    found, sweep, _ = proposed(root)
    assert sweep.data.labels.pattern == "{class}_*_{number}.jpg"
    assert [one.name for one in found.choices] == ["{class}_*_{number}.jpg", "*_{class}_{number}.jpg"]
    other = proposed(root, labels=LabelWishes(pattern=found.choices[1].name))[0]
    assert list(other.counts) == ["A", "B", "C"]


def test_a_table_beside_the_images_is_recognized(photos, proposed):
    """File, class and split columns are found by their content and names, site columns are warned of."""
    root = photos(*numbered("pics/p{}.jpg", 40))
    rows = [f"p{n};{('fox', 'deer')[n % 2]};{'ABCD'[n % 4]};{n * 1.5}" for n in range(40)]
    (root / "labels.csv").write_text("\n".join(["Datei;species;site;weight", *rows]), encoding="utf-8")
    for path in (root, root / "labels.csv"):
        found, sweep, _ = proposed(path)
        assert (sweep.data.labels.filename, sweep.data.labels.label) == ("Datei", "species")
        assert sweep.data.train == "photos/pics"
        assert found.counts == {"deer": 20, "fox": 20}
        assert found.group.where == "the column 'site'"
    assert list(proposed(root, labels=LabelWishes(column="site"))[0].counts) == list("ABCD")


def test_dates_are_no_classes_and_german_names_are_known(photos, proposed):
    """Of a table with several columns that repeat, the species are the classes; a camera's images are grouped."""
    root = photos(*numbered("p{}.jpg", 40))
    rows = [f"p{n}.jpg;{n // 20 + 1:02}.02.2024;{('Fuchs', 'Reh', 'Dachs')[n % 3]};kam{n % 4}" for n in range(40)]
    (root / "fotos.csv").write_text("\n".join(["Bild;Datum;Tierart;Kamera", *rows]), encoding="utf-8")
    found, sweep, _ = proposed(root / "fotos.csv")
    assert (sweep.data.labels.label, list(found.counts)) == ("Tierart", ["Dachs", "Fuchs", "Reh"])
    assert len(found.choices) < 2
    assert found.group.where == "the column 'Kamera'"


def test_a_column_of_sets_divides_the_images(photos, proposed):
    """A column with the words train, validation and test replaces shares; rows without a class need `unlabelled`."""
    root = photos(*numbered("p{}.jpg", 20))
    rows = [f"p{n},{'ab'[n % 2]},{('train', 'validation')[n % 5 == 0]}" for n in range(20)]
    (root / "labels.csv").write_text("\n".join(["file,label,set", *rows]), encoding="utf-8")
    found, sweep, text = proposed(root)
    assert sweep.data.labels.split == "set"
    assert (found.images, found.sets) == (16, {"validation": 4})
    assert "validation: " not in text
    rows[1] = "p1,NA,train"
    (root / "labels.csv").write_text("\n".join(["file,label,set", *rows]), encoding="utf-8")
    with pytest.raises(InputError, match=r"1 rows have no class, .* \(train 1\)\. Write unlabelled"):
        look_at(str(root), LabelWishes())


def test_arrays_are_found_by_their_names(proposed, tmp_path, monkeypatch):
    """x_train with y_train, images with labels: sizes and counts are those of the arrays."""
    x, y = np.zeros((40, 12, 12), np.uint8), np.arange(40) % 4
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    monkeypatch.chdir(tmp_path)
    found, sweep, _ = proposed("a.npz")
    assert (found.counts, found.sets) == (dict.fromkeys("0123", 10), {"test": 8})
    assert (sweep.data.train.x, sweep.data.image_size) == ("a.npz:x_train", None)
    (tmp_path / "npy").mkdir()
    np.save(tmp_path / "npy" / "images.npy", np.zeros((40, 300, 2, 1), np.float32))
    np.save(tmp_path / "npy" / "labels.npy", y)
    assert proposed(tmp_path / "npy")[1].data.image_size == (128, 4)


def test_tiles_of_a_picture_are_found_by_their_rows_and_columns(photos, proposed):
    """The size of a tile follows from the picture and the largest row and column."""
    root = photos("picture.png", size=(80, 100))
    rows = [f"{n // 5},{n % 5},{'ab'[n % 2]}" for n in range(20)]
    (root / "tiles.csv").write_text("\n".join(["row,column,label", *rows]), encoding="utf-8")
    _, sweep, _ = proposed(root)
    assert (sweep.data.source, sweep.data.size, sweep.data.picture) == ("tiles", (20, 20), "photos/picture.png")


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_data_sets_of_libraries_are_known_by_name(name, photos, proposed):
    """`digits` and Keras's data sets need no files."""
    assert proposed(name)[1].data.source == name


@pytest.mark.parametrize(
    ("size", "expected"),
    [((20, 20), (20, 20)), ((50, 70), (48, 64)), ((240, 320), (96, 128)), ((7, 300), (4, 128)), ((3, 3), (4, 4))],
)
def test_images_are_resized_to_what_a_first_sweep_can_train(size, expected, photos, proposed):
    """Sizes keep their proportions, are at most 128 pixels, and are rounded down to what pooling halves."""
    root = photos(*(f"{name}/{n}.png" for name in "ab" for n in range(6)), size=size)
    assert proposed(root)[1].data.image_size == expected
    assert proposed(root, wishes=Wishes(size=(24, 40)))[1].data.image_size == (24, 40)


def test_grey_images_stay_grey_and_several_shapes_are_padded(photos, proposed):
    """Colour and proportions are found by looking at a sample."""
    root = photos(*(f"{name}/{n}.png" for name in "ab" for n in range(6)), grey=True)
    assert (proposed(root)[1].data.color, proposed(root)[1].data.fit) == ("grayscale", "stretch")
    photos(*(f"a/{n}.png" for n in range(6, 12)), size=(40, 16))
    assert (proposed(root)[1].data.color, proposed(root)[1].data.fit) == ("rgb", "pad")


def test_rare_classes_change_sets_weights_and_the_objective(photos, proposed):
    """A class with one image is left out, few images leave no test set, unequal classes get weights and macro F1."""
    root = photos("a/0.png", *numbered("b/{}.png", 4), *numbered("c/{}.png", 20))
    _, sweep, text = proposed(root)
    assert sweep.data.classes == ("b", "c")
    assert sweep.data.test == 0
    assert "class_weights: balanced  # c has 20 images, b 4" in text
    assert sweep.objective.metric == "val_macro_f1"


def test_letters_and_digits_are_not_flipped(photos, proposed):
    """Mirror images of digits are other signs."""
    for name, flips in (("3", False), ("fox", True)):
        root = photos(*(f"{own}/{n}.png" for own in (name, "4") for n in range(6)))
        assert ("horizontal_flip: true" in proposed(root)[2]) is flips


@pytest.mark.parametrize(
    ("wishes", "method", "pruned"),
    [
        (Wishes(trials=4), "random", False),
        (Wishes(trials=8), "grid", False),
        (Wishes(trials=12), "random", False),
        (Wishes(), "tpe", True),
        (Wishes(hours=2.5), "tpe", True),
    ],
)
def test_the_search_follows_the_budget(wishes, method, pruned, photos, proposed):
    """As many trials as a small grid has are one, others are random, and many learn from results and are pruned."""
    _, sweep, _ = proposed("digits", wishes=wishes)
    assert sweep.search.method == method
    assert isinstance(sweep.pruner, AshaSpec) is pruned
    assert (sweep.search.trials, sweep.search.hours) == (None if wishes.hours else wishes.trials or 30, wishes.hours)


def test_the_pretrained_alternative_can_be_pasted(photos, proposed, tmp_path):
    """The sections in the comment, put in place of model and space and without augmentation, are a sweep."""
    root = photos(*(f"{name}/{n}.png" for name in ("fox", "deer") for n in range(6)), size=(70, 70))
    text = proposed(root)[2]
    pasted = "\n".join(line[6:] for line in text.splitlines() if line.startswith("#     "))
    kept = re.sub(r"(?s)\n# Each block.*?\n(?=# Learns)", f"\n{pasted}\n", text)
    (tmp_path / "new.yaml").write_text(re.sub(r"  augmentation: .*\n", "", kept), encoding="utf-8")
    sweep = Sweep.load(tmp_path / "new.yaml")
    assert [one.name for one in sweep.space.parameters] == ["dropout", "learning_rate", "optimizer", "batch_size"]


REFUSED = {
    "nothing": ([], "no images found; looked for files ending in .jpg, .*The folder has no files"),
    "photographs of a telephone": (
        ["a/1.HEIC", "b/1.HEIC"],
        "2 other files \\(.heic 2\\). iPhone .*export them as JPEG",
    ),
    "one folder": (
        [f"a/IMG_{n}.jpg" for n in range(5)],
        "5 images, but no two classes.*--labels '{class}_{number}.jpg'",
    ),
    "one image of each": (["a/1.jpg", "b/1.jpg"], "2 classes have only one image \\(a, b\\)"),
    "too many classes": ([f"{n}/{k}.jpg" for n in range(30) for k in range(2)], "60 images of 30 classes are too few"),
    "other names in the test set": (
        [f"{s}/{c}/{n}.png" for s, cs in (("train", "ab"), ("test", "xy")) for c in cs for n in range(2)],
        "test: class folders that the training set lacks: x, y; those of the training set are a, b",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said_with_the_cure(case, photos, proposed):
    """A folder without images or classes is refused with what was looked for, what was found and what to do."""
    names, message = REFUSED[case]
    root = photos(*(name for name in names if not name.endswith("HEIC")))
    root.mkdir(exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("HEIC"):
            (root / name).write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        proposed(root)


def test_files_of_other_kinds_are_refused_with_the_cure(tmp_path, monkeypatch):
    """A sweep file, a spreadsheet, an archive, one image or a misspelt name: each has its message."""
    monkeypatch.chdir(tmp_path)
    for name, message in {
        "a.yaml": "cnn-sweep plan a.yaml",
        "a.xlsx": "save it as CSV",
        "a.zip": "unpack it",
        "a.png": "one image. Name its folder",
        "a.docx": "not a folder of images, a table",
    }.items():
        (tmp_path / name).write_text("x", encoding="utf-8")
        with pytest.raises(InputError, match=message):
            look_at(name, LabelWishes())
    with pytest.raises(InputError, match="did you mean 'digits'"):
        look_at("digit", LabelWishes())


def test_any_folder_gives_a_valid_study_name():
    """Accents, blanks and other signs are replaced; a name without letters gets a general one."""
    assert [proposed_name(name) for name in ("Füchse & Dachse", "..", "a" * 80, "sweeps.db")] == [
        "Fuechse_Dachse",
        "first_sweep",
        "a" * 64,
        "first_sweep",
    ]
