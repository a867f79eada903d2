"""What is done with trained models; the process that works with them is this one, so that TensorFlow starts once."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.execution.models import client as models
from cnn_sweep.report.models.requested_images import choose_images, prepared_data
from cnn_sweep.store.queries import list_workers
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import items, load

SWEEP = """
study: tiny
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3, activation: relu}
    - flatten
    - output: softmax
space: {filters: [2, 4]}
training: {epochs: 4, batch_size: 64, optimizer: {name: adam, learning_rate: 0.01}}
"""
# Isolated from this package and from the environment; KERAS_BACKEND is not set either.
ELSEWHERE = """
import sys
import keras, numpy as np
for file in sys.argv[2:]:
    model = keras.models.load_model(file, compile=False)
    np.save(file + ".npy", model.predict(np.load(sys.argv[1]), verbose=0))
sys.exit(f"{sys.modules['cnn_sweep']} was imported" if "cnn_sweep" in sys.modules else 0)
"""


@pytest.fixture(scope="module")
def seen():
    """Probabilities of the validation images, as the worker saw them after each epoch of each trial."""
    return []


@pytest.fixture(scope="module", autouse=True)
def results(here, seen):
    """A study of two trials, of which the best one's model was kept."""
    from cnn_sweep.training.engines.graph_engine import GraphEngine

    evaluate = GraphEngine.evaluate

    def keep(self, plan):
        found = evaluate(self, plan)
        seen.append(found.probabilities)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GraphEngine, "evaluate", keep)
        here.train(Sweep.parse(SWEEP))
    return here.results


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def _trials(results):
    """Return the trial whose model was kept and the other one."""
    rows = Study.open(results, "tiny").leaderboard_table().rows
    return rows[0], rows[1]


def test_the_test_set_is_sealed(results, here):
    """Nobody sees the test set's confusion before ``finalize``; the message says so."""
    with pytest.raises(StudyError, match="sealed until `cnn-sweep finalize tiny`"):
        models.predict_split(results, "tiny", "test")
    name = items(prepared_data(results, "tiny"), "test")[0].name
    for words in (["activations", "tiny", name, "--layer", "1", "--output", "map.png"], ["predict", "tiny", name]):
        with pytest.raises(
            StudyError, match=rf"{name}: this image is in the test set of 'tiny', which is sealed until"
        ):
            here(*words)


def test_predictions_are_those_of_the_workers_validation_pass(results, seen):
    """The kept model's probabilities, image by image, are what the worker saw after the best epoch."""
    best, _ = _trials(results)
    found = models.predict_split(results, "tiny", "validation")
    assert found.trial == best["trial"]
    after = seen[4 * best["trial"] + best["best_epoch"] - 1]
    np.testing.assert_allclose(found.probabilities, after, atol=1e-6)
    assert np.mean(found.predicted == found.labels) == best["val_accuracy"]


def test_a_model_that_was_not_kept_is_trained_again(results, seen, capfd):
    """Its predictions are those of the first time."""
    _, second = _trials(results)
    found = models.predict_split(results, "tiny", "validation", trial=second["trial"])
    assert f"trial {second['trial']}: its model was not kept" in capfd.readouterr().err
    after = seen[4 * second["trial"] + second["best_epoch"] - 1]
    np.testing.assert_allclose(found.probabilities, after, atol=1e-6)


def test_saved_models_predict_the_same_without_this_package(results, seen, here, tmp_path):
    """``predict`` on an image file, and a process with Keras alone, get what the worker's validation pass saw."""
    best, _ = _trials(results)
    images = load(prepared_data(results, "tiny")).validation.x
    np.save(tmp_path / "x.npy", images)
    files = [tmp_path / "best.keras", tmp_path / "best.h5"]
    for file in files:
        here("model", "tiny", "--output", file)
    words = [sys.executable, "-I", "-c", ELSEWHERE, tmp_path / "x.npy", *files]
    subprocess.run(words, check=True, cwd=tmp_path, capture_output=True, timeout=240)
    after = seen[4 * best["trial"] + best["best_epoch"] - 1]
    for file in files:
        np.testing.assert_allclose(np.load(f"{file}.npy"), after, atol=1e-6)
    Image.fromarray(images[5, ..., 0]).save(tmp_path / "5.png")
    (row,) = here.table("predict", "tiny", tmp_path / "5.png")
    np.testing.assert_allclose([float(row[f"p_{name}"]) for name in range(10)], after[5], atol=1e-6)


def test_python_predicts_lists_and_arrays(results, tmp_path):
    """A list of paths and an array of the same images give the same rows; another shape or scale is refused."""
    study = Study.open(results, "tiny")
    images = load(prepared_data(results, "tiny")).validation.x[:2]
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image[..., 0]).save(file)
    of_files, of_array = study.predict(files), study.predict(images)
    assert of_files["image"].tolist() == [str(file) for file in files]
    assert of_files.drop(columns="image").equals(of_array.drop(columns="image"))
    for wrong, message in (
        (images[:, :4], r"has the shape \(2, 4, 8, 1\); images of this study have \(n, 8, 8, 1\)"),
        (images.astype("float64") / 255, "multiply by 255"),
        ([], "no images were given"),
    ):
        with pytest.raises(InputError, match=message):
            study.predict(wrong)


