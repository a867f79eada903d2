"""The workflows of sweeps/, each from its file to a leaderboard, a confusion matrix, predictions and a picture.

Data are the stand-ins of examples/, cut down; so are epochs and spaces. Networks, losses and augmentation stay.
"""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

from cnn_sweep.report.models.validated import best_validated
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.network.shapes import ImageInfo, infer_shapes
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.session import configure

ROOT = Path(__file__).parents[2]
NUMBERS = ("spread", "epochs_to_90", "gap", "slope", "final")

BUSH = {"dense_layers": 0, "batch_size": 10, "optimizer": "sgd", "learning_rate": 0.01, "decay": 1.0}
BUSH |= {"loss_function": "binary_crossentropy"}
CITY = {"batch_size": 10, "learning_rate": 0.001}
MNIST = {"filters": 32, "units": 32, "batch_size": 128, "optimizer": "rmsprop"}
PETS = {"dropout": 0.0, "learning_rate": 1e-4}
VGG16 = {"learning_rate": 2e-5}
FEATURES = {"units": 256, "dropout": 0.5, "learning_rate": 2e-5}
NAMES = {"filters": 64, "optimizer": "rmsprop"}

# Networks as their authors describe them: workflow, image shape, classes, point of the space, weights.
NETWORKS = [
    ("bush", (50, 50, 3), 2, BUSH | {"network": "flat"}, 231_802),
    ("bush", (50, 50, 3), 2, BUSH | {"network": "pooled"}, 27_002),
    ("bush", (50, 50, 3), 2, BUSH | {"network": "deep", "dropout": 0.25}, 11_032),
    ("city_nature", (150, 150, 1), 2, CITY | {"padding": "valid"}, 120_242),
    ("city_nature", (150, 150, 1), 2, CITY | {"padding": "same"}, 120_882),
    ("mnist", (28, 28, 1), 10, MNIST, 35_530),
    ("cats_dogs", (128, 128, 3), 2, PETS | {"augment": False}, 2_601_153),
    ("cats_dogs", (128, 128, 3), 2, PETS | {"augment": True}, 2_601_153),
    ("cats_dogs_names", (128, 128, 3), 2, NAMES, 3_725_314),
    ("cats_dogs_vgg16", (128, 128, 3), 2, VGG16 | {"mode": "frozen"}, 16_812_353),
    ("cats_dogs_vgg16", (128, 128, 3), 2, VGG16 | {"mode": "tuned"}, 16_812_353),
    ("cats_dogs_features", (128, 128, 3), 2, FEATURES, 16_812_353),
]


@pytest.mark.parametrize(("name", "shape", "classes", "point", "weights"), NETWORKS)
def test_a_workflows_network_is_a_point_of_its_space(name, shape, classes, point, weights):
    """The plan has the author's settings, and the network has exactly the weights that the author counts."""
    sweep = Sweep.load(ROOT / "sweeps" / f"{name}.yaml")
    info = ImageInfo(image_shape=shape, class_names=tuple(str(k) for k in range(classes)))
    plan = make_plan([sweep], info)
    assert plan.invalid == ()
    assert [c.parameters for c in plan.configurations if c.params == point] == [weights]
    assert infer_shapes(sweep.resolve(point).layers, info).parameters == weights


@pytest.mark.parametrize(
    ("name", "point", "trained"),
    [
        ("cats_dogs_features", FEATURES, 2_097_665),
        ("cats_dogs_vgg16", VGG16 | {"mode": "frozen"}, 2_097_665),
        ("cats_dogs_vgg16", VGG16 | {"mode": "tuned"}, 16_552_193),
    ],
)
def test_what_is_trained_of_vgg16(name, point, trained):
    """Frozen, only the two dense layers are trained; tuned, all from block3_conv1 on."""
    layers = Sweep.load(ROOT / "sweeps" / f"{name}.yaml").resolve(point).layers
    info = ImageInfo(image_shape=(128, 128, 3), class_names=("cats", "dogs"))
    assert infer_shapes(layers, info).layer_parameters[0] == 14_714_688
    assert infer_shapes(layers, info).trainable == trained


