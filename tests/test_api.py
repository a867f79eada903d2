"""The interface for Python: its names, sweeps from dictionaries, running them, and the examples in docstrings."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.written import Written

import cnn_sweep
from cnn_sweep import Interrupted, Study, StudyError, Sweep, SweepFileError, api, known_studies, study
from cnn_sweep.execution.pool import local
from cnn_sweep.sweep.sweep import Sweep as CheckedSweep

CONTENT = {
    "study": "small",
    "data": {"source": "digits"},
    "model": {"layers": [{"conv2d": {"filters": "$filters", "kernel_size": 3}}, "flatten", {"output": "softmax"}]},
    "space": {"filters": [2, 4]},
    "search": {"method": "grid"},
    "training": {"epochs": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the study digits, in which the examples of the docstrings are typed."""
    found = tmp_path_factory.mktemp("api")
    Written(found / "results").study("digits", trials=4, states=("complete", "complete", "failed", "complete"))
    return found


@pytest.fixture(scope="module")
def examples(folder):
    """The results of the examples of ``Sweep``, which train the study small, and of ``Study``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
        names = {"Sweep": Sweep, "Study": Study, "known_studies": known_studies}
        for thing, name in ((api.Sweep, "Sweep"), (study.known_studies, "known_studies"), (Study, "Study")):
            for test in doctest.DocTestFinder(recurse=True).find(thing, name, globs=names):
                test.globs = names  # one example goes on where another one ends
                runner.run(test, clear_globs=False)
    return runner


def test_the_names_are_few_and_all_there():
    """``dir(cnn_sweep)`` has the public names and the version, and nothing that happens to be imported."""
    assert dir(cnn_sweep) == sorted([*cnn_sweep.__all__, "__version__"])
    assert 8 <= len(cnn_sweep.__all__) <= 12
    assert all(getattr(cnn_sweep, name).__doc__ for name in cnn_sweep.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'studie'"):
        _ = cnn_sweep.studie


def test_the_examples_of_docstrings_are_true(examples):
    """Each example prints what it says."""
    assert examples.tries >= 12
    assert examples.failures == 0


def test_a_sweep_of_a_dictionary_is_that_of_its_file(tmp_path):
    """Both mean the same, also with tuples, ranges, arrays and paths."""
    content = CONTENT | {"space": {"filters": range(2, 5, 2), "rate": np.array([1e-5, 0.1])}}
    content["training"] = {"epochs": np.int64(1), "optimizer": {"name": "sgd", "learning_rate": "$rate"}}
    made = Sweep.from_dict(content)
    (tmp_path / "small.yaml").write_text(made.text, encoding="utf-8")
    assert made.parameter_names == ["filters", "rate"]
    assert Sweep.from_file(tmp_path / "small.yaml").plan().equals(made.plan())
    assert made.plan()["rate"].tolist() == [1e-5, 1e-5, 0.1, 0.1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {"epochs": 0}}, "sweep: training.epochs: "),
        ({"epochs": 3}, "sweep: epochs: unknown key 'epochs'"),
        (
            {"space": {"filters": [object]}},
            r"sweep: space.filters\[0\]: must be text, a number, .* not type <class 'object'>",
        ),
        ({"space": {3: [1]}}, "sweep: space: a key must be text, not 3"),
        ({"data": {"source": "digits", "size": "x"}}, "sweep: data"),
        ({"study": None}, "sweep: study: "),
    ],
)
def test_a_wrong_dictionary_names_keys(change, message):
    """Every mistake is listed with its path of keys, and no line is mentioned."""
    with pytest.raises(SweepFileError, match=message) as caught:
        Sweep.from_dict(CONTENT | change)
    assert "line" not in str(caught.value)


def test_a_missing_key_and_a_missing_folder_have_no_line(tmp_path):
    """Mistakes that no value has, or that are found later, are told without a line, too."""
    with pytest.raises(SweepFileError, match="sweep: the key 'study' is missing"):
        Sweep.from_dict({name: value for name, value in CONTENT.items() if name != "study"})
    missing = CONTENT | {"data": {"source": "folder", "train": "nowhere", "image_size": 8}}
    with pytest.raises(SweepFileError, match=r"^sweep: data\.train: .*nowhere"):
        Sweep.from_dict(missing, folder=tmp_path).plan()


def test_a_wrong_number_in_a_dictionary_has_no_line():
    """A value that YAML cannot hold is named by its key alone."""
    with pytest.raises(SweepFileError) as caught:
        Sweep.from_dict(CONTENT | {"training": {"epochs": float("nan")}})
    assert str(caught.value) == "sweep: training.epochs: .nan is not a finite number"


def test_a_file_is_read_with_changes(tmp_path):
    """As with --set."""
    (tmp_path / "my.yaml").write_text(Sweep.from_dict(CONTENT).text, encoding="utf-8")
    changed = Sweep.from_file(tmp_path / "my.yaml", {"study": "other", "space.filters": [3]})
    assert changed.name == "other"
    assert changed.plan()["filters"].tolist() == [3]


def test_missing_numbers_have_a_type_of_numbers(tmp_path):
    """A metric that no trial reported is a column of NaN, so that means and plots work; text stays text."""
    Written(tmp_path).study("digits", trials=2, states=("failed",), epochs=0)
    board = Study.open(tmp_path, "digits").leaderboard()
    assert board["value"].dtype == float
    assert board["value"].isna().all()
    assert board["rank"].dtype == float
    assert board["state"].dtype != float


def test_a_plan_names_what_it_leaves_out():
    """Configurations whose network cannot be built are in ``attrs``, with the reason."""
    layers = [{"pool": "$window"}, {"pool": 3}, "flatten", {"output": "softmax"}]
    content = CONTENT | {"model": {"layers": layers}, "space": {"window": [2, 7]}}
    plan = Sweep.from_dict(content).plan()
    assert plan["window"].tolist() == [2]
    assert [left["window"] for left in plan.attrs["invalid"]] == [7]


def test_the_plan_of_a_search_has_gaps():
    """An adaptive search has no values yet."""
    plan = Sweep.from_dict(CONTENT | {"search": {"method": "tpe", "trials": 2}}).plan()
    assert plan["trial"].tolist() == [0, 1]
    assert plan["filters"].isna().all()


def test_a_finished_study_is_continued(examples, folder, capsys):
    """Running it again trains nothing and returns the study; another sweep of its name is refused."""
    again = Sweep.from_dict(CONTENT).run(folder / "results")
    assert "small: 2/2 done" in capsys.readouterr().out
    assert again.leaderboard()["filters"].tolist() in ([2, 4], [4, 2])
    with pytest.raises(StudyError, match="small"):
        Sweep.from_dict(CONTENT | {"training": {"epochs": 2}}).run(folder / "results", progress=False)


def test_a_script_is_not_imported_by_its_workers(examples, folder):
    """A script without ``if __name__ == "__main__"`` runs once; in another thread than the main one, too."""
    script = folder / "script.py"
    script.write_text(
        "import threading\n"
        "print('begun')\n"
        "from cnn_sweep import Sweep\n"
        f"sweep = Sweep.from_dict({CONTENT!r})\n"
        "runs = threading.Thread(target=sweep.run, kwargs={'workers': 1})\n"
        "runs.start()\n"
        "runs.join()\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, encoding="utf-8", check=True, env=os.environ
    )
    assert done.stdout.count("begun") == 1
    assert "small: 2/2 done" in done.stdout
    assert done.stderr == ""


def test_failed_trials_are_a_warning(examples, folder, monkeypatch):
    """The study comes back with its failed trials, and Python's warning counts them."""
    real = api.run_local

    def failing(begun, observe, **options):
        progress = real(begun, observe, **options)
        progress.counts["failed"] = 2
        return progress

    monkeypatch.setattr(api, "run_local", failing)
    with pytest.warns(UserWarning, match=r"2 trials failed; study\.trials\(\) has their messages"):
        Sweep.from_dict(CONTENT).run(folder / "results", progress=False)


def test_an_interrupt_is_told(examples, folder, monkeypatch):
    """Ctrl-C stops as on the command line, as an error of our own."""

    class Asked(local.PoolSupervisor):
        def run(self, observe):
            os.kill(os.getpid(), 2)
            return super().run(observe)

    monkeypatch.setattr(local, "PoolSupervisor", Asked)
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(Interrupted, match="stopped"):
        Sweep.from_dict(CONTENT).run(folder / "results", progress=False)


def test_a_sweep_survives_pickling_with_its_keys():
    """A worker that unpickles a sweep of a dictionary reports keys, too."""
    checked = CheckedSweep.from_mapping(CONTENT)
    assert checked.problems().line(("space", "filters")) == 0
    assert Path(checked.source).name == "sweep"
