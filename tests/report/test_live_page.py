"""The live page in a real browser: what a renewal keeps, how old its data are, and that nobody reads half of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from helpers.pages import column, opened, until
from helpers.sweeps import sweep_of_digits
from helpers.typed import typed_here

from cnn_sweep.cli.ui.interrupt import Interrupt
from cnn_sweep.cli.ui.live_page import look
from cnn_sweep.report.document.live_page import LivePage
from cnn_sweep.slurm.commands import RareSlurmCli

NASTY = '"\'><img src=x onerror="window.pwned=1"></script><script>window.pwned=1</script><b>{{7*7}}</b>&lt;'
SWEEP = sweep_of_digits("""\
space:
  filters: [4, 8]
  optimizer: [sgd, adam]
training: {{epochs: 3, optimizer: {{name: $optimizer}}}}   # </script><img src=x onerror="window.pwned=1">
""")
AT_WORK = ("complete",) * 6 + ("failed", "running")


def state_of(written):
    """Return the state of the study, as the command reads it."""
    return look(written.results, "digits", (), RareSlurmCli())


def with_rows(state, count):
    """Return a state with the first trials only."""
    board = state.data.board
    return replace(state, data=replace(state.data, board=replace(board, rows=board.rows[:count])))


def renewed(tab, page, state):
    """Renew the data, and let the page ask for them."""
    page.renew(state)
    before = tab.evaluate("newest.written")
    tab.evaluate("ask()")
    until(tab, f"newest.written > {before}")


def test_a_renewal_keeps_what_the_reader_does(browser, written, tmp_path):
    """Filter, order, columns, ticks, scroll positions, the open dialog, the focus and zooms stay; new trials come in."""
    written.study(trials=240, states=AT_WORK)
    state = state_of(written)
    page = LivePage(tmp_path / "live", "digits", 600)
    page.renew(with_rows(state, 120))
    with opened(browser, page.file) as tab:
        tab.wait_for_selector("html[data-ready]", state="attached")
        assert tab.query_selector("#progress progress").get_attribute("value") == "210"
        tab.evaluate("drawAll()")
        tab.fill("#filter", "value > 0.3 ")
        tab.click("#board th[data-column=learning_rate] button")
        tab.click("#untick")
        for place in (2, 3):
            tab.check(f"#rows tr:nth-child({place}) input")
        ticked = tab.evaluate("[...chosen]")
        tab.click("#study summary")
        tab.click("#more")
        tab.evaluate("Plotly.relayout(document.querySelector('[data-curve=val_accuracy]'), 'xaxis.range', [1, 2])")
        tab.focus("#filter")
        tab.evaluate("$('filter').setSelectionRange(3, 3)")
        tab.evaluate("$('board').parentElement.scrollTop = 300")
        tab.evaluate("$('curves').scrollIntoView()")
        before = tab.evaluate("$('curves').getBoundingClientRect().top")
        renewed(tab, page, state)
        assert tab.text_content("#count").split()[2] == "240"
        assert tab.input_value("#filter") == "value > 0.3 "
        assert tab.evaluate("[document.activeElement.id, document.activeElement.selectionStart]") == ["filter", 3]
        rates = [float(rate) for rate in column(tab, "learning_rate")]
        assert rates == sorted(rates)
        assert len(rates) > 50
        assert tab.evaluate("[...chosen]") == ticked
        assert tab.evaluate("document.querySelector('#study details').open")
        assert tab.evaluate("$('board').parentElement.scrollTop") == 300
        assert abs(tab.evaluate("$('curves').getBoundingClientRect().top") - before) < 2
        zoom = "document.querySelector('[data-curve=val_accuracy]').layout.xaxis.range"
        assert tab.evaluate(zoom) == [1, 2]

        tab.click("#compare")
        renewed(tab, page, with_rows(state, 200))
        assert tab.text_content("dialog[open] h2") == "Comparison of 2 trials"
        assert tab.query_selector("dialog .plot .main-svg") is not None
        tab.keyboard.press("Escape")
        tab.set_viewport_size({"width": 800, "height": 300})
        tab.click("#rows tr:nth-child(1) td.trial button")
        title = tab.text_content("dialog[open] h2")
        tab.evaluate("$('trial').scrollTop = 50")
        renewed(tab, page, state)
        assert tab.text_content("dialog[open] h2") == title
        assert tab.evaluate("[$('trial').scrollTop, document.activeElement.id]") == [50, "close"]


def test_the_page_says_how_old_its_data_are(browser, written, tmp_path):
    """Seconds, then amber after three intervals without a writer; at the end it says so and asks no more."""
    written.study(trials=8, states=AT_WORK)
    state = state_of(written)
    page = LivePage(tmp_path / "live", "digits", 60)
    with opened(browser, page.file) as tab:
        assert tab.text_content("#age") == "No data yet."
        page.renew(state)
        tab.wait_for_selector("html[data-live=fresh]", state="attached")
        for seconds, words, look_of in (
            (40, "Written 40 s ago.", "fresh"),
            (130, "Written 2 min ago.", "fresh"),
            (190, "Written 3 min ago: nobody has renewed this page for 3 intervals of 60 s.", "stale"),
        ):
            tab.evaluate(f"writtenAt = Date.now() - {1000 * seconds}; tellAge()")
            assert (tab.text_content("#age"), tab.get_attribute("#age", "class")) == (words, look_of)
        amber = tab.evaluate("getComputedStyle($('age')).backgroundColor")
        assert amber == "rgb(255, 200, 87)"
        over = state.status | {"trials": state.status["trials"] | {"running": 0, "complete": 7}}
        renewed(tab, page, replace(state, status=over))
        until(tab, "document.documentElement.dataset.live === 'finished'")
        assert tab.text_content("#age").startswith("Finished. Written on 20")


def test_a_clock_that_goes_wrong_makes_new_data_no_older(browser, written, tmp_path):
    """Data that were not there a moment ago are of this moment, whatever the writer's clock says."""
    written.study(trials=8, states=AT_WORK)
    page = LivePage(tmp_path / "live", "digits", 60)
    page.renew(state_of(written))
    with opened(browser, page.file) as tab:
        tab.wait_for_selector("html[data-ready]", state="attached")
        for skew in (-9_000, 9_000):
            tab.evaluate(f"receive({{...newest, written: newest.written + {skew}}}); tellAge()")
            assert tab.get_attribute("html", "data-live") == "fresh"