def test_settings_are_the_authors():
    """Optimizer, loss, batches, epochs and augmentation of each network are those of its description."""
    found = {}
    for name, _, _, point, _ in NETWORKS:
        training = Sweep.load(ROOT / "sweeps" / f"{name}.yaml").resolve(point).training
        found[name] = training
        optimizer = training.optimizer
        told = (optimizer.name, optimizer.learning_rate, training.batch_size, training.epochs)
        assert (
            told
            == {
                "bush": ("sgd", 0.01, 10, 100),
                "city_nature": ("adam", 0.001, 10, 10),
                "mnist": ("rmsprop", None, 128, 8),
                "cats_dogs": ("rmsprop", 1e-4, 20, 30),
                "cats_dogs_names": ("rmsprop", None, 15, 3),
                "cats_dogs_vgg16": ("rmsprop", 2e-5, 20, 30),
                "cats_dogs_features": ("rmsprop", 2e-5, 20, 30),
            }[name]
        )
    assert found["bush"].schedule.rate == 1.0
    assert found["bush"].loss == found["city_nature"].loss == found["cats_dogs"].loss == "binary_crossentropy"
    assert found["mnist"].loss == "categorical_crossentropy"
    augmented = found["cats_dogs"].augmentation
    assert (augmented.rotation, augmented.width_shift, augmented.height_shift) == (40, 0.2, 0.2)
    assert (augmented.shear, augmented.zoom, augmented.horizontal_flip, augmented.fill) == (0.2, 0.2, True, "nearest")
    names = found["cats_dogs_names"].augmentation
    assert (names.rotation, names.shear, names.zoom, names.width_shift, names.horizontal_flip) == (
        *(15, 0.1, 0.2, 0.1, True),
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The stand-ins, fewer and smaller than `examples/make_images.py --scale small` makes them."""
    spec = importlib.util.spec_from_file_location("make_images", ROOT / "examples" / "make_images.py")
    make = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "make_images", make)  # its dataclasses look there
        spec.loader.exec_module(make)
    folder = tmp_path_factory.mktemp("images")
    scale = make.Scale(grid=(6, 8), tiles=12, scenes=8, pets=12, named=2, sites=8)
    make.make_bush(folder / "bush", scale, make.Photographs(1))
    make.make_scenes(folder / "scenes", scale, make.Photographs(2))
    make.make_pets(folder / "cats_dogs", scale, make.Photographs(3))
    make.make_traps(folder / "traps", scale, make.Photographs(5))
    digits = load_digits()
    pixels = np.kron(digits.images[:400] * 15.9, np.ones((3, 3))).astype(np.uint8)
    x = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))  # 28x28
    y = digits.target[:400].astype(np.uint8)
    np.savez(folder / "mnist.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    return folder


@pytest.fixture
def run(here, images):
    """Run a workflow: some points of its space, few epochs; return its leaderboard, sorted by ``spread``."""

    def run(name, *points, epochs=3, weights=None, **changes):
        yaml = YAML(typ="safe", pure=True)
        text = (ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8").replace("../examples/images", str(images))
        content = yaml.load(text)
        for parameter, domain in content["space"].items():
            chosen = list(dict.fromkeys(point[parameter] for point in points if parameter in point))
            content["space"][parameter] = domain | {"choices": chosen} if isinstance(domain, dict) else chosen
        content["training"]["epochs"] = epochs
        content["data"] |= changes
        if weights is not None:
            content["model"]["layers"][0]["base"]["weights"] = weights
        file = images / f"{name}.yaml"
        with file.open("w", encoding="utf-8") as stream:
            yaml.dump(content, stream)
        here.train(Sweep.load(file))
        rows = here.table("leaderboard", name, "--sort", "spread")
        assert {row["state"] for row in rows} == {"complete"}
        assert set(NUMBERS) <= set(rows[0])
        spreads = [float(row["spread"]) for row in rows if epochs >= 3]
        assert spreads == sorted(spreads)
        assert all(0 <= float(row["final"]) <= 1 for row in rows)
        matrix = here.table("confusion", name)
        counts = np.array([[int(count) for key, count in row.items() if key != "true"] for row in matrix])
        best = next(row for row in rows if row["rank"] == "1")
        assert np.trace(counts) / counts.sum() == pytest.approx(float(best["val_accuracy"]))
        return rows

    return run


def _csv(file):
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_bush(run, here, images, tmp_path):
    """Two networks on tiles and their mirror images; every tile without a label is predicted and put back."""
    rows = run("bush", BUSH | {"network": "pooled"}, BUSH | {"network": "deep", "dropout": 0.25})
    assert sorted(row["network"] for row in rows) == ["deep", "pooled"]
    mosaic = tmp_path / "mosaic"
    here("predict", "bush", "--unlabelled", "--csv", tmp_path / "tiles.csv", "--mosaic", mosaic)
    labelled = {(int(r["row"]), int(r["column"])) for r in _csv(images / "bush" / "tiles.csv")}
    found = {(int(r["row"]), int(r["column"])): r for r in _csv(tmp_path / "tiles.csv")}
    assert len(found) == 6 * 8 - len(labelled)
    assert not labelled & set(found)
    with Image.open(images / "bush" / "picture.png") as picture, Image.open(mosaic / "bush.png") as bush:
        original, drawn = np.asarray(picture), np.zeros((300, 400, 4), np.uint8)
        whole = np.asarray(bush)
        drawn[: whole.shape[0], : whole.shape[1]] = whole
    for row, column in np.ndindex(6, 8):
        tile = (slice(50 * row, 50 * row + 50), slice(50 * column, 50 * column + 50))
        chance = float(found[row, column]["p_bush"]) if (row, column) in found else 0.0
        assert np.unique(drawn[tile][..., 3]).tolist() == [round(255 * chance)]
        if (row, column) in found:
            np.testing.assert_array_equal(drawn[tile][..., :3], original[tile])
    assert (mosaic / "other.png").exists()


def test_city_and_nature(run, here, tmp_path):
    """Six folders become two classes of grey images; the folder without labels is predicted and shown."""
    run("city_nature", CITY | {"padding": "valid"}, image_size=150)
    here("predict", "city_nature", "--unlabelled", "--csv", tmp_path / "p.csv", "--sheet", tmp_path / "p.png")
    rows = _csv(tmp_path / "p.csv")
    assert [row["image"] for row in rows] == ["0.jpg", "1.jpg"]
    assert {row["predicted"] for row in rows} <= {"city", "nature"}
    assert (tmp_path / "p.png").exists()
    here("predict", "city_nature", "--unlabelled", "--mosaic", tmp_path / "m", "--columns", 1)
    with Image.open(tmp_path / "m" / "city.png") as picture:
        assert picture.size == (150, 300)
        assert [picture.getpixel((0, y))[3] for y in (0, 150)] == [round(255 * float(row["p_city"])) for row in rows]


def test_mnist(run, here, images, tmp_path):
    """The last fifth of the training images validates; 7s that are read as 2s, or whatever, are drawn."""
    run("mnist", MNIST, path=str(images / "mnist.npz"))
    rows = here.table("misclassified", "mnist", "--sheet", tmp_path / "wrong.png")
    assert rows
    assert all(row["true"] != row["predicted"] for row in rows)
    assert (tmp_path / "wrong.png").exists()
    with np.load(images / "mnist.npz") as digits:
        Image.fromarray(digits["x_test"][0]).save(tmp_path / "one.png")
    (one,) = here.table("predict", "mnist", tmp_path / "one.png")
    assert sum(float(one[f"p_{name}"]) for name in range(10)) == pytest.approx(1.0, abs=1e-6)


def test_cats_and_dogs(run, here, images, tmp_path):
    """One sigmoid unit with augmentation; a folder is predicted, and one cat is seen by the second convolution."""
    run("cats_dogs", PETS | {"augment": True}, image_size=64)
    folder = images / "cats_dogs" / "test"
    here("predict", "cats_dogs", folder, "--csv", tmp_path / "p.csv", "--sheet", tmp_path / "p.png")
    rows = _csv(tmp_path / "p.csv")
    assert len(rows) == 12
    assert all(float(row["p_cats"]) + float(row["p_dogs"]) == pytest.approx(1.0) for row in rows)
    cat = next((folder / "cats").iterdir())
    here("activations", "cats_dogs", cat, "--layer", 3, "--output", tmp_path / "cat.png")
    with Image.open(tmp_path / "cat.png") as picture:
        assert min(picture.size) > 230  # 64 channels of 29x29


@pytest.mark.long
def test_cats_and_dogs_with_vgg16(run, here, images, tmp_path):
    """Features that are computed once, and a base that is trained on, end in models that take images as they are."""
    configure(threads=1)
    import keras

    weights = tmp_path / "vgg16.weights.h5"  # as a base that was trained elsewhere
    keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(weights)
    run("cats_dogs_features", FEATURES, epochs=1, image_size=32, weights=str(weights))
    run("cats_dogs_vgg16", VGG16 | {"mode": "tuned"}, epochs=1, image_size=32, weights="none")
    cat = next((images / "cats_dogs" / "test" / "cats").iterdir())
    for study in ("cats_dogs_features", "cats_dogs_vgg16"):
        (one,) = here.table("predict", study, cat)
        assert float(one["p_cats"]) + float(one["p_dogs"]) == pytest.approx(1.0)
    words = ("activations", "cats_dogs_vgg16", cat, "--layer", "block1_conv1")
    here(*words, "--channel", 0, "--output", tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        assert min(picture.size) > 90  # 32x32, enlarged


def _cross_validate(here, images, name, changes):
    """Run a workflow in three folds, two epochs each."""
    text = (ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8")
    file = images / f"{name}.yaml"
    file.write_text(text.replace("../examples/images", str(images)), encoding="utf-8")
    here.train(Sweep.load(file, {"training.epochs": 2, "data.folds": 3} | changes))


@pytest.mark.long
def test_bush_in_folds(here, images):
    """Each labelled tile validates once; the networks are those of the sweep without folds."""
    changes = {"data.block": 2, "space.network": ["deep"], "space.dense_layers": [0], "space.learning_rate": [0.01]}
    _cross_validate(here, images, "bush_folds", changes)
    (row,) = here.table("leaderboard", "bush_folds", "--columns", "trial,n,parameters,state")
    assert (row["n"], row["parameters"], row["state"]) == ("3", "11032", "complete")
    (found,) = best_validated(here.results, "bush_folds")
    assert len(np.unique(found.rows)) == len(found.rows) == len(_csv(images / "bush" / "tiles.csv"))


def test_camera_traps(here, images):
    """Each configuration validates at sites that it does not know; all its networks together open the test set."""
    _cross_validate(here, images, "camera_traps", {"space.filters": [4], "space.dropout": [0.0]})
    rows = here.table("leaderboard", "camera_traps", "--columns", "trial,n,mean,worst,state")
    assert [(row["n"], row["state"]) for row in rows] == [("3", "complete")] * 2
    assert all(float(row["worst"]) <= float(row["mean"]) for row in rows)
    trials = here.table("leaderboard", "camera_traps", "--per", "trial", "--columns", "fold")
    assert {row["fold"] for row in trials} == {"0", "1", "2"}
    told = here("finalize", "camera_traps")
    assert "the mean of its 3 networks: test_macro_f1" in told


def test_cats_and_dogs_by_name(run, here, images, tmp_path):
    """The label stands in the file's name; a quarter validates."""
    (row,) = run("cats_dogs_names", NAMES, image_size=64)
    counts = here.table("confusion", "cats_dogs_names")
    assert [line["true"] for line in counts] == ["cat", "dog"]
    assert sum(int(line["as cat"]) + int(line["as dog"]) for line in counts) == 12  # of 48 files
    here("show", "cats_dogs_names", row["trial"], "--curves", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()
    (one,) = here.table("predict", "cats_dogs_names", next((images / "cats_dogs" / "all").glob("cat.*.jpg")))
    assert one["predicted"] in {"cat", "dog"}
