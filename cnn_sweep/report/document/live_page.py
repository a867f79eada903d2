"""The report as a live page: an HTML file that is written once, and a script with the data that is renewed beside it.

Beside them is a small page for telephones (:mod:`.phone_page`), which is renewed, too.

The page adds the script again and again with another query. This works from ``file://``, too, where pages may fetch
nothing. A renewal is a rename, so that a page shows all of it or nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal.filesystem import clear_asides, write_aside
from cnn_sweep.messages import moment, plural
from cnn_sweep.report.document import answer
from cnn_sweep.report.document.html import (
    SECTIONS,
    Content,
    document,
    embedded,
    figures_of,
    footer,
    leaderboard,
    own_scripts,
    plotly,
    policy,
    sections_of,
)
from cnn_sweep.report.document.page_data import page_data
from cnn_sweep.report.document.phone_page import phone_page
from cnn_sweep.report.document.report_file import check_replaceable
from cnn_sweep.report.leaderboards.leaderboard import Table, shown
from cnn_sweep.report.live import (
    ended_jobs_in_words,
    in_words,
    is_over,
    jobs_in_words,
    limits_in_words,
    unsaved_in_words,
)
from cnn_sweep.sweep.states import FINISHED, counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cnn_sweep.report.document.html import Makers
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.live import Moment
    from cnn_sweep.report.report_data import ReportData

PAGE: Final = "index.html"
DATA: Final = "data.js"
PHONE: Final = "phone.html"
_RUNNING: Final = ("worker", "job", "trial", "epoch", "value", "s/epoch")
_FAILED: Final = ("trial", "ended (UTC)", "cause", "message")
_MOST_ROWS: Final = 12  # running trials
_MOST_FAILURES: Final = 10
# Scripts of the page may add other scripts: the data. It is no source in itself, so nothing in the data can name one.
_LOADS_DATA: Final = "'strict-dynamic'"


@dataclass(frozen=True)
class State:
    """The state of a study at one moment.

    Attributes:
        data: The data of its report.
        status: See :meth:`cnn_sweep.study.Study.status`.
        progress: Its running trials, pace and time left.
    """

    data: ReportData
    status: dict[str, Any]
    progress: Moment


class LivePage:
    """The files of a live page.

    Attributes:
        file: The page to open.
    """

    def __init__(self, folder: Path, study: str, every_s: float) -> None:
        """Write the page into a folder, unless it is there.

        Args:
            folder: Where the files are written.
            study: The study's name.
            every_s: Seconds between renewals; three times as long without one, and the page says that nobody renews it.

        Raises:
            InputError: The folder has the page of another study, or another file of that name.
            EnvironmentFault: The page cannot be written, or Plotly's script is not installed.
        """
        self.file = folder / PAGE
        self._data = folder / DATA
        self._phone = folder / PHONE
        self._every_s = every_s
        check_replaceable(self.file, study)
        scripts = (
            *own_scripts("filters.js", "script.js", "selection.js", "leaderboard.js", "live.js"),
            plotly(),
            "startFigures(); startLive();",
        )
        self._policy = policy(scripts, _LOADS_DATA)
        text = document(study, scripts, self._policy, {"headline": "", "sections": (), "footer": ""}, is_live=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(f"cannot write {folder}: {error.strerror}") from error
        clear_asides(folder)
        _write(self.file, text)

    def renew(self, state: State) -> bool:
        """Write the newest data; return whether the study is finished, so that no other renewal is needed.

        Raises:
            EnvironmentFault: A file cannot be written; it is then unchanged.
        """
        now, finished = time.time(), is_over(state.status)
        sections, absent = sections_of(state.data, _sections(state))
        content = {
            "policy": self._policy,
            "written": now,
            "made": moment(now),
            "every_s": self._every_s,
            "finished": finished,
            "headline": answer.headline(state.data),
            "sections": [{"name": one.name, "title": one.title, "body": one.body} for one in sections],
            "footer": footer(absent, now),
            "page": page_data(state.data, figures_of(sections)),
        }
        _write(self._data, f"receive({embedded(content)});\n")
        small = phone_page(state.data, lambda: _progress(state), self._every_s, now, finished=finished)
        _write(self._phone, small)
        return finished


def _write(file: Path, text: str) -> None:
    try:
        write_aside(file, text.encode(errors="surrogateescape"))
    except OSError as error:
        raise EnvironmentFault(f"cannot write {file}: {error.strerror}") from error


def _sections(state: State) -> Makers:
    """Return the sections of a report after the one that only a live page has."""
    first: Makers = {("progress", "Progress"): lambda _: _progress(state)}
    return first | SECTIONS | {("leaderboard", "Leaderboard"): lambda data: leaderboard(data, static_rows=0)}


def _progress(state: State) -> Content:
    status, counts = state.status, state.status["trials"]
    workers = status["workers"]
    pace = [f"{state.progress.epochs_per_s:.3g} epochs/s", *in_words(state.progress.pace)]
    pairs = [
        ("trials", counted(counts) or "none"),
        ("workers", f"{workers['alive']} alive, {workers['unknown']} on other hosts"),
        ("pace", ", ".join(pace)),
        *(("budget", words) for words in limits_in_words(status)),
        *(("jobs", words) for words in jobs_in_words(status["jobs"])),
    ]
    arguments = {
        "done": sum(count for name, count in counts.items() if name in FINISHED),
        "planned": status["planned"],
        "pairs": pairs,
        "troubles": list(_troubles(status)),
        "running": _running(state),
        "failures": _failures(state.data),
    }
    return Content("progress", arguments)


def _troubles(status: dict[str, Any]) -> Iterator[str]:
    yield from status["faults"]
    yield from status["held"]
    yield from ended_jobs_in_words(status)
    yield from unsaved_in_words(status["running"])
    yield from (f"trial {one['trial']} was interrupted: {one['why']}" for one in status["dead"])
    if status["idle"]:
        yield status["idle"]


def _running(state: State) -> Table:
    """List the running trials and their workers; in the last row, how many others there are."""
    dead = {one["trial"] for one in state.status["dead"]}
    found = [_worker(row) for row in state.progress.running if row["trial"] not in dead]
    rest = len(found) - _MOST_ROWS
    last: list[Row] = [{"worker": f"and {plural(rest, 'other')}"}] if rest > 0 else []
    return Table(_RUNNING, (*found[:_MOST_ROWS], *last))


def _worker(row: Row) -> Row:
    worker = f"{row['host']}:{row['pid']}" if row["host"] else "?"
    names = {name: row[name] for name in ("job", "trial", "value")}
    return names | {"worker": worker, "epoch": row["epoch"] or 0, "s/epoch": row["epoch_seconds"]}


def _failures(data: ReportData) -> Table:
    """List the trials that failed last, the newest first."""
    failed = [row for row in data.board.rows if row["state"] == "failed" and row["ended"] is not None]
    newest = sorted(failed, key=lambda row: -row["ended"])[:_MOST_FAILURES]
    rows = [
        {
            "trial": row["trial"],
            "ended (UTC)": moment(row["ended"]),
            "cause": row["cause"],
            "message": shown(row["message"]),
        }
        for row in newest
    ]
    return Table(_FAILED, tuple(rows))
