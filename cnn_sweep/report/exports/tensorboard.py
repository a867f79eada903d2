"""Exports a study to TensorBoard: a run with scalars for each trial, and the HParams tab over all trials.

Event files are written with TensorBoard's own messages and record format, without TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.report.exports import as_text, library, written_aside
from cnn_sweep.report.exports.trials import Run, runs
from cnn_sweep.store import queries
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.store.reader import StoreReader

_SUFFIX = ".cnn-sweep"  # of event files; TensorBoard recognises them by the beginning of their names


def to_tensorboard(store: StoreReader, study: str, destination: str) -> list[Path]:
    """Write a folder for ``tensorboard --logdir``; an earlier export of the same study is replaced.

    TensorBoard keeps scalars in single precision.

    Returns:
        The study's folder below the destination.

    Raises:
        InputError: That folder has files that no export wrote, such as the study's own results.
    """
    for name in ("tensorboard.summary.writer.record_writer", "tensorboard.plugins.hparams.metadata"):
        library(name, "tensorboard")
    folder = Path(destination) / study
    _check_replaceable(folder)
    summary = queries.study_summary(store, study)
    values: dict[str, list[Any]] = {name: [] for name in summary["parameters"]}
    tests: set[str] = set()
    with written_aside(folder.parent) as aside:
        new = aside / "new"
        for run in runs(store, study):
            tests.update(run.tests)
            for name, value in run.params.items():
                known = values.setdefault(name, [])
                known += [value] if value not in known else []
            _write(new / f"trial-{run.trial}", run.facts["started"] or 0.0, _of_trial(run))
        began = summary["created"] or 0.0
        _write(new, began, [(began, 0, _experiment(summary, values, tests))])
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rename(aside / "old")
        return [new.rename(folder)]


def _check_replaceable(folder: Path) -> None:
    """Check that a folder that will be replaced has only files of an earlier export."""
    others = (file for file in folder.rglob("*") if not file.is_dir() and file.suffix != _SUFFIX)
    if (other := next(others, None)) is not None:
        raise InputError(f"{folder} would be replaced, and has {other}, which no export wrote; choose another place")


def _of_trial(run: Run) -> Iterable[tuple[float, int, Any]]:
    """Yield (seconds since 1970, step, summary) of a trial's events."""
    summaries = library("tensorboard.compat.proto.summary_pb2", "tensorboard")
    messages = library("tensorboard.plugins.hparams.plugin_data_pb2", "tensorboard")
    hparams = library("tensorboard.plugins.hparams.metadata", "tensorboard")
    api = library("tensorboard.plugins.hparams.api_pb2", "tensorboard")
    started = run.facts["started"] or 0.0
    start = messages.SessionStartInfo(group_name=str(run.trial), start_time_secs=started)
    for name, value in run.params.items():
        _set(start.hparams[name], value)
    yield started, 0, _hparams(hparams.SESSION_START_INFO_TAG, session_start_info=start)
    for epoch, time, metrics in (*run.epochs, (*run.tested_at, run.tests)):
        scalars = [summaries.Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        yield time, epoch, summaries.Summary(value=scalars)
    state = run.facts["state"]
    if state in FINISHED:
        status = api.STATUS_FAILURE if state == "failed" else api.STATUS_SUCCESS
        ended = run.facts["ended"] or started
        end = messages.SessionEndInfo(status=status, end_time_secs=ended)
        yield ended, 0, _hparams(hparams.SESSION_END_INFO_TAG, session_end_info=end)


def _experiment(summary: dict[str, Any], values: dict[str, list[Any]], tests: Iterable[str]) -> Any:
    api = library("tensorboard.plugins.hparams.api_pb2", "tensorboard")
    hparams = library("tensorboard.plugins.hparams.metadata", "tensorboard")
    experiment = api.Experiment(name=summary["study"], time_created_secs=summary["created"] or 0.0)
    for name, found in values.items():
        info = experiment.hparam_infos.add(name=name, type=_type(found, api))
        for value in found:
            _set(info.domain_discrete.values.add(), value)
    for name in (*sorted(summary["metrics"], key=lambda name: name != summary["metric"]), *sorted(tests)):
        experiment.metric_infos.add(name=api.MetricName(tag=name), display_name=name)
    return _hparams(hparams.EXPERIMENT_TAG, experiment=experiment)


def _type(values: list[Any], api: Any) -> Any:
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int, float}:
        return api.DATA_TYPE_FLOAT64
    return api.DATA_TYPE_BOOL if kinds == {bool} else api.DATA_TYPE_STRING


def _set(message: Any, value: Any) -> None:
    """Set a Protobuf value to a hyperparameter's value."""
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    else:
        message.string_value = as_text(value)


def _hparams(tag: str, **content: Any) -> Any:
    summaries = library("tensorboard.compat.proto.summary_pb2", "tensorboard")
    messages = library("tensorboard.plugins.hparams.plugin_data_pb2", "tensorboard")
    hparams = library("tensorboard.plugins.hparams.metadata", "tensorboard")
    metadata = hparams.create_summary_metadata(messages.HParamsPluginData(**content))
    value = summaries.Summary.Value(tag=tag, metadata=metadata, tensor=hparams.NULL_TENSOR)
    return summaries.Summary(value=[value])


def _write(folder: Path, began: float, summaries: Iterable[tuple[float, int, Any]]) -> None:
    """Write one event file."""
    events = library("tensorboard.compat.proto.event_pb2", "tensorboard")
    records = library("tensorboard.summary.writer.record_writer", "tensorboard")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"events.out.tfevents.{int(began):010d}{_SUFFIX}").open("wb") as file:
        writer = records.RecordWriter(file)
        writer.write(events.Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        for time, step, summary in summaries:
            writer.write(events.Event(wall_time=time, step=step, summary=summary).SerializeToString())
        writer.flush()
