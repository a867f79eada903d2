"""Verbs that show what there is: ``status``, ``leaderboard``, ``show``, ``logs``, ``export``, ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.options import RESULTS, AsJson, ExportFormat, Per, Results, StudyName, StudyNames, TableFormat


def status(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="One study, or all.", show_default=False)
    ] = None,
    json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until it is finished.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between looks of --watch.")] = 5.0,
    results: Results = RESULTS,
) -> None:
    """Show how far a study is."""
    if watch:
        if json:
            raise typer.BadParameter("--watch is for people; --json answers once")
        from cnn_sweep.cli import watching

        watching.watch(results, study, interval)
        return
    from cnn_sweep.cli import reading

    reading.status(results, study, as_json=json)


def leaderboard(
    studies: StudyNames,
    top: Annotated[int | None, typer.Option(min=1, help="Show the best K rows.", show_default=False)] = None,
    sort: Annotated[
        str | None, typer.Option(help="Column to sort by; -COLUMN for descending.", show_default=False)
    ] = None,
    where: Annotated[
        str | None, typer.Option(help='Condition on columns, as in "val_accuracy > 0.9".', show_default=False)
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to show, as in trial,val_*.", show_default=False)] = None,
    all_columns: Annotated[
        bool, typer.Option("--all", help="Show all columns, also those that do not fit on the terminal.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(help="Sum up trials with equal values, as in A,B.", show_default=False)
    ] = None,
    per: Annotated[
        Per | None,
        typer.Option(
            help="One row a trial or a configuration.  [default: configuration, with repeats]", show_default=False
        ),
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Only trials that no other one beats in all objectives.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Leave out hyperparameters that are the same in all rows.")
    ] = False,
    output: Annotated[TableFormat, typer.Option("--format", help="How to write it.")] = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """Rank the trials of a study, or of several, by their objective on validation data."""
    from cnn_sweep.cli import reading
    from cnn_sweep.report.leaderboards.leaderboard import Selection

    selection = Selection(where=where, sort=sort, top=top, columns=_names(columns))
    how = reading.Shown(by=_names(by), per=per, diff=diff, pareto=pareto, whole=all_columns)
    reading.leaderboard(results, studies, selection, how, output.value)


def _names(text: str | None) -> tuple[str, ...]:
    """Read A,B as two names."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def show(
    study: StudyName,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.", show_default=False)],
    curves: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the learning curves.", show_default=False)
    ] = None,
    json: AsJson = False,
    results: Results = RESULTS,
) -> None:
    """Show one trial: parameters, attempts, learning curve, files."""
    from cnn_sweep.cli import reading

    if curves is not None:
        reading.draw_curves(results, study, trial, curves)
    reading.show(results, study, trial, as_json=json)


def logs(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Of the workers of this trial.", show_default=False)
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Last lines of each file.")] = 20,
    results: Results = RESULTS,
) -> None:
    """Show what workers and jobs wrote to standard error."""
    from cnn_sweep.cli import reading

    reading.logs(results, study, trial, lines)


def export(
    study: StudyName,
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="Folder to write to; for mlflow also a server, for optuna a storage such as sqlite:///study.db.",
            show_default=False,
        ),
    ],
    to: Annotated[ExportFormat, typer.Option("--to", help="What to export to.")],
    results: Results = RESULTS,
) -> None:
    """Write a study's trials and epochs for other programs."""
    from cnn_sweep.cli import reading

    reading.export(results, study, to.value, destination)


def sql(
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="One statement of SQL.", show_default=False)],
    output: Annotated[TableFormat, typer.Option("--format", help="How to write it.")] = TableFormat.table,
    results: Results = RESULTS,
) -> None:
    """Ask the store a question of your own; it cannot be changed."""
    from cnn_sweep.cli import reading

    reading.sql(results, statement, output.value)


def doctor(
    json: AsJson = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Studies shall run on Slurm: fail if it does not work.")
    ] = False,
    results: Results = RESULTS,
) -> None:
    """Look at this machine, Slurm, the results folder and GPUs: what will work, and what to do about the rest."""
    from cnn_sweep.cli import diagnosing

    raise typer.Exit(diagnosing.doctor(results, as_json=json, slurm=slurm))
