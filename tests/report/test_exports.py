"""Exports, read back by the programs that they are for."""

from __future__ import annotations

import csv
import importlib
import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.journal.events import End, Extend, Finalize, Known, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.exports import FORMS, export
from cnn_sweep.report.exports import trials as trials_of_exports
from cnn_sweep.report.exports.trials import runs
from cnn_sweep.store import queries, report_queries
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader

PARAMS = {
    "filters": [4, 8],
    "optimizer": ["sgd", "adam <b>"],
    "learning_rate": [0.1, 1 / 3],
    "nesterov": [True, False],
    "widths": [[8, 16], 32],
}


def _params(draw):
    found = {name: draw.choice(values) for name, values in PARAMS.items()}
    return found | ({"momentum": draw.choice([0, 0.9])} if found["optimizer"] == "sgd" else {})


@pytest.fixture
def study(written):
    """Twelve trials with hyperparameters of all types, one of which failed before its first epoch."""
    written.study(trials=12, states=("complete",) * 5 + ("failed",), params=_params)
    return written.results


@pytest.fixture
def tables(study):
    """What the store says: trials and epochs."""
    (_, trials), (_, epochs) = (
        queries.export_trials(StoreReader(study), "digits"),
        queries.export_epochs(StoreReader(study), "digits"),
    )
    return {row["trial"]: row for row in trials}, list(epochs)


def test_parquet_is_read_by_arrow_and_pandas(study, tables, tmp_path):
    """Each value and each type comes back, mixed columns as JSON."""
    parquet = pytest.importorskip("pyarrow.parquet")
    files = export("parquet", StoreReader(study), "digits", str(tmp_path / "out"))
    trials, epochs = (parquet.read_table(file) for file in files)
    as_json = json.loads(trials.schema.metadata[b"json_columns"])
    assert as_json == ["widths"]
    for row in trials.to_pylist():
        row |= {name: json.loads(row[name]) for name in as_json if row[name] is not None}
        assert row == tables[0][row["trial"]]
    assert epochs.to_pylist() == tables[1]
    assert trials.to_pandas()["nesterov"].dropna().isin([True, False]).all()
    assert str(trials.schema.field("learning_rate").type) == "double"


def test_csv_has_every_bit(study, tables, tmp_path):
    """Floats come back exactly."""
    files = export("csv", StoreReader(study), "digits", str(tmp_path / "out"))
    with Path(files[1]).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_accuracy"]) for row in rows] == [row["val_accuracy"] for row in tables[1]]


def test_tensorboard_shows_scalars_and_hyperparameters(study, tables, tmp_path, monkeypatch):
    """TensorBoard's own reader finds each scalar in single precision, and all HParams."""
    pytest.importorskip("tensorboard")
    # TensorBoard would import TensorFlow to read local files; this is its own switch for doing without.
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    multiplexer = importlib.import_module("tensorboard.backend.event_processing.plugin_event_multiplexer")
    hparams = importlib.import_module("tensorboard.plugins.hparams.metadata")
    (folder,) = export("tensorboard", StoreReader(study), "digits", str(tmp_path / "out"))
    (folder,) = export("tensorboard", StoreReader(study), "digits", str(tmp_path / "out"))  # replaces what is there
    runs = multiplexer.EventMultiplexer().AddRunsFromDirectory(folder)
    runs.Reload()
    assert set(runs.Runs()) == {".", *(f"trial-{trial}" for trial in tables[0])}
    for epoch in tables[1]:
        events = runs.Tensors(f"trial-{epoch['trial']}", "val_accuracy")
        found = {event.step: event.tensor_proto.float_val[0] for event in events}
        assert np.float32(found[epoch["epoch"]]) == np.float32(epoch["val_accuracy"])
    for trial, row in tables[0].items():
        content = runs.SummaryMetadata(f"trial-{trial}", hparams.SESSION_START_INFO_TAG).plugin_data.content
        start = hparams.parse_session_start_info_plugin_data(content)
        assert start.hparams["learning_rate"].number_value == row["learning_rate"]
        assert start.hparams["optimizer"].string_value == row["optimizer"]
        assert start.hparams["nesterov"].bool_value == row["nesterov"]
        assert ("momentum" in start.hparams) == (row["momentum"] is not None)
        content = runs.SummaryMetadata(f"trial-{trial}", hparams.SESSION_END_INFO_TAG).plugin_data.content
        assert (hparams.parse_session_end_info_plugin_data(content).status == 2) == (row["state"] == "failed")
    content = runs.SummaryMetadata(".", hparams.EXPERIMENT_TAG).plugin_data.content
    experiment = hparams.parse_experiment_plugin_data(content)
    assert {info.name for info in experiment.hparam_infos} == {*PARAMS, "momentum"}
    assert experiment.metric_infos[0].name.tag == "val_accuracy"


