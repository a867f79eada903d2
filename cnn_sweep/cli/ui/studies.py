"""Opens studies for reading, after merging their journals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.study import Study, merge_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


def merge_journals(results: Path) -> None:
    """Merge the journals into the store; if that is impossible, warn that results are as of the last merge."""
    if skipped := merge_first(results):
        warn(f"results are as of the last merge: {skipped}")


def no_studies(results: Path) -> str:
    """Say that a results folder has no studies, and what to do."""
    return f"no studies in {results}; `cnn-sweep run SWEEP.yaml` starts one, `--results DIR` looks elsewhere"


def followed_in_words(study: str, outcomes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each command that followed a study's end; see :func:`.jobs.outcomes`."""
    for one in outcomes:
        words = {
            "complete": one["file"],
            "failed": f"failed: {one['message']}",
            "interrupted": f"interrupted; `cnn-sweep resume {study}` runs it",
        }
        yield f"when finished, {one['step']}: {words.get(one['state'], one['state'])}"


def open_merged(results: Path, study: str) -> Study:
    """Open a study after merging the journals."""
    merge_journals(results)
    return Study.open(results, study, merge=False)
