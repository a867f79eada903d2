"""Leaderboards: selected, grouped, compared, and in every form."""

from __future__ import annotations

import csv
import html.parser
import io
import json

import pytest
from helpers.sweeps import sweep_of_digits

from cnn_sweep.errors import InputError
from cnn_sweep.report.exports import export
from cnn_sweep.report.leaderboards.formats import WRITERS
from cnn_sweep.report.leaderboards.grouping import compared, grouped, without_constants
from cnn_sweep.report.leaderboards.leaderboard import Selection, Table, select
from cnn_sweep.search.optuna_study import read_study
from cnn_sweep.store.reader import StoreReader, query
from cnn_sweep.store.views import Columns
from cnn_sweep.study import Study
from cnn_sweep.sweep.direction import Direction

NASTY = '<script>alert("1")</script> & a|b\n50% \\_{x}'


@pytest.fixture
def study(written):
    """A study of 30 complete trials and 10 that failed."""
    written.study(trials=40, states=("complete", "complete", "complete", "failed"))
    return Study.open(written.results, "digits")


def test_groups_are_those_of_pandas(study):
    """``--by`` gives n, mean, standard deviation and best of the ranked trials, as pandas does."""
    table = grouped(study.leaderboard_table(), ["optimizer", "filters"], direction=Direction.MAXIMIZE)
    frame = study.leaderboard().dropna(subset=["rank"])
    expected = frame.groupby(["optimizer", "filters"])["value"].agg(["count", "mean", "std", "max"])
    for row in table.rows:
        wanted = expected.loc[(row["optimizer"], row["filters"])]
        assert (row["n"], row["mean"], row["best"]) == pytest.approx((wanted["count"], wanted["mean"], wanted["max"]))
        assert row["std"] == pytest.approx(wanted["std"])
        assert frame.set_index("trial")["value"][row["best_trial"]] == row["best"]
    assert len(table.rows) == len(expected)
    assert [row["mean"] for row in table.rows] == sorted(expected["mean"], reverse=True)


def test_a_configuration_with_many_repeats_counts_once_in_its_group():
    """Means and deviations are over configurations, each with the mean of its trials; both are counted."""
    of_adam = [("a", 0.9), ("a", 0.8), ("a", 0.7), ("a", 0.8), ("b", 0.4)]
    rows = [
        {"rank": 1, "trial": trial, "configuration": name, "optimizer": "adam", "value": value}
        for trial, (name, value) in enumerate(of_adam)
    ]
    rows.append({"rank": 2, "trial": 5, "configuration": "c", "optimizer": "sgd", "value": 0.7})
    table = grouped(
        Table(("rank", "trial", "optimizer", "value"), tuple(rows)), ["optimizer"], direction=Direction.MAXIMIZE
    )
    sgd, adam = table.rows
    assert (adam["n"], adam["trials"], adam["best"], adam["best_trial"]) == (2, 5, 0.9, 0)
    assert (adam["mean"], adam["std"]) == pytest.approx((0.6, 0.4 / 2**0.5))
    assert (sgd["n"], sgd["trials"], sgd["mean"], sgd["std"]) == (1, 1, 0.7, None)


def test_studies_are_ranked_together(written):
    """``leaderboard A B`` ranks all trials in one table, with the study beside the rank."""
    written.study("first", trials=5).study("second", trials=6, states=("complete", "failed"))
    studies = [Study.open(written.results, name) for name in ("first", "second")]
    table = compared([(study.summary(), study.leaderboard_table()) for study in studies])
    assert table.columns[:3] == ("rank", "study", "trial")
    ranked = [row for row in table.rows if row["rank"]]
    assert [row["rank"] for row in ranked] == list(range(1, 9))
    values = [row["value"] for row in ranked]
    assert values == sorted((v for study in studies for v in study.leaderboard()["value"].dropna()), reverse=True)
    assert {row["study"] for row in table.rows[8:]} == {"second"}


def test_studies_with_other_objectives_are_not_ranked_together(written):
    """The message has each study's objective."""
    written.study("first", trials=2).study("second", trials=2, metric="val_loss", direction="minimize")
    studies = [Study.open(written.results, name) for name in ("first", "second")]
    with pytest.raises(InputError, match="first: maximize val_accuracy; second: minimize val_loss"):
        compared([(study.summary(), study.leaderboard_table()) for study in studies])


def test_columns_by_pattern_and_those_that_are_not_shown(study):
    """``val_*`` selects all such columns; cause and message are shown on request."""
    table = select(
        study.leaderboard_table(), Selection(columns=("trial", "val_*", "cause"), where='cause == "exception"')
    )
    assert table.columns == ("trial", "val_loss", "val_accuracy", "cause")
    assert len(table.rows) == 10
    with pytest.raises(
        InputError, match=r"unknown column 'val_acuracy' \(did you mean 'val_accuracy'\?\); columns: rank"
    ):
        select(study.leaderboard_table(), Selection(columns=("val_acuracy",)))


def test_diff_leaves_out_what_is_the_same(study):
    """Hyperparameters with one value in all rows are no column; everything else stays."""
    table = select(study.leaderboard_table(), Selection(where='optimizer == "adam" and filters == 8'))
    shorter = without_constants(table, study.parameter_columns)
    assert set(table.columns) - set(shorter.columns) == {"optimizer", "filters", "momentum"}


