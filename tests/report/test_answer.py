"""What a report says first."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from helpers.typed import typed_here
from helpers.written import SWEEP, some_findings

from cnn_sweep.journal.events import Finalize
from cnn_sweep.messages import span
from cnn_sweep.report.document import answer
from cnn_sweep.report.document.html import page
from cnn_sweep.report.document.markdown import markdown
from cnn_sweep.report.document.summary import computing
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.models.openings import Opening
from cnn_sweep.report.report_data import gather
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study
from cnn_sweep.sweep.sweep import Sweep

IMAGES = {"train": {"a": 900}, "validation": {"a": 180, "b": 180}, "test": {"a": 200}}


def data_of(written, **changes):
    """What the report of a written study is made of."""
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    return replace(gather(StoreReader(written.results), "digits", board), **changes)


def test_the_best_trial_has_an_interval_and_its_settings(written):
    """Wilson's interval for the validation images, and bold settings where the second best has others."""
    data = data_of(written.study(trials=30), images=IMAGES)
    found = answer.best(data)
    first, second = data.ranked[:2]
    low, high = wilson(first["value"] * 360, 360)
    assert found.value == f"{first['value']:.5g}"
    assert found.interval == f"{span(low, high)} (95%, Wilson, 360 validation images)"
    assert found.of == f"trial {first['trial']}"
    for chip in found.chips:
        assert chip.differs is (first[chip.name] != second[chip.name])
    assert {"filters", "optimizer", "learning_rate"} <= {chip.name for chip in found.chips}
    assert "best of 30, so optimistic (selection bias)" in found.notes


@pytest.mark.parametrize(("metric", "images"), [("val_loss", IMAGES), ("val_accuracy", None)])
def test_there_is_no_interval_where_none_is_known(written, metric, images):
    """A loss has no Wilson interval, and without the number of images there is none either."""
    data = data_of(written.study(trials=12, metric=metric), images=images)
    assert answer.best(data).interval == ""
    verdict = answer.verdict(data)
    assert verdict.why.startswith(f"Unknown: its lead over trial {data.ranked[1]['trial']} is ")
    assert verdict.command == "cnn-sweep repeat digits --top 5 --repeats 5"


def test_with_one_seed_the_error_of_the_validation_set_decides(written):
    """Trials inside the best one's interval are counted and to be repeated, once the study is finished."""
    data = data_of(written.study(trials=30), images=IMAGES)
    low, _ = wilson(data.ranked[0]["value"] * 360, 360)
    tied = sum(row["value"] >= low for row in data.ranked[1:])
    verdict = answer.verdict(data)
    assert 1 < tied < 29
    assert f"Not certain: {tied} other trials lie within the validation set's own error" in verdict.why
    assert verdict.command == f"cnn-sweep repeat digits --top {min(tied + 1, 10)} --repeats 5"
    many = replace(data, images={"validation": {"a": 10**7}})
    assert answer.verdict(many).why.startswith("Probably: no other trial lies within")
    waiting = replace(data, summary=data.summary | {"trials": {"complete": 30, "waiting": 3}})
    assert answer.verdict(waiting).why.endswith("First wait for the trials that are left")
    assert answer.verdict(waiting).command == ""


def test_with_several_seeds_the_tied_configurations_are_named(written):
    """What cannot be distinguished is named with a command that settles it; without any, the answer is yes."""
    data = data_of(written.study(trials=60, configurations=12))
    tied = [row["trial"] for row in data.configurations.rows if row["tied"]][1:]
    assert len(tied) > 1
    found = answer.best(data)
    assert found.of.startswith("mean of 5 trainings, sd ")
    assert found.interval.endswith("(95%, over trainings)")
    verdict = answer.verdict(data)
    assert verdict.why.startswith("Not certain: the configurations of trials ")
    assert str(tied[0]) in verdict.why
    assert verdict.command == f"cnn-sweep repeat digits --top {min(len(tied) + 1, 10)} --repeats 8"
    rows = tuple(row | {"tied": place == 0} for place, row in enumerate(data.configurations.rows))
    clear = replace(data, configurations=replace(data.configurations, rows=rows))
    assert answer.verdict(clear).why.startswith("Yes: 11 other configurations are worse")
    assert answer.verdict(clear).command == ""


def test_a_range_whose_edge_is_best_is_to_be_widened(written):
    """The advised commands write sweep files that a study can be made of, with values beyond the old ones."""

    def params(draw):
        return {"filters": 4, "optimizer": "sgd", "learning_rate": 0.1, "momentum": draw.random() / 1000 + 0.4}

    sweep = SWEEP.replace(", points: 3", "").replace(", points: 2", "") + "search: {{method: random, trials: 8}}\n"
    data = data_of(written.study(trials=8, params=params, sweep=sweep))
    steps = [step for step in answer.next_steps(data) if step.command.startswith("cnn-sweep copy")]
    assert [step.why for step in steps] == [
        "Most of the best have the lowest filters, 4: try beyond",
        "Most of the best have the highest learning_rate, 0.1: try beyond",
    ]
    folder = written.results.parent
    found = []
    for place, step in enumerate(steps):
        words = shlex.split(step.command.replace("digits-wider", f"wider{place}"))[1:]
        done = typed_here(words, folder, {"CNN_SWEEP_RESULTS": str(written.results)})
        assert done.returncode == 0, done.stderr
        found.append(Sweep.load(folder / f"wider{place}.yaml").space.by_name)
    assert found[0]["filters"].domain.values == (2, 4, 8, 16)
    assert found[1]["learning_rate"].domain.high == 1.0


