"""Preparing image files: with all cores, resumable after a kill, by one process while others wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers.images import deep_png
from PIL import Image

from cnn_sweep.sweep.spec.data import FolderData
from cnn_sweep.training.data import parallel_decoding
from cnn_sweep.training.data.dataset import image_options, items, load
from cnn_sweep.training.data.parallel_decoding import PART
from cnn_sweep.training.data.prepare import described, prepare, prepared, read_report

COUNT = 3 * PART + 40  # of files; more than are decoded without other processes

# Prepares, and does something when it is told for the first time that images are done.
OWNER = """
import os, signal, sys, time
from pathlib import Path
from cnn_sweep.sweep.spec.data import FolderData
from cnn_sweep.training.data.prepare import prepare
def observe(done, total):
    if done:
        {action}
spec = FolderData(source="folder", train="images", image_size=(8, 8))
prepare(spec, Path({folder!r}), Path({root!r}), observe=observe)
"""


pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small images of two classes, all different, one of them damaged."""
    folder = tmp_path_factory.mktemp("many")
    for label, name in enumerate(("dark", "light")):
        (folder / "images" / name).mkdir(parents=True)
        for k in range(COUNT // 2):
            pixels = np.full((9, 11, 3), (label * 128 + k % 128, k // 128, label), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{k:04}.png")
    (folder / "images" / "dark" / "0017.png").write_bytes(b"no image")
    return folder


SPEC = FolderData(source="folder", train="images", image_size=(8, 8))


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """The images, prepared in one go."""
    return prepare(SPEC, folder, tmp_path_factory.mktemp("calm"))


def start_owner(folder, root, action):
    """Start a process that prepares and does something when the first images are done."""
    code = OWNER.format(action=action, folder=str(folder), root=str(root))
    return subprocess.Popen([sys.executable, "-c", code])


def assert_same(path, other):
    """Compare two prepared folders."""
    for split in ("train", "validation"):
        one, two = (load(each).splits[split] for each in (path, other))
        np.testing.assert_array_equal(one.x, two.x)
        np.testing.assert_array_equal(one.y, two.y)
        assert items(path, split) == items(other, split)
    assert load(path).fingerprint == load(other).fingerprint


def test_all_images_are_there_with_their_labels(undisturbed):
    """Decoded by several processes, every image is in its place, and the damaged one is left out and named."""
    data = load(undisturbed)
    assert len(data.train.y) + len(data.validation.y) == COUNT - 1
    for split in (data.train, data.validation):
        np.testing.assert_array_equal(split.x[:, 0, 0, 2], split.y)
    for item, pixels in zip(items(undisturbed, "train"), data.train.x, strict=True):
        assert pixels[0, 0, 1] == int(item.name[-8:-4]) // 128
    (bad,) = read_report(undisturbed)["bad"]
    assert bad["file"] == "dark/0017.png"
    assert "not an image" in bad["reason"]
    assert sorted(file.suffix for file in undisturbed.iterdir()) == [".json"] * 4 + [".npy"] * 4


def test_a_killed_prepare_is_continued(folder, tmp_path, undisturbed):
    """After a kill the parts that were done are not done again, and the result is bit for bit the same."""
    owner = start_owner(folder, tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert owner.wait() == -signal.SIGKILL
    seen = []
    path = prepare(SPEC, folder, tmp_path, observe=lambda done, total: seen.append((done, total)))
    assert 0 < seen[0][0] < COUNT, "it began with what was done"
    assert seen[-1] == (COUNT, COUNT)
    assert_same(path, undisturbed)
    assert not list(tmp_path.glob(".*.work"))


def test_a_part_of_another_run_of_the_machine_is_done_again(folder, tmp_path, undisturbed):
    """What was in memory when a machine died may never have reached the disk."""
    owner = start_owner(folder, tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    owner.wait()
    (work,) = tmp_path.glob(".*.work")
    job = json.loads((work / "job.json").read_text(encoding="utf-8"))
    (work / "job.json").write_text(json.dumps(job | {"boot": "another"}), encoding="utf-8")
    for array in work.glob("*.npy"):
        array.write_bytes(bytes(array.stat().st_size))
    assert_same(prepare(SPEC, folder, tmp_path), undisturbed)


def test_a_second_caller_waits_and_takes_over_when_the_first_dies(folder, tmp_path, undisturbed):
    """While the owner is alive, no other process decodes; when it is killed, a waiting one continues."""
    owner = start_owner(folder, tmp_path, "print('begun', flush=True) or time.sleep(600)")
    done = threading.Event()
    found = []

    def wait():
        found.append(prepare(SPEC, folder, tmp_path))
        done.set()

    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.work/part_*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert not done.wait(0.5), "the owner still lives"
    owner.kill()
    owner.wait()
    assert done.wait(60)
    assert_same(found[0], undisturbed)


def test_workers_find_what_was_prepared_without_looking_at_the_files(folder, tmp_path, monkeypatch):
    """A worker asks for what the last `prepare` made; the images themselves may be out of its reach."""
    from cnn_sweep.training.data import prepare as module

    path = prepare(SPEC, folder, tmp_path)
    for name in ("list_files", "describe"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("it looked at the files"))
    assert prepared(SPEC, folder, tmp_path) == path
    assert described(SPEC, folder, tmp_path) == load(path).info


def test_changed_images_are_prepared_again(folder, tmp_path):
    """Another size or time of one file makes another data set, and workers get the newest."""
    first = prepare(SPEC, folder, tmp_path)
    file = folder / "images" / "light" / "0003.png"
    status = file.stat()
    os.utime(file, ns=(1, 1))
    second = prepare(SPEC, folder, tmp_path)
    assert first != second
    assert load(first).fingerprint == load(second).fingerprint
    assert prepared(SPEC, folder, tmp_path) == second
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert prepare(SPEC, folder, tmp_path) == first


def test_a_decoder_that_dies_is_told(folder, tmp_path, monkeypatch):
    """Where a decoding process is killed, perhaps for want of memory, preparing ends with a message and can go on."""
    from cnn_sweep.errors import EnvironmentFault

    real = parallel_decoding._start
    monkeypatch.setattr(parallel_decoding, "_start", lambda work: _killed(real(work)))
    with pytest.raises(EnvironmentFault, match="an image decoder died"):
        prepare(SPEC, folder, tmp_path)
    monkeypatch.undo()
    assert len(load(prepare(SPEC, folder, tmp_path)).train.y) > 0


def _killed(process):
    process.kill()
    process.wait()
    return process


def test_what_is_written_at_a_time_changes_nothing(folder, tmp_path, monkeypatch):
    """Images, their mirror images and bad ones are in their places whether a part is one block of pixels or many."""
    spec = SPEC.model_copy(update={"mirror": True})
    whole = prepare(spec, folder, tmp_path / "whole")
    monkeypatch.setattr(parallel_decoding, "_FEW", COUNT)  # so that this process decodes
    monkeypatch.setattr(parallel_decoding, "_BLOCK_BYTES", 3 * 8 * 8 * 3)  # three images; not a divisor of 256
    blocks = prepare(spec, folder, tmp_path / "blocks")
    assert_same(blocks, whole)
    assert read_report(blocks)["bad"] == read_report(whole)["bad"] != []


DEEP = FolderData(source="folder", train="images", image_size=(4, 4), validation=0.5)


def write_deep(folder, peak, color="L"):
    """Write eight images of 16 bits of two classes, whose brightest value is given."""
    for k in range(8):
        file = folder / "images" / ("a", "b")[k % 2] / f"{k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.full((4, 4, 1 if color == "L" else 3), peak - 100 * k, np.uint16)
        file.write_bytes(deep_png(values))


def brightest(path):
    """The largest pixel of all labelled images."""
    return max(int(split.x.max()) for split in load(path).splits.values())


@pytest.mark.parametrize(("peak", "white", "color"), [(4000, 4095, "L"), (1000, 1023, "RGB"), (60_000, 65_535, "L")])
def test_the_range_of_16_bits_is_found(peak, white, color, tmp_path):
    """Images of a 12-bit camera are not nearly black: white is what the fewest bits hold, and a note says so."""
    write_deep(tmp_path, peak, color)
    path = prepare(DEEP, tmp_path, tmp_path / "root")
    assert brightest(path) == round(peak / white * 255)
    notes = [note for note in read_report(path)["notes"] if f"no value above {peak}, so {white}" in note]
    assert len(notes) == (white < 65_535)
    assert image_options(path).bits == (None if white == 65_535 else white.bit_length())
    assert {file.name.partition("_")[0] for file in path.iterdir()} == {"x", "y", "items", "meta.json", "report.json"}
    whole = prepare(DEEP.model_copy(update={"bits": 16}), tmp_path, tmp_path / "root")
    assert brightest(whole) == round(peak / 257)


def test_the_range_is_found_again_after_a_kill(tmp_path):
    """A `prepare` that ended in its second pass gives what one in one go gives."""
    write_deep(tmp_path, 4000)

    def stop(done, _total):
        if done and len(seen := list(tmp_path.glob("cut/.*.work/narrow/part_*"))):
            raise KeyboardInterrupt(str(seen))

    with pytest.raises(KeyboardInterrupt):
        prepare(DEEP, tmp_path, tmp_path / "cut", observe=stop)
    assert_same(prepare(DEEP, tmp_path, tmp_path / "cut"), prepare(DEEP, tmp_path, tmp_path / "calm"))


# Of the eight images below, as the version computed it that first prepared images.
FINGERPRINT = "9770ef099cd801be4a48fd9a20ddd14b2b4d6b0d4321b72b386fe49eec8d2a59"


def test_ordinary_images_have_the_fingerprint_that_they_always_had(tmp_path):
    """Studies of earlier versions go on with their data, though other kinds of images are now decoded differently."""
    for k in range(8):
        file = tmp_path / "images" / "ab"[k % 2] / f"{k}.pgm"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"P5 2 2 255\n" + bytes([k, k, k, 9]))
    spec = FolderData(source="folder", train="images", image_size=(2, 2), validation=0.5)
    assert load(prepare(spec, tmp_path, tmp_path / "root")).fingerprint == FINGERPRINT


def as_of_an_earlier_version(path, **report):
    """Make a prepared folder look as if a version had made it that did not say how it decodes."""
    meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    del meta["decoding"]
    (path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    (path / "report.json").write_text(json.dumps(read_report(path) | report), encoding="utf-8")


def test_only_data_that_are_decoded_differently_are_prepared_again(folder, tmp_path):
    """A folder of an earlier version stays, unless it has colours of 16 bits, or left images out."""
    (tmp_path / "images").symlink_to(folder / "images")
    path = prepare(SPEC, tmp_path, tmp_path / "root")
    as_of_an_earlier_version(path, bad=[])
    assert prepare(SPEC, tmp_path, tmp_path / "root") == path
    assert json.loads((path / "meta.json").read_text(encoding="utf-8"))["decoding"] == 2, "it is looked at once"
    as_of_an_earlier_version(path, bad=[{"split": "train", "file": "x.png", "reason": "damaged: text too long"}])
    again = prepare(SPEC, tmp_path, tmp_path / "root")
    assert again != path
    assert prepare(SPEC, tmp_path, tmp_path / "root") == again
    write_deep(tmp_path / "deep", 60_000, "RGB")
    path = prepare(DEEP, tmp_path / "deep", tmp_path / "root")
    as_of_an_earlier_version(path, converted=[])
    assert prepare(DEEP, tmp_path / "deep", tmp_path / "root") != path
