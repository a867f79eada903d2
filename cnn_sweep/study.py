"""A study as Python sees it: the words of the command line, with pandas DataFrames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import StudyError
from cnn_sweep.journal.paths import StudyPaths, existing_studies
from cnn_sweep.report.leaderboard import Table
from cnn_sweep.store import merge as store
from cnn_sweep.store import queries

if TYPE_CHECKING:
    import pandas as pd

# How long a reader waits for another merger before it reads what there is, in seconds.
_PATIENCE_S = 10.0
_LEADING = ("rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds")


def known_studies(results: Path) -> list[str]:
    """List the studies below a results folder."""
    return existing_studies(results)


def merge_first(results: Path) -> str | None:
    """Bring the store up to date; return why that was not possible, or None."""
    return store.merge(results, wait_s=_PATIENCE_S).skipped if existing_studies(results) else None


class Study:
    """A study that exists; every method reads the store.

    Example:
        ``Study.open("results", "digits").leaderboard()``
    """

    def __init__(self, results: Path, name: str) -> None:
        self.results = results
        self.name = name

    @classmethod
    def open(cls, results: str | Path, name: str, *, merge: bool = True) -> Study:
        """Open a study.

        Args:
            results: Root of all studies.
            name: The study's name.
            merge: Take new journal lines into the store first.

        Raises:
            StudyError: No such study; the message lists those that there are.
        """
        root = Path(results)
        if not StudyPaths(root, name).sweep.is_file():
            names = ", ".join(existing_studies(root)) or "none"
            raise StudyError(f"no study {name!r} in {root}; studies there: {names}")
        if merge:
            merge_first(root)
        return cls(root, name)

    def leaderboard_table(self) -> Table:
        """Rank the trials, as plain rows."""
        columns, rows = queries.leaderboard(self.results, self.name)
        return Table(tuple(columns), tuple(rows))

    def leaderboard(self) -> pd.DataFrame:
        """Rank the trials: one row each, best first, columns as in ``leaderboard --format csv``."""
        import pandas as pd

        table = self.leaderboard_table()
        return pd.DataFrame.from_records(list(table.rows), columns=list(table.columns))