def test_confusion_counts_every_image(results, here):
    """Its rows are the true classes; its diagonal is the accuracy; proportions of a row add up to 1."""
    best, _ = _trials(results)
    rows = here.table("confusion", "tiny")
    assert [row["true"] for row in rows] == list("0123456789")
    counts = np.array([[int(row[f"as {name}"]) for name in "0123456789"] for row in rows])
    assert np.trace(counts) / counts.sum() == pytest.approx(best["val_accuracy"])
    shares = here.table("confusion", "tiny", "--normalize", "true")
    assert [sum(float(row[f"as {name}"]) for name in "0123456789") for row in shares] == pytest.approx([1.0] * 10)
    assert "precision" in here("confusion", "tiny")


def test_misclassified_images_are_listed_and_drawn(results, here, tmp_path):
    """``--true`` and ``--predicted`` choose one cell of the confusion matrix; the sheet shows its images."""
    counts = {row["true"]: row for row in here.table("confusion", "tiny")}
    cells = {(a, b): int(counts[a][f"as {b}"]) for a in counts for b in counts if a != b}
    (true, predicted), count = max(cells.items(), key=lambda item: item[1])
    words = ("misclassified", "tiny", "--true", true, "--predicted", predicted, "--sheet", tmp_path / "sheet.png")
    rows = here.table(*words)
    assert len(rows) == count > 0
    assert {(row["true"], row["predicted"]) for row in rows} == {(true, predicted)}
    assert all(float(row["probability"]) == float(row[f"p_{predicted}"]) for row in rows)
    everything = here.table("misclassified", "tiny")
    assert len(everything) == sum(cells.values())
    sureness = [float(row["probability"]) for row in everything]
    assert sureness == sorted(sureness, reverse=True)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size > (72, 72)
        assert len(sheet.convert("L").getcolors()) > 5


