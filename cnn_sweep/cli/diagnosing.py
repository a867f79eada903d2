"""``doctor``: what was found, line by line as it is found."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.tools.doctor import examine

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS: Final = {"ok": "green", "note": "yellow", "bad": "bold red"}


def doctor(results: Path, *, as_json: bool, slurm: bool = False) -> int:
    """Print all findings; return the exit code."""
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
    return EnvironmentFault.exit_code if any(finding.level == "bad" for finding in findings) else 0
