"""Data are copied to a node's own disk once, held by those who read them, and removed by the last."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data import staging
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.data.prepare import prepare

SWEEP = """
study: digits
data: {source: digits, validation: 0.2, test: 0.2}
model: {layers: [flatten, output]}
space: {rate: [0.1]}
training: {epochs: 1, optimizer: {name: sgd, learning_rate: $rate}}
"""
READER = """
import logging, sys
from pathlib import Path
from cnn_sweep.training.data.staging import stage
logging.basicConfig(level=logging.INFO, format="%(message)s")
print(stage(Path(sys.argv[1]), sys.argv[2]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepared images, on the disk of tests."""
    root = tmp_path_factory.mktemp("data")
    return prepare(Sweep.parse(SWEEP).data, root, root)


@pytest.fixture
def node_disk():
    """A folder on another file system, as a node's own disk is."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def test_readers_share_one_copy_and_the_last_removes_it(prepared, node_disk):
    """Four processes at once get one folder with the same images; nobody else may read it; it goes with the last."""
    command = [sys.executable, "-c", READER, prepared, node_disk]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(4)
    ]
    copies = {reader.stdout.readline().strip() for reader in readers}
    (copy,) = map(Path, copies)
    assert copy.parent == node_disk / f"cnn-sweep-{os.getuid()}"
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    for name, split in load(prepared).splits.items():
        np.testing.assert_array_equal(load(copy).splits[name].x, split.x)
        np.testing.assert_array_equal(load(copy).splits[name].y, split.y)
    assert not list(copy.glob("*_test.npy"))
    for place, reader in enumerate(readers, start=1):
        assert copy.exists()
        reader.communicate()
        assert copy.exists() == (place < len(readers))
    assert not list(node_disk.iterdir())


def _foreign(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    (folder / f"cnn-sweep-{os.getuid()}").symlink_to(folder / "elsewhere")


def _full(folder, monkeypatch):
    usage = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: usage)


def _damaged(folder, monkeypatch):
    monkeypatch.setattr(staging.hashlib, "file_digest", lambda *_: staging.hashlib.blake2b(b"other"))


TROUBLES = {"belongs to somebody else": _foreign, "has 0.0 GB free": _full, "was not written as": _damaged}


@pytest.mark.parametrize("reason", TROUBLES)
def test_without_a_copy_the_shared_folder_is_read(prepared, node_disk, monkeypatch, caplog, reason):
    """What keeps a node from having a copy is logged, nothing of the copy stays, and training goes on."""
    TROUBLES[reason](node_disk, monkeypatch)
    before = sorted(node_disk.rglob("*.npy"))
    assert staging.stage(prepared, str(node_disk)) == prepared
    assert reason in caplog.text
    assert sorted(node_disk.rglob("*.npy")) == before


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("node", "neither $SLURM_TMPDIR nor $TMPDIR is set"),
        ("$NO_SUCH_VARIABLE/x", "is no folder here"),
        ("scratch", "is no folder here"),
        ("/no/such/folder", "No such file or directory"),
        ("$HERE", "is on the same file system"),
    ],
)
def test_a_place_that_is_none_is_said(prepared, monkeypatch, caplog, place, reason):
    """Variables that a node lacks, relative and missing folders, and a shared folder are no places for a copy."""
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setenv("HERE", str(prepared.parent))
    with caplog.at_level(logging.INFO):
        assert staging.stage(prepared, place) == prepared
    assert reason in caplog.text
