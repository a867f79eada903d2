"""``store merge``, ``store rebuild`` and ``store check``: maintain the database of results."""

from __future__ import annotations

import typer

from cnn_sweep.cli.ui.help import register
from cnn_sweep.cli.ui.options import RESULTS, Results
from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.messages import plural
from cnn_sweep.store import merge as stores
from cnn_sweep.store.check import check as check_store

app = typer.Typer(help="Merge, rebuild or check the database of results.", no_args_is_help=True)

_PATIENCE_S = 30.0  # how long a typed command waits for another merge


def merge(results: Results = RESULTS) -> None:
    """Merge new journal lines into the store; other commands do this by themselves.

    Examples:
      cnn-sweep store merge
    """
    _print_report(stores.merge(results, wait_s=_PATIENCE_S))


def rebuild(results: Results = RESULTS) -> None:
    """Rebuild the store from the journals.

    Examples:
      cnn-sweep store rebuild
    """
    _print_report(stores.rebuild(results))


def check(results: Results = RESULTS) -> None:
    """Check the store and the journals for damage.

    Examples:
      cnn-sweep store check
    """
    report = check_store(results)
    for finding in report.findings:
        print(finding)
    print("the store and the journals are sound" if report.sound else plural(len(report.findings), "finding"))
    if not report.is_store_sound:
        print("`cnn-sweep store rebuild` makes the store again from the journals")
    if not report.sound:
        raise typer.Exit(EnvironmentFault.exit_code)


def _print_report(report: stores.MergeReport) -> None:
    if report.skipped:
        raise EnvironmentFault(f"store not merged: {report.skipped}")
    print(f"{plural(report.events, 'event')} in {report.seconds:.2f} s")
    if report.bad_lines:
        print(f"skipped {plural(report.bad_lines, 'damaged journal line')} (`cnn-sweep store check` names all)")


for command in (merge, rebuild, check):
    register(app, command)
