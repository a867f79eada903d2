"""``finalize`` opens the test set once the search is over, and shows the scores of the trials that were measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cnn_sweep.cli.commands import finalize
from cnn_sweep.cli.main import app
from cnn_sweep.errors import EnvironmentFault, InputError, StudyError
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import End, Epoch, Extend, Finalize, Start
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.report.models import openings
from cnn_sweep.study import Study
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: repeated
data: {source: digits}
model: {layers: [flatten, output: softmax]}
space: {rate: [0.1]}
search: {method: grid, repeats: 2}
training: {epochs: 1, optimizer: {learning_rate: $rate}}
"""


@pytest.fixture
def study(tmp_path):
    """A study of one configuration with two repeats."""
    return StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)


def complete(study, *trials, tested=()):
    """Leave the journal of a worker that completed some trials, and test scores of others."""
    params = {"rate": 0.1}
    with JournalWriter(study.paths.journal(f"worker-{trials}")) as journal:
        journal.append(worker_event(threads=1))
        for number in trials:
            journal.append(Start(1.0, number, 0, configuration_id(params), number, number, params))
            journal.append(Epoch(1.5, number, 0, 1, 0.1, {"val_accuracy": 0.5 + number / 10}))
            journal.append(End(2.0, number, 0, "complete", epochs=1))
        for number in tested:
            journal.append(Finalize(3.0, number, {"test_accuracy": 0.25}))


def test_a_trial_is_found_though_another_one_stands_for_its_configuration_by_now(study):
    """The first repeat ended after the second one was measured: the row is the measured trial's, with its own value."""
    complete(study, 1, tested=[1])
    complete(study, 0)
    found = Study.open(study.paths.results, "repeated")
    table = found.leaderboard_table(None)
    assert [row["trial"] for row in table.rows] == [0]
    (row,) = finalize._tested(found, [1], table)
    assert (row["trial"], row["value"], row["test_accuracy"], row["rank"], row["n"]) == (1, 0.6, 0.25, 1, 2)
    assert row["mean"] == pytest.approx(0.55)


def test_scores_that_the_store_could_not_take_are_said_to_be_journaled(study):
    """If the store cannot be updated now, the message names the command that will show the scores later."""
    complete(study, 0, 1)
    found = Study.open(study.paths.results, "repeated")
    with pytest.raises(EnvironmentFault, match=r"are journaled.*`cnn-sweep show repeated 0` has them"):
        list(finalize._tested(found, [0], found.leaderboard_table(None)))


def test_the_test_set_of_an_unfinished_study_stays_sealed_where_nobody_can_be_asked(study, monkeypatch):
    """The refusal has the reason and both remedies; `--yes` is one, and a finished study needs neither."""
    monkeypatch.setattr(finalize.sys, "stdin", SimpleNamespace(isatty=lambda: False))
    complete(study, 0)
    with pytest.raises(InputError, match=r"1 trial of repeated is not finished.*resume repeated.*--yes opens"):
        finalize._ask_if_unfinished(study, agreed=False)
    finalize._ask_if_unfinished(study, agreed=True)
    complete(study, 1)
    finalize._ask_if_unfinished(study, agreed=False)


def test_without_a_complete_trial_nothing_is_asked(study, monkeypatch):
    """There is no model that the test set could be opened for, also where somebody could answer."""
    monkeypatch.setattr(finalize.typer, "confirm", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(StudyError, match="no complete trial"):
        app(["finalize", "repeated", "--results", str(study.paths.results)], standalone_mode=False)


def test_the_test_set_of_an_unfinished_study_is_opened_if_the_user_says_so(study, monkeypatch, capsys):
    """On a terminal the question comes with its reason; the answer no leaves the test set sealed."""
    monkeypatch.setattr(finalize.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    answers = iter([True, False])
    monkeypatch.setattr(finalize.typer, "confirm", lambda *_, **__: next(answers))
    finalize._ask_if_unfinished(study, agreed=False)
    assert "2 trials of repeated are not finished" in capsys.readouterr().err
    with pytest.raises(InputError, match="stays sealed"):
        finalize._ask_if_unfinished(study, agreed=False)


def test_a_test_set_that_is_opened_again_is_said_loudly(study, capsys):
    """Measuring the same trial again is silent; another one is a choice by test scores, and so is an extension."""
    complete(study, 0, 1, tested=[1])

    def said(*models):
        finalize._warn_of_reopening(Study.open(study.paths.results, "repeated"), models)
        return capsys.readouterr().err

    assert not said("trial 1")
    assert (
        "cnn-sweep: WARNING: the test set of repeated is opened again (opening 2); it was opened before for "
        "trial 1. Choosing by test scores makes them optimistic"
    ) in said("trial 0")
    assert "opened again" in said("ensemble of trials 0, 1")
    with JournalWriter(study.paths.journal("later")) as journal:
        journal.append(Extend(4.0, 2, 3, 2, 0, 0))
    assert "for trial 1, and the study was extended since. Choosing" in said("trial 1")


def test_openings_are_counted(study):
    """Several trials of one command are one opening; the same models again are none, unless the study was extended."""
    complete(study, 0, 1)
    made = {"model": "ensemble", "networks": [0, 0, 1]}
    commands: list[Any] = [
        [Finalize(2.0, 0, {"test_loss": 1.0}), Finalize(2.1, 1, {"test_loss": 1.0})],
        [Finalize(3.0, 1, {"test_loss": 1.0})],
        [Finalize(4.0, 0, {"test_loss": 0.5}, **made)],
        [Extend(5.0, 2, 3, 2, 0, 0), Finalize(6.0, 0, {"test_loss": 0.5}, **made)],
    ]
    for place, events in enumerate(commands):
        with JournalWriter(study.paths.journal(f"command-{place}")) as journal:
            for event in events:
                journal.append(event)
    store = Study.open(study.paths.results, "repeated").store
    found = openings.openings_in(store, "repeated")
    ensemble = "ensemble of trials 0 (2 times), 1"
    assert [(one.models, one.revision) for one in found] == [
        (("trial 0", "trial 1"), 1),
        ((ensemble,), 1),
        ((ensemble,), 2),
    ]
    assert openings.count_in_words(found) == (
        "the test set was opened 3 times, 1 of them after the study was extended: "
        "scores are optimistic if they guided a choice"
    )
    assert set(openings.newest_tests(store, "repeated")) == {"trial 0", "trial 1", ensemble}
