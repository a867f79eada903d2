"""Kept predictions: what 16 bits keep, and records that survive kills, full disks and damage of their neighbours."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import numpy as np
import pytest

from cnn_sweep.journal import predictions
from cnn_sweep.journal.predictions import KeptPredictions, find, fits, keep, logs_of


def _probabilities(images, units, *, sureness=1.0, seed=0):
    scores = np.random.default_rng(seed).normal(0.0, 3.0 * sureness, (images, units))
    if units == 1:
        return (1 / (1 + np.exp(-scores))).astype(np.float32)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _made(images=7, units=3, *, seed=0, rows=None):
    classes = tuple("abcdefgh"[: max(2, units)])
    labels = np.random.default_rng(seed).integers(0, len(classes), images).astype(np.int32)
    rows = np.arange(images, dtype=np.int32) if rows is None else np.asarray(rows, np.int32)
    logs = logs_of(_probabilities(images, units, seed=seed))
    return KeptPredictions(2, "validation", rows, labels, classes, logs)


def _assert_same(one, other):
    assert (one.epoch, one.split, one.class_names) == (other.epoch, other.split, other.class_names)
    for name in ("rows", "labels", "logs"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("units", [1, 2, 3, 10])
def test_16_bits_keep_predicted_classes_and_small_errors(units):
    """Of sure and unsure networks: the same predicted class for every image, and logarithms within 2^-11."""
    for sureness in (0.001, 1.0, 5.0):
        exact = _probabilities(2000, units, sureness=sureness, seed=units)
        kept = KeptPredictions(1, "validation", np.arange(2000), np.zeros(2000), tuple("abcdefghij"), logs_of(exact))
        whole = np.concatenate([1 - exact, exact], axis=1) if units == 1 else exact
        expected = exact[:, 0] > 0.5 if units == 1 else exact.argmax(axis=1)
        np.testing.assert_array_equal(kept.probabilities.argmax(axis=1), expected)
        # Half a step of the format, and another step where the predicted class would not be told.
        np.testing.assert_allclose(np.log(exact), kept.logs, rtol=1.5 * 2**-10, atol=1e-7)
        np.testing.assert_allclose(kept.probabilities, whole, atol=5e-4)


def test_classes_that_16_bits_cannot_tell_stay_predicted():
    """A tie after rounding goes to the class that was larger before; equal ones stay equal; 0 and 1 are exact."""
    close = np.array([[0.49999, 0.50001], [0.5, 0.5], [1.0, 0.0], [0.50001, 0.49999]], np.float32)
    kept = KeptPredictions(1, "validation", np.arange(4), np.zeros(4), ("a", "b"), logs_of(close))
    assert kept.probabilities.argmax(axis=1).tolist() == [1, 0, 0, 0]
    assert kept.probabilities[2].tolist() == [1.0, 0.0]
    single = logs_of(np.array([[0.50001], [0.5], [0.49999], [0.0], [1.0]], np.float32))
    of_two = KeptPredictions(1, "validation", np.arange(5), np.zeros(5), ("a", "b"), single).probabilities
    assert of_two.argmax(axis=1).tolist() == [1, 0, 0, 0, 1]
    assert of_two[3:].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_each_trial_is_found_in_the_files_of_several_workers(paths):
    """Only records of the attempt that counts, with their split and rows."""
    of_fold = replace(_made(seed=3, rows=[4, 5, 9, 10, 11, 12, 20]), split="train")
    made = {0: _made(seed=1), 1: _made(seed=2, units=1), 2: of_fold}
    for trial, one in made.items():
        keep(paths, f"worker{trial % 2}", (trial, 1), one)
    keep(paths, "worker1", (0, 0), _made(seed=9))
    keep(paths, "worker0", (3, 0), _made(seed=9))
    found = find(paths, {0: 1, 1: 1, 2: 1, 3: 1, 4: 0})
    assert sorted(found) == [0, 1, 2]
    for trial, one in made.items():
        _assert_same(found[trial], one)
    assert len(list(paths.predictions_folder.iterdir())) == 2


def test_a_damaged_record_costs_no_other(paths):
    """Any byte that differs, or an end that is missing, costs at most its own record."""
    for trial in range(3):
        keep(paths, "w", (trial, 0), _made(images=2, seed=trial))
    whole = paths.predictions("w").read_bytes()
    wanted = dict.fromkeys(range(3), 0)
    length = len(whole) // 3
    for place in range(length, 2 * length, 5):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        paths.predictions("w").write_bytes(damaged)
        assert sorted(find(paths, wanted)) == [0, 2], place
    for end in range(2 * length, 3 * length, 5):
        paths.predictions("w").write_bytes(whole[:end])
        assert sorted(find(paths, wanted)) == [0, 1]


def test_a_full_disk_leaves_the_file_as_it_was(paths, monkeypatch):
    """Half a record is taken back, so that the next one is found."""
    keep(paths, "w", (0, 0), _made())
    before = paths.predictions("w").read_bytes()
    write, calls = os.write, []

    def full(descriptor, data):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(predictions.os, "write", full)
        with pytest.raises(OSError, match="No space"):
            keep(paths, "w", (1, 0), _made())
    assert paths.predictions("w").read_bytes() == before
    keep(paths, "w", (2, 0), _made())
    assert sorted(find(paths, dict.fromkeys(range(3), 0))) == [0, 2]


def test_odd_files_among_predictions_are_passed_over(paths):
    """A folder, a pipe, an empty file and other content; a study of an earlier version has no folder at all."""
    assert find(paths, {0: 0}) == {}
    keep(paths, "w", (0, 0), _made())
    (paths.predictions_folder / "a.bin").mkdir()
    os.mkfifo(paths.predictions_folder / "b.bin")
    (paths.predictions_folder / "c.bin").touch()
    (paths.predictions_folder / "d.bin").write_bytes(b"\x93cnn-sweep predictions 1\n" * 3)
    assert sorted(find(paths, {0: 0})) == [0]


def test_the_limit_is_that_of_one_trial():
    """4 MiB: two million probabilities, such as those of 20,000 images and 100 classes."""
    assert fits(20_000, 100)
    assert fits(2**21, 1)
    assert not fits(2**21 + 1, 1)
    assert not fits(0, 3)


def test_in_a_shared_folder_members_keep_what_is_theirs(paths):
    """As journals do: the folder has the sticky bit where the results folder was made for a group."""
    paths.results.chmod(0o2770)
    keep(paths, "w", (0, 0), _made())
    assert paths.predictions_folder.stat().st_mode & stat.S_ISVTX
