"""A study as TensorBoard shows it: a run a trial with its scalars, and the HParams tab over all of them.

Event files are written with TensorBoard's own messages and record format, without TensorFlow.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.exports import library
from cnn_sweep.report.exports.trials import Run, runs
from cnn_sweep.report.leaderboards.leaderboard import shown
from cnn_sweep.store import queries
from cnn_sweep.sweep.configuration import NULL
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable


def to_tensorboard(results: Path, study: str, destination: str) -> list[Path]:
    """Write a folder for ``tensorboard --logdir``; runs of the same study that are there already are replaced.

    TensorBoard keeps scalars in single precision.

    Returns:
        The study's folder below the destination.
    """
    for name in ("tensorboard.summary.writer.record_writer", "tensorboard.plugins.hparams.metadata"):
        library(name, "tensorboard")
    folder = Path(destination) / study
    if folder.is_dir():
        shutil.rmtree(folder)
    summary = queries.study_summary(results, study)
    values: dict[str, list[Any]] = {name: [] for name in summary["parameters"]}
    for run in runs(results, study):
        for name, value in run.params.items():
            values[name] += [value] if value not in values[name] else []
        _write(folder / f"trial-{run.trial}", run.facts["started"] or 0.0, _of_trial(run))
    began = summary["created"] or 0.0
    _write(folder, began, [(began, 0, _experiment(summary, values))])
    return [folder]


def _of_trial(run: Run) -> Iterable[tuple[float, int, Any]]:
    """Give the moments, steps and summaries of a trial."""
    summaries = library("tensorboard.compat.proto.summary_pb2", "tensorboard")
    messages = library("tensorboard.plugins.hparams.plugin_data_pb2", "tensorboard")
    hparams = library("tensorboard.plugins.hparams.metadata", "tensorboard")
    api = library("tensorboard.plugins.hparams.api_pb2", "tensorboard")
    started = run.facts["started"] or 0.0
    start = messages.SessionStartInfo(group_name=str(run.trial), start_time_secs=started)
    for name, value in run.params.items():
        _set(start.hparams[name], value)
    yield started, 0, _hparams(hparams.SESSION_START_INFO_TAG, session_start_info=start)
    for epoch, time, metrics in run.epochs:
        scalars = [summaries.Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        yield time, epoch, summaries.Summary(value=scalars)
    state = run.facts["state"]
    if state in FINISHED:
        status = api.STATUS_FAILURE if state == "failed" else api.STATUS_SUCCESS
        ended = run.facts["ended"] or started
        end = messages.SessionEndInfo(status=status, end_time_secs=ended)
        yield ended, 0, _hparams(hparams.SESSION_END_INFO_TAG, session_end_info=end)


def _experiment(summary: dict[str, Any], values: dict[str, list[Any]]) -> Any:
    api = library("tensorboard.plugins.hparams.api_pb2", "tensorboard")
    hparams = library("tensorboard.plugins.hparams.metadata", "tensorboard")
    experiment = api.Experiment(name=summary["study"], time_created_secs=summary["created"] or 0.0)
    for name, found in values.items():
        info = experiment.hparam_infos.add(name=name, type=_type(found, api))
        for value in found:
            _set(info.domain_discrete.values.add(), value)
    for name in sorted(summary["metrics"], key=lambda name: name != summary["metric"]):
        experiment.metric_infos.add(name=api.MetricName(tag=name), display_name=name)
    return _hparams(hparams.EXPERIMENT_TAG, experiment=experiment)


def _type(values: list[Any], api: Any) -> Any:
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int, float}:
        return api.DATA_TYPE_FLOAT64
    return api.DATA_TYPE_BOOL if kinds == {bool} else api.DATA_TYPE_STRING


def _set(message: Any, value: Any) -> None:
    """Put a hyperparameter's value into one of Protobuf's."""
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    else:
        message.string_value = NULL if value is None else shown(value)


def _hparams(tag: str, **content: Any) -> Any:
    summaries = library("tensorboard.compat.proto.summary_pb2", "tensorboard")
    messages = library("tensorboard.plugins.hparams.plugin_data_pb2", "tensorboard")
    hparams = library("tensorboard.plugins.hparams.metadata", "tensorboard")
    metadata = hparams.create_summary_metadata(messages.HParamsPluginData(**content))
    value = summaries.Summary.Value(tag=tag, metadata=metadata, tensor=hparams.NULL_TENSOR)
    return summaries.Summary(value=[value])


def _write(folder: Path, began: float, summaries: Iterable[tuple[float, int, Any]]) -> None:
    """Write one event file, whose name TensorBoard knows."""
    events = library("tensorboard.compat.proto.event_pb2", "tensorboard")
    records = library("tensorboard.summary.writer.record_writer", "tensorboard")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"events.out.tfevents.{int(began):010d}.cnn-sweep").open("wb") as file:
        writer = records.RecordWriter(file)
        writer.write(events.Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        for time, step, summary in summaries:
            writer.write(events.Event(wall_time=time, step=step, summary=summary).SerializeToString())
        writer.flush()
