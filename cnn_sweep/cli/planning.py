"""``plan``: what a sweep file would run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cnn_sweep.cli.tables import print_table
from cnn_sweep.execution.study.study_folder import plan_sweeps
from cnn_sweep.execution.study.user_code import check_user_code
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cnn_sweep.search.plan import Plan, PlannedConfiguration

_ROWS_SHOWN = 20


def plan(file: Path, *, as_json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Print the plan of a sweep file.

    Args:
        file: The sweep file.
        as_json: In its machine-readable form.
        more: What that form has beside the plan.
    """
    sweep = Sweep.load(file)
    check_user_code(sweep)
    found, _ = plan_sweeps(sweep)
    if as_json:
        print(json.dumps(as_data(found) | dict(more or {}), indent=2))
        return
    number = len(found.configurations)
    configurations = plural(number, "configuration") if number else "proposed configurations"
    print(
        f"{sweep.study}: {plural(len(found.trials), 'trial')} of {configurations} "
        f"({sweep.search.method}, {plural(sweep.search.repeats, 'repeat')}), "
        f"{plural(found.duplicates, 'duplicate')} dropped, "
        f"{len(found.invalid)} invalid"
    )
    for note in found.notes:
        print(note)
    if sweep.pruner is not None:
        settings = ", ".join(f"{name} {value}" for name, value in sweep.pruner.model_dump(exclude={"kind"}).items())
        print(f"pruner {sweep.pruner.kind}: {settings}")
    _print_rows("configurations", [_row(c) for c in found.configurations])
    _print_rows("invalid: the network cannot be built", [i.params | {"reason": i.reason} for i in found.invalid])


def _row(configuration: PlannedConfiguration) -> dict[str, Any]:
    return configuration.params | {"parameters": configuration.parameters, "trainable": configuration.trainable}


def as_data(found: Plan) -> dict[str, Any]:
    """Give a plan in its machine-readable form."""
    return {
        "trials": len(found.trials),
        "configurations": [
            {"params": c.params, "parameters": c.parameters, "trainable": c.trainable} for c in found.configurations
        ],
        "invalid": [{"params": i.params, "reason": i.reason} for i in found.invalid],
        "duplicates": found.duplicates,
    }


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    print_table(Table(names, tuple(rows[:_ROWS_SHOWN])), title=title)
    if len(rows) > _ROWS_SHOWN:
        print(f"… and {len(rows) - _ROWS_SHOWN} more (`--json` gives all)")
