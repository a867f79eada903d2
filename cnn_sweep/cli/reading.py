"""``status``, ``leaderboard``, ``show`` and ``export``: merge what is new, then read the store."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cnn_sweep.cli.ui.tables import fitting, print_table
from cnn_sweep.cli.ui.terminal import print_words, terminal_width
from cnn_sweep.errors import InputError
from cnn_sweep.messages import plural
from cnn_sweep.report import exports
from cnn_sweep.report.leaderboards import leaderboard as boards
from cnn_sweep.report.leaderboards.formats import WRITERS
from cnn_sweep.report.leaderboards.grouping import compared, grouped, without_constants
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.pareto import only_front
from cnn_sweep.store.reader import query
from cnn_sweep.study import Study, known_studies, merge_first
from cnn_sweep.sweep.identity import NULL
from cnn_sweep.sweep.states import counted, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# No terminal is a place to read more; other formats are for programs, which get all rows.
_ROWS_OF_A_TABLE = 100


@dataclass(frozen=True)
class Shown:
    """What the rows of a leaderboard stand for, and which of them and of its columns are shown.

    Attributes:
        by: A row for each group of trials with the same values of these columns.
        per: A row for each trial or configuration; None for configurations if any has repeats, else trials.
        diff: Leave out hyperparameters that are the same in all rows.
        pareto: Only trials that no other one beats in all objectives.
        whole: All columns, also on a terminal.
    """

    by: Sequence[str] = ()
    per: str | None = None
    diff: bool = False
    pareto: bool = False
    whole: bool = False


def leaderboard(results: Path, names: Sequence[str], selection: boards.Selection, how: Shown, output: str) -> None:
    """Print a leaderboard of one study or of several."""
    _merge(results)
    studies = Study.open_several(results, dict.fromkeys(names))
    cut = output == "table" and selection.top is None
    if cut:
        selection = replace(selection, top=_ROWS_OF_A_TABLE + 1)
    with studies[0].store:
        # The condition of groups was on their trials.
        table = boards.select(_board(studies, selection, how), replace(selection, where=None) if how.by else selection)
        parameters = list(dict.fromkeys(name for study in studies for name in study.parameter_columns))
        reasons = [reason for study in studies if (reason := _why_unranked(study)) is not None]
    if how.diff:
        table = without_constants(table, parameters)
    if cut and len(table.rows) > _ROWS_OF_A_TABLE:
        table = replace(table, rows=table.rows[:_ROWS_OF_A_TABLE])
        print(f"the first {_ROWS_OF_A_TABLE} rows; --top K shows K, --format csv all", file=sys.stderr)
    if output != "table" or how.whole or how.by or selection.columns or terminal_width() is None:
        _write(table, output)
    else:
        _print_overview(table, parameters)
    if selection.where is not None and not table.rows:
        print(f"cnn-sweep: no row meets {selection.where!r}", file=sys.stderr)
    for reason in reasons:
        print(f"cnn-sweep: {reason}", file=sys.stderr)


def _board(studies: Sequence[Study], selection: boards.Selection, how: Shown) -> Table:
    """Return the rows from which some are selected.

    Raises:
        InputError: Several studies are to be shown in a way in which only one can be.
    """
    if len(studies) > 1:
        for option, wanted in (("--pareto", how.pareto), ("--per configuration", how.per == "configuration")):
            if wanted:
                raise InputError(f"{option} is for one study; several are ranked together by their trials")
        table = compared([(study.summary(), study.leaderboard_table()) for study in studies])
    else:
        # Where rank alone decides, the database need not give more than is shown.
        by_rank = not (how.by or how.pareto or selection.where or selection.sort)
        table = studies[0].leaderboard_table("trial" if how.by else how.per, top=selection.top if by_rank else None)
        table = only_front(table) if how.pareto else table
    if how.by:
        table = boards.matching(table, selection.where)
        return grouped(table, how.by, direction=studies[0].summary()["direction"])
    return table


def _why_unranked(study: Study) -> str | None:
    """Say why a study has no complete trial; None if it has one."""
    summary = study.summary()
    trials = summary["trials"]
    if trials["complete"]:
        return None
    name, begun = study.name, sum(count for state, count in trials.items() if state != "waiting")
    if not begun:
        reason = f"no trial has begun; `cnn-sweep resume {name}` runs {'it' if summary['planned'] == 1 else 'them'}"
    elif trials["failed"] == begun:
        causes = ", ".join(f"{count} by {cause}" for cause, count in summary["causes"].items())
        which = "the only trial that began" if begun == 1 else f"all {begun} trials that began"
        reason = f"{which} failed ({causes}); `cnn-sweep logs {name}` and `cnn-sweep show {name} TRIAL` say why"
    else:
        reason = f"no trial is complete yet: {counted(trials)}"
    return f"{name}: {reason}"


def _print_overview(table: Table, parameters: Sequence[str]) -> None:
    """Print what most people look for in a leaderboard, as far as it fits, and name what was left out."""
    board = boards.overview(table, parameters)
    board = replace(board, columns=fitting(board))
    if not board.rows:
        return
    print_table(board)
    _print_notes(table)
    same = [name for name in parameters if name not in boards.differing(table, parameters)]
    left = [name for name in table.columns if name not in board.columns and name not in same]
    console = Console(stderr=True, highlight=False)
    if same:
        values = ", ".join(f"{name} {boards.shown(table.rows[0].get(name)) or 'none'}" for name in same)
        console.print(f"the same in all rows: {values}", markup=False)
    if left:
        ways = "--all shows all columns, --columns A,B some, --format csv all at full precision"
        console.print(f"not shown: {', '.join(left)} ({ways})", markup=False)


def _write(table: Table, output: str) -> None:
    if output == "table":
        print_table(table)
        _print_notes(table)
    else:
        sys.stdout.write(WRITERS[output](table))


def _print_notes(table: Table) -> None:
    for note in table.notes:
        print_words(note, stderr=True)


def print_leaderboard(results: Path, study: str, top: int) -> None:
    """Print the best rows with the columns that tell them apart."""
    found = Study.open(results, study)
    with found.store:
        table, parameters = found.leaderboard_table(None, top=top), found.parameter_columns
    if terminal_width() is not None:
        _print_overview(table, parameters)
        return
    always = table.columns[: table.columns.index("seconds") + 1]
    if "mean" in table.verdict:  # the value is that of the first trial of a configuration only
        always = ("rank", "trial", "state", *table.verdict, "parameters")
    print_table(Table((*always, *parameters), table.rows))
    _print_notes(table)


def status(results: Path, study: str | None, *, as_json: bool) -> None:
    """Print how far one study is, or all of them."""
    names = [study] if study else known_studies(results)
    reports = [open_merged(results, name).status() for name in names]
    if as_json:
        print(json.dumps(reports[0] if study else reports, indent=2))
        return
    if not reports:
        print(f"no studies in {results}; `cnn-sweep run SWEEP.yaml` begins one, `--results DIR` looks elsewhere")
    for report in reports:
        _print_status(report)


def _print_status(report: dict[str, Any]) -> None:
    console = Console(soft_wrap=terminal_width() is None, highlight=False)
    console.print(f"{report['study']}: {counted(report['trials']) or 'no trials'} of {report['planned']}", markup=False)
    if best := report["best"]:
        console.print(f"  best trial: {best['trial']}, {report['metric']} {boards.shown(best['value'])}", markup=False)
        if found := best.get("configuration"):
            words = boards.mean_in_words(found, others=found["others_tied"])
            console.print(f"  best configuration: that of trial {found['trial']}, {words}", markup=False)
    workers = report["workers"]
    console.print(f"  workers: {workers['alive']} alive, {workers['unknown']} on other hosts", markup=False)
    if report["cancelled"] and not workers["alive"] and unfinished(report["trials"]):
        console.print(f"  cancelled; `cnn-sweep resume {report['study']}` continues", markup=False)
    for job in report["jobs"]:
        console.print(f"  job {job['job']}: {counted(job['states'])}", markup=False)
        for cure in job["cures"]:
            console.print(f"    {cure}", markup=False)
    for fault in report["faults"]:
        console.print(f"  {fault}", markup=False)
    if report["note"]:
        console.print(f"  note: {report['note']}", markup=False)
    for cause, count in report["causes"].items():
        console.print(f"  failed: {count} by {cause}", markup=False)
    if (graphs := report["graphs"])["cached"]:
        attempts = sum(graphs.values())
        console.print(
            f"  graphs: {graphs['cached']} of {plural(attempts, 'attempt')} reused a compiled network", markup=False
        )
    for limit in limits_in_words(report):
        console.print(f"  budget: {limit}", markup=False)
    if bad := report["bad_lines"]:
        console.print(f"  {plural(bad, 'damaged journal line')} (`cnn-sweep store check`)", markup=False)


def limits_in_words(report: dict[str, Any]) -> Iterator[str]:
    """Say how far each limit of a search is used up."""
    for limit in report["limits"]:
        used = "none" if limit["used"] is None else boards.shown(limit["used"])
        end = ", which ended the search" if limit["reached"] else ""
        yield f"{limit['name']} {used} of {boards.shown(limit['limit'])}{end}"


def show(results: Path, study: str, trial: int, *, as_json: bool) -> None:
    """Print everything about one trial."""
    found = open_merged(results, study)
    if as_json:
        print(json.dumps(found.trial(trial), indent=2, default=str))
        return
    with found.store:
        detail, metric, board = found.trial(trial), found.summary()["metric"], found.leaderboard_table(None)
    _print_trial(detail["trial"], metric)
    own = [row for row in board.rows if row["configuration"] == detail["trial"]["configuration"]]
    if "tied" in board.columns and own and own[0]["n"] > 1:
        print_words(f"  its configuration has {boards.mean_in_words(own[0], others=0)}, rank {own[0]['rank']}")
    _print_rows("attempts", [_attempt(row) for row in detail["attempts"]])
    _print_rows("epochs", [_epoch(row) for row in detail["epochs"] if row["counted"]])
    _print_rows("files", [_file(row) for row in detail["artifacts"]])


def draw_curves(results: Path, study: str, trial: int, file: Path) -> None:
    """Draw the learning curves of a trial."""
    from cnn_sweep.report.figures.contact_sheets import save_picture
    from cnn_sweep.report.figures.learning_curves import learning_curves

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
    print_words(
        f"  {plural(trial['epochs'] or 0, 'epoch')} in {boards.shown(trial['seconds'] or 0.0)} s, "
        f"{trial['parameters'] or '?'} weights, repeat {trial['repeat']}, seed {trial['seed']}, "
        f"{plural(trial['threads'], 'thread') if trial['threads'] else 'threads not known'}"
    )
    params = {name: NULL if value is None else value for name, value in (trial["params"] or {}).items()}
    for name, value in (params | (trial["curve"] or {}) | (trial["test_metrics"] or {})).items():
        print(f"  {name:<16} {boards.shown(value)}")


def _file(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("kind", "path", "bytes")} | {"state": "kept" if row["kept"] else "removed"}


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
    for written in exports.export(to, open_merged(results, study).store, study, destination):
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
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]:
            print(line)


def open_merged(results: Path, study: str) -> Study:
    """Open a study with what its journals say by now."""
    _merge(results)
    return Study.open(results, study, merge=False)


def _merge(results: Path) -> None:
    """Bring the store up to date; if that cannot be done it is said."""
    if skipped := merge_first(results):
        print(f"cnn-sweep: shown as of the last merge: {skipped}", file=sys.stderr)
