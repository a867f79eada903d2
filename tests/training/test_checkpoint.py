"""Checkpoints come back as they were written, or not at all."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.training.trial.checkpoint import CheckpointError, pack, read, unpack

arrays = hnp.arrays(
    dtype=st.sampled_from(["f4", "f8", "i4", "i8", "u1", "u4"]), shape=hnp.array_shapes(min_dims=0, min_side=0)
)


@given(
    meta=st.dictionaries(st.text(), st.one_of(st.integers(), st.floats(), st.text(), st.lists(st.floats()))),
    content=st.dictionaries(st.text(), arrays, max_size=4),
)
def test_what_was_packed_is_unpacked(meta, content):
    """Numbers come back bit for bit, NaN and infinity among them."""
    found, values = unpack(pack(meta, content))
    assert repr(found) == repr(meta)
    assert list(values) == list(content)
    for name, array in content.items():
        assert values[name].dtype == array.dtype
        assert values[name].shape == array.shape
        assert values[name].tobytes() == array.tobytes()


@given(st.data())
def test_any_flipped_byte_is_found(data):
    """A checkpoint in which one byte differs is refused."""
    state = pack({"epoch": 3}, {"w": np.arange(5.0)})
    position = data.draw(st.integers(0, len(state) - 1))
    damaged = bytearray(state)
    damaged[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CheckpointError, match="the checkpoint cannot be used"):
        unpack(bytes(damaged))


@pytest.mark.parametrize("length", [0, 5, 30, 60, 100])
def test_a_torn_checkpoint_is_refused(length):
    """A part of a checkpoint is no checkpoint."""
    with pytest.raises(CheckpointError):
        unpack(pack({}, {"w": np.arange(5.0)})[:length])


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    """A write that fails leaves the old file and nothing else."""
    path = tmp_path / "17.0.ckpt"
    state = pack({"value": math.inf}, {})
    write_aside(path, state)
    assert read(path).state == state

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OSError, match="No space left"):
        write_aside(path, pack({}, {}))
    assert read(path).state == state
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_used_comes_with_the_reason(tmp_path):
    """Missing and damaged files are no exceptions."""
    path = tmp_path / "17.0.ckpt"
    assert read(path).reason == "17.0.ckpt: No such file or directory"
    path.write_bytes(b"something else")
    found = read(path)
    assert found.state is None
    assert found.reason == "17.0.ckpt: it is not a checkpoint of this version"