def test_nothing_of_the_data_is_run_on_a_live_page(browser, written, tmp_path):
    """Hyperparameters, messages and the sweep file that are HTML are shown as they are, also after a renewal."""

    def params(draw):
        return {"filters": 4, "optimizer": NASTY + draw.choice("ab"), NASTY: draw.choice([NASTY, "x"])}

    written.study(trials=24, states=AT_WORK, params=params, sweep=SWEEP)
    state = state_of(written)
    state = replace(state, status=state.status | {"faults": [NASTY]})
    page = LivePage(tmp_path / "live", "digits", 60)
    page.renew(with_rows(state, 12))
    with opened(browser, page.file) as tab:
        tab.wait_for_selector("html[data-ready]", state="attached")
        renewed(tab, page, state)
        tab.evaluate("drawAll()")
        assert tab.text_content("#progress .error") == NASTY
        assert "ValueError: <b>no</b>" in tab.text_content("#progress")
        assert NASTY + "a" in column(tab, "optimizer")
        assert tab.query_selector_all("main img, main b, main script") == []


RENEWS = """
import sys
from pathlib import Path
from cnn_sweep.journal.filesystem import write_aside
texts = [Path(name).read_bytes() for name in sys.argv[2:]]
print("writing", flush=True)
while True:
    for text in texts:
        write_aside(Path(sys.argv[1]), text)
"""
READS = """async () => {
  const found = { whole: 0, small: 0, torn: 0 };
  window.receive = ({ page, sections }) => {
    const rows = page.boards[0].rows.length;
    if (sections.length > 5 && (rows === 300 || rows === 100)) found.whole += 1;
    if (rows === 100) found.small += 1;
  };
  for (let count = 0; count < 200; count += 1) {
    await new Promise((resolve) => {
      const script = element("script", { src: `data.js?${count}` });
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => { found.torn += 1; resolve(); });
      document.head.append(script);
    });
  }
  return found;
}"""


