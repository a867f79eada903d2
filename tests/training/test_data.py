"""Data sets: described without reading pixels, prepared once, split by seed, sealed where they are the test set."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.sweep.spec.data import ArraysData, DigitsData
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.data.prepare import prepare
from cnn_sweep.training.data.sources import describe


@pytest.fixture
def images(tmp_path):
    """Write images and labels, and return what a sweep file says about them."""

    def write(x=None, y=None, **spec):
        x = np.zeros((30, 4, 5, 3), np.uint8) if x is None else x
        y = np.arange(len(x)) % 3 if y is None else y
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "y.npy", y)
        return ArraysData.model_validate({"source": "arrays", "train": {"x": "x.npy", "y": "y.npy"}, **spec})

    return write


def everything(path):
    """Load all splits."""
    return load(path, splits=("train", "validation", "test"))


def visible(root):
    """Names in a folder of prepared data; the notes about the newest ones are hidden."""
    return [path.name for path in root.iterdir() if not path.name.startswith(".newest-")]


def test_digits_are_the_real_ones_in_stratified_splits(tmp_path):
    """All 1,797 digits are there, each class in its share of every split."""
    data = everything(prepare(DigitsData(source="digits"), tmp_path, tmp_path))
    sizes = {name: len(split.y) for name, split in data.splits.items()}
    assert sizes == {"train": 1079, "validation": 359, "test": 359}
    assert data.info == describe(DigitsData(source="digits"), tmp_path)
    assert data.train.x.dtype == np.uint8
    assert (data.train.x.min(), data.train.x.max(), data.rescale) == (0, 255, 1 / 255)
    for split in data.splits.values():
        shares = np.bincount(split.y) / len(split.y)
        assert np.abs(shares - 0.1).max() < 0.01


def test_the_seed_decides_the_split(tmp_path):
    """The same seed gives the same split, another one another."""

    def validation(folder, seed):
        spec = DigitsData(source="digits", seed=seed)
        return np.array(load(prepare(spec, tmp_path, tmp_path / folder)).validation.x)

    np.testing.assert_array_equal(validation("a", 1), validation("b", 1))
    assert not np.array_equal(validation("a", 1), validation("a", 2))


def test_the_test_set_is_loaded_only_by_name(tmp_path):
    """A worker that does not ask for test images does not get any."""
    path = prepare(DigitsData(source="digits"), tmp_path, tmp_path)
    assert set(load(path).splits) == {"train", "validation"}
    assert set(load(path, splits=("test",)).splits) == {"test"}


def test_a_second_call_finds_what_the_first_prepared(tmp_path, monkeypatch):
    """Preparing again gives the same folder and writes nothing."""
    spec = DigitsData(source="digits")
    path = prepare(spec, tmp_path, tmp_path / "root")
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert prepare(spec, tmp_path, tmp_path / "root") == path
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before
    assert visible(tmp_path / "root") == [path.name]


def test_arrays_are_split_without_loss(images, tmp_path):
    """Every image is in exactly one split, with its label."""
    x = np.arange(60, dtype=np.uint8).reshape(-1, 1, 1, 1)
    spec = images(x, np.arange(60) % 3, validation=0.25, test=0.2)
    data = everything(prepare(spec, tmp_path, tmp_path / "root"))
    assert {name: len(split.y) for name, split in data.splits.items()} == {
        "train": 33,
        "validation": 15,
        "test": 12,
    }
    seen = np.concatenate([split.x.ravel() for split in data.splits.values()])
    np.testing.assert_array_equal(np.sort(seen), np.arange(60))
    for split in data.splits.values():
        np.testing.assert_array_equal(split.y, split.x.ravel() % 3)


def test_arrays_of_other_forms_mean_the_same(images, tmp_path):
    """Grey images without a channel axis, and one-hot labels, are understood."""
    plain = images(np.zeros((30, 4, 5), np.uint8), np.arange(30) % 3)
    first = load(prepare(plain, tmp_path, tmp_path / "one"))
    one_hot = images(np.zeros((30, 4, 5, 1), np.uint8), np.eye(3)[np.arange(30) % 3])
    second = load(prepare(one_hot, tmp_path, tmp_path / "two"))
    assert first.info == second.info
    assert first.info.image_shape == (4, 5, 1)
    np.testing.assert_array_equal(first.train.y, second.train.y)


def test_floats_are_stored_as_float32_and_not_rescaled(images, tmp_path):
    """The factor of floating-point images is 1 unless the sweep file says otherwise."""
    x = np.random.default_rng(0).random((30, 2, 2, 1))
    data = load(prepare(images(x), tmp_path, tmp_path / "root"))
    assert (data.train.x.dtype, data.rescale) == (np.float32, 1.0)
    assert load(prepare(images(x, rescale=0.5), tmp_path, tmp_path / "root")).rescale == 0.5


def test_splits_may_be_files(images, tmp_path):
    """Validation and test images come from files of their own; the training files are not split then."""
    for name, count in (("v", 6), ("t", 9)):
        np.save(tmp_path / f"{name}x.npy", np.zeros((count, 4, 5, 3), np.uint8))
        np.save(tmp_path / f"{name}y.npy", np.arange(count) % 3)
    spec = images(validation={"x": "vx.npy", "y": "vy.npy"}, test={"x": "tx.npy", "y": "ty.npy"})
    data = everything(prepare(spec, tmp_path, tmp_path / "root"))
    assert {k: len(s.y) for k, s in data.splits.items()} == {"train": 30, "validation": 6, "test": 9}


def test_changed_files_are_another_data_set(images, tmp_path):
    """A file that changed after it was prepared is prepared anew."""
    spec = images()
    first = prepare(spec, tmp_path, tmp_path / "root")
    os.utime(tmp_path / "x.npy", ns=(1, 1))
    assert prepare(spec, tmp_path, tmp_path / "root") != first


MISTAKES = [
    ({"x": np.zeros((30, 4), np.uint8)}, r"x\.npy: images must have the shape .* but got \(30, 4\)"),
    ({"x": np.zeros((30, 4, 4, 1), np.int64)}, r"x\.npy: images must be uint8 or .* but got int64"),
    ({"y": np.zeros(29, int)}, r"holds 30 images, but .*y\.npy holds 29 labels"),
    ({"y": np.zeros(30, int)}, r"a single class \(0\)"),
    ({"y": np.arange(30) % 3 - 1}, r"labels must be 0, 1, 2, ..., but got -1"),
    ({"y": np.arange(30) % 3 + 10**6}, r"one of them is 1000002"),
    ({"y": np.arange(30) / 3}, r"labels must be integers, or one-hot, but got float64; .*cannot predict numbers"),
    ({"y": np.zeros((30, 3, 2))}, r"but got \(30, 3, 2\)"),
    ({"y": np.ones((30, 3))}, r"row 0 is \[1.0, 1.0, 1.0\]"),
    ({"x": np.full((30, 2, 2, 1), np.nan)}, r"hold NaN or infinity"),
    (
        {"y": np.r_[np.zeros(29, int), 1]},
        r"the class 1 has only one image, but to be in both the training and the",
    ),
]


@pytest.mark.parametrize(("arrays", "message"), MISTAKES)
def test_wrong_arrays_are_refused_with_the_file_and_the_reason(arrays, message, images, tmp_path):
    """What does not fit is the user's input, and the message says which file, what was wanted and what came."""
    with pytest.raises(InputError, match=message):
        prepare(images(**arrays), tmp_path, tmp_path / "root")
    assert not any((tmp_path / "root").glob("*")) if (tmp_path / "root").exists() else True


