"""``repeat --until-decided`` on studies whose trials end as a test says, in place of the pool of workers."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cnn_sweep.cli.commands import repeat, run
from cnn_sweep.errors import InputError, Interrupted, StudyError
from cnn_sweep.execution.array_jobs.submission import QueueFull
from cnn_sweep.execution.models.model_files import best_trials
from cnn_sweep.execution.pool.progress import ProgressMeter
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.messages import plural
from cnn_sweep.report.document.summary import commands
from cnn_sweep.report.methods import methods
from cnn_sweep.report.report_data import gather
from cnn_sweep.study import Study
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: seeds
data: {source: digits}
model: {layers: [flatten, {dense: $units}, output]}
space: {units: [1, 2, 3, 4, 5, 6]}
training: {epochs: 1}
"""
# The sixth was lucky with its first seed; the third and the fourth are equal.
WORTH = {1: 0.5, 2: 0.8, 3: 0.9, 4: 0.95, 5: 0.7, 6: 0.6}
EQUAL = WORTH | {3: 0.95}


class Pool:
    """Ends the trials of a study, a few at a time if it is told so.

    Attributes:
        worth: Mean of the value by the hyperparameter.
        most: Number of trials after which the user stops it.
        fails: Hyperparameters whose trials fail.
        trained: Numbers of all trials that it ended.
    """

    def __init__(self, worth, *, fails=()):
        self.worth, self.most, self.fails, self.trained = worth, 1000, fails, []

    def __call__(self, study, _observe=None, **_options):
        history = study.history()
        left = [planned for planned in study.plan.trials if planned.number not in history.trials]
        with JournalWriter(study.paths.journal(new_writer_name())) as journal:
            journal.append(worker_event(threads=1))
            for planned in left[: self.most]:
                self._end(planned, journal)
        if len(left) > self.most:
            raise Interrupted("stopped")
        history.refresh()
        return ProgressMeter(study, history, time.time()).read(workers=0)

    def _end(self, planned, journal):
        units, seed = planned.params["units"], planned.seed
        state = "failed" if seed and units in self.fails else "complete"
        luck = 0.39 if (units, seed) == (6, 0) else np.random.default_rng([units, seed]).normal(0.0, 0.004)
        journal.append(
            Start(time.time(), planned.number, 0, planned.configuration, planned.repeat, seed, planned.params)
        )
        journal.append(Epoch(time.time(), planned.number, 0, 1, 1.0, {"val_accuracy": self.worth[units] + luck}))
        journal.append(End(time.time(), planned.number, 0, state, "why" if state == "failed" else None, epochs=1))
        self.trained.append(planned.number)


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """Return a function that makes a study with one seed each, and one that types the command."""

    class Typed:
        results = tmp_path

        def begin(self, worth, **how):
            self.pool = Pool(worth, **how)
            monkeypatch.setattr(run, "run_local", self.pool)
            self.pool(StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path))
            return self

        def type(self, **options):
            given = {"until_decided": True, "results": tmp_path, **options}
            capsys.readouterr()
            repeat.repeat("seeds", **given)
            return " ".join(capsys.readouterr().out.split())

        @property
        def revisions(self):
            added = (sweep.more_repeats for sweep in StudyFolder.open(tmp_path, "seeds").revisions)
            return [(more.trials, more.repeats, more.round) for more in added if more]

        @property
        def board(self):
            return Study.open(tmp_path, "seeds").leaderboard_table("configuration")

    return Typed()


def test_rounds_end_when_one_is_left(study):
    """Each round adds seeds to those that are left; luck with the first seed does not count, and the best is named."""
    study.begin(WORTH)
    said = study.type(top=4)
    assert (
        "round 1 compares the 4 configurations of trials 5, 3, 2, 1: 8 trials added, so that each has 3 repeats" in said
    )
    assert "worse than the best, so left out from now on" in said
    assert "decided: the best configuration is that of trial 3, mean 0.94" in said
    first, *later = study.revisions
    assert first == ((5, 3, 2, 1), 3, 1)
    assert all(3 in trials and 5 not in trials for trials, _, _ in later[1:])
    assert [(repeats, number) for _, repeats, number in later] == [(3 + n, 1 + n) for n in range(1, len(later) + 1)]
    rows = study.board.rows
    assert (rows[0]["trial"], rows[0]["left_out"], [row["tied"] for row in rows]) == (
        *(3, 1),
        [True, False, False, False, None, None],
    )
    assert "decided" in study.type()  # typed again
    assert len(study.revisions) == 1 + len(later)
    found = StudyFolder.open(study.results, "seeds")
    assert best_trials(found, found.history(), 1) == [3]


def test_equal_configurations_end_early(study):
    """The command stops when more repeats are futile, says who is left, and goes on with a larger number."""
    study.begin(EQUAL)
    said = study.type(top=3, at_most=5)
    assert "not decided with 3 repeats, and 5 would probably not be enough: the 2 configurations of trials" in said
    assert "or go on with --at-most" in said
    assert study.revisions[-1][1:] == (3, 1)
    assert [row["tied"] for row in study.board.rows[:3]] == [True, True, False]
    study.type(at_most=40)
    trials, repeats, number = study.revisions[-1]
    assert ({*trials}, repeats - number) == ({2, 3}, 2)
    assert 3 < repeats < 40
    assert f"not decided with {repeats} repeats: the 2 configurations of trials" in study.type(at_most=3)


