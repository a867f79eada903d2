"""``status``, ``leaderboard``, ``show`` and ``export``: merge what is new, then read the store."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cnn_sweep.cli.tables import print_table
from cnn_sweep.report import exports
from cnn_sweep.report.leaderboards import leaderboard as boards
from cnn_sweep.report.leaderboards.formats import WRITERS
from cnn_sweep.report.leaderboards.fronts import only_front
from cnn_sweep.report.leaderboards.grouping import compared, grouped, without_constants
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.store.sql import query
from cnn_sweep.study import Study, known_studies, merge_first
from cnn_sweep.sweep.states import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# No terminal is a place to read more; other formats are for programs, which get all rows.
_ROWS_OF_A_TABLE = 100


def leaderboard(
    results: Path,
    names: Sequence[str],
    selection: boards.Selection,
    output: str,
    *,
    by: Sequence[str],
    per: str | None,
    diff: bool,
    pareto: bool,
) -> None:
    """Print a leaderboard of one study or of several."""
    _merge(results)
    studies = [Study.open(results, name, merge=False) for name in dict.fromkeys(names)]
    cut = output == "table" and selection.top is None
    if cut:
        selection = replace(selection, top=_ROWS_OF_A_TABLE + 1)
    # Where rank alone decides, the database need not give more than is shown.
    by_rank = len(studies) == 1 and not (by or pareto or selection.where or selection.sort)
    table = studies[0].leaderboard_table("trial" if by else per, top=selection.top if by_rank else None)
    if pareto:
        table = only_front(table)
    if len(studies) > 1:
        table = compared([(study.summary(), study.leaderboard_table()) for study in studies])
    if by:
        table = grouped(boards.matching(table, selection.where), by, direction=studies[0].summary()["direction"])
        selection = replace(selection, where=None)
    table = boards.select(table, selection)
    if diff:
        table = without_constants(table, [name for study in studies for name in study.parameter_columns])
    if cut and len(table.rows) > _ROWS_OF_A_TABLE:
        table = replace(table, rows=table.rows[:_ROWS_OF_A_TABLE])
        print(f"the first {_ROWS_OF_A_TABLE} rows; --top K shows K, --format csv all", file=sys.stderr)
    _write(table, output)


def _write(table: Table, output: str) -> None:
    if output == "table":
        print_table(table)
        _print_notes(table)
    else:
        sys.stdout.write(WRITERS[output](table))


def _print_notes(table: Table) -> None:
    for note in table.notes:
        print(note, file=sys.stderr)


def print_leaderboard(results: Path, study: str, top: int) -> None:
    """Print the best rows with the columns that tell them apart."""
    found = Study.open(results, study)
    table = found.leaderboard_table(None, top=top)
    always = table.columns[: table.columns.index("seconds") + 1]
    if "tied" in table.columns:  # of the first trial of a configuration only
        always = (
            "rank",
            "trial",
            "state",
            *table.columns[len(always) : table.columns.index("diff_high") + 1],
            "parameters",
        )
    print_table(Table((*always, *found.parameter_names), table.rows))
    _print_notes(table)


def status(results: Path, study: str | None, *, as_json: bool) -> None:
    """Print how far one study is, or all of them."""
    names = [study] if study else known_studies(results)
    reports = [open_merged(results, name).status() for name in names]
    if as_json:
        print(json.dumps(reports[0] if study else reports, indent=2))
        return
    if not reports:
        print(f"no studies in {results}")
    for report in reports:
        _print_status(report)


def _print_status(report: dict[str, Any]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{report['study']}: {counted(report['trials']) or 'no trials'} of {report['planned']}", markup=False)
    if best := report["best"]:
        console.print(f"  best trial: {best['trial']}, {report['metric']} {boards.shown(best['value'])}", markup=False)
        if found := best.get("configuration"):
            words = boards.in_words(found, others=found["tied"] - 1)
            console.print(f"  best configuration: that of trial {found['trial']}, {words}", markup=False)
    workers = report["workers"]
    console.print(f"  workers: {workers['alive']} alive, {workers['unknown']} on other hosts", markup=False)
    for job in report["jobs"]:
        console.print(f"  job {job['job']}: {counted(job['states'])}", markup=False)
        for cure in job["cures"]:
            console.print(f"    {cure}", markup=False)
    for fault in report["faults"]:
        console.print(f"  {fault}", markup=False)
    for cause, count in report["causes"].items():
        console.print(f"  failed: {count} by {cause}", markup=False)
    if (graphs := report["graphs"])["cached"]:
        attempts = sum(graphs.values())
        console.print(f"  graphs: {graphs['cached']} of {attempts} attempts found theirs compiled", markup=False)
    for limit in report["limits"]:
        used = "none" if limit["used"] is None else boards.shown(limit["used"])
        end = ", which ended the search" if limit["reached"] else ""
        console.print(f"  budget: {limit['name']} {used} of {boards.shown(limit['limit'])}{end}", markup=False)
    if report["bad_lines"]:
        console.print(f"  {report['bad_lines']} damaged journal lines (`cnn-sweep store check`)", markup=False)


def show(results: Path, study: str, trial: int, *, as_json: bool) -> None:
    """Print everything about one trial."""
    found = open_merged(results, study)
    detail = found.trial(trial)
    if as_json:
        print(json.dumps(detail, indent=2, default=str))
        return
    _print_trial(detail["trial"], found.summary()["metric"])
    board = found.leaderboard_table(None)
    own = [row for row in board.rows if row["configuration"] == detail["trial"]["configuration"]]
    if "tied" in board.columns and own and own[0]["n"] > 1:
        print(f"  its configuration has {boards.in_words(own[0], others=0)}, rank {own[0]['rank']}")
    _print_rows("attempts", [_attempt(row) for row in detail["attempts"]])
    _print_rows("epochs", [_epoch(row) for row in detail["epochs"] if row["counted"]])
    _print_rows("files", [{name: row[name] for name in ("kind", "path", "bytes")} for row in detail["artifacts"]])


def draw_curves(results: Path, study: str, trial: int, file: Path) -> None:
    """Draw the learning curves of a trial."""
    from cnn_sweep.report.drawing.curves import learning_curves
    from cnn_sweep.report.drawing.pictures import save_picture

    detail = open_merged(results, study).trial(trial)
    epochs = [row for row in detail["epochs"] if row["counted"]]
    save_picture(learning_curves(epochs, f"{study}, trial {trial}"), file)
    print(file, file=sys.stderr)


def _print_trial(trial: dict[str, Any], metric: str) -> None:
    state = f"{trial['state']}: {trial['cause']}" if trial["cause"] else trial["state"]
    best = f", {metric} {boards.shown(trial['value'])} at epoch {trial['best_epoch']}" if trial["best_epoch"] else ""
    print(f"trial {trial['trial']} of {trial['study']}: {state}{best}")
    if trial["message"]:
        print(f"  {trial['message']}")
    print(
        f"  {trial['epochs'] or 0} epochs in {boards.shown(trial['seconds'])} s, {trial['parameters'] or '?'} weights, "
        f"repeat {trial['repeat']}, seed {trial['seed']}"
    )
    for name, value in ((trial["params"] or {}) | (trial["curve"] or {}) | (trial["test_metrics"] or {})).items():
        print(f"  {name:<16} {boards.shown(value)}")


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: row[name] for name in ("attempt", "state", "cause", "start_epoch", "last_epoch", "seconds")}
    return shown | {"started": _moment(row["started"]), "writer": row["writer"], "message": row["message"]}


def _epoch(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"time", "value", "counted"}}


def _moment(seconds: float | None) -> str | None:
    """Give a time as the user's clock shows it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows without the columns that are empty in all of them."""
    names = dict.fromkeys(name for row in rows for name in row if row[name] is not None)
    if rows:
        print_table(Table(tuple(names), tuple(rows)), title=title)


