"""``doctor``: checks this machine and prints each finding at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from cnn_sweep.cli.ui.options import RESULTS, AsJson, Results
from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.tools.doctor import examine

_COLOURS: Final = {"ok": "green", "note": "yellow", "bad": "bold red"}


def doctor(
    as_json: AsJson = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Fail if Slurm does not work.")] = False,
    results: Results = RESULTS,
) -> None:
    """Check this machine, Slurm, GPUs and the results folder, and suggest a remedy for each problem.

    Examples:
      cnn-sweep doctor
      cnn-sweep doctor --slurm --results /shared/results
    """
    console = Console(soft_wrap=True, highlight=False)
    findings = []
    for finding in examine(results, slurm=slurm):
        findings.append(finding)
        if as_json:
            continue
        line = Text(f"{finding.level:<5}", style=_COLOURS[finding.level])
        console.print(line + Text(f"{finding.subject}: {finding.text}", style="default"))
        if finding.cure:
            console.print(f"      {finding.cure}", markup=False)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(EnvironmentFault.exit_code)
