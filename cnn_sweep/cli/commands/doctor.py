"""``doctor``: checks this machine, and a node of the cluster, and prints each finding at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from cnn_sweep.cli.ui.options import RESULTS, AsJson, Results, Trust, profile_option
from cnn_sweep.cli.ui.sweeps import load_profile
from cnn_sweep.cli.ui.terminal import Console, warn
from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.tools.doctor import examine
from cnn_sweep.tools.node_checks import examine_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.tools.findings import Finding

_COLOURS: Final = {"ok": "green", "note": "yellow", "bad": "bold red"}


def doctor(
    as_json: AsJson = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Fail if Slurm does not work.")] = False,
    job: Annotated[bool, typer.Option("--job", help="Run a job of one task and compare its node with here.")] = False,
    profile: Annotated[Path | None, profile_option("Profile to check, and of the job.")] = None,
    wait: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="Longest wait for the job.")] = 300,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Check this machine, Slurm, GPUs and the results folder, and suggest a remedy for each problem.

    With --job, a job of one task compares a node with this login node: Python, packages, results folder, locks, clock,
    memory, GPU, temporary files and user. It is cancelled if it does not start in time, or by Ctrl-C.

    Examples:
      cnn-sweep doctor --slurm --results /shared/results
      cnn-sweep doctor --job --profile my.toml
    """
    settings = None if profile is None else load_profile(profile, results) if job else Profile.load(profile)
    found: Iterator[Finding] = examine(results, slurm=slurm or job or settings is not None, profile=settings)
    if job:
        found = chain(found, examine_node(results, settings or Profile(), SlurmCli(), wait_s=wait, tell=warn))
    console = Console(soft_wrap=True, highlight=False)
    findings = []
    for finding in found:
        findings.append(finding)
        if not as_json:
            _show(console, finding)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(EnvironmentFault.exit_code)


def _show(console: Console, finding: Finding) -> None:
    line = Text(f"{finding.level:<5}", style=_COLOURS[finding.level])
    console.print(line + Text(f"{finding.subject}: {finding.text}", style="default"))
    if finding.cure:
        console.print(f"      {finding.cure}", markup=False)
