"""The commands and their options; each verb's work is imported when it is typed, so that help answers at once."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.errors import CnnSweepError, Interrupted

app = typer.Typer(
    name="cnn-sweep",
    help="Hyperparameter sweeps of convolutional networks: on this machine or as Slurm array jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
store_app = typer.Typer(help="The database that leaderboards are read from.", no_args_is_help=True)
app.add_typer(store_app, name="store")


class TableFormat(StrEnum):
    """How to write a table."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"


class ExportFormat(StrEnum):
    """What to export to."""

    csv = "csv"


Results = Annotated[
    Path, typer.Option("--results", envvar="CNN_SWEEP_RESULTS", help="Root of all studies and of the store.")
]
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.", show_default=False)]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-n", min=1, help="Worker processes.  [default: one a core]", show_default=False),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads of each worker.  [default: cores / workers]", show_default=False),
]
ProfileFile = Annotated[
    Path, typer.Option("--profile", "-p", help="The cluster's settings, such as slurm/cpu.toml.", show_default=False)
]
Extend = Annotated[
    bool, typer.Option("--extend", help="Add the choices or trials that are new in the file to the study.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
_RESULTS = Path("results")


@app.command()
def run(
    sweep: SweepFile,
    workers: Workers = None,
    threads: Threads = None,
    extend: Extend = False,
    results: Results = _RESULTS,
) -> None:
    """Run a sweep on this machine: start it, or continue what is unfinished."""
    from cnn_sweep.cli import running

    raise typer.Exit(running.run(sweep, results, workers=workers, threads=threads, extend=extend))


@app.command()
def submit(
    sweep: SweepFile,
    profile: ProfileFile,
    extend: Extend = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch scripts and submit nothing.")] = False,
    results: Results = _RESULTS,
) -> None:
    """Run a sweep on a Slurm cluster: submit an array job and return at once."""
    from cnn_sweep.cli import submitting

    submitting.submit(sweep, results, profile, extend=extend, dry_run=dry_run)


@app.command()
def resume(
    study: StudyName,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", "-p", help="Continue on the cluster with this profile.", show_default=False),
    ] = None,
    workers: Workers = None,
    threads: Threads = None,
    results: Results = _RESULTS,
) -> None:
    """Continue what is unfinished, each trial where it stopped; may join a study that is running."""
    if profile is not None:
        from cnn_sweep.cli import submitting

        submitting.resume(study, results, profile)
        return
    from cnn_sweep.cli import running

    raise typer.Exit(running.resume(study, results, workers=workers, threads=threads))


@app.command()
def plan(
    sweep: SweepFile,
    json: AsJson = False,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", "-p", help="Also show what `submit` would ask the cluster for.", show_default=False),
    ] = None,
    results: Results = _RESULTS,
) -> None:
    """Show what would run: trials, duplicates, networks that cannot be built. Nothing is written."""
    from cnn_sweep.cli import planning

    planning.plan(sweep, as_json=json)
    if profile is not None and not json:
        from cnn_sweep.cli import submitting

        submitting.plan(sweep, results, profile)


@app.command()
def status(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="One study, or all.", show_default=False)
    ] = None,
    json: AsJson = False,
    results: Results = _RESULTS,
) -> None:
    """Show how far a study is."""
    from cnn_sweep.cli import reading

    reading.status(results, study, as_json=json)


@app.command()
def leaderboard(
    study: StudyName,
    top: Annotated[int | None, typer.Option(min=1, help="Show the best K rows.", show_default=False)] = None,
    sort: Annotated[
        str | None, typer.Option(help="Column to sort by; -COLUMN for descending.", show_default=False)
    ] = None,
    where: Annotated[
        str | None, typer.Option(help='Condition on columns, as in "val_accuracy > 0.9".', show_default=False)
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to show, as in A,B.", show_default=False)] = None,
    output: Annotated[TableFormat, typer.Option("--format", help="How to write it.")] = TableFormat.table,
    results: Results = _RESULTS,
) -> None:
    """Rank the trials of a study by its objective on validation data."""
    from cnn_sweep.cli import reading
    from cnn_sweep.report.leaderboard import Selection

    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    reading.leaderboard(results, study, Selection(where=where, sort=sort, top=top, columns=names), output.value)


@app.command()
def show(
    study: StudyName,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.", show_default=False)],
    json: AsJson = False,
    results: Results = _RESULTS,
) -> None:
    """Show one trial: parameters, attempts, learning curve, files."""
    from cnn_sweep.cli import reading

    reading.show(results, study, trial, as_json=json)


@app.command()
def finalize(
    study: StudyName,
    top: Annotated[int, typer.Option(min=1, help="Evaluate the best K trials.")] = 1,
    results: Results = _RESULTS,
) -> None:
    """Open the sealed test set and evaluate the best trials on it, once the search is over."""
    from cnn_sweep.cli import finalizing

    raise typer.Exit(finalizing.finalize(results, study, top))


@app.command()
def export(
    study: StudyName,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Folder to write to.", show_default=False)],
    to: Annotated[ExportFormat, typer.Option("--to", help="What to export to.")],
    results: Results = _RESULTS,
) -> None:
    """Write a study's trials and epochs for other programs."""
    from cnn_sweep.cli import reading

    reading.export(results, study, to.value, destination)


@app.command()
def cancel(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Give up this trial only.", show_default=False)
    ] = None,
    results: Results = _RESULTS,
) -> None:
    """Stop a study: running trials write a checkpoint, and `resume` continues. Or give up one trial for good."""
    from cnn_sweep.cli import cancelling

    cancelling.cancel(results, study, trial)


@app.command()
def logs(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Of the workers of this trial.", show_default=False)
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Last lines of each file.")] = 20,
    results: Results = _RESULTS,
) -> None:
    """Show what workers and jobs wrote to standard error."""
    from cnn_sweep.cli import reading

    reading.logs(results, study, trial, lines)


@store_app.command("merge")
def store_merge(results: Results = _RESULTS) -> None:
    """Take the journals' new lines into the store."""
    from cnn_sweep.cli import storing

    storing.merge(results)


@store_app.command("rebuild")
def store_rebuild(results: Results = _RESULTS) -> None:
    """Make the store anew from the journals alone."""
    from cnn_sweep.cli import storing

    storing.rebuild(results)


@store_app.command("check")
def store_check(results: Results = _RESULTS) -> None:
    """Look for damage in the store and in the journals."""
    from cnn_sweep.cli import storing

    raise typer.Exit(storing.check(results))


def main() -> None:
    """Run a command; an error of the tree becomes one message and its exit code."""
    try:
        app()
    except CnnSweepError as error:
        print(f"cnn-sweep: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:  # the reader of our output, `head` perhaps, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
