"""Reports of written studies, and a live page that a browser has open."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from helpers.browser import opened, until
from helpers.sweeps import sweep_of_digits
from helpers.written import Written

from cnn_sweep.cli.ui.live_page import look
from cnn_sweep.report.document.html import page
from cnn_sweep.report.document.live_page import LivePage
from cnn_sweep.report.report_data import gather
from cnn_sweep.slurm.commands import RareSlurmCli
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study

NASTY = '"\'><img src=x onerror="window.pwned=1"></script><script>window.pwned=1</script><b>{{7*7}}</b>&lt;'
NASTY_SWEEP = sweep_of_digits("""\
space:
  filters: [4, 8]
  optimizer: [sgd, adam]
  learning_rate: {{low: 0.0001, high: 0.1, log: true, points: 3}}
# </script><img src=x onerror="window.pwned=1">
training: {{epochs: 3, optimizer: {{name: $optimizer, learning_rate: $learning_rate}}}}
""")
AT_WORK = ("complete",) * 6 + ("failed", "running")


def gathered(written, name="digits"):
    """What a study's report is made of."""
    board = Study.open(written.results, name, merge=False).leaderboard_table()
    return gather(StoreReader(written.results), name, board)


def written_page(written, name="digits"):
    """Write a study's report."""
    file = Path(written.results) / f"{name}.html"
    file.write_text(page(gathered(written, name)), encoding="utf-8")
    return file


def state_of(written):
    """Return the state of the study, as the command reads it."""
    return look(written.results, "digits", (), RareSlurmCli())


def with_rows(state, count):
    """Return a state with the first trials only."""
    board = state.data.board
    return replace(state, data=replace(state.data, board=replace(board, rows=board.rows[:count])))


@dataclass
class Live:
    """A live page that is open and asks when it is told to, and the state of its study, whose texts are HTML."""

    tab: Any
    page: LivePage
    state: Any

    def renew(self, rows=120, **status):
        """Renew the data, and let the page ask for them."""
        state = with_rows(self.state, rows)
        self.page.renew(replace(state, status=state.status | status))
        before = self.tab.evaluate("newest.written")
        self.tab.evaluate("ask()")
        until(self.tab, f"newest.written > {before}")


@contextmanager
def opened_live(browser, folder):
    """Write a study of 120 trials, and open a live page that shows 80 of them."""

    def params(draw):
        chosen = {
            "filters": draw.choice([4, 8]),
            "optimizer": NASTY + draw.choice("ab"),
            NASTY: draw.choice([NASTY, "x"]),
        }
        return chosen | {"learning_rate": 10 ** draw.uniform(-4, -1)}

    (folder / "results").mkdir()
    written = Written(folder / "results")
    state = state_of(written.study(trials=120, states=AT_WORK, params=params, sweep=NASTY_SWEEP))
    live = LivePage(folder / "page", "digits", 600)
    live.renew(with_rows(state, 80))
    with opened(browser, live.file) as tab:
        tab.wait_for_selector("html[data-ready]", state="attached")
        yield Live(tab, live, state)