def test_what_follows_depends_on_what_is_left(written):
    """A running study is followed, an abandoned one resumed, failures looked at, and a finished one finalized once."""

    def commands(**trials):
        return [
            step.command
            for step in answer.next_steps(replace(data, summary=data.summary | {"trials": trials}))
            if not step.command.startswith("cnn-sweep copy")
        ]

    data = data_of(written.study(trials=20, states=("complete", "failed")))
    show = f"cnn-sweep show digits {data.failures[0]['trial']}"
    assert commands(complete=10, failed=10) == [show, "cnn-sweep finalize digits"]
    assert commands(complete=10, running=2, waiting=3) == ["cnn-sweep status digits --watch"]
    assert commands(complete=10, interrupted=2) == ["cnn-sweep resume digits"]
    job = {"cluster": "c", "job": "17", "time": 1.0, "tasks": 1, "profile": "slurm/my cpu.toml"}
    data = replace(data, jobs=[job])
    assert commands(complete=10, paused=2) == ["cnn-sweep resume digits --profile 'slurm/my cpu.toml'"]
    data = replace(data, images={"validation": {"a": 3}})
    assert commands(complete=20) == []


def test_what_was_measured_on_the_test_set_is_told(written):
    """Models made of trials with their scores, and the number of openings; finalize is not advised again."""
    data = data_of(written.study(trials=8, more=[Finalize(2_000.0, 3, {"test_accuracy": 0.8})]))
    made = {"model": "refit", "epochs": 4, "networks": [3], "temperature": None, "metrics": {"test_accuracy": 0.9}}
    data = replace(data, tests=data.tests | {"refit of trial 3": made}, openings=[Opening(("trial 3",), 1)] * 2)
    notes = answer.best(data).notes
    assert "refit of trial 3 on the test set: test_accuracy 0.9" in notes
    assert notes[-1].startswith("the test set was opened 2 times: scores are optimistic")
    assert not any("finalize" in step.command for step in answer.next_steps(data))


def test_the_cost_names_what_was_lost(written):
    """The share of failed trials and repeated epochs in all training; numbers as people write them."""
    data = data_of(written.study(trials=4))
    spent = {"counted": 70.0, "failed": 20.0, "repeated": 5.0, "between": 5.0, "core_seconds": 4e6}
    pairs = dict(answer.cost(replace(data, cost=data.cost | spent)))
    assert pairs["wasted"] == "25% (failed trials 20%, repeated epochs 5%)"
    assert pairs["computing"] == "1,111 core hours"
    assert computing(0.24, "core") == "0.24 core seconds"
    nothing = dict(answer.cost(replace(data, cost=data.cost | {"began": None})))
    assert nothing == {"cost": "nothing has begun"}


def test_what_matters_comes_from_the_importance(written):
    """Three hyperparameters at most, the most important first, with the value that is best on average."""
    findings = some_findings("learning_rate", "filters", "optimizer", "momentum")
    data = data_of(written.study(trials=5), findings=findings)
    found = answer.drivers(data)
    assert [one.name for one in found] == ["learning_rate", "filters", "optimizer"]
    assert [one.share for one in found] == [0.5, 0.25, 0.125]
    assert {one.best for one in found} == {"0.1 to 0.2"}
    assert "- learning_rate: 50%, best on average: 0.1 to 0.2" in markdown(data)


def test_what_matters_no_more_than_chance_is_not_named(written):
    """Hyperparameters below the share of shuffled ones are left out; if none is above, the card says so."""
    some = some_findings("learning_rate", "filters", "optimizer", noise=0.25, certainty="Chance alone gives 0.25.")
    data = data_of(written.study(trials=5), findings=some)
    assert [one.name for one in answer.drivers(data)] == ["learning_rate", "filters"]
    assert "shorter blue bars tell nothing" in page(data)
    none = replace(data, findings=some_findings("filters", noise=0.6, certainty="Chance alone gives 0.6."))
    assert "No single hyperparameter matters more than chance. Chance alone gives 0.6." in page(none)


def test_a_part_that_fails_leaves_the_others(written, monkeypatch):
    """The card says what happened, and the page and the other cards are made."""

    def fail(_):
        raise ZeroDivisionError("by <b>nothing</b>")

    monkeypatch.setattr(answer, "cost", fail)
    data = data_of(written.study(trials=5))
    text = page(data)
    said = "the part &#39;Cost&#39; of the answer could not be made: ZeroDivisionError: by &lt;b&gt;nothing&lt;/b&gt;"
    assert said in text
    assert "Is it really better?" in text
    assert len(data.problems.found) == 1


def test_markdown_answers_first(written):
    """Its first part has the sentences and commands of the page's cards."""
    text = markdown(data_of(written.study(trials=30), images=IMAGES))
    first = text.partition("## Leaderboard")[0]
    assert "## Answer" in first
    assert "Wilson, 360 validation images" in first
    assert "  `cnn-sweep repeat digits --top " in first
    assert "**Cost**" in first
