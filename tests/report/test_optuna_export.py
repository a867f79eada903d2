"""Studies of ours as Optuna's own tools read them, and Optuna's studies as history of ours."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from helpers.written import SWEEP as WRITTEN

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.execution.attempts.proposals import Observer
from cnn_sweep.execution.study.optuna_import import import_from_optuna
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.history import History
from cnn_sweep.report.exports import export
from cnn_sweep.report.exports.optuna import mirror
from cnn_sweep.search import optuna_study
from cnn_sweep.search.adaptive import AdaptiveSampler
from cnn_sweep.store import queries
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.sweep.sweep import Sweep

CONSTRAINTS = "search: {{method: tpe, trials: 18, constraints: [parameters <= 1000, val_loss <= 0.45]}}\ntraining:"
PLOTS = ("contour", "edf", "intermediate_values", "optimization_history", "parallel_coordinate", "param_importances")
PLOTS += ("rank", "slice", "timeline")


@pytest.fixture
def exported(written, tmp_path):
    """A study of 18 trials in all states, and its export to an SQLite file."""
    constrained = CONSTRAINTS.join(WRITTEN.split("training:", 1))
    written.study(
        sweep=constrained, trials=18, states=("complete", "complete", "pruned", "complete", "failed", "running")
    )
    address = f"sqlite:///{tmp_path / 'study.db'}"
    assert export("optuna", StoreReader(written.results), "digits", address) == [
        f"{address}: study digits of 18 trials"
    ]
    return written.results, address


def test_a_copy_that_is_deleted_while_it_is_renewed_is_written_again(written, tmp_path, monkeypatch):
    """Whoever deletes the study in the dashboard does not end it, at whatever moment."""
    written.study(trials=3)
    store, address = StoreReader(written.results), f"sqlite:///{tmp_path / 'copy.db'}"
    set_names = optuna.Study.set_metric_names

    def after_deletion(study, names):
        optuna.delete_study(study_name="digits", storage=address)
        set_names(study, names)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "set_metric_names", after_deletion)
        assert mirror(store, "digits", address) == 0
    assert mirror(store, "digits", address) == 3


def test_optuna_loads_what_was_exported(exported):
    """Parameters, states, values, steps, times and user attributes are those of the store, number by number."""
    results, address = exported
    study = optuna.load_study(study_name="digits", storage=address)
    assert study.direction.name == "MAXIMIZE"
    _, rows = queries.export_trials(StoreReader(results), "digits")
    frame = study.trials_dataframe()
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}
    for row, trial, (_, line) in zip(rows, study.trials, frame.iterrows(), strict=True):
        assert (trial.number, line["number"]) == (row["trial"], row["trial"])
        assert line["state"] == trial.state.name == states[row["state"]]
        names = ("filters", "optimizer", "learning_rate", "momentum")
        assert trial.params == {name: row[name] for name in names if row[name] is not None}
        assert line["value_val_accuracy"] == pytest.approx(
            row["value"] if row["state"] == "complete" else math.nan, nan_ok=True, rel=0
        )
        assert trial.user_attrs["parameters"] == row["parameters"]
        assert trial.datetime_start.timestamp() == row["started"]
        assert sum(max(value, 0) for value in trial.constraints.values()) == (row["violation"] or 0.0)
        assert len(trial.intermediate_values) == (0 if row["state"] == "failed" else 3)
    assert study.best_trial.number == queries.study_summary(StoreReader(results), "digits")["best"]["trial"]


def test_the_rows_are_those_that_optuna_writes(exported, tmp_path, monkeypatch):
    """Trials that are added at once are in the storage as if Optuna had added each of them, beside others."""
    earlier = optuna.trial.create_trial(value=1.0)

    def rows(name):
        address = f"sqlite:///{tmp_path / name}"
        optuna.create_study(storage=address, study_name="earlier").add_trial(earlier)
        export("optuna", StoreReader(exported[0]), "digits", address)
        return rows_of(tmp_path / name)

    def one_by_one(storage, name, trials):
        optuna.load_study(study_name=name, storage=storage).add_trials(trials)

    at_once = rows("at_once.db")
    monkeypatch.setattr(optuna_study, "add_trials", one_by_one)
    assert at_once == rows("one_by_one.db")


def rows_of(file):
    """Return the rows of all tables about trials."""
    with closing(sqlite3.connect(file)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'trial%'")]
        found = {name: database.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in names}
    assert len(found["trials"]) == 19
    assert len(found["trial_intermediate_values"]) > 30
    return found


def test_optunas_own_plots_draw_it(exported):
    """Each function of optuna.visualization takes the study."""
    pytest.importorskip("plotly")
    study = optuna.load_study(study_name="digits", storage=exported[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in PLOTS:
            assert getattr(optuna.visualization, f"plot_{name}")(study).data, name


def test_optunas_command_line_lists_it(exported):
    """``optuna trials`` gives as many rows as there are trials."""
    command = [sys.executable, "-c", "from optuna.cli import main; main()", "trials", "--study-name", "digits"]
    command += ["--storage", exported[1], "--format", "json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert len(json.loads(done.stdout)) == 18


def test_optuna_dashboard_serves_it(exported):
    """Its own application lists the study and its trials."""
    dashboard = pytest.importorskip("optuna_dashboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        application = dashboard.wsgi(exported[1])
        answer = {}
        environment = {"PATH_INFO": "/api/studies"}
        setup_testing_defaults(environment)
        body = application(environment, lambda status, _headers, _error=None: answer.update(status=status))
    assert answer["status"].startswith("200")
    assert "digits" in b"".join(body).decode()


def test_several_objectives_have_a_front_there_too(written, tmp_path):
    """Optuna's Pareto front is the trials that ours has."""
    text = SWEEP.replace(
        "objective: {{metric: val_accuracy}}", "objectives: [{{metric: val_accuracy}}, {{metric: parameters}}]"
    )
    written.study(trials=12, sweep=text)
    export("optuna", StoreReader(written.results), "digits", str(tmp_path / "two.db"))
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{tmp_path / 'two.db'}")
    assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    values = {trial.number: trial.values for trial in study.best_trials}
    best = max(trial.values[0] for trial in study.trials)
    assert best in [value[0] for value in values.values()]


