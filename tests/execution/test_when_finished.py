"""The commands of ``when_finished`` run once for each end of a study, and what becomes of them is journaled."""

from __future__ import annotations

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.execution.attempts.liveness import Death
from cnn_sweep.execution.pool import when_finished
from cnn_sweep.execution.pool.when_finished import Follower, command_of
from cnn_sweep.execution.study.jobs import outcomes
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.identity import current
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: ended
data: {source: digits, validation: 0.2, test: 0.2}
model: {layers: [flatten, output: softmax]}
training: {epochs: 1}
"""
COMMANDS = {"leaderboard": ["list"], "finalize": ["show", "nothing", "1"], "report": ["sql", "SELECT 1"]}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose commands are replaced by quick ones, of which the second fails."""
    monkeypatch.setattr(when_finished, "command_of", lambda step, _: COMMANDS[step.command])
    text = f"{SWEEP}when_finished: [leaderboard, finalize, report]\n"
    return StudyFolder.open_or_create(Sweep.parse(text), tmp_path)


class Dead:
    """A detector that finds everybody dead."""

    def deaths(self, owners):
        """Return the same cause for all."""
        return {key: Death("gone", "gone") for key in owners}


def follower(study, writer, *detectors, stopping=False):
    """Return what a pool would run the commands with."""
    claims = Claims(study.paths, writer, current())
    return Follower(study, claims, detectors, lambda: stopping)


def states(study, end="1-1"):
    """Return the state of each command."""
    return {one["step"]: one["state"] for one in outcomes(study.paths, end)}


def test_one_of_two_pools_runs_all_commands_and_a_failure_stops_none(study):
    """Each is told, journaled with its file or its last words, and not repeated; without a claim nothing runs."""
    told = {}
    (problem,) = follower(study, "one").run(lambda step: told.update({step: states(study)}))
    assert list(told) == ["leaderboard", "finalize", "report"]
    assert told["report"] == {"leaderboard": "complete", "finalize": "failed"}
    assert "finalize failed: no study 'nothing' in " in problem
    assert states(study) == {"leaderboard": "complete", "finalize": "failed", "report": "complete"}
    table, failed, _ = outcomes(study.paths, "1-1")
    assert table["file"] == str(study.paths.folder / "finished" / "leaderboard.csv")
    assert (study.paths.finished / "leaderboard.csv").read_text(encoding="utf-8").strip()
    assert failed["message"] in (study.paths.finished / "finalize.log").read_text(encoding="utf-8")
    assert follower(study, "other", Dead()).run(told.__getitem__) == []
    assert study.history().unknown == 0


def test_what_a_stopped_pool_leaves_is_run_by_another_one(study):
    """A pool that must stop journals that; the next one goes on from there, and a third has nothing to do."""
    follower(study, "stopped", stopping=True).run(lambda _: None)
    assert states(study) == {"leaderboard": "interrupted"}
    told = []
    follower(study, "next").run(told.append)
    assert told == ["leaderboard", "finalize", "report"]
    assert follower(study, "third").left() == []


def test_a_pool_takes_over_from_a_dead_one_only(study):
    """While the pool that claimed the end may be alive, others leave the commands to it."""
    Claims(study.paths, "first", current()).claim_notice("when_finished-1-1-0")
    told = []
    follower(study, "other").run(told.append)
    assert told == []
    follower(study, "other", Dead()).run(told.append)
    assert told == ["leaderboard", "finalize", "report"]


def test_the_commands_may_change_when_a_study_is_extended(study):
    """They are no part of the trials; the new revision has an end of its own."""
    changed = Sweep.parse(f"{SWEEP}when_finished: [report]\n")
    wider = StudyFolder.open_or_create(changed, study.paths.results, extend=True)
    assert (len(wider.revisions), len(wider.plan.trials)) == (2, 1)
    assert [str(step) for step in follower(wider, "one").left()] == ["report"]
    assert "when_finished" not in Sweep.parse(SWEEP).canonical()


def test_settings_become_options():
    """Each command names its study and what it writes."""
    text = "when_finished: [{finalize: {top: 3}}, {report: {format: markdown}}, {leaderboard: }, export]\n"
    steps = Sweep.parse(SWEEP + text).when_finished
    assert [" ".join(command_of(step, "ended")) for step in steps] == [
        "finalize ended --top 3",
        "report ended --output report.md --format markdown",
        "leaderboard ended --format csv",
        "export ended export-csv --to csv",
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("finalise", "must be a list of report, finalize, leaderboard, export"),
        ("[finalise]", r"unknown command 'finalise' \(did you mean 'finalize'\?\)"),
        ("[{report: {format: pdf}}]", "'pdf' is not valid; valid: html, markdown"),
        ("[{finalize: {top: 0}}]", "must be at least 1, not 0"),
        ("[report, report]", "'report' is in the list twice"),
        ("[3]", r"must be one of .* as in \{finalize: \{top: 3\}\}, not 3"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(entry, message):
    """With their line, the value and the valid choices."""
    with pytest.raises(SweepFileError, match=rf"<text>:6.*{message}"):
        Sweep.parse(f"{SWEEP}when_finished: {entry}\n")


def test_finalize_needs_a_test_set():
    """A study whose data has none would fail after days of training."""
    with pytest.raises(SweepFileError, match="finalize needs a test set"):
        Sweep.parse(f"{SWEEP.replace('test: 0.2', 'test: 0')}when_finished: [finalize]\n")
