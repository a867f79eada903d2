"""``repeat`` and leaderboards of repeats, on a study that is written by hand."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import replace

import pytest

from cnn_sweep.cli.main import app
from cnn_sweep.errors import StudyError
from cnn_sweep.execution.models.model_files import best_trials
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import End, Epoch, Finalize, Start
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import data_root
from cnn_sweep.report.document.summary import origins
from cnn_sweep.report.leaderboards.configurations import STATISTICS
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.report_data import gather
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study
from cnn_sweep.sweep.repeats import MoreRepeats, selection_repeats, unbiased_values
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.prepare import prepare

SWEEP = """
study: seeds
data: {source: digits}
model: {layers: [flatten, {dense: $units}, output]}
space: {units: [1, 2, 3, 4]}
training: {epochs: 1}
"""


def finish(results, *, worth):
    """Let every trial that has not begun end with a value of its parameters and seed."""
    study = StudyFolder.open(results, "seeds")
    begun = {row["trial"] for row in Study.open(results, "seeds").leaderboard_table().rows}
    with JournalWriter(study.paths.journal(new_writer_name())) as journal:
        journal.append(worker_event(threads=1))
        for planned in study.plan.trials:
            if planned.number in begun:
                continue
            who = (planned.configuration, planned.repeat, planned.seed, planned.params)
            value = worth[planned.params["units"]] + (0.0, 0.02, -0.01)[planned.seed * planned.params["units"] % 3]
            journal.append(Start(time.time(), planned.number, 0, *who))
            journal.append(Epoch(time.time(), planned.number, 0, 1, 1.0, {"val_accuracy": value}))
            journal.append(End(time.time(), planned.number, 0, "complete", epochs=1))


@pytest.fixture
def results(tmp_path):
    """A study of four configurations with one seed each."""
    StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)
    return tmp_path


def test_seeds_are_added_where_they_matter(results, capsys):
    """``repeat`` plans repeats of the best; then a row is a configuration with its interval, unless asked otherwise."""

    def typed(*words):
        capsys.readouterr()
        assert app([*map(str, words), "--results", str(results)], standalone_mode=False) in (None, 0)
        return capsys.readouterr().out

    def rows(*words):
        return list(csv.DictReader(io.StringIO(typed("leaderboard", "seeds", "--format", "csv", *words))))

    with pytest.raises(StudyError, match="no complete trial yet"):
        typed("repeat", "seeds")
    finish(results, worth={1: 0.5, 2: 0.7, 3: 0.9, 4: 0.901})
    assert "mean" not in rows()[0]
    assert "added 4 trials" in typed("repeat", "seeds", "--top", 2, "--repeats", 3)
    assert "have 3 repeats already" in typed("repeat", "seeds", "--top", 2, "--repeats", 3)
    finish(results, worth={3: 0.9, 4: 0.901})
    found = rows()
    assert [row["units"] for row in found] == ["4", "3", "2", "1"]
    assert list(found[0])[:17] == [
        *("rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"),
        *("mean", "sd", "n", "ci_low", "ci_high", "tied", "diff", "diff_low", "diff_high"),
    ]
    assert [(row["n"], row["tied"]) for row in found] == [("2", "True"), ("2", "True"), ("1", ""), ("1", "")]
    assert float(found[0]["ci_low"]) < float(found[0]["mean"]) < float(found[0]["ci_high"])
    assert len(rows("--per", "trial")) == 8
    assert "mean" not in rows("--per", "trial")[0]
    assert [row["rank"] for row in rows("--top", 2)] == ["1", "2"]
    assert len(Study.open(results, "seeds").leaderboard(per="trial")) == 8


def test_repeats_of_folds_are_said_to_be_whole_cross_validations(tmp_path, capsys):
    """Three folds and two repeats more are six trainings for each configuration, so the message says what they are."""
    StudyFolder.open_or_create(Sweep.parse(SWEEP.replace("digits}", "digits, folds: 3}")), tmp_path)
    finish(tmp_path, worth={1: 0.5, 2: 0.7, 3: 0.9, 4: 0.901})
    app(["repeat", "seeds", "--top", "1", "--repeats", "3", "--results", str(tmp_path)], standalone_mode=False)
    words = " ".join(capsys.readouterr().out.split())
    assert "added 6 trials, so that the best configuration has 3 repeats" in words
    assert "each repeat is a whole cross-validation, with 3 trainings on a new partition" in words


def test_repeats_that_the_budget_lets_nobody_train_are_refused(tmp_path):
    """They would wait for ever."""
    text = SWEEP + "search: {epochs: 4}\n"
    StudyFolder.open_or_create(Sweep.parse(text), tmp_path)
    finish(tmp_path, worth={1: 0.5, 2: 0.7, 3: 0.9, 4: 0.901})
    with pytest.raises(StudyError, match=r"which also ends repeats: epochs 4 of 4; a larger one continues it"):
        app(["repeat", "seeds", "--results", str(tmp_path)], standalone_mode=False)
    assert len(StudyFolder.open(tmp_path, "seeds").plan.trials) == 4


def test_the_seed_that_chose_a_configuration_does_not_count(results, capsys):
    """Its mean is that of the newer seeds: on the leaderboard, for ``finalize``, in ``status``, ``show``, a report."""

    def typed(*words):
        capsys.readouterr()
        assert app([*map(str, words), "--results", str(results)], standalone_mode=False) in (None, 0)
        return capsys.readouterr()

    finish(results, worth={1: 0.5, 2: 0.93, 3: 0.9, 4: 0.91})
    typed("repeat", "seeds", "--top", 2, "--repeats", 2)
    finish(results, worth={2: 0.73, 4: 0.91})
    assert "in 2 rows; it is optimistic" in typed("leaderboard", "seeds").err
    typed("repeat", "seeds", "--top", 2, "--repeats", 4)
    finish(results, worth={2: 0.73, 4: 0.91})
    table = Study.open(results, "seeds").leaderboard_table("configuration")
    first, second = table.rows[:2]
    assert (first["units"], first["n"], first["left_out"], second["units"]) == (4, 2, 2, 2)
    assert first["mean"] == pytest.approx(0.91 + (-0.01 + 0.0) / 2)
    assert any("leave out seeds by which `repeat` chose" in note for note in table.notes)
    study = StudyFolder.open(results, "seeds")
    assert best_trials(study, study.history(), 2) == [first["trial"], second["trial"]]
    best = Study.open(results, "seeds").best()
    assert best["value"] == 0.93 > best["configuration"]["mean"] == first["mean"]
    words = f"mean {first['mean']:.5g} (sd {first['sd']:.2g}, n 2, 95% interval "
    assert f"best configuration: that of trial {first['trial']}, {words}" in typed("status", "seeds").out
    assert f"its configuration has {words}" in typed("show", "seeds", first["trial"]).out
    page = results / "report.md"
    typed("report", "seeds", "--format", "markdown", "--output", page, "--no-predictions")
    assert f"- best: val_accuracy {words}" in page.read_text(encoding="utf-8")
    assert "best trial: 0.93 (trial 1), best of 10 trials, so optimistic (selection bias)" in page.read_text(
        encoding="utf-8"
    )
    assert "## Configurations\n\n| rank | trial | mean | sd | n | ci_low |" in page.read_text(encoding="utf-8")
    typed("report", "seeds", "--output", results / "report.html", "--no-predictions")
    assert "<option>configurations</option>" in (results / "report.html").read_text(encoding="utf-8")


def test_choosing_again_counts_from_there():
    """Repeats of the sweep itself count; the newest choice that leaves two values decides what is left out."""
    sweep = Sweep.parse(SWEEP)
    revisions = [
        sweep,
        replace(sweep, more_repeats=MoreRepeats((0, 1), 3)),
        replace(sweep, more_repeats=MoreRepeats((1, 2), 3)),
        replace(sweep, more_repeats=MoreRepeats((5,), 6)),
    ]
    chose = selection_repeats(revisions, {0: "a", 1: "b", 2: "c", 5: "a", 6: "d"})
    assert chose == {"a": (1, 3), "b": (1,), "c": (1,)}
    assert unbiased_values({0: 0.9, 1: 0.8, 2: 0.7}, (1,)) == {1: 0.8, 2: 0.7}
    assert unbiased_values({0: 0.9, 1: 0.8}, (1,)) == {0: 0.9, 1: 0.8}
    four = {0: 0.9, 1: 0.8, 2: 0.7, 3: 0.6}
    assert unbiased_values(four, (1, 2)) == {2: 0.7, 3: 0.6}
    assert unbiased_values(four, (1, 3)) == {1: 0.8, 2: 0.7, 3: 0.6}
    assert unbiased_values(four, (3, 4)) == four


def test_one_more_seed_keeps_what_an_earlier_choice_left_out(results, capsys):
    """A second ``repeat`` that adds one seed makes no mean worse, and says that the seeds that chose still count."""

    def typed(*words):
        capsys.readouterr()
        assert app([*map(str, words), "--results", str(results)], standalone_mode=False) in (None, 0)
        return capsys.readouterr()

    finish(results, worth={1: 0.5, 2: 0.99, 3: 0.9, 4: 0.91})
    assert "leave out the old seeds once two new ones" in typed("repeat", "seeds", "--top", 2, "--repeats", 3).out
    finish(results, worth={2: 0.93, 4: 0.91})
    assert "with one new seed the means still include" in typed("repeat", "seeds", "--top", 2, "--repeats", 4).out
    finish(results, worth={2: 0.93, 4: 0.91})
    table = Study.open(results, "seeds").leaderboard_table("configuration")
    assert [(row["n"], row["left_out"]) for row in table.rows[:2]] == [(3, 1), (3, 1)]
    assert table.rows[0]["mean"] < 0.95
    assert sum("in 2 rows; it is optimistic" in note for note in table.notes) == 1
    tied = [row["tied"] for row in table.rows[1:]].count(True)
    assert Study.open(results, "seeds").best()["configuration"]["others_tied"] == tied
    study = StudyFolder.open(results, "seeds")
    assert best_trials(study, study.history(), 1) == [table.rows[0]["trial"]]


def test_a_report_shows_hyperparameters_and_seeds_of_repeats(results):
    """Configurations have their hyperparameters beside them, also after ``finalize``, and all seeds are named."""
    finish(results, worth={1: 0.5, 2: 0.7, 3: 0.9, 4: 0.901})
    app(["repeat", "seeds", "--top", "2", "--repeats", "3", "--results", str(results)], standalone_mode=False)
    finish(results, worth={3: 0.9, 4: 0.901})
    study = StudyFolder.open(results, "seeds")
    with JournalWriter(study.paths.journal(new_writer_name())) as journal:
        journal.append(Finalize(time.time(), 2, {"test_loss": 0.3, "test_accuracy": 0.9}))
    opened = Study.open(results, "seeds")
    assert opened.leaderboard_table().columns[-1].startswith("test_")
    data = gather(StoreReader(results), "seeds", opened.leaderboard_table())
    assert data.configurations.columns == ("rank", "trial", *STATISTICS, "units")
    assert dict(origins(data))["seeds"] == "0, 1, 2"


def test_show_tells_what_the_validation_images_leave_open(results, capsys):
    """An accuracy has Wilson's interval once the number of images is known; other objectives have none."""

    def shown():
        capsys.readouterr()
        app(["show", "seeds", "2", "--results", str(results)], standalone_mode=False)
        return " ".join(capsys.readouterr().out.split())

    finish(results, worth={1: 0.5, 2: 0.7, 3: 0.9, 4: 0.901})
    assert "validation images" not in shown()
    sweep = StudyFolder.open(results, "seeds").sweep
    prepare(sweep.data, sweep.folder, data_root(results))
    low, high = wilson(359 * 0.9, 359)
    assert f"95% interval {low:.5g} to {high:.5g} for 359 validation images (Wilson)" in shown()