def test_a_study_that_is_there_already_is_left_alone(exported):
    """A second export to the same place is refused, and a place that cannot be written is named."""
    results, address = exported
    with pytest.raises(InputError, match="already has a study 'digits'"):
        export("optuna", StoreReader(results), "digits", address)
    with pytest.raises(EnvironmentFault, match="cannot be written by Optuna"):
        export("optuna", StoreReader(results), "digits", "/no/such/folder/study.db")


SWEEP = """\
study: {study}
data: {{source: digits}}
model:
  layers:
    - conv2d: {{filters: $filters, kernel_size: 3}}
    - flatten
    - output
space:
  filters: [4, 8, 16]
  optimizer: [sgd, adam]
  learning_rate: {{low: 0.0001, high: 0.1, log: true}}
  momentum: {{low: 0.0, high: 0.9, when: {{optimizer: sgd}}}}
search: {{method: tpe, trials: 50, options: {{n_startup_trials: 5}}}}
training: {{epochs: 3, optimizer: {{name: $optimizer, learning_rate: $learning_rate, momentum: $momentum}}}}
objective: {{metric: val_accuracy}}
"""


def test_what_optuna_found_out_is_history_of_ours(tmp_path):
    """The sampler starts from another study's results; what does not fit is counted with the reason; once is enough."""
    address = f"sqlite:///{tmp_path / 'theirs.db'}"
    theirs = optuna.create_study(storage=address, study_name="old", direction="maximize")

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-5, 0.1, log=True)
        trial.suggest_categorical("filters", [4, 8, 32])
        trial.suggest_categorical("optimizer", ["adam"])
        return -abs(math.log10(rate) + 3)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    theirs.sampler = optuna.samplers.RandomSampler(seed=1)
    theirs.optimize(objective, n_trials=40)
    sweep = Sweep.parse(SWEEP.format(study="ours"))
    results = tmp_path / "results"
    first = import_from_optuna(sweep, results, address, "old")
    assert first.new > 12
    assert first.new + sum(first.skipped.values()) == 40
    assert "filters 32 is not in the space" in first.skipped
    assert import_from_optuna(sweep, results, address, "old").new == 0
    study = StudyFolder.open(results, "ours")
    history = History(study.paths)
    history.refresh()
    observed = Observer(sweep, history).observations()
    assert len(observed) == first.new
    rates = [AdaptiveSampler(sweep, lambda _params: True).propose(n, observed)["learning_rate"] for n in range(10)]
    assert sum(abs(math.log10(rate) + 3) < 0.7 for rate in rates) >= 7  # at random 4.7 of them


def test_what_cannot_be_imported_is_told(tmp_path):
    """A study that is not there, another direction, a search that does not learn."""
    address = f"sqlite:///{tmp_path / 'theirs.db'}"
    optuna.create_study(storage=address, study_name="loss", direction="minimize")
    sweep = Sweep.parse(SWEEP.format(study="ours"))
    with pytest.raises(InputError, match=r"has no study 'lost'; studies there: loss"):
        import_from_optuna(sweep, tmp_path, address, "lost")
    with pytest.raises(InputError, match="has the directions minimize; 'ours' has maximize"):
        import_from_optuna(sweep, tmp_path, address, "loss")
    grid = Sweep.parse(
        SWEEP.format(study="ours")
        .replace("method: tpe", "method: random")
        .replace(", options: {n_startup_trials: 5}", "")
    )
    with pytest.raises(InputError, match="'random' does not learn from results; those that do: cmaes, gp"):
        import_from_optuna(grid, tmp_path, address, "loss")
    with pytest.raises(EnvironmentFault, match="cannot be read by Optuna"):
        import_from_optuna(sweep, tmp_path, "sqlite:////no/such/folder/x.db", "loss")
