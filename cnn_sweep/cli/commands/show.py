"""``show``: shows one trial in detail."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnn_sweep.cli.ui.options import RESULTS, AsJson, Results, StudyName
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.cli.ui.terminal import print_words
from cnn_sweep.errors import CnnSweepError, StudyError
from cnn_sweep.journal.paths import data_root
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import Table, mean_in_words, shown
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.models.selection_bias import corrected_best
from cnn_sweep.sweep.identity import NULL
from cnn_sweep.sweep.spec.metrics import DEFAULT_OBJECTIVE
from cnn_sweep.training.data.prepare import last_report

if TYPE_CHECKING:
    from cnn_sweep.study import Study


def show(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="TRIAL", help="Number of the trial.", show_default="the best trial")
    ] = None,
    curves: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the learning curves.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    results: Results = RESULTS,
) -> None:
    """Show one trial: hyperparameters, attempts, epochs and files.

    Examples:
      cnn-sweep show digits
      cnn-sweep show digits 3
      cnn-sweep show digits 3 --curves curves.png
    """
    found = open_merged(results, study)
    with found.store:
        number = _best(found) if trial is None else trial
        detail = found.trial(number)
        ranked = None if as_json else (found.summary(), found.leaderboard_table(None))
    if curves is not None:
        _draw_curves(detail, f"{study}, trial {number}", curves)
    if ranked is None:
        print(json.dumps(detail, indent=2, default=str))
        return
    summary, board = ranked
    _print_trial(detail["trial"], summary["metric"], summary["last_epochs"] or 1)
    if source := next((row["source"] for row in detail["attempts"] if row["source"]), None):
        earlier, _, number = source.rpartition("#")
        cause = f"trial {number} of the study {earlier} (search.learn_from)" if earlier else "its `prior` in the space"
        print_words(f"  tried first because of {cause}")
    if (images := _validation_images(found, detail["trial"])) is not None:
        low, high = wilson(images * detail["trial"]["value"], images)
        what = f"95% interval {shown(low)} to {shown(high)} for {images:,} validation images (Wilson)"
        print_words(f"  {what}; seeds, and the choice of this trial and epoch, add to it")
    is_best = number == (summary["best"] or {}).get("trial")
    if is_best and (fair := corrected_best(results, study, at_once=True)) is not None:
        print_words(f"  best of {fair.tried:,}, so optimistic (selection bias): {fair.in_words}")
    own = [row for row in board.rows if row["configuration"] == detail["trial"]["configuration"]]
    if "tied" in board.columns and own and own[0]["n"] > 1:
        print_words(f"  its configuration has {mean_in_words(own[0], others=0)}, rank {own[0]['rank']}")
    _print_rows("attempts", [_attempt(row) for row in detail["attempts"]])
    _print_rows("epochs", [_epoch(row) for row in detail["epochs"] if row["counted"]])
    _print_rows("files", [_file(row) for row in detail["artifacts"]])


def _best(study: Study) -> int:
    """Return the number of the best trial.

    Raises:
        StudyError: None is complete.
    """
    best: dict[str, Any] | None = study.summary()["best"]
    if best is None:
        any_other = f"`cnn-sweep show {study.name} TRIAL` shows any that has begun"
        raise StudyError(f"study {study.name!r} has no complete trial yet; {any_other}")
    return int(best["trial"])


def _validation_images(study: Study, trial: dict[str, Any]) -> int | None:
    """Return on how many images a trial's value is an accuracy; None if it is none, or their number is not known."""
    sweep = study.sweep if trial["state"] == "complete" and trial["value"] is not None else None
    if sweep is None or sweep.objective.metric != DEFAULT_OBJECTIVE or sweep.objective.function is not None:
        return None
    report = last_report(sweep.data, sweep.folder, data_root(study.results))
    images = sum(((report or {}).get("images", {}).get("validation") or {}).values())
    with contextlib.suppress(CnnSweepError):  # of a revision that no longer has these hyperparameters
        training = sweep.resolve(trial["params"] or {}).training
        if training is not None and training.validation_steps is not None:
            images = min(images, training.validation_steps * training.batch_size)
    return images or None


def _draw_curves(detail: dict[str, Any], title: str, file: Path) -> None:
    # Imported here, because the text alone needs no drawing libraries.
    from cnn_sweep.report.figures.contact_sheets import save_picture
    from cnn_sweep.report.figures.learning_curves import learning_curves

    save_picture(learning_curves([row for row in detail["epochs"] if row["counted"]], title), file)
    print(file, file=sys.stderr)


def _print_trial(trial: dict[str, Any], metric: str, epochs: int) -> None:
    state = f"{trial['state']}: {trial['cause']}" if trial["cause"] else trial["state"]
    last = trial["best_epoch"] or 0
    first = max(last - epochs + 1, 1)
    where = f"at epoch {last}" if first == last else f"over epochs {first} to {last}, their mean"
    best = f", {metric} {shown(trial['value'])} {where}" if last else ""
    print(f"trial {trial['trial']} of {trial['study']}: {state}{best}")
    if trial["missing_epochs"]:
        missing = plural(trial["missing_epochs"], "epoch")
        print_words(f"  {missing} missing from the journal; the value is the one that the end of the trial recorded")
    if trial["message"]:
        print(f"  {trial['message']}")
    weights = plural(trial["parameters"], "weight") if trial["parameters"] else "weights not counted yet"
    fold = "" if trial["fold"] is None else f", fold {trial['fold']}"
    print_words(
        f"  {plural(trial['epochs'] or 0, 'epoch')} in {shown(trial['seconds'] or 0.0)} s, "
        f"{weights}, repeat {trial['repeat']}{fold}, seed {trial['seed']}, "
        f"{plural(trial['threads'], 'thread') if trial['threads'] else 'threads not known'}"
        f"{', by ' + trial['user'] if trial['user'] else ''}"
    )
    params = {name: NULL if value is None else value for name, value in (trial["params"] or {}).items()}
    for name, value in (params | (trial["curve"] or {}) | (trial["test_metrics"] or {})).items():
        print(f"  {name:<16} {shown(value)}")


def _file(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("kind", "path", "bytes")} | {"state": "kept" if row["kept"] else "removed"}


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in ("attempt", "state", "cause", "start_epoch", "last_epoch", "seconds")}
    return found | {"started": _local_time(row["started"]), "writer": row["writer"], "message": row["message"]}


def _epoch(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"time", "value", "counted"}}


def _local_time(seconds: float | None) -> str | None:
    """Return a time in the user's time zone."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows without the columns that are empty in all rows."""
    names = dict.fromkeys(name for row in rows for name in row if row[name] is not None)
    if rows:
        print_table(Table(tuple(names), tuple(rows)), title=title)
