"""Opens studies for reading, after merging their journals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.study import Study, merge_first

if TYPE_CHECKING:
    from pathlib import Path


def merge_journals(results: Path) -> None:
    """Merge the journals into the store; if that is impossible, warn that results are as of the last merge."""
    if skipped := merge_first(results):
        warn(f"results are as of the last merge: {skipped}")


def no_studies(results: Path) -> str:
    """Say that a results folder has no studies, and what to do."""
    return f"no studies in {results}; `cnn-sweep run SWEEP.yaml` starts one, `--results DIR` looks elsewhere"


def open_merged(results: Path, study: str) -> Study:
    """Open a study after merging the journals."""
    merge_journals(results)
    return Study.open(results, study, merge=False)
