"""``report``: a study as one page, as Markdown, as images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.cli.reading import open_merged
from cnn_sweep.report.material import gather
from cnn_sweep.report.page.html import page
from cnn_sweep.report.writing import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence


def report(results: Path, study: str, output: Path | None, trials: Sequence[int]) -> None:
    """Write a study's page and print its name."""
    found = open_merged(results, study)
    for trial in trials:
        found.trial(trial)  # says which trials there are
    material = gather(results, study, found.leaderboard_table(), trials=trials)
    file = output if output is not None else Path(f"{study}.html")
    write_whole(file, page(material))
    print(file)
