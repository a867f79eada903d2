"""``status``: shows the progress of one study or of all studies."""

from __future__ import annotations

import json
from itertools import chain
from typing import Annotated, Any

import typer

from cnn_sweep.cli.ui.options import RESULTS, AsJson, Results
from cnn_sweep.cli.ui.studies import followed_in_words, no_studies, open_merged
from cnn_sweep.cli.ui.terminal import Console, terminal_width
from cnn_sweep.cli.ui.watch import follow
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import mean_in_words, shown
from cnn_sweep.report.live import (
    ended_jobs_in_words,
    epochs_in_words,
    first_rung_in_words,
    jobs_in_words,
    limits_in_words,
    lost_in_words,
    unsaved_in_words,
)
from cnn_sweep.store.column_names import VIOLATION
from cnn_sweep.study import known_studies
from cnn_sweep.sweep.states import counted

_RUNNING_SHOWN = 8  # running trials in a listing


def status(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="One study.", show_default="all studies")] = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow one study until it is finished.")] = False,
    interval: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.2, help="Seconds between updates of --watch; Slurm: once a minute."),
    ] = 5.0,
    results: Results = RESULTS,
) -> None:
    """Show the progress of one study or of all studies: trials by state, workers, jobs, faults, budget.

    `cnn-sweep list` has a line for each study.

    Examples:
      cnn-sweep status
      cnn-sweep status digits --watch
    """
    if watch:
        if as_json:
            raise typer.BadParameter("--watch cannot be combined with --json")
        follow(results, study, interval)
        return
    names = [study] if study else known_studies(results)
    reports = [open_merged(results, name).status() for name in names]
    if as_json:
        print(json.dumps(reports[0] if study else reports, indent=2))
        return
    if not reports:
        print(no_studies(results))
    for report in reports:
        _print_status(report)


def _print_running(report: dict[str, Any], console: Console) -> None:
    """Print who trained the study, if several did, and the running trials."""
    if len(users := report["users"]) > 1:
        trained = ", ".join(f"{plural(count, 'trial')} by {user}" for user, count in users.items())
        console.print(f"  users: {trained}", markup=False)
    running = report["running"]
    for one in running[:_RUNNING_SHOWN]:
        epochs = epochs_in_words({one["trial"]: one["epoch"]}, one["epochs"])
        value = "" if one["value"] is None else f", {report['metric']} {shown(one['value'])}"
        console.print(f"  {epochs}{value}", markup=False)
    if len(running) > _RUNNING_SHOWN:
        more = plural(len(running) - _RUNNING_SHOWN, "more running trial")
        console.print(f"  and {more} (`cnn-sweep status {report['study']} --watch` shows all)", markup=False)
    for words in chain(unsaved_in_words(running), lost_in_words(report)):
        console.print(f"  {words}", markup=False)


def _print_status(report: dict[str, Any]) -> None:
    console = Console(soft_wrap=terminal_width() is None, highlight=False)
    console.print(f"{report['study']}: {counted(report['trials']) or 'no trials'} of {report['planned']}", markup=False)
    if best := report["best"]:
        infeasible = "; no complete trial satisfies the constraints" if best.get(VIOLATION) else ""
        words = f"{best['trial']}, {report['metric']} {shown(best['value'])}{infeasible}"
        console.print(f"  best trial: {words}", markup=False)
        if found := best.get("configuration"):
            words = mean_in_words(found, others=found["others_tied"])
            console.print(f"  best configuration: that of trial {found['trial']}, {words}", markup=False)
    workers = report["workers"]
    console.print(f"  workers: {workers['alive']} alive, {workers['unknown']} on other hosts", markup=False)
    _print_running(report, console)
    for dead in report["dead"]:
        console.print(f"  trial {dead['trial']} was interrupted: {dead['why']}", markup=False)
    for line in chain(report["held"], jobs_in_words(report["jobs"]), ended_jobs_in_words(report)):
        console.print(f"  {line}", markup=False)
    for fault in report["faults"]:
        console.print(f"  {fault}", markup=False)
    if report["idle"]:
        console.print(f"  {report['idle']}", markup=False)
    if report["note"]:
        console.print(f"  note: {report['note']}", markup=False)
    for cause, count in report["causes"].items():
        console.print(f"  failed: {count} by {cause}", markup=False)
    if (graphs := report["graphs"])["cached"]:
        attempts = sum(graphs.values())
        console.print(
            f"  graphs: {graphs['cached']} of {plural(attempts, 'attempt')} reused a compiled network", markup=False
        )
    limits = (f"budget: {limit}" for limit in limits_in_words(report))
    for words in (*limits, *first_rung_in_words(report), *followed_in_words(report["study"], report["when_finished"])):
        console.print(f"  {words}", markup=False)
    _print_damage(report, console)


def _print_damage(report: dict[str, Any], console: Console) -> None:
    if incomplete := report["incomplete"]:
        console.print(f"  {plural(incomplete, 'trial')}: epochs are missing from the journal", markup=False)
    if bad := report["bad_lines"]:
        console.print(f"  {plural(bad, 'damaged journal line')} (`cnn-sweep store check`)", markup=False)
    if unknown := report["unknown_lines"]:
        words = plural(unknown, "journal line")
        console.print(f"  {words} not of this version, or edited (`cnn-sweep store check`)", markup=False)