def test_a_folder_of_images_is_predicted(here, results, tmp_path):
    """Each image has a row in the table and a cell of the sheet; what cannot be read is named, the exit code is 1."""
    images = load(prepared_data(results, "tiny")).validation.x[:7, ..., 0]
    (tmp_path / "new" / "inner").mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).resize((16, 16)).save(tmp_path / "new" / "inner" / f"{number}.png")
    (tmp_path / "new" / "torn.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "new" / "notes.txt").write_text("no image", encoding="utf-8")
    table, sheet = tmp_path / "new.csv", tmp_path / "new.png"
    done = here.result("predict", "tiny", tmp_path / "new", "--csv", table, "--sheet", sheet)
    assert done.exit_code == 1
    assert "torn.png: " in done.stderr
    rows = _rows(table.read_text(encoding="utf-8"))
    assert [row["image"].rpartition("/")[2] for row in rows] == [f"{number}.png" for number in range(7)]
    for row in rows:
        chances = [float(row[f"p_{name}"]) for name in range(10)]
        assert sum(chances) == pytest.approx(1.0, abs=1e-6)
        assert float(row["probability"]) == max(chances)
        assert row["predicted"] == str(np.argmax(chances))
    with Image.open(sheet) as picture:
        assert min(picture.size) > 150


def test_activations_are_those_of_the_layer(results, here, tmp_path):
    """A channel is the convolution of the image with its kernel; layers go by number and by name."""
    import keras

    data = prepared_data(results, "tiny")
    name = items(data, "validation")[3].name
    chosen = choose_images(results, "tiny", [name])
    np.testing.assert_array_equal(chosen.x[0], load(data).validation.x[3])
    found = models.activations(results, "tiny", chosen.x, "1")[0]
    file = results / "tiny" / "models" / f"{_trials(results)[0]['trial']}.keras"
    kernel, bias = keras.models.load_model(file, compile=False).get_layer("01_conv2d").get_weights()
    patch = chosen.x[0, 2:5, 1:4, 0].astype(np.float32) / 255
    expected = np.maximum(np.tensordot(patch, kernel[:, :, 0], 2) + bias, 0)
    np.testing.assert_allclose(found[2, 1], expected, atol=1e-5)
    np.testing.assert_array_equal(models.activations(results, "tiny", chosen.x, "01_conv2d")[0], found)
    here("activations", "tiny", name, "--layer", 1, "--channel", 0, "--output", tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        pixels = np.asarray(picture.convert("L"))[6:78:12, 6:78:12]  # 6x6 values, each 12 pixels wide
    spread = (found[..., 0] - found[..., 0].min()) / np.ptp(found[..., 0])
    np.testing.assert_allclose(pixels, 255 * spread, atol=1)
    with pytest.raises(InputError, match="no layer '9'; layers: image, rescaling, 01_conv2d"):
        models.activations(results, "tiny", chosen.x, "9")


def test_python_gives_the_same(results, here):
    """``Study`` has the commands' tables as DataFrames, and the model itself."""
    study = Study.open(results, "tiny")
    rows = here.table("confusion", "tiny")
    assert study.confusion().to_numpy().tolist() == [[int(row[f"as {n}"]) for n in range(10)] for row in rows]
    mistakes = study.misclassified(predicted="9")
    assert (mistakes["predicted"] == "9").all()
    assert len(mistakes) == sum(int(row["as 9"]) for row in rows if row["true"] != "9")
    images = load(prepared_data(results, "tiny")).validation.x
    probabilities = study.load_model()(images[:3].astype("float32"), training=False)
    expected = models.predict_split(results, "tiny", "validation").probabilities[:3]
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_layers_of_the_users_own_are_known(here, elsewhere, tmp_path):
    """A layer that the user's module registers is loaded with the model; that its `compile` is not used is noted."""
    (tmp_path / "network.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('mine')\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return 2.0 * x\n"
        "def build(params, image_shape, classes):\n"
        "    x = keras.Input(image_shape)\n"
        "    y = Twice(name='twice')(keras.layers.Flatten()(x))\n"
        "    model = keras.Model(x, keras.layers.Dense(classes, activation='softmax')(y))\n"
        "    model.compile(loss='mean_squared_error')\n"
        "    return model\n",
        encoding="utf-8",
    )
    text = SWEEP[: SWEEP.index("model:")] + "model: {build: 'network:build'}\n" + SWEEP[SWEEP.index("space:") :]
    (tmp_path / "own.yaml").write_text(
        text.replace("study: tiny", "study: own").replace("[2, 4]", "[2]"), encoding="utf-8"
    )
    here.train(Sweep.load(tmp_path / "own.yaml"))
    found = models.predict_split(here.results, "own", "validation")
    assert np.mean(found.predicted == found.labels) == Study.open(here.results, "own").best()["value"]
    name = items(prepared_data(here.results, "own"), "validation")[0].name
    here("activations", "own", name, "--layer", "twice", "--output", tmp_path / "twice.png")
    told = here("status", "own")
    assert told.count("note: network:build compiles its model with optimizer rmsprop, learning rate 0.001, loss") == 1
    assert "which is not used" in told


def test_learning_curves_are_drawn(here, results, tmp_path):
    """``show --curves`` draws both lines of each metric."""
    best, _ = _trials(results)
    here("show", "tiny", best["trial"], "--curves", tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        colors = {color for _, color in picture.getcolors(100_000)}
    assert {(31, 111, 180), (209, 100, 31)} <= colors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["confusion", "tiny", "--trial", "7"], "there is no trial 7; 2 are planned"),
        (["confusion", "tiny", "--trial", "worst"], "neither a number nor 'best'"),
        (["misclassified", "tiny", "--true", "seven"], "no class 'seven'; classes: 0, 1"),
        (["model", "tiny", "--output", "model.onnx"], "must end in .keras or .h5"),
        (["model", "tiny", "--output", "nowhere/model.keras"], "the folder nowhere does not exist"),
        (["confusion", "other"], "no study .other. in .*; studies there: .*tiny"),
        (["predict", "tiny"], "give either image files and folders, or --unlabelled"),
        (["predict", "tiny", "nowhere.png"], "nowhere.png: there is no such file or folder"),
        (["predict", "tiny", "--unlabelled"], "no unlabelled images; it has train, validation"),
        (["activations", "tiny", ".", "--layer", "1", "--output", "no/m.png"], "the folder no does not exist"),
    ],
)
def test_mistakes_are_said(here, words, message):
    """An impossible request gives one message with the valid choices."""
    with pytest.raises(InputError, match=message):
        here(*words)


def test_finalize_opens_the_test_set_and_shows_its_confusion(results, here):
    """After ``finalize`` the test set's confusion is open, and its accuracy is the one that was journaled."""
    trained = [worker for worker in list_workers(StoreReader(results), "tiny") if worker["threads"]]
    shown = here("finalize", "tiny")
    after = [worker for worker in list_workers(StoreReader(results), "tiny") if worker["threads"]]
    assert after == trained  # it is no worker
    assert "test_accuracy" in shown
    assert "precision" in shown
    found = models.predict_split(results, "tiny", "test")
    tested = Study.open(results, "tiny").trial(found.trial)["trial"]["test_metrics"]["test_accuracy"]
    assert np.mean(found.predicted == found.labels) == pytest.approx(tested)
    image = items(found.prepared, "test")[2].name
    chosen = choose_images(results, "tiny", [image])
    np.testing.assert_array_equal(chosen.x[0], load(found.prepared, splits=("test",)).splits["test"].x[2])
