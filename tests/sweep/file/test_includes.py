"""``include``: parts of sweep files that several files share."""

from __future__ import annotations

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.sweep.sweep import Sweep

OWN = """\
# my sweep
study: mine
include: common.yaml   # of our group
data: {source: digits, seed: 7}
space: {filters: [8, 16]}
training:
  epochs: 3  # few
"""
COMMON = """\
# what all sweeps of the group share
study: ours
data: {validation: 0.3, seed: 1}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3}  # one is enough
    - flatten
    - output
space: {filters: [1, 2, 3], rate: {low: 0.1, high: 0.5, step: 0.1}}
training:
  epochs: 100
  batch_size: 64
  optimizer: {name: adam, learning_rate: $rate}
"""
MERGED = """\
study: mine
data: {source: digits, seed: 7, validation: 0.3}
model: {layers: [conv2d: {filters: $filters, kernel_size: 3}, flatten, output]}
space: {filters: [8, 16], rate: {low: 0.1, high: 0.5, step: 0.1}}
training: {epochs: 3, batch_size: 64, optimizer: {name: adam, learning_rate: $rate}}
"""


@pytest.fixture
def load(tmp_path):
    """Write files and read the first one."""

    def read(files: dict[str, str], **more) -> Sweep:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Sweep.load(tmp_path / next(iter(files)), **more)

    return read


def test_own_keys_win_and_mappings_are_merged(load):
    """The file means what it would if the missing keys stood in it."""
    sweep = load({"own.yaml": OWN, "common.yaml": COMMON})
    assert sweep.digest == Sweep.parse(MERGED).digest


def test_a_study_keeps_the_whole_text(load, tmp_path):
    """Its sweep file needs no other, keeps the comments of the user's own file, and has the same digest."""
    sweep = load({"own.yaml": OWN, "common.yaml": COMMON})
    StudyFolder.open_or_create(sweep, tmp_path / "results")
    (tmp_path / "common.yaml").unlink()
    kept = StudyFolder.open(tmp_path / "results", "mine").sweep
    assert kept.digest == sweep.digest
    assert "include" not in kept.text
    for line in ("# my sweep", "  epochs: 3  # few", "  batch_size: 64"):
        assert line in kept.text.splitlines()


def test_of_several_files_the_later_one_counts(load):
    """Files of a list are merged in order, and an included file may include others from its own folder."""
    files = {
        "own.yaml": OWN.replace("common.yaml", "[shared/a.yaml, shared/b.yaml]"),
        "shared/a.yaml": "include: deep/common.yaml\nmodels: {keep: 2}\ntraining: {batch_size: 16}\n",
        "shared/b.yaml": "models: {keep: 3}\n",
        "shared/deep/common.yaml": COMMON,
    }
    sweep = load(files)
    assert (sweep.models_keep, sweep.resolve({"filters": 8, "rate": 0.1}).training.batch_size) == (3, 16)


def test_a_change_counts_more_than_a_file(load):
    """``--set`` changes what was included, and what is included."""
    files = {"own.yaml": OWN, "common.yaml": COMMON, "other.yaml": COMMON.replace("batch_size: 64", "batch_size: 8")}
    sweep = load(files, changes={"training.batch_size": 4, "model.layers.0.conv2d.kernel_size": 5})
    trial = sweep.resolve({"filters": 8, "rate": 0.1})
    assert (trial.training.batch_size, trial.layers[0].kernel_size) == (4, (5, 5))
    assert Sweep.parse(sweep.text).digest == sweep.digest
    other = load(files, changes={"include": "other.yaml"})
    assert other.resolve({"filters": 8, "rate": 0.1}).training.batch_size == 8
    alone = load({"whole.yaml": MERGED, "more.yaml": "models: {keep: 5}"}, changes={"include": "more.yaml"})
    assert (alone.models_keep, Sweep.parse(alone.text).digest) == (5, alone.digest)


def test_mistakes_name_the_file_in_which_they_are(load, tmp_path):
    """Values, unknown keys and repeated keys of an included file are found where they are written."""
    common = COMMON.replace("batch_size: 64", "batch_size: none").replace("learning_rate:", "rate:")
    with pytest.raises(SweepFileError) as caught:
        load({"own.yaml": OWN.replace("epochs: 3", "epochs: 0"), "common.yaml": f"{common}data: {{}}\n"})
    own, other = tmp_path / "own.yaml", tmp_path / "common.yaml"
    lines = [line.partition(": ")[0] for line in str(caught.value).splitlines()]
    assert lines == [f"{own}:7", f"{other}:12", f"{other}:13", f"{other}:14"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"own.yaml": OWN}, "own.yaml:3: include: {folder}/common.yaml: the file cannot be read: No such file"),
        ({"own.yaml": OWN, "common.yaml": "[a"}, "common.yaml:1: YAML: while parsing a flow sequence"),
        ({"own.yaml": OWN, "common.yaml": "- a"}, "common.yaml:1: file: must be a mapping with sections"),
        (
            {"own.yaml": OWN.replace("common.yaml", "{a: b}")},
            "own.yaml:3: include: must be the name of a file or a list",
        ),
        ({"own.yaml": OWN.replace("common.yaml", "[3]")}, "own.yaml:3: include: must be the name of a file or a list"),
        (
            {"own.yaml": OWN, "common.yaml": "x: 1\ninclude: [b.yaml]", "b.yaml": "include: own.yaml"},
            "b.yaml:1: include: the files include each other: {folder}/own.yaml -> {folder}/common.yaml -> {folder}/b",
        ),
        (
            {"own.yaml": OWN, "common.yaml": "include: common.yaml"},
            "common.yaml:1: include: the files include each other: {folder}/common.yaml -> {folder}/common.yaml",
        ),
    ],
)
def test_files_that_cannot_be_included_are_reported(load, tmp_path, files, message):
    """The message names the line of ``include``, and the whole circle of files."""
    with pytest.raises(SweepFileError) as caught:
        load(files)
    assert str(caught.value).startswith(f"{tmp_path}/{message.format(folder=tmp_path)}")


def test_paths_start_at_the_sweep_files_folder(load):
    """A path in an included file means what it would in the sweep file."""
    text = "study: s\ninclude: shared/data.yaml\nmodel: {layers: [flatten, output]}\ntraining: {epochs: 1}\n"
    sweep = load({"s.yaml": text, "shared/data.yaml": "data: {source: folder, train: images, image_size: 8}\n"})
    assert sweep.data.train == "images"
    assert (sweep.folder / "s.yaml").is_file()
