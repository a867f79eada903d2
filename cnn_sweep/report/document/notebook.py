"""A study as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.report.document import markup
from cnn_sweep.report.document import summary as facts
from cnn_sweep.report.leaderboards.formats import to_html
from cnn_sweep.report.leaderboards.grouping import without_constants
from cnn_sweep.report.leaderboards.leaderboard import Selection, select
from cnn_sweep.report.report_data import gather

if TYPE_CHECKING:
    from cnn_sweep.report.leaderboards.leaderboard import Table
    from cnn_sweep.store.reading import StoreReader


def glance(store: StoreReader, study: str, board: Table) -> str:
    """Write the summary and the best trials as HTML."""
    material = gather(store, study, board)
    best = without_constants(select(board, Selection(top=5)), list(material.axes))
    pairs = markup.facts((name, markup.escaped(value)) for name, value in facts.summary(material))
    return f"<h3>{markup.escaped(study)}</h3>{pairs}{to_html(best)}"