def test_show_names_the_epochs_of_a_value(tmp_path, capsys):
    """A mean over the last epochs is shown as one, and the leaderboard says what its values are."""
    StudyFolder.open_or_create(Sweep.parse(f"{SWEEP}objective: {{value: {{mean_last: 2}}}}\n"), tmp_path)
    study = StudyFolder.open(tmp_path, "seeds")
    with JournalWriter(study.paths.journal(new_writer_name())) as journal:
        journal.append(worker_event(threads=1))
        planned = study.plan.trials[0]
        who = (planned.configuration, planned.repeat, planned.seed, planned.params)
        journal.append(Start(time.time(), 0, 0, *who))
        for epoch, value in enumerate((0.5, 0.9, 0.6, 0.7), start=1):
            journal.append(Epoch(time.time(), 0, 0, epoch, 1.0, {"val_accuracy": value}))
        journal.append(End(time.time(), 0, 0, "complete", epochs=4))
    app(["show", "seeds", "0", "--results", str(tmp_path)], standalone_mode=False)
    assert "complete, val_accuracy 0.65 over epochs 3 to 4, their mean" in capsys.readouterr().out
    table = Study.open(tmp_path, "seeds").leaderboard_table()
    assert [(row["value"], row["best_epoch"]) for row in table.rows] == [(pytest.approx(0.65), 4)]
    assert "value is the mean of val_accuracy over the last 2 epochs" in table.notes[0]