def test_mlflow_has_the_runs(study, tables, tmp_path, monkeypatch):
    """MLflow's client finds parameters, every metric at its step, times and states; a second export is refused."""
    pytest.importorskip("mlflow")
    export("mlflow", StoreReader(study), "digits", str(tmp_path / "out"))
    with pytest.raises(InputError, match="has an experiment 'digits' already"):
        export("mlflow", StoreReader(study), "digits", str(tmp_path / "out"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "out").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert len(runs) == len(tables[0])
    for run in runs:
        trial = int(run.info.run_name.removeprefix("digits-"))
        row = tables[0][trial]
        assert run.info.status == {"complete": "FINISHED", "failed": "FAILED"}[row["state"]]
        assert run.info.start_time == round(row["started"] * 1000)
        assert float(run.data.params["learning_rate"]) == row["learning_rate"]
        assert json.loads(run.data.params["widths"]) == row["widths"]
        history = client.get_metric_history(run.info.run_id, "val_accuracy")
        expected = [(row["epoch"], row["val_accuracy"]) for row in tables[1] if row["trial"] == trial]
        assert sorted((point.step, point.value) for point in history) == expected
        assert not any(math.isnan(point.value) for point in history)


def _wandb_records(file):
    """Read an offline run as ``wandb sync`` did before it was a program of its own."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
    from wandb.sdk.internal.datastore import DataStore

    log = DataStore()
    log.open_for_scan(str(file))
    try:
        while (data := log.scan_data()) is not None:
            record = Record()
            record.ParseFromString(data)
            yield record
    finally:
        log.close()


def test_wandb_has_the_runs(study, tables, tmp_path):
    """Offline runs hold the hyperparameters and every metric at its step; a second export replaces only them."""
    pytest.importorskip("wandb")
    foreign = tmp_path / "out" / "wandb" / "offline-run-mine"
    foreign.mkdir(parents=True)
    for _ in range(2):
        export("wandb", StoreReader(study), "digits", str(tmp_path / "out"))
    foreign.rmdir()
    assert len(list((tmp_path / "out" / "wandb").glob("offline-run-*"))) == len(tables[0])
    found = {}
    for file in (tmp_path / "out" / "wandb").glob("offline-run-*/run-*.wandb"):
        history, config, name, failed = [], {}, "", None
        for record in _wandb_records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                name = record.run.display_name
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                history.append((record.history.step.num, row["val_accuracy"]))
            elif kind == "exit":
                failed = record.exit.exit_code != 0
        found[int(name.removeprefix("digits-"))] = (history, config, failed)
    assert set(found) == set(tables[0])
    for trial, (history, config, failed) in found.items():
        row = tables[0][trial]
        assert failed == (row["state"] == "failed")
        assert config["learning_rate"] == row["learning_rate"]
        assert history == [(row["epoch"], row["val_accuracy"]) for row in tables[1] if row["trial"] == trial]


def test_a_library_that_is_missing_is_said(study, tmp_path, monkeypatch):
    """One message with the package to install; nothing is written."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(EnvironmentFault, match="this export needs the package wandb: pip install wandb"):
        export("wandb", StoreReader(study), "digits", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# ---- every export of a study in every state

ODD = """\
study: {study}
data: {{source: digits}}
model:
  layers:
    - conv2d: {{filters: 4, kernel_size: $kernel}}
    - flatten
    - dense: $seed
    - output
space:
  kernel: [3, [3, 5]]
  clip: [null, 1.0]
  seed: [7, 8]
  optimizer: [sgd, adam]
  decay: {{choices: [null, 0.01], when: {{optimizer: adam}}}}
training: {{epochs: 3, optimizer: {{name: $optimizer, clip_norm: $clip, weight_decay: $decay}}}}
objectives: [{{metric: val_accuracy}}, {{metric: parameters}}, {{metric: val_loss}}]
"""


def _odd(draw):
    found = {"kernel": draw.choice([3, [3, 5]]), "clip": draw.choice([None, 1.0]), "seed": draw.choice([7, 8])}
    found["optimizer"] = draw.choice(["sgd", "adam"])
    return found | ({"decay": draw.choice([None, 0.01])} if found["optimizer"] == "adam" else {})


def _append(written, *events):
    """Let another process journal events of the study."""
    worker = Worker(2_000.0, ProcessIdentity("login1", "boot", "pid:[1]", 9, 9), {}, 0)
    paths = StudyPaths(written.results, "digits")
    paths.journal("other").write_bytes(b"".join(map(encode, (worker, *events))))
    assert merge(written.results, wait_s=20).skipped is None


def _extended(written):
    written.study(trials=3)
    paths = StudyPaths(written.results, "digits")
    paths.revision(2).write_text(
        paths.sweep.read_text(encoding="utf-8").replace("filters: [4, 8, 16]", "filters: [4, 8, 16, 32]"),
        encoding="utf-8",
    )
    more = Start(2_001.0, 3, 0, "c3", 0, 3, {"filters": 32, "optimizer": "adam", "learning_rate": 0.01})
    _append(written, Extend(2_000.0, 2, 4, 4, 0, 0), more)


def _repeated(written):
    written.study(trials=2)
    again = Start(2_001.0, 2, 0, "c0", 1, 5, {"filters": 4, "optimizer": "adam", "learning_rate": 0.01})
    _append(written, again, End(2_002.0, 2, 0, "complete", None, None, 0, 1.0))


def _imported(written):
    written.study(trials=2)
    params = {"filters": 4, "optimizer": "adam", "learning_rate": 0.01}
    _append(written, Known(2_001.0, "sqlite:///old.db#old", 0, params, "complete", [0.5]))


def _renamed(written):
    written.study(trials=2)
    written.results = written.results.rename(written.results.with_name("moved here"))


STATES = {
    "nothing begun": lambda written: written.study(trials=3, states=("waiting",)),
    "running": lambda written: written.study(trials=2, states=("running", "complete")),
    "running before its first epoch": lambda written: written.study(trials=1, epochs=0, states=("running",)),
    "failed only": lambda written: written.study(trials=2, states=("failed",)),
    "pruned, paused and interrupted": lambda written: written.study(
        trials=4, states=("pruned", "paused", "interrupted", "complete")
    ),
    "repeated": _repeated,
    "of several objectives, with lists and null as choices": lambda written: written.study(
        trials=6, states=("complete", "failed"), params=_odd, sweep=ODD
    ),
    "finalized": lambda written: _append(
        written.study(trials=3), Finalize(2_001.0, 1, {"test_accuracy": 0.5, "test_loss": 1.5})
    ),
    "extended": _extended,
    "imported from Optuna": _imported,
    "in a results folder that was renamed": _renamed,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("form", FORMS)
def test_every_export_writes_a_study_in_every_state(written, tmp_path, form, state):
    """The export ends, its destination has nothing half-made, and it is the study's own that was read."""
    pytest.importorskip({"parquet": "pyarrow", "csv": "csv", "spreadsheet": "csv"}.get(form, form))
    STATES[state](written)
    before = {file: file.read_bytes() for file in written.results.rglob("*") if file.is_file()}
    out = tmp_path / "new" / "out"
    if form == "optuna":
        out.parent.mkdir()
    assert export(form, StoreReader(written.results), "digits", str(out))
    assert out.exists()
    assert [file.name for file in tmp_path.rglob(".cnn-sweep-export-*")] == []
    assert before.items() <= {file: file.read_bytes() for file in written.results.rglob("*") if file.is_file()}.items()


def test_runs_tell_null_from_inactive_and_a_hyperparameter_from_a_column_of_the_same_name(written):
    """A run has the hyperparameters that its journal has: null where that was chosen, its own ``seed``, lists."""
    chosen = []

    def params(draw):
        chosen.append(_odd(draw))
        return chosen[-1]

    written.study(trials=8, params=params, sweep=ODD)
    found = list(runs(StoreReader(written.results), "digits"))
    assert [run.params for run in found] == chosen
    assert [run.facts["seed"] for run in found] == [run.trial for run in found]
    assert None in [run.params["clip"] for run in found]


@pytest.mark.parametrize("form", ["csv", "parquet", "tensorboard", "mlflow", "wandb", "optuna"])
def test_an_export_that_fails_leaves_its_destination_as_it_was(written, tmp_path, monkeypatch, form):
    """An export that fails or is interrupted leaves nothing behind, and the next one succeeds."""
    pytest.importorskip({"parquet": "pyarrow", "csv": "csv", "spreadsheet": "csv"}.get(form, form))
    written.study(trials=2)
    real, calls = report_queries.curves, []

    def stopped(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        return real(*arguments)

    def interrupted(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(trials_of_exports, "_TOGETHER", 1)
        patch.setattr(report_queries, "curves", stopped)
        patch.setattr(queries, "export_epochs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export(form, StoreReader(written.results), "digits", str(out))
    assert [file for file in tmp_path.iterdir() if file != written.results] == []
    # Within one process MLflow takes a folder that is gone for one that is there.
    export(form, StoreReader(written.results), "digits", str(out if form != "mlflow" else tmp_path / "other"))


def test_an_mlflow_folder_keeps_its_other_experiments(written, tmp_path, monkeypatch):
    """An export that fails removes its own experiment from a folder that has others, and leaves no trash of it."""
    pytest.importorskip("mlflow")
    out = tmp_path / "out"
    export("mlflow", StoreReader(written.study("other", trials=1).results), "other", str(out))
    before = sorted(out.rglob("*"))
    written.study(trials=2)
    monkeypatch.setattr(report_queries, "curves", lambda *_: {})
    with pytest.raises(KeyError):
        export("mlflow", StoreReader(written.results), "digits", str(out))
    assert sorted(out.rglob("*")) == before


def test_tensorboard_never_replaces_what_no_export_wrote(written):
    """The results folder is refused as destination, because runs would overwrite the study itself."""
    pytest.importorskip("tensorboard")
    written.study(trials=2)
    before = sorted(written.results.rglob("*"))
    with pytest.raises(InputError, match=r"digits would be replaced, and has .*, which no export wrote"):
        export("tensorboard", StoreReader(written.results), "digits", str(written.results))
    assert sorted(written.results.rglob("*")) == before


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_replace_those_of_the_same_study_alone(written, tmp_path, form):
    """Another study's table, or a file of somebody else's, stays: one message says whose it is and what to type."""
    pytest.importorskip({"parquet": "pyarrow"}.get(form, form))
    written.study("other", trials=1)
    written.study(trials=2)
    out = tmp_path / "out"
    for _ in range(2):
        export(form, StoreReader(written.results), "other", str(out))
    before = {file: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(
        InputError,
        match=rf"trials.{form} is a table of study 'other'.*`cnn-sweep export digits --to {form} .*out/digits`",
    ):
        export(form, StoreReader(written.results), "digits", str(out))
    assert {file: file.read_bytes() for file in out.iterdir()} == before
    for mine in ("study of mine", ""):
        (out / f"trials.{form}").write_text(mine, encoding="utf-8")
        with pytest.raises(InputError, match=rf"trials.{form} was written by no export, and this export would"):
            export(form, StoreReader(written.results), "other", str(out))
        assert (out / f"trials.{form}").read_text(encoding="utf-8") == mine


def test_scores_on_the_test_set_go_along(written, tmp_path, monkeypatch):
    """TensorBoard, MLflow, W&B and Optuna get what `finalize` measured, by the names that the leaderboard has."""
    STATES["finalized"](written)
    found = [(run.trial, run.tests) for run in runs(StoreReader(written.results), "digits") if run.tests]
    assert found == [(1, {"test_accuracy": 0.5, "test_loss": 1.5})]
    columns, _ = queries.leaderboard(StoreReader(written.results), "digits")
    assert columns[-2:] == ("test_accuracy", "test_loss")
    for form, read in READERS.items():
        pytest.importorskip(form)
        export(form, StoreReader(written.results), "digits", str(tmp_path / form))
        assert read(tmp_path / form, monkeypatch) == [0.5], form


def _tensorboard_scores(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    multiplexer = importlib.import_module("tensorboard.backend.event_processing.plugin_event_multiplexer")
    runs = multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder / "digits"))
    runs.Reload()
    return [event.tensor_proto.float_val[0] for event in runs.Tensors("trial-1", "test_accuracy")]


def _mlflow_scores(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.as_uri())
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    return [run.data.metrics["test_accuracy"] for run in runs if "test_accuracy" in run.data.metrics]


def _wandb_scores(folder, _):
    records = [record for file in folder.rglob("run-*.wandb") for record in _wandb_records(file)]
    summaries = [item for record in records if record.HasField("summary") for item in record.summary.update]
    return [json.loads(item.value_json) for item in summaries if item.key == "test_accuracy"]


def _optuna_scores(file, _):
    import optuna

    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{file}")
    return [trial.user_attrs["test_accuracy"] for trial in study.trials if "test_accuracy" in trial.user_attrs]


READERS = {
    "tensorboard": _tensorboard_scores,
    "mlflow": _mlflow_scores,
    "wandb": _wandb_scores,
    "optuna": _optuna_scores,
}


@pytest.mark.parametrize("form", ["csv", "parquet", "tensorboard", "mlflow", "wandb"])
def test_a_destination_that_is_a_file_is_said(written, tmp_path, form):
    """If a file has the name of the folder, one message names it, and the file stays."""
    pytest.importorskip({"parquet": "pyarrow", "csv": "csv", "spreadsheet": "csv"}.get(form, form))
    written.study(trials=1)
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match="out"):
        export(form, StoreReader(written.results), "digits", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"
