"""``copy`` and ``--set`` as people type them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.shipped import schemas
from cnn_sweep.sweep.repeats import MoreRepeats
from cnn_sweep.sweep.sweep import Sweep


@pytest.fixture
def typed(tmp_path, monkeypatch, sweep_text):
    """Type commands in a folder with the sweep file ``tiny.yaml``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(f"# a comment{sweep_text}", encoding="utf-8")

    def command(*words):
        done = CliRunner().invoke(app, [*map(str, words)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return command


def test_a_plan_has_the_changes_and_says_so(typed):
    """What was set is shown on standard error, apart from the plan."""
    done = typed("plan", "tiny.yaml", "--set", "space.filters=[2]", "--set", "study=other")
    assert "other: 3 trials of 3 configurations" in done.stdout
    assert done.stderr.splitlines() == [
        "cnn-sweep: space.filters: [2, 4] -> [2]",
        "cnn-sweep: study: tiny -> other",
    ]


def test_a_study_keeps_its_changes(typed, tmp_path):
    """The study's sweep file is the user's with the changes, so that it can be continued without options."""
    sweep = Sweep.load("tiny.yaml", {"training.epochs": 1})
    study = StudyFolder.open_or_create(sweep, tmp_path / "results")
    kept = study.paths.sweep.read_text(encoding="utf-8")
    assert kept == (tmp_path / "tiny.yaml").read_text(encoding="utf-8").replace("epochs: 2", "epochs: 1")
    assert StudyFolder.open(tmp_path / "results", "tiny").sweep.digest == sweep.digest
    assert StudyFolder.open_or_create(Sweep.load("tiny.yaml", {"training.epochs": 1}), tmp_path / "results")


def test_a_studys_sweep_becomes_a_new_file(typed, tmp_path):
    """The copy has the newest revision, the new name and the changes; comments stay."""
    study = StudyFolder.open_or_create(Sweep.load("tiny.yaml"), tmp_path / "results")
    study.extend_repeats(MoreRepeats((0,), 3))
    done = typed("copy", "tiny", "longer.yaml", "--set", "training.epochs=9")
    copied = (tmp_path / "longer.yaml").read_text(encoding="utf-8")
    expected = (tmp_path / "tiny.yaml").read_text(encoding="utf-8")
    assert copied == expected.replace("epochs: 2", "epochs: 9").replace("study: tiny", "study: longer")
    assert "cnn-sweep plan longer.yaml" in done.stderr
    with pytest.raises(InputError, match=r"^longer.yaml exists already and is not replaced"):
        typed("copy", "tiny", "longer.yaml")


def test_a_copy_in_another_folder_finds_the_same_files(typed, tmp_path):
    """Relative paths start at the new file's folder; absolute ones, and names of weights, stay."""
    text = """\
# yaml-language-server: $schema=../somewhere.json
study: own
data: {source: folder, train: images/train, test: /absolute/test, image_size: 32}
model: {layers: [{base: {name: VGG16, weights: nets/own.weights.h5}}, global_pool, output]}
training: {epochs: 1}
"""
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    typed("copy", "own.yaml", "deep/er/new.yaml", "--set", "study=named")
    copied = Sweep.load(tmp_path / "deep" / "er" / "new.yaml")
    assert copied.study == "named"
    assert (copied.data.train, copied.data.test) == ("../../images/train", "/absolute/test")
    assert "weights: ../../nets/own.weights.h5" in copied.text
    assert copied.text.splitlines()[0].endswith(f"$schema={schemas()['sweep']}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing", "new.yaml"), "no study 'nothing'"),
        (("no.yaml", "new.yaml"), "no.yaml: the file cannot be read"),
        (("tiny.yaml", "none/new.yaml"), "none/new.yaml: the folder none does not exist"),
        (("tiny.yaml", "new"), "new: the name of a sweep file ends in .yaml"),
        (("tiny.yaml", "new.yaml", "--set", "training.epoch=1"), "--set training.epoch: unknown key"),
        (("tiny.yaml", "two words.yaml"), "two words.yaml:2: study: 'two words' cannot name a study"),
    ],
)
def test_what_cannot_be_copied_is_said_and_nothing_written(typed, tmp_path, words, message):
    """A mistake leaves no file behind."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        typed("copy", *words)
    assert str(caught.value).startswith(message)
    assert sorted(tmp_path.rglob("*")) == before