def test_nobody_reads_half_of_the_data(browser, written, tmp_path):
    """While another process renews the data as fast as it can, each of 200 readings is whole."""
    written.study(trials=300, states=AT_WORK)
    state = state_of(written)
    page, data = LivePage(tmp_path / "live", "digits", 600), tmp_path / "live" / "data.js"
    kept = []
    for count in (300, 100):
        page.renew(with_rows(state, count))
        kept.append(tmp_path / f"{count}.js")
        kept[-1].write_bytes(data.read_bytes())
    with opened(browser, page.file) as tab:
        tab.wait_for_selector("html[data-ready]", state="attached")
        words = [sys.executable, "-c", RENEWS, str(data), *map(str, kept)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            found = tab.evaluate(READS)
            writer.kill()
    assert (found["whole"], found["torn"]) == (200, 0)
    assert 0 < found["small"] < 200


def test_the_command_ends_with_the_study(written, tmp_path):
    """The page of a finished study is written once; an hour of 1,000 trials would be 60 renewals of half a megabyte."""
    written.study(trials=1_000)
    done = typed_here(("report", "digits", "--watch", "1"), tmp_path, {"CNN_SWEEP_RESULTS": str(written.results)})
    assert (done.returncode, done.stdout) == (0, "digits-live/index.html\n")
    assert "digits is finished" in done.stderr
    files = {path.name: path.stat().st_size for path in (tmp_path / "digits-live").iterdir()}
    assert set(files) == {"index.html", "data.js"}
    assert files["index.html"] < 6_000_000
    assert files["data.js"] < 900_000


def test_ctrl_c_ends_the_command_and_the_page_stays(written, tmp_path, monkeypatch):
    """The line says that the study goes on and how the page is renewed again."""
    written.study(trials=8, states=AT_WORK)
    monkeypatch.setattr(Interrupt, "wait", lambda self, _: signal.raise_signal(signal.SIGINT) or self.asked)
    words = ("report", "digits", "--watch", "60", "--output", "page")
    done = typed_here(words, tmp_path, {"CNN_SWEEP_RESULTS": str(written.results)})
    assert done.returncode == 0
    assert "its live page stays" in done.stderr
    assert "`cnn-sweep report digits --watch 60` goes on" in done.stderr
    assert (tmp_path / "page" / "data.js").is_file()


def test_a_renewal_that_fails_is_tried_again(written, tmp_path, monkeypatch):
    """A full disk is warned of; the page has the older data until there is room."""
    written.study(trials=8, states=AT_WORK)
    turns = []

    def fails_once(page, state):
        turns.append(time.time())
        if len(turns) == 2:
            (tmp_path / "digits-live" / "data.js").unlink()
            (tmp_path / "digits-live" / "data.js").mkdir()
        return renew(page, state)

    renew = LivePage.renew
    monkeypatch.setattr(LivePage, "renew", fails_once)
    monkeypatch.setattr(Interrupt, "wait", lambda *_: len(turns) == 2)
    done = typed_here(("report", "digits", "--watch", "60"), tmp_path, {"CNN_SWEEP_RESULTS": str(written.results)})
    assert "the live page is not renewed this time: cannot write digits-live/data.js" in done.stderr


@pytest.mark.parametrize("words", [("--figures", "f"), ("--format", "markdown")])
def test_only_a_page_is_renewed(written, tmp_path, words):
    """Markdown and images are written once."""
    written.study(trials=2)
    done = typed_here(
        ("report", "digits", "--watch", "60", *words), tmp_path, {"CNN_SWEEP_RESULTS": str(written.results)}
    )
    assert done.returncode == 2
    assert "--watch writes an HTML page only" in done.stderr
