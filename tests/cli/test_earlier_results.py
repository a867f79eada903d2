"""Results that an earlier version wrote: they are read, continued and reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cnn_sweep.store.check import check
from cnn_sweep.store.merge import merge

SAMPLE = Path(__file__).parents[1] / "samples" / "grid_of_four"
VALUES = {0: 0.6629526462395543, 1: 0.7855153203342619, 2: 0.6518105849582173}
SUMMARY = "rank,trial,state,value,best_epoch,epochs,parameters,seconds,val_loss,filters"


@pytest.fixture
def sample(cli):
    """A command line in a copy of the sample's folder."""
    shutil.copytree(SAMPLE, cli.folder, dirs_exist_ok=True)
    return cli


def test_an_earlier_store_is_built_anew_once(sample):
    """A store of an earlier layout is set aside and built from the journals; after that, it is sound."""
    merged = merge(sample.results)
    assert (merged.skipped, merged.bad_lines) == (None, 0)
    assert any("version 4" in note for note in merged.notes)
    report = check(sample.results)
    assert (report.sound, report.waiting_bytes) == (True, 0)
    assert merge(sample.results).events == 0


def test_earlier_results_are_shown(sample):
    """Leaderboard, status and show have the numbers that the earlier version printed."""
    board = sample.table("leaderboard", "sample", "--per", "trial", "--columns", SUMMARY, "--format", "csv")
    assert [(int(row["trial"]), float(row["value"]), row["filters"]) for row in board] == [
        (1, VALUES[1], "4"),
        (0, VALUES[0], "2"),
        (2, VALUES[2], "2"),
    ]
    status = json.loads(sample("status", "sample", "--json").stdout)
    assert status["trials"] == dict.fromkeys(status["trials"], 0) | {"complete": 3, "waiting": 1}
    assert (status["best"]["trial"], status["best"]["value"]) == (1, VALUES[1])
    assert status["best"]["configuration"]["mean"] == pytest.approx((VALUES[0] + VALUES[2]) / 2)
    assert status["graphs"] == {"cached": 1, "compiled": 2}
    shown = json.loads(sample("show", "sample", 1, "--json").stdout)
    assert shown["trial"]["params"] == {"filters": 4}
    assert shown["trial"]["curve"]["final"] == VALUES[1]
    curve = [epoch["val_accuracy"] for epoch in shown["epochs"]]
    assert curve == [0.45125348189415043, 0.6350974930362117, VALUES[1]]
    assert [(row["path"], row["kept"]) for row in shown["artifacts"]] == [("models/1.keras", False)]


def test_an_earlier_study_is_continued_and_reported(sample):
    """``run`` trains the missing trial alone, and the report has all four."""
    before = {path: path.read_bytes() for path in sample.results.glob("sample/journal/*")}
    sample("run", "sample.yaml", "--workers", 1)
    board = sample.table("leaderboard", "sample", "--per", "trial", "--format", "csv")
    values = {int(row["trial"]): float(row["value"]) for row in board}
    assert {trial: values[trial] for trial in VALUES} == VALUES
    assert values[3] > 0.5
    assert {path: path.read_bytes() for path in before} == before
    sample("report", "sample", "--output", "report.html")
    page = (sample.folder / "report.html").read_text(encoding="utf-8")
    assert "sample" in page
    assert f"{values[3]:.4f}"[:5] in page
