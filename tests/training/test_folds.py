"""Cross-validation: every image validates once in each partition, and every fold trains as if it were a data set."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers.outcomes import Recorder, assert_equal, resumed
from PIL import Image
from pydantic import ValidationError

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import ArraysData, DigitsData, FilesData, FolderData, RdsData, TilesData
from cnn_sweep.training.data.dataset import MIRRORED, Dataset, Split, items, load
from cnn_sweep.training.data.folds import PARTITIONS, describe_folds, draw_folds
from cnn_sweep.training.data.prepare import prepare, read_report
from cnn_sweep.training.data.splits import Labelled, divide

FOLDS = 4


def labelled(count=60, *, groups=None, classes=3):
    """Return images whose classes take turns."""
    y = (np.arange(count) % classes).astype(np.int32)
    found = None if groups is None else tuple(f"g{k // classes % groups}" for k in range(count))
    return Labelled(y, tuple("abc"[:classes]), found)


def in_folds(dataset, folds=FOLDS, *, mirrors=1):
    """Return a data set whose training images are divided; mirror images follow after them."""
    train, count = dataset.train, len(dataset.train.y)
    drawn = draw_folds(Labelled(train.y, dataset.info.class_names), folds, 0)
    if mirrors == 2:
        train = Split(np.concatenate([train.x, train.x[:, :, ::-1]]), np.concatenate([train.y, train.y]))
    assert drawn.shape == (PARTITIONS, count)
    return replace(dataset, splits={"train": train}, folds=drawn, fold_count=folds)


@pytest.mark.parametrize("groups", [None, 8])
def test_each_image_validates_once_in_each_partition(groups):
    """Folds are disjoint, together they are all images, classes are even, and no group is in two folds."""
    images = labelled(groups=groups)
    drawn = draw_folds(images, FOLDS, seed=3)
    assert len(np.unique(drawn, axis=0)) == PARTITIONS
    for partition in drawn:
        assert sorted(np.unique(partition)) == list(range(FOLDS))
        for fold in range(FOLDS):
            counts = np.bincount(images.y[partition == fold], minlength=3)
            assert counts.min() == counts.max()
        if groups is not None:
            held = {
                group: {int(f) for f, g in zip(partition, images.groups, strict=True) if g == group}
                for group in images.groups
            }
            assert all(len(folds) == 1 for folds in held.values())
    table = describe_folds(images, drawn, FOLDS)
    assert sum(fold["images"] for fold in table) == len(images.y)
    assert all(sum(fold["classes"].values()) == fold["images"] for fold in table)
    if groups is not None:
        assert sum(fold["groups"] for fold in table) == groups


def test_the_same_seed_draws_the_same_folds_and_identical_images_stay_together():
    """Results can be reproduced, and a copy of an image cannot be learned by heart."""
    images = labelled()
    np.testing.assert_array_equal(draw_folds(images, FOLDS, 5), draw_folds(images, FOLDS, 5))
    same = [f"digest {k // 2}" for k in range(60)]  # of images of two classes, which does not matter here
    drawn = draw_folds(images, FOLDS, 5, same=same)
    np.testing.assert_array_equal(drawn[:, ::2], drawn[:, 1::2])


def test_impossible_folds_are_refused_with_the_numbers():
    """Too few images or groups, and a class of one group, are said before anything is trained."""
    with pytest.raises(InputError, match="30 folds take at least 30 images of a class, but the largest class has 20"):
        draw_folds(labelled(), 30, 0)
    with pytest.raises(InputError, match="4 folds take at least 4 groups of a class, but there are 3"):
        draw_folds(labelled(groups=3), 4, 0)
    rare = Labelled(np.array([0] * 10 + [1] * 9 + [2], np.int32), tuple("abc"))
    with pytest.raises(InputError, match="the class c has images of only one image: while it validates, nothing"):
        draw_folds(rare, 3, 0)
    sites = (*tuple(f"s{k % 5}" for k in range(19)), "s0")
    with pytest.raises(InputError, match="the class c has images of only one group"):
        draw_folds(replace(rare, groups=sites), 3, 0)


def test_a_fold_validates_with_its_images_and_trains_with_the_others(datasets):
    """Repeats go through the folds of a partition, then through the next; mirror images train but never validate."""
    dataset = in_folds(datasets(), mirrors=2)
    count = len(dataset.train.y) // 2
    for repeat in range(2 * FOLDS):
        train, validation = dataset.fold(repeat)
        assert sorted({*(train % count), *validation}) == list(range(count))
        assert len(train) == 2 * (count - len(validation))
        assert not {*(train % count)} & {*validation}
        inside = dataset.folds[repeat // FOLDS] == repeat % FOLDS
        np.testing.assert_array_equal(validation, np.flatnonzero(inside))
    validated = np.concatenate([dataset.fold(k).validation for k in range(FOLDS)])
    np.testing.assert_array_equal(np.sort(validated), np.arange(count))


@pytest.mark.parametrize("settings", [{"class_weights": "balanced", "validation_steps": 1}, {"engine": "fit"}])
def test_a_fold_trains_as_its_images_alone_would(datasets, spec, settings):
    """Metrics and weights equal those of a data set that has only the images of the fold, bit for bit."""
    from cnn_sweep.training.trial.trainer import Trainer

    dataset, trial = in_folds(datasets()), spec(**settings)
    alone = Trainer(dataset.of_fold(3)).train(trial, 7, Recorder())
    assert_equal(Trainer(dataset).train(trial, 7, Recorder(), fold=3), alone)


def test_folds_trace_as_often_as_there_are_shapes(datasets, spec, monkeypatch):
    """All folds of configurations trained by one trainer share the graph of their shape, whatever the learning rate."""
    from cnn_sweep.training.engines import graph_engine
    from cnn_sweep.training.trial.trainer import Trainer

    traced = []
    original = graph_engine.EpochGraph._chunk
    monkeypatch.setattr(
        graph_engine.EpochGraph, "_chunk", lambda self, chunk: traced.append(self) or original(self, chunk)
    )
    trainer = Trainer(in_folds(datasets()))
    shapes = [({"kind": "flatten"}, {"kind": "dense", "units": units}, {"kind": "output"}) for units in (2, 3)]
    for layers, rate, fold in product(shapes, (0.1, 0.01), range(FOLDS)):
        trial = spec(layers, epochs=1, optimizer={"learning_rate": rate})
        assert trainer.train(trial, 7, Recorder(), fold=fold).state == "complete"
    assert len(traced) == len(shapes)
    assert (trainer.hits, trainer.misses) == (4 * FOLDS - len(shapes), len(shapes))


def test_a_fold_is_resumed_bit_for_bit_and_never_from_another_one(datasets, spec):
    """An interruption after each chunk changes nothing; a checkpoint of another fold is refused."""
    from cnn_sweep.training.trial.checkpoint import CheckpointError
    from cnn_sweep.training.trial.trainer import Trainer

    dataset, trial = in_folds(datasets()), spec()
    whole = Trainer(dataset).train(trial, 7, Recorder(), fold=2)
    stepping = Trainer(dataset, chunk_s=0.0)

    class OfFold:
        def train(self, *arguments):
            return stepping.train(*arguments, fold=2)

    assert_equal(resumed(OfFold(), trial, 7, polls=3, attempts=50), whole)
    stopped = Recorder(stop_after_polls=2)
    stepping.train(trial, 7, stopped, fold=2)
    ((state, _),) = stopped.checkpoints
    with pytest.raises(CheckpointError, match="another configuration"):
        stepping.train(trial, 7, Recorder(), state, fold=1)


def test_prepared_folds_are_kept_and_listed(tmp_path):
    """A folder with sites: the images are prepared once, with their folds; the report has images and sites of each."""
    for site in range(8):
        for k in range(6):
            path = tmp_path / "images" / "ab"[k % 2] / f"s{site}-{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4), 6 * site + k, np.uint8)).save(path)
    spec = FolderData(
        source="folder", train="images", image_size=(4, 4), group="{site}-*", folds=4, test=0.25, mirror=True
    )
    folder = prepare(spec, tmp_path, tmp_path / "root")
    dataset, names = load(folder), [item.name for item in items(folder, "train")]
    assert isinstance(dataset, Dataset)
    assert dataset.validation is dataset.train
    assert dataset.folds.shape == (PARTITIONS, len(dataset.train.y) // 2)
    for repeat in (0, 5):
        train, validation = (
            {names[k].removesuffix(MIRRORED).split("/")[1].split("-")[0] for k in index}
            for index in dataset.fold(repeat)
        )
        assert not train & validation
    table = read_report(folder)["folds"]
    assert [sorted(fold) for fold in table] == [["classes", "groups", "images"]] * 4
    assert sum(fold["groups"] for fold in table) == 6
    plain = load(prepare(spec.model_copy(update={"folds": None}), tmp_path, tmp_path / "root"))
    assert plain.fingerprint != dataset.fingerprint
    assert plain.fold_count == 1


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (DigitsData, {"source": "digits", "validation": 0.2}, "each of the 5 folds validates in turn"),
        (DigitsData, {"source": "digits", "folds": 1}, "greater than or equal to 2"),
        (
            RdsData,
            {"source": "rds", "classes": {"a": {"train": "a.rds", "validation": "b.rds"}}},
            "classes have files for validation",
        ),
        (
            FilesData,
            {"source": "files", "train": "i", "image_size": (4, 4), "labels": {"table": "t.csv"}, "order": "taken"},
            "divides the images into past and future",
        ),
    ],
)
def test_settings_that_folds_make_useless_are_refused(kind, data, message):
    """A sweep file says one thing."""
    with pytest.raises(ValidationError, match=message):
        kind(**{"folds": 5, **data})


def test_groups_of_arrays_come_from_a_file(tmp_path):
    """One value for each image keeps those with the same value in one set; another number of values is refused."""
    count, sites = 60, np.arange(60) // 5
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (count, 4, 4), np.uint8))
    np.save(tmp_path / "y.npy", np.arange(count) % 2)
    for name, values in (("site.npy", sites.astype("U3")), ("short.npy", sites[:-1]), ("real.npy", sites + 0.5)):
        np.save(tmp_path / name, values)

    def spec(group, **more):
        files = {"x": "x.npy", "y": "y.npy"}
        return ArraysData(source="arrays", train=files, group=group, **more)

    folder = prepare(spec("site.npy", test=0.25), tmp_path, tmp_path / "root")
    report = read_report(folder)
    sets = {name: {int(item.name.split("#")[1]) // 5 for item in items(folder, name)} for name in report["images"]}
    assert sum(map(len, sets.values())) == 12
    assert len(sets["validation"]) in (2, 3)
    assert any("groups by site.npy" in note for note in report["notes"])
    assert load(prepare(spec("site.npy", folds=3), tmp_path, tmp_path / "root")).fold_count == 3
    for name in ("short.npy", "real.npy"):
        with pytest.raises(InputError, match="the groups of 60 images are 60 whole numbers or texts"):
            prepare(spec(name), tmp_path, tmp_path / "root")


def test_blocks_of_tiles_stay_in_one_set(tmp_path):
    """Neighbouring tiles are alike, so blocks of them are divided, not single tiles."""
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "p.png")
    mask = np.kron(np.indices((16, 16)).sum(axis=0) % 2, np.ones((4, 4))).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.png")
    spec = TilesData(
        source="tiles", picture="p.png", size=(4, 4), labels={"mask": "m.png"}, classes={"a": 0, "b": 1}, block=4
    )
    folder = prepare(spec, tmp_path, tmp_path / "root")
    blocks = [{(item.row // 4, item.column // 4) for item in items(folder, name)} for name in ("train", "validation")]
    assert not blocks[0] & blocks[1]
    assert len(blocks[0]) + len(blocks[1]) == 16
    assert any("groups by blocks of 4 x 4 tiles" in note for note in read_report(folder)["notes"])


def test_order_trains_on_the_past():
    """The last images by date are the test set, those before them validate, and images of one day stay together."""
    days = [f"2024-0{1 + k // 40}-{1 + k % 40 // 2:02}" for k in range(80)]
    shuffled = np.random.default_rng(0).permutation(80)
    images = Labelled((np.arange(80) % 2).astype(np.int32), ("a", "b"), tuple(days[k] for k in shuffled), ordered=True)
    parts = divide(images, validation=0.2, test=0.1, seed=0)
    found = {name: sorted({images.groups[k] for k in index}) for name, index in parts.items()}
    assert found["train"][-1] < found["validation"][0]
    assert found["validation"][-1] < found["test"][0]
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [56, 16, 8]
    with pytest.raises(InputError, match="'unknown' is neither a date"):
        divide(replace(images, groups=("2024-01-01",) * 79 + ("unknown",)), validation=0.2, test=0.0, seed=0)
    with pytest.raises(InputError, match="all images have the same time"):
        divide(replace(images, groups=("2024-01-01",) * 80), validation=0.2, test=0.0, seed=0)
