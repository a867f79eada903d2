"""Verbs that make things happen: ``run``, ``plan``, ``threads``, ``submit``, ``resume``, ``repeat``, ``cancel``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.options import (
    RESULTS,
    AsJson,
    Extend,
    Notify,
    ProfileFile,
    Results,
    StudyName,
    SweepFile,
    Threads,
    Workers,
)
from cnn_sweep.errors import InputError


def run(
    sweep: SweepFile,
    workers: Workers = None,
    threads: Threads = None,
    extend: Extend = False,
    notify: Notify = [],  # noqa: B006 - typer copies it
    results: Results = RESULTS,
) -> None:
    """Run a sweep on this machine: start it, or continue what is unfinished."""
    from cnn_sweep.cli import running

    raise typer.Exit(running.run(sweep, results, running.How(workers, threads, notify), extend=extend))


def plan(
    sweep: SweepFile,
    json: AsJson = False,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", "-p", help="Also show what `submit` would ask the cluster for.", show_default=False),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Show what would run: trials, duplicates, networks that cannot be built. Nothing is written."""
    from cnn_sweep.cli import planning

    if profile is None:
        planning.plan(sweep, as_json=json)
        return
    from cnn_sweep.cli import submitting

    if json:
        planning.plan(sweep, as_json=True, more={"submission": submitting.plan(sweep, results, profile)})
        return
    planning.plan(sweep, as_json=False)
    if (found := submitting.plan(sweep, results, profile)) is not None:
        submitting.print_plan(found)


def threads(
    sweep: SweepFile,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to train for each row.")] = 5.0,
    json: AsJson = False,
    results: Results = RESULTS,
) -> None:
    """Measure how this machine's cores are best divided: many workers of one thread, or few of many."""
    from cnn_sweep.cli import timing

    timing.threads(sweep, results, seconds, as_json=json)


def submit(
    sweep: SweepFile,
    profile: ProfileFile,
    extend: Extend = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch scripts and submit nothing.")] = False,
    results: Results = RESULTS,
) -> None:
    """Run a sweep on a Slurm cluster: submit an array job and return at once."""
    from cnn_sweep.cli import submitting

    submitting.submit(sweep, results, profile, extend=extend, dry_run=dry_run)


def resume(
    study: StudyName,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", "-p", help="Continue on the cluster with this profile.", show_default=False),
    ] = None,
    workers: Workers = None,
    threads: Threads = None,
    trials: Annotated[int | None, typer.Option(min=1, help="As many trials in all.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="As many epochs in all.", show_default=False)] = None,
    hours: Annotated[float | None, typer.Option(help="As many hours in all.", show_default=False)] = None,
    gpu_hours: Annotated[float | None, typer.Option(help="As many hours of GPUs in all.", show_default=False)] = None,
    notify: Notify = [],  # noqa: B006 - typer copies it
    results: Results = RESULTS,
) -> None:
    """Continue what is unfinished, each trial where it stopped, or with a larger budget; may join a running study."""
    limits = {"trials": trials, "epochs": epochs, "hours": hours, "gpu_hours": gpu_hours}
    more = {name: value for name, value in limits.items() if value is not None}
    if profile is not None:
        if workers or threads or notify:
            raise InputError("--workers, --threads and --notify are for this machine; a profile has keys for them")
        from cnn_sweep.cli import submitting

        submitting.resume(study, results, profile, more)
        return
    from cnn_sweep.cli import running

    raise typer.Exit(running.resume(study, results, running.How(workers, threads, notify), more=more))


def repeat(
    study: StudyName,
    top: Annotated[int, typer.Option(min=1, help="Of the best K configurations.")] = 10,
    repeats: Annotated[int, typer.Option(min=2, help="How many each of them shall have in all.")] = 5,
    results: Results = RESULTS,
) -> None:
    """Add repeats with other seeds of a study's best configurations; `resume` runs them."""
    from cnn_sweep.cli import repeating

    repeating.repeat(results, study, top=top, repeats=repeats)


def cancel(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Give up this trial only.", show_default=False)
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Stop a study: running trials write a checkpoint, and `resume` continues. Or give up one trial for good."""
    from cnn_sweep.cli import cancelling

    cancelling.cancel(results, study, trial)
