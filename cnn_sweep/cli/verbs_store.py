"""Verbs about the database: ``store merge``, ``store rebuild``, ``store check``."""

from __future__ import annotations

import typer

from cnn_sweep.cli.options import RESULTS, Results

app = typer.Typer(help="The database that leaderboards are read from.", no_args_is_help=True)


@app.command("merge")
def store_merge(results: Results = RESULTS) -> None:
    """Take the journals' new lines into the store."""
    from cnn_sweep.cli import storing

    storing.merge(results)


@app.command("rebuild")
def store_rebuild(results: Results = RESULTS) -> None:
    """Make the store anew from the journals alone."""
    from cnn_sweep.cli import storing

    storing.rebuild(results)


@app.command("check")
def store_check(results: Results = RESULTS) -> None:
    """Look for damage in the store and in the journals."""
    from cnn_sweep.cli import storing

    raise typer.Exit(storing.check(results))
