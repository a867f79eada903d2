"""What a study's frozen sweep file says that the store needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.direction import Direction

_DEFAULT = ObjectiveSpec()


@dataclass(frozen=True)
class SweepFacts:
    """The meaning of a study's numbers.

    Attributes:
        metric: The objective.
        direction: What is better.
        method: How configurations are chosen; None if the file could not be read.
        digest: Hash of the sweep's meaning; None if the file could not be read.
        parameters: Hyperparameters in the order of the file.
        source: SHA-256 of the file's bytes; None if it could not be read.
        problem: Why the file could not be read; None if it was.
    """

    metric: str = _DEFAULT.metric
    direction: Direction = _DEFAULT.direction
    method: str | None = None
    digest: str | None = None
    parameters: tuple[str, ...] = ()
    source: str | None = None
    problem: str | None = None


def source_of(paths: StudyPaths, revision: int) -> str | None:
    """Return the SHA-256 of a revision's frozen sweep file; None if it cannot be read."""
    try:
        return hashlib.sha256(paths.revision(max(revision, 1)).read_bytes()).hexdigest()
    except OSError:
        return None


def read_facts(paths: StudyPaths, revision: int) -> SweepFacts:
    """Read a revision's frozen sweep file; a damaged one gives defaults and the problem."""
    source = source_of(paths, revision)
    try:
        sweep = Sweep.load(paths.revision(max(revision, 1)))
    except InputError as error:
        return SweepFacts(problem=str(error))
    return SweepFacts(
        metric=sweep.objective.metric,
        direction=sweep.objective.direction,
        method=sweep.search.method,
        digest=sweep.digest,
        parameters=sweep.space.names,
        source=source,
    )