def test_validation_files_must_fit_the_training_files(images, tmp_path):
    """Another image shape, or a class that training lacks, is refused."""
    np.save(tmp_path / "vx.npy", np.zeros((3, 9, 9, 3), np.uint8))
    np.save(tmp_path / "vy.npy", np.array([0, 1, 7]))
    spec = images(validation={"x": "vx.npy", "y": "vy.npy"})
    with pytest.raises(InputError, match=r"vx\.npy: its images have the shape \(9, 9, 3\)"):
        prepare(spec, tmp_path, tmp_path / "root")
    np.save(tmp_path / "vx.npy", np.zeros((3, 4, 5, 3), np.uint8))
    with pytest.raises(
        InputError,
        match=r"validation set holds classes that the training set lacks: 7; those",
    ):
        prepare(spec, tmp_path, tmp_path / "root")


@pytest.mark.parametrize("content", [None, b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_array_is_an_input_error(content, images, tmp_path):
    """Missing and damaged files are named."""
    spec = images()
    if content is None:
        (tmp_path / "x.npy").unlink()
    else:
        (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npy"):
        prepare(spec, tmp_path, tmp_path / "root")
    with pytest.raises(InputError, match=r"x\.npy"):
        describe(spec, tmp_path)


def test_pickled_objects_are_never_loaded(images, tmp_path):
    """An array file cannot run code."""
    spec = images()
    np.save(tmp_path / "x.npy", np.array([{}] * 30), allow_pickle=True)
    with pytest.raises(InputError, match=r"x\.npy is not a \.npy file of numbers"):
        prepare(spec, tmp_path, tmp_path / "root")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(classes=st.integers(2, 5), size=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)))
def test_describe_says_what_prepare_finds(classes, size, images, tmp_path):
    """The cheap look at a data set agrees with the prepared one."""
    spec = images(np.zeros((20 * classes, *size), np.uint8), np.arange(20 * classes) % classes)
    info = describe(spec, tmp_path)
    assert info == load(prepare(spec, tmp_path, tmp_path / "root")).info
    assert (info.classes, info.image_shape) == (classes, size)


def test_a_damaged_folder_says_what_to_do(tmp_path):
    """A prepared folder that cannot be read is named, with the way out."""
    path = prepare(DigitsData(source="digits"), tmp_path, tmp_path)
    meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    (path / "y_train.npy").write_bytes(b"")
    with pytest.raises(EnvironmentFault, match=r"remove the folder, and it will be prepared again"):
        load(path)
    (path / "meta.json").write_text(json.dumps({k: v for k, v in meta.items() if k != "sizes"}), encoding="utf-8")
    with pytest.raises(EnvironmentFault, match=r"KeyError"):
        load(path)


def test_a_root_that_cannot_be_written_is_the_environments_fault(tmp_path):
    """The message names the folder and what the system said."""
    (tmp_path / "root").write_text("a file", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match=r"root/digits-\w+: the prepared data cannot be stored"):
        prepare(DigitsData(source="digits"), tmp_path, tmp_path / "root")