def test_html_carries_no_markup_of_values():
    """Values are text in HTML, Markdown and LaTeX, whatever they contain."""
    table = Table(("a<b", "x"), ({"a<b": NASTY, "x": [1, 2]},))

    found = set()

    class Tags(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.add(tag)

    Tags().feed(WRITERS["html"](table))
    assert found == {"table", "thead", "tbody", "tr", "th", "td"}
    assert WRITERS["markdown"](table).splitlines()[2].count(" | ") == 1
    assert "<script" not in WRITERS["markdown"](table)
    latex = WRITERS["latex"](table)
    assert r"50\% \textbackslash{}\_\{x\}" in latex
    assert r"{}[1, 2] \\" in latex


def test_csv_and_json_carry_every_bit(study):
    """What is read back is what the store has."""
    table = study.leaderboard_table()
    values = [row["value"] for row in csv.DictReader(io.StringIO(WRITERS["csv"](table)))]
    assert [float(value) if value else None for value in values] == [row["value"] for row in table.rows]
    rows = json.loads(WRITERS["json"](table))
    assert rows == [{name: row[name] for name in table.columns} for row in table.rows]


CHOICES = sweep_of_digits("""\
space:
  kernel: [[3, 3], [5, 5]]
  clip: [null, 0.5]
  optimizer: [sgd, adam]
  momentum: {{low: 0.0, high: 0.9, points: 2, when: {{optimizer: sgd, clip: null}}}}
search: {{method: tpe, trials: 40}}
training: {{epochs: 3, optimizer: {{name: $optimizer, momentum: $momentum, clip_norm: $clip}}}}
""").replace("filters: $filters, kernel_size: 3", "filters: 4, kernel_size: $kernel")


def choices(draw):
    """Draw lists, null and what depends on null."""
    params = {"kernel": draw.choice([[3, 3], [5, 5]]), "clip": draw.choice([None, 0.5])}
    params["optimizer"] = draw.choice(["sgd", "adam"])
    active = params["clip"] is None and params["optimizer"] == "sgd"
    return params | ({"momentum": draw.choice([0.0, 0.9])} if active else {})


@pytest.fixture
def chosen(written):
    """A study whose hyperparameters have lists and null among their choices."""
    written.study(trials=40, sweep=CHOICES, params=choices)
    return Study.open(written.results, "digits")


def test_null_is_a_value_and_no_inactive_hyperparameter(chosen):
    """Leaderboards, filters, groups and formats distinguish null from an inactive hyperparameter."""
    table = chosen.leaderboard_table()
    params = [chosen.trial(row["trial"])["trial"]["params"] for row in table.rows]
    clipped = [row["trial"] for row, one in zip(table.rows, params, strict=True) if one["clip"] is not None]
    unclipped = [row["trial"] for row, one in zip(table.rows, params, strict=True) if one["clip"] is None]
    for where, wanted in {
        "clip == null": unclipped,
        "clip != null": clipped,
        "clip > 0.1": clipped,
        "clip * 2 == 1": clipped,
        "missing(clip)": [],
        "momentum == null": [],
    }.items():
        assert [row["trial"] for row in select(table, Selection(where=where)).rows] == wanted, where
    groups = grouped(table, ["clip"], direction=Direction.MAXIMIZE)
    assert {str(row["clip"]): row["n"] for row in groups.rows} == {"null": len(unclipped), "0.5": len(clipped)}
    cells = list(csv.DictReader(io.StringIO(WRITERS["csv"](table))))
    assert {cell["clip"] for cell in cells} == {"null", "0.5"}
    assert {cell["momentum"] for cell in cells} == {"", "0.0", "0.9"}
    _, rows = query(chosen.results, "SELECT clip, count(*) FROM leaderboard_digits GROUP BY clip ORDER BY 2")
    assert dict(map(tuple, rows)) == {"null": len(unclipped), 0.5: len(clipped)}


def test_lists_are_filtered_by_their_values(chosen):
    """``--where "kernel == [3, 3]"`` keeps the rows with that list."""
    kept = select(chosen.leaderboard_table(), Selection(where="kernel == [3, 3]")).rows
    assert kept
    assert all(row["kernel"] == [3, 3] for row in kept)


def test_lists_and_null_survive_optuna(chosen, tmp_path):
    """What was exported to Optuna comes back with the same hyperparameters, and samplers learn from it."""
    address = f"sqlite:///{tmp_path / 'study.db'}"
    export("optuna", StoreReader(chosen.results), "digits", address)
    found = read_study(address, "digits", chosen.sweep)
    assert not found.skipped
    back = {number: params for number, params, _, _ in found.trials}
    assert back == {number: chosen.trial(number)["trial"]["params"] for number in range(40)}


def test_studies_that_differ_in_case_only_have_views_of_their_own(written):
    """SQLite folds case: each of two such studies of before finds its own rows in its own view."""
    written.study("pilot", trials=3).study("Pilot", trials=5).study("pilot", trials=3)
    for view, study in (("leaderboard_Pilot", "Pilot"), ("leaderboard_pilot_2", "pilot"), ("epochs_pilot_2", "pilot")):
        _, (row,) = query(written.results, f"SELECT count(DISTINCT trial) FROM {view}")
        assert list(row) == [5 if study == "Pilot" else 3], view


def test_columns_never_differ_in_case_only():
    """Metrics and hyperparameters whose names SQLite folds get names that it tells apart."""
    columns = Columns.of(["Dice", "dice", "Value", "Rate", "val_loss"], ["rate"])
    assert columns.metrics == {
        "val_loss": "val_loss",
        "Dice": "Dice",
        "Rate_at_best_epoch": "Rate",
        "Value_at_best_epoch": "Value",
        "dice_2": "dice",
    }
    assert len({name.lower() for name in columns.names}) == len(columns.names)
