"""The live page in a real browser: what a renewal keeps, how old its data are, and that nobody reads half of them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from helpers.browser import column, read
from helpers.report_pages import AT_WORK, NASTY, NASTY_SWEEP, state_of, with_rows
from helpers.typed import typed_here

from cnn_sweep.cli.ui.interrupt import Interrupt
from cnn_sweep.report.document.live_page import LivePage


def test_a_renewal_keeps_what_the_reader_does(live):
    """Filter, order, ticks, scroll positions, folds, the focus and zooms stay; new trials come in."""
    tab = live.tab
    assert tab.text_content("#count").startswith("80 of 80 trials")
    tab.click("#board th[data-column=learning_rate] button")
    tab.click("#study summary")
    tab.click("#more")
    ticked = read(tab)
    tab.focus("#filter")
    tab.evaluate("$('filter').setSelectionRange(3, 3)")
    tab.evaluate("$('curves').scrollIntoView()")
    before = tab.evaluate("$('curves').getBoundingClientRect().top")
    live.renew()
    assert " of 120 trials" in tab.text_content("#count")
    assert tab.input_value("#filter") == "value > 0.3 "
    assert tab.evaluate("[document.activeElement.id, document.activeElement.selectionStart]") == ["filter", 3]
    rates = [float(rate) for rate in column(tab, "learning_rate")]
    assert rates == sorted(rates)
    assert len(rates) > 50
    assert tab.evaluate("[...chosen]") == ticked
    assert tab.evaluate("document.querySelector('#study details').open")
    assert tab.evaluate("$('board').parentElement.scrollTop") == 300
    assert abs(tab.evaluate("$('curves').getBoundingClientRect().top") - before) < 2
    assert tab.evaluate("document.querySelector('[data-curve=val_accuracy]').layout.xaxis.range") == [1, 2]


def test_a_renewal_keeps_the_open_dialog(live):
    """The trial or the comparison that is open shows the newest values, at the same place."""
    tab = live.tab
    tab.click("#untick")
    for place in (1, 2):
        tab.check(f"#rows tr:nth-child({place}) input")
    tab.click("#compare")
    live.renew()
    assert tab.text_content("dialog[open] h2") == "Comparison of 2 trials"
    tab.keyboard.press("Escape")
    tab.set_viewport_size({"width": 800, "height": 300})
    tab.click("#rows tr:nth-child(1) td.trial button")
    title = tab.text_content("dialog[open] h2")
    tab.evaluate("$('trial').scrollTop = 50")
    live.renew()
    assert tab.text_content("dialog[open] h2") == title
    assert tab.evaluate("[$('trial').scrollTop, document.activeElement.id]") == [50, "close"]
    tab.keyboard.press("Escape")


def test_nothing_of_the_data_is_run_on_a_live_page(live):
    """Hyperparameters, messages, faults and the sweep file that are HTML are shown as they are after a renewal."""
    live.renew(faults=[NASTY])
    live.tab.fill("#filter", "")
    assert live.tab.text_content("#progress .error") == NASTY
    assert "ValueError: <b>no</b>" in live.tab.text_content("#progress")
    assert NASTY + "a" in column(live.tab, "optimizer")
    assert live.tab.query_selector_all("main img, main b, main script") == []


def test_the_page_says_how_old_its_data_are(live):
    """Seconds, then amber after three intervals without a writer."""
    live.renew()
    for seconds, words, state in (
        (40, "Written 40 s ago.", "fresh"),
        (1_300, "Written 21 min ago.", "fresh"),
        (1_900, "Written 31 min ago: nobody has renewed this page for 3 intervals of 600 s.", "stale"),
    ):
        live.tab.evaluate(f"writtenAt = Date.now() - {1000 * seconds}; tellAge()")
        assert (live.tab.text_content("#age"), live.tab.get_attribute("#age", "class")) == (words, state)
    assert live.tab.evaluate("getComputedStyle($('age')).backgroundColor") == "rgb(255, 200, 87)"


def test_a_wrong_clock_makes_new_data_no_older(live):
    """Data that were not there a moment ago are of this moment, whatever the writer's clock says."""
    live.renew()
    for skew in (-9_000, 9_000):
        live.tab.evaluate("askedAt = { before: Date.now() - 1000, now: Date.now() }")
        live.tab.evaluate(f"receive({{...newest, written: newest.written + {skew}}}); tellAge()")
        assert live.tab.get_attribute("html", "data-live") == "fresh"
    live.tab.evaluate("newest.written = 0")  # the next data are newer again


