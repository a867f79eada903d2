"""``repeat`` and leaderboards of repeats, on a study that is written by hand."""

from __future__ import annotations

import csv
import io
import time

import pytest

from cnn_sweep.cli.main import app
from cnn_sweep.errors import StudyError
from cnn_sweep.execution.environment.provenance import worker_event
from cnn_sweep.execution.freezing.freeze import freeze, open_study
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.study import Study
from cnn_sweep.sweep.spec import Sweep

SWEEP = """
study: seeds
data: {source: digits}
model: {layers: [flatten, {dense: $units}, output]}
space: {units: [1, 2, 3, 4]}
training: {epochs: 1}
"""


def finish(results, *, worth):
    """Let every trial that has not begun end with a value of its parameters and seed."""
    study = open_study(results, "seeds")
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
    freeze(Sweep.parse(SWEEP), tmp_path)
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
    assert list(found[0])[:14] == [
        *("rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"),
        *("mean", "sd", "n", "ci_low", "ci_high", "tied"),
    ]
    assert [(row["n"], row["tied"]) for row in found] == [("3", "True"), ("3", "True"), ("1", ""), ("1", "")]
    assert float(found[0]["ci_low"]) < float(found[0]["mean"]) < float(found[0]["ci_high"])
    assert len(rows("--per", "trial")) == 8
    assert "mean" not in rows("--per", "trial")[0]
    assert [row["rank"] for row in rows("--top", 2)] == ["1", "2"]
    assert len(Study.open(results, "seeds").leaderboard(per="trial")) == 8
