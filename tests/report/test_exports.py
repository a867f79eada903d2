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
from cnn_sweep.report.exports import export
from cnn_sweep.store import queries

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
    (_, trials), (_, epochs) = queries.export_trials(study, "digits"), queries.export_epochs(study, "digits")
    return {row["trial"]: row for row in trials}, list(epochs)


def test_parquet_is_read_by_arrow_and_pandas(study, tables, tmp_path):
    """Each value and each type comes back, mixed columns as JSON."""
    parquet = pytest.importorskip("pyarrow.parquet")
    files = export("parquet", study, "digits", str(tmp_path / "out"))
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
    files = export("csv", study, "digits", str(tmp_path / "out"))
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
    (folder,) = export("tensorboard", study, "digits", str(tmp_path / "out"))
    (folder,) = export("tensorboard", study, "digits", str(tmp_path / "out"))  # replaces what is there
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
    export("mlflow", study, "digits", str(tmp_path / "out"))
    with pytest.raises(InputError, match="has an experiment 'digits' already"):
        export("mlflow", study, "digits", str(tmp_path / "out"))
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
    from wandb.proto.wandb_internal_pb2 import Record
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
    """Offline runs hold the hyperparameters and every metric at its step, as W&B's own reader finds them."""
    pytest.importorskip("wandb")
    export("wandb", study, "digits", str(tmp_path / "out"))
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
        export("wandb", study, "digits", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