def test_the_progress_of_the_study_comes_first(live):
    """Trials done, running ones with their workers, the newest failures, pace and time left, as in `status`."""
    text = live.tab.text_content("#progress")
    for words in (
        "105 of 120 trials",
        "15 running, 90 complete, 15 failed",
        "trials/min",
        "node7:7",
        "Newest failures",
    ):
        assert words in text
    assert live.tab.evaluate("document.querySelector('main section').id") == "progress"


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
  const found = { whole: 0, small: 0, unread: 0 };
  const { receive } = window;
  const unread = (event) => { found.unread += 1; event.preventDefault(); };
  window.addEventListener("error", unread);
  window.receive = ({ page, sections }) => {
    const rows = page.boards[0].count;
    if (sections.length > 5 && (rows === 120 || rows === 100)) found.whole += 1;
    if (rows === 100) found.small += 1;
  };
  for (let count = 0; count < 200; count += 1) {
    await new Promise((resolve) => {
      const script = element("script", { src: `data.js?${count}` });
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => { found.unread += 1; resolve(); });
      document.head.append(script);
    });
  }
  window.receive = receive;
  window.removeEventListener("error", unread);
  return found;
}"""


def test_nobody_sees_half_of_the_data(live, tmp_path):
    """While another process renews the data as fast as it can, each of 200 readings is whole or without effect.

    Chromium asks for a file's size before it opens it, so that it may cut a longer one, which is no script then.
    """
    data, kept = live.page.file.with_name("data.js"), []
    for count in (100, 120):
        live.page.renew(with_rows(live.state, count))
        kept.append(tmp_path / f"{count}.js")
        kept[-1].write_bytes(data.read_bytes())
    words = [sys.executable, "-c", RENEWS, str(data), *map(str, kept)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        found = live.tab.evaluate(READS)
        writer.kill()
    assert found["whole"] + found["unread"] == 200
    assert found["unread"] < 50
    assert 0 < found["small"] < found["whole"]


def test_a_finished_study_is_said_to_be_finished(live):
    """Whatever the age of its last data; and the page asks no more."""
    trials = live.state.status["trials"]
    live.renew(trials=trials | {"running": 0, "complete": trials["complete"] + trials["running"]})
    live.tab.evaluate("writtenAt = 0; tellAge()")
    assert live.tab.text_content("#age").startswith("Finished. Written on 20")


def test_the_small_page_is_small_whatever_the_study_has(written, browser, tmp_path):
    """Of 600 trials, most of them running or failed, with texts of 20,000 letters: under 30 kB, as wide as a telephone.

    It has no script and asks for nothing.
    """
    long = NASTY + "x" * 20_000
    written.study(
        trials=600,
        states=("running", "failed", "complete"),
        params=lambda draw: {f"{NASTY}{place}" * 9: draw.choice([long, "y"]) for place in range(30)},
        sweep=NASTY_SWEEP,
    )
    state = state_of(written)
    state = replace(state, status=state.status | {"faults": [long] * 99})
    page = LivePage(tmp_path / "page", "digits", 60)
    page.renew(state)
    text = page.file.with_name("phone.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 30_000
    assert "<script" not in text
    assert '<meta http-equiv="refresh" content="60">' in text
    commands = re.findall(r"<code>(.*?)</code>", text)
    assert commands
    assert not any("…" in command for command in commands)
    context = browser.new_context(viewport={"width": 390, "height": 800}, offline=True)
    tab = context.new_page()
    tab.goto(page.file.with_name("phone.html").as_uri())
    said = tab.text_content("main")
    assert "400 of 600 trials" in said
    assert "and 91 others" in said
    assert said.count("and others") == 2  # running trials, failures
    assert tab.evaluate("window.pwned") is None
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.screenshot(path=tmp_path / "phone.png", full_page=True)
    context.close()


def test_the_small_page_of_a_finished_study_asks_no_more(written, tmp_path):
    """It has the best, its settings and the leaders, and says that the study is finished."""
    written.study(trials=30)
    page = LivePage(tmp_path / "page", "digits", 60)
    assert page.renew(state_of(written))
    text = page.file.with_name("phone.html").read_text(encoding="utf-8")
    assert "refresh" not in text
    assert "<p>Finished. Written at 20" in text
    best = state_of(written).data.ranked[0]
    assert f"trial {best['trial']}" in text
    assert "30 of 30 trials" in text


def test_a_part_of_the_small_page_that_fails_costs_no_other(written, tmp_path, monkeypatch):
    """The page says what is missing."""
    written.study(trials=30)

    def broken(_):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("cnn_sweep.report.document.answer.next_steps", broken)
    page = LivePage(tmp_path / "page", "digits", 60)
    page.renew(state_of(written))
    text = page.file.with_name("phone.html").read_text(encoding="utf-8")
    assert "What next" in text
    assert "could not be made: ZeroDivisionError: boom" in text
    assert "30 of 30 trials" in text


def test_the_command_ends_with_the_study(written, tmp_path):
    """The page of a finished study is written once; a renewal of 300 trials is under 400 kB."""
    written.study(trials=300)
    done = typed_here(("report", "digits", "--watch", "1"), tmp_path, {"CNN_SWEEP_RESULTS": str(written.results)})
    assert (done.returncode, done.stdout) == (0, "digits-live/index.html\n")
    assert "digits is finished" in done.stderr
    files = {path.name: path.stat().st_size for path in (tmp_path / "digits-live").iterdir()}
    assert set(files) == {"index.html", "data.js", "phone.html"}
    assert files["index.html"] < 6_000_000
    assert files["data.js"] < 400_000


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
