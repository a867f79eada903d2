"""Exports a study to MLflow: an experiment with a run for each trial, in a folder or on a tracking server."""

from __future__ import annotations

import os
import platform
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.report.exports import as_text, library
from cnn_sweep.report.exports.trials import Run, runs
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.store.reader import StoreReader

_MOST_METRICS = 1_000  # in one request to MLflow
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED", "running": "RUNNING"}
_TAGS = ("state", "cause", "configuration", "repeat", "seed", "attempts", "best_epoch", "parameters")
# MLflow rejects all other characters in the names of metrics and parameters.
_UNNAMEABLE = re.compile(r"[^\w\-. :/]")


def to_mlflow(store: StoreReader, study: str, destination: str) -> list[str]:
    """Write an experiment with the study's name.

    Args:
        store: The store with the study.
        study: The study's name.
        destination: A folder (read with ``MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri DEST``), or the
            address of a server, ``http://…``.

    Returns:
        The experiment's address and name.

    Raises:
        InputError: An experiment of that name exists already.
        EnvironmentFault: MLflow is not installed, or its store or server reports an error.
    """
    library("mlflow.tracking", "mlflow-skinny")
    folder = None if "://" in destination else Path(destination).resolve()
    errors = library("mlflow.exceptions", "mlflow-skinny")
    with _file_store_allowed(), _emptied_on_failure(folder):
        uri = destination if folder is None else folder.as_uri()
        client = library("mlflow.tracking", "mlflow-skinny").MlflowClient(tracking_uri=uri)
        try:
            if client.get_experiment_by_name(study) is not None:
                raise InputError(f"{destination} has an experiment {study!r} already; remove it or take another place")
            with _experiment(client, study, folder) as experiment:
                for run in runs(store, study):
                    _write(client, experiment, study, run)
        except errors.MlflowException as error:
            raise EnvironmentFault(f"MLflow at {destination}: {error}") from error
    return [f"{destination}: experiment {study}"]


@contextmanager
def _experiment(client: Any, study: str, folder: Path | None) -> Iterator[str]:
    """Create an experiment under a temporary name; rename it when it is complete, and remove it after a failure."""
    made = client.create_experiment(f"{study} (incomplete, of process {os.getpid()} on {platform.node()})")
    try:
        yield made
        client.rename_experiment(made, study)
    except BaseException:
        if folder is None:
            client.delete_experiment(made)
        else:  # not deleted, since MLflow would only move it to the folder's trash
            shutil.rmtree(folder / made, ignore_errors=True)
        raise


@contextmanager
def _emptied_on_failure(folder: Path | None) -> Iterator[None]:
    """Remove a new folder if the export fails, since MLflow creates the folder when it opens it."""
    is_new = folder is not None and not folder.exists()
    try:
        yield
    except BaseException:
        if folder is not None and is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _file_store_allowed() -> Iterator[None]:
    """Let MLflow write to folders; it prefers databases and allows folders only on request."""
    name = "MLFLOW_ALLOW_FILE_STORE"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _write(client: Any, experiment: str, study: str, run: Run) -> None:
    entities = library("mlflow.entities", "mlflow-skinny")
    started, ended = run.facts["started"] or 0.0, run.facts["ended"]
    tags = {f"cnn_sweep.{name}": str(run.facts[name]) for name in _TAGS if run.facts.get(name) is not None}
    name = f"{study}-{run.trial}"
    made = client.create_run(experiment, start_time=_ms(started), run_name=name, tags=tags).info.run_id
    params = [entities.Param(_nameable(name), as_text(value)) for name, value in run.params.items()]
    metrics = [
        entities.Metric(_nameable(name), value, _ms(time), epoch)
        for epoch, time, values in run.epochs
        for name, value in values.items()
    ]
    epoch, time = run.tested_at
    metrics += [entities.Metric(_nameable(name), value, _ms(time), epoch) for name, value in run.tests.items()]
    client.log_batch(made, params=params)
    for first in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(made, metrics=metrics[first : first + _MOST_METRICS])
    status = _STATUS.get(run.facts["state"], "SCHEDULED")
    if run.facts["state"] in FINISHED:
        client.set_terminated(made, status, _ms(ended or started))
    else:
        client.update_run(made, status)


def _nameable(name: str) -> str:
    return _UNNAMEABLE.sub("_", name)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
