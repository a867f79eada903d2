"""How often the test set was opened: a further model, or one after an extension, makes its scores optimistic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from cnn_sweep.execution.models.mixture import model_in_words
from cnn_sweep.store import queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.store.reader import StoreReader


@dataclass(frozen=True)
class Opening:
    """One command that measured models on the test set.

    Attributes:
        models: The models in words.
        revision: Number of the sweep file's newest revision then.
    """

    models: tuple[str, ...]
    revision: int


def openings_in(store: StoreReader, study: str) -> list[Opening]:
    """Return the openings of a study's test set that could show something new, the oldest first.

    Measuring models again that were measured before with the same revision of the sweep file gives the same scores.
    """
    revisions = queries.revision_times(store, study)
    found: list[Opening] = []
    for _, rows in groupby(queries.list_tests(store, study), key=lambda row: row["writer"]):
        opening = _opening(list(rows), revisions)
        if not is_repeated(opening, found):
            found.append(opening)
    return found


def is_repeated(opening: Opening, before: Sequence[Opening]) -> bool:
    """Return whether all models of an opening were measured before, with the same revision of the sweep file."""
    known = {model for one in before if one.revision == opening.revision for model in one.models}
    return known.issuperset(opening.models)


def newest_tests(store: StoreReader, study: str) -> dict[str, Row]:
    """Return the newest evaluation of each model on the test set, as in :func:`.queries.list_tests`, by its words."""
    return {_in_words(row): row for row in queries.list_tests(store, study)}


def count_in_words(openings: Sequence[Opening]) -> str | None:
    """Say how often the test set was opened, if it was more than once; None otherwise."""
    if len(openings) < 2:
        return None
    later = sum(one.revision > openings[0].revision for one in openings)
    extended = f", {later} of them after the study was extended" if later else ""
    return f"the test set was opened {len(openings)} times{extended}: scores are optimistic if they guided a choice"


def _in_words(row: Row) -> str:
    return model_in_words(row["trial"], row["model"], row["networks"], row["temperature"], row["epochs"])


def _opening(rows: Sequence[Row], revisions: Mapping[int, float]) -> Opening:
    newest = max((number for number, time in revisions.items() if time <= rows[0]["time"]), default=1)
    return Opening(tuple(map(_in_words, rows)), newest)