def export(results: Path, study: str, to: str, destination: str) -> None:
    """Write a study for other programs."""
    open_merged(results, study)
    for written in exports.export(to, results, study, destination):
        print(written)


def sql(results: Path, statement: str, output: str) -> None:
    """Print the answer to a question of the user's own."""
    _merge(results)
    columns, rows = query(results, statement)
    values = [[value.hex() if isinstance(value, bytes) else value for value in row] for row in rows]
    table = Table(columns, tuple(dict(zip(columns, row, strict=True)) for row in values))
    _write(table, output)


def logs(results: Path, study: str, trial: int | None, lines: int) -> None:
    """Print the ends of log files, the newest last."""
    found = open_merged(results, study)
    files = found.log_files() if trial is None else found.log_files_of(trial)
    if not files:
        print(f"cnn-sweep: there are no logs of {study if trial is None else f'trial {trial}'}", file=sys.stderr)
    for file in files:
        print(f"==> {file} <==")
        for line in file.read_text(errors="replace").splitlines()[-lines:]:
            print(line)


def open_merged(results: Path, study: str) -> Study:
    """Open a study with what its journals say by now."""
    _merge(results)
    return Study.open(results, study, merge=False)


def _merge(results: Path) -> None:
    """Bring the store up to date; if that cannot be done it is said."""
    if skipped := merge_first(results):
        print(f"cnn-sweep: shown as of the last merge: {skipped}", file=sys.stderr)