def test_an_interrupted_round_is_continued_by_the_same_command(study, tmp_path):
    """Stopped in the middle, again and again: the rounds are those of a command that was never stopped."""
    study.begin(WORTH)
    study.pool.most = 3
    stops = 0
    while stops < 9:
        try:
            study.type(top=3)
        except Interrupted as stop:
            said, stops = str(stop), stops + 1
        else:
            break
    assert "the same command continues" in said
    interrupted, rows = study.revisions, study.board.rows
    assert len(set(study.pool.trained)) == len(study.pool.trained)
    for file in sorted((tmp_path / "seeds").glob("sweep.*.yaml")):
        assert "round" in file.read_text(encoding="utf-8").partition("\n")[0]
    (tmp_path / "seeds").rename(tmp_path / "stopped")
    study.begin(WORTH).type(top=3)
    assert study.revisions == interrupted
    assert [row["mean"] for row in study.board.rows] == [row["mean"] for row in rows]


def test_on_a_cluster_each_call_adds_a_round(study, monkeypatch, tmp_path):
    """A call judges and submits; while the round is not complete, it submits what is left, or says who trains it."""
    study.begin(WORTH)
    submitted = []
    monkeypatch.setattr(repeat, "resume_on_cluster", lambda name, *_words, **_more: submitted.append(name))
    profile = tmp_path / "cpu.toml"
    assert "the same command compares again" in study.type(top=4, profile=profile)
    assert (len(submitted), study.revisions[-1][1:]) == (1, (3, 1))

    def refuse(name, *_words, **_more):
        raise QueueFull(name, 2, "cpu.toml")

    monkeypatch.setattr(repeat, "resume_on_cluster", refuse)
    assert "8 trials of the round left" in study.type(profile=profile)
    assert study.revisions[-1][1:] == (3, 1)
    monkeypatch.setattr(repeat, "resume_on_cluster", lambda name, *_words, **_more: submitted.append(name))
    for _ in range(12):
        study.pool(StudyFolder.open(study.results, "seeds"))
        if "decided: the best" in (said := study.type(profile=profile)):
            break
        assert "round" in said
    assert "that of trial 3" in said
    assert len(submitted) == len(study.revisions)


def test_a_configuration_whose_new_trials_fail_leaves(study):
    """It cannot be compared, and does not hold up the others; if none is left to compare, that is said."""
    study.begin(WORTH, fails=(4, 6))
    assert "left out, since fewer than two of their new trials have a value" in (said := study.type(top=4))
    assert "decided: the best configuration is that of trial 2" in said
    assert study.board.rows[0]["trial"] == 2
    found = StudyFolder.open(study.results, "seeds")
    assert best_trials(found, found.history(), 1) == [2]


def test_a_new_choice_begins_a_new_test(study):
    """After `repeat` by number, the rounds count anew, and only newer seeds count."""
    study.begin(EQUAL)
    study.type(top=3, at_most=4)
    repeat.repeat("seeds", top=2, repeats=6, results=study.results)
    study.pool(StudyFolder.open(study.results, "seeds"))
    study.type(at_most=9)
    rounds = [number for _, _, number in study.revisions]
    assert rounds[:3] == [1, None, 1]
    assert study.board.rows[0]["left_out"] == 6


def test_the_commands_of_a_report_repeat_the_test(study):
    """One command stands for all rounds."""
    study.begin(WORTH)
    study.type(top=4)
    opened = Study.open(study.results, "seeds")
    text = commands(gather(opened.store, "seeds", opened.leaderboard_table()))
    assert text.count("repeat seeds") == 1
    assert "cnn-sweep repeat seeds --until-decided --top 4 --at-most 10" in text
    described = methods(gather(opened.store, "seeds", opened.leaderboard_table("trial")), opened.sweep, None).text
    assert f"Random seeds were added in {plural(len(study.revisions), 'round')} to those configurations" in described
    assert "Trials were compared by val_accuracy (maximized) at their best epochs." in described


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repeats": 5}, "--repeats is not for --until-decided"),
        ({"until_decided": False, "at_most": 5}, "--at-most is for --until-decided"),
        ({"until_decided": False, "workers": 5}, "--workers is for --until-decided; without it, `resume` trains"),
        ({"profile": "p.toml", "workers": 5}, "--workers applies to this machine"),
    ],
)
def test_options_that_exclude_each_other_are_told(study, options, words):
    """Each message names the option and what it is for."""
    with pytest.raises(InputError, match=words):
        study.type(**options)


def test_there_must_be_something_to_compare(study):
    """The search must be over, and leave room for two new repeats of two configurations."""
    study.begin(EQUAL)
    with pytest.raises(StudyError, match="--top 1 leaves one; a comparison needs two"):
        study.type(top=1)
    repeat.repeat("seeds", top=3, repeats=4, results=study.results)
    with pytest.raises(StudyError, match=r"9 trials of study 'seeds' have not ended.*resume seeds"):
        study.type()
    study.pool(StudyFolder.open(study.results, "seeds"))
    with pytest.raises(InputError, match="--at-most 5 is too small: a first round adds two repeats, 6 in all"):
        study.type(at_most=5)
