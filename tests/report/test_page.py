"""The report in a real browser: Debian's Chromium, driven by playwright, without a network."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers import conditions
from helpers.browser import column, drag, opened, until
from helpers.report_pages import NASTY, gathered, written_page
from helpers.sweeps import sweep_of_digits
from helpers.written import some_findings

from cnn_sweep.report.document.html import page
from cnn_sweep.report.leaderboards.leaderboard import shown

# Of a study whose importance was not estimated and whose model was not asked.
SECTIONS = (
    *("answer", "history", "leaderboard", "failures", "curves", "parallel", "slices", "contours", "pareto", "timeline"),
    *("study", "provenance"),
)
SWEEP = sweep_of_digits("""\
space:
  filters: [4, 8]
  optimizer: [sgd, adam]
training: {{epochs: 3, optimizer: {{name: $optimizer}}}}   # </script><img src=x onerror="window.pwned=1">
""")


@pytest.fixture(scope="module")
def screenshot():
    """A function that keeps a screenshot in the folder that CNN_SWEEP_ARTIFACTS names; without one none is taken."""
    kept = os.environ.get("CNN_SWEEP_ARTIFACTS")

    def screenshot(tab, name):
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
            tab.screenshot(path=Path(kept) / name, full_page=True)

    return screenshot


@pytest.fixture
def report(written):
    """A report of 1,000 trials, a tenth of which failed."""
    return written_page(written.study(trials=1_000, epochs=5, states=("complete",) * 9 + ("failed",)))


def test_the_report_works(browser, report, screenshot, tmp_path):
    """Under 8 MB, all sections; sorting, filtering and curves by clicks and keys; both themes, a phone, print."""
    assert report.stat().st_size < 8_000_000
    with opened(browser, report, draw=True, color_scheme="light") as tab:
        assert [section.get_attribute("id") for section in tab.query_selector_all("main section")] == list(SECTIONS)
        tab.click("#board th[data-column=parameters] button")
        assert column(tab, "parameters") == sorted(column(tab, "parameters"), key=int)
        assert column(tab, "parameters")[0] == "400"
        tab.focus("#board th[data-column=parameters] button")
        tab.keyboard.press("Enter")
        assert column(tab, "parameters")[0] == "1600"
        assert tab.get_attribute("#board th[data-column=parameters]", "aria-sort") == "descending"

        tab.fill("#filter", 'val_accuracy > 0.8 and optimizer == "adam"')
        assert {*column(tab, "optimizer")} == {"adam"}
        assert min(map(float, column(tab, "value"))) > 0.8
        tab.fill("#filter", "acuracy > 1")
        assert "all rows are shown: unknown column 'acuracy'" in tab.text_content("#problem")
        assert tab.text_content("#count").startswith("1,000 of 1,000")
        tab.fill("#filter", "failed")
        assert tab.text_content("#count").startswith("100 of 1,000")
        tab.fill("#filter", "")

        tab.evaluate("drawAll()")
        lines = "document.querySelector('[data-curve=val_accuracy]').data.length"
        before = tab.evaluate(lines)
        tab.click("#rows input:not(:checked):enabled >> nth=0")
        tab.locator("#curves").scroll_into_view_if_needed()
        until(tab, f"{lines} === {before + 2}")  # training and validation
        tab.click("#rows tr:nth-child(1) td:nth-child(3) button")
        assert "learning_rate" in tab.text_content("dialog[open]")
        tab.keyboard.press("Escape")
        tab.select_option("#contours select", index=1)
        assert len(tab.query_selector_all("#contours figure:not([hidden]) .main-svg")) > 0
        screenshot(tab, "light.png")

        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        tab.click("#theme")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
        screenshot(tab, "dark.png")

        tab.set_viewport_size({"width": 360, "height": 740})
        until(tab, "document.documentElement.scrollWidth <= 360")
        until(tab, "document.querySelector('#history .main-svg').clientWidth <= 360")
        screenshot(tab, "phone.png")
        pdf = tab.pdf(path=Path(os.environ.get("CNN_SWEEP_ARTIFACTS") or tmp_path) / "print.pdf")
        assert len(pdf) > 20_000
        drawn = "document.querySelector('#parallel .plot').layout.shapes.map((one) => one.path).join('')"
        assert tab.evaluate(f"{drawn}.match(/M/g).length") == 900
        assert tab.evaluate(f"{drawn}.match(/L/g).length") == 900 * 4


def test_five_thousand_trials_open_in_three_seconds(browser, written):
    """From the moment that the browser is told to open the file, by its own clock, to a leaderboard to work with."""
    report = written_page(written.study(trials=5_000, epochs=3))
    seconds = []
    for _ in range(3):
        with opened(browser, report, fresh=True) as tab:
            seconds.append([float(tab.get_attribute("html", f"data-{name}")) / 1000 for name in ("ready", "figures")])
        if min(seconds)[0] < 3:
            break
    usable, whole = min(seconds)
    print(f"5,000 trials: {usable:.2f} s to the leaderboard, {whole:.2f} s to the figures")
    assert usable < 3


@pytest.mark.parametrize("state", ["running", "failed", "waiting"])
def test_a_report_of_nothing_says_so(browser, written, state):
    """Without any complete trial the answer says so, and the sections that would be empty are named, not there."""
    report = written_page(written.study(trials=4, epochs=0 if state == "running" else 2, states=(state,)))
    with opened(browser, report, draw=True) as tab:
        there = {section.get_attribute("id") for section in tab.query_selector_all("main section")}
        assert there >= {"answer", "study", "provenance"}
        assert not there & {"history", "curves", "parallel", "slices", "contours", "pareto"}
        assert len(tab.query_selector_all("nav a")) == len(there)
        said = "No trial is complete: 4 failed." if state == "failed" else "No trial is complete yet."
        assert said in tab.text_content("#answer")
        assert "Trade-offs" in tab.text_content("footer")
        assert said in tab.text_content("footer")
        assert tab.query_selector("#answer h3:text('What matters')") is None


def test_repeats_make_rows_of_configurations(browser, written):
    """The answer fits the first screen; rows, curves and comparisons are of configurations, or of trials on request."""
    findings = some_findings("learning_rate", "filters", "optimizer")
    data = replace(gathered(written.study(trials=60, configurations=12)), findings=findings)
    file = Path(written.results) / "page.html"
    file.write_text(page(data), encoding="utf-8")
    with opened(browser, file) as tab:
        tab.set_viewport_size({"width": 1280, "height": 800})
        headings = [heading.text_content() for heading in tab.query_selector_all("#answer h3")]
        assert headings == ["Best", "Is it really better?", "What matters", "What next", "Cost"]
        assert tab.evaluate("document.querySelector('.cards').getBoundingClientRect().bottom") <= 800
        ranked = data.configurations.rows
        assert [float(mean) for mean in column(tab, "mean")] == pytest.approx([row["mean"] for row in ranked], abs=5e-5)
        assert len({len(mean) for mean in column(tab, "mean")}) == 1  # aligned at their points
        tied = sum(row["tied"] for row in ranked)
        assert len(tab.query_selector_all("#rows tr.best, #rows tr.tied")) == tied
        assert len(tab.query_selector_all("#rows td.barred")) == len(ranked)

        tab.evaluate("drawAll()")
        # The middle of all trials is of none in particular.
        bands = "document.querySelector('[data-curve=val_accuracy]').data.filter(({ meta }) => meta !== undefined)"
        assert tab.evaluate(f"{bands}.filter((one) => one.fill === 'tonexty').length") == 4
        first = [one for one in data.board.rows if one["configuration"] == ranked[0]["configuration"]]
        last = f"{bands}.find((one) => one.meta === {ranked[0]['trial']} && one.name).y.at(-1)"
        assert tab.evaluate(last) == pytest.approx(sum(row["val_accuracy"] for row in first) / 5, abs=1e-5)

        assert not tab.is_disabled("#compare")
        tab.click("#untick")
        assert tab.is_disabled("#compare")
        for place in (1, 2):
            tab.check(f"#rows tr:nth-child({place}) input")
        tab.click("#compare")
        heads = [th.text_content() for th in tab.query_selector_all("dialog thead th")]
        assert heads == ["", *(f"trial {row['trial']}" for row in ranked[:2])]
        gap = shown(ranked[1]["mean"] - ranked[0]["mean"])
        assert tab.text_content("dialog tr:has(th:text-is('mean')) small")[:7] == gap[:7]
        assert tab.query_selector("dialog .plot .main-svg") is not None
        tab.keyboard.press("Escape")

        tab.select_option("#view", "trials")
        assert tab.text_content("#count").startswith("60 of 60 trials")
        tab.locator("#curves").scroll_into_view_if_needed()
        until(tab, "document.querySelector('[data-curve=val_accuracy]').dataset.drawn === 'yes'")
        assert tab.evaluate(f"{bands}.filter((one) => one.fill === 'tonexty').length") == 0


def test_the_address_keeps_what_is_chosen(browser, written, tmp_path):
    """Filter, order, columns and ticks are there again when the address is opened; the download has those rows."""

    def params(draw):
        return {"filters": 4, "optimizer": draw.choice(["=1+1", "adam"]), "learning_rate": 10 ** draw.uniform(-4, -1)}

    data = gathered(written.study(trials=40, params=params))
    report = written_page(written)
    with opened(browser, report) as tab:
        assert "filters" not in [th.text_content() for th in tab.query_selector_all("#board th")]  # they are all 4
        tab.fill("#filter", "value > > 0.7")
        assert tab.text_content("#place") == "value > > 0.7\n        ^"
        tab.fill("#filter", "value > 0.7")
        assert tab.text_content("#place") == ""
        tab.click("#leaderboard summary")
        tab.check("#columns label:text-is('val_loss') input")
        tab.click("#board th[data-column=learning_rate] button")
        tab.click("#untick")
        tab.check("#rows tr:nth-child(2) input")
        tab.click("nav a[href='#provenance']")
        tab.wait_for_selector("#provenance pre >> nth=0")  # a link opens what is folded, once the event has come
        assert not tab.is_visible("#study table")
        address, ticked = tab.evaluate("location.href"), tab.evaluate("[...chosen]")
        assert "#provenance?filter=value" in address
        before = column(tab, "trial")
        with tab.expect_download() as found:
            tab.click("#download")
        found.value.save_as(tmp_path / "rows.csv")
        tab.goto("about:blank")
        tab.goto(address)
        tab.wait_for_selector("html[data-ready]", state="attached")
        assert tab.input_value("#filter") == "value > 0.7"
        assert column(tab, "trial") == before
        assert "val_loss" in tab.evaluate("columns")
        assert tab.evaluate("[...chosen]") == ticked
    rows = sorted((row for row in data.ranked if row["value"] > 0.7), key=lambda row: row["learning_rate"])
    read = pd.read_csv(tmp_path / "rows.csv")
    assert [str(trial) for trial in read["trial"]] == before == [str(row["trial"]) for row in rows]
    assert read["val_loss"].tolist() == [row["val_loss"] for row in rows]
    assert {*read["optimizer"]} == {"'=1+1", "adam"}


def test_nothing_of_the_data_is_run(browser, written):
    """Hyperparameters, metrics, messages, hosts and file names that are HTML are shown as they are."""

    def params(draw):
        return {"filters": 4, "optimizer": NASTY + draw.choice("ab"), NASTY: draw.choice([NASTY, "x"])}

    written.study(
        trials=30, states=("complete", "complete", "failed"), params=params, sweep=SWEEP, metric="val_accuracy"
    )
    report = written_page(written)
    with opened(browser, report) as tab:
        tab.evaluate("drawAll()")
        assert NASTY + "a" in column(tab, "optimizer")
        tab.fill("#filter", NASTY)
        tab.fill("#filter", f"optimizer == {json.dumps(NASTY + 'a')}")
        assert {*column(tab, "optimizer")} == {NASTY + "a"}
        tab.fill("#filter", "")
        tab.click("#rows tr:nth-child(1) td:nth-child(3) button")
        assert NASTY in tab.text_content("dialog[open]")
        tab.keyboard.press("Escape")
        for place in range(len(tab.query_selector_all("#contours option"))):
            tab.select_option("#contours select", index=place)
        holder = tab.query_selector("#parallel .plot")
        holder.scroll_into_view_if_needed()
        holder.hover()
        assert tab.query_selector_all("main img, main b, main script") == []


def test_the_filter_reads_the_language_of_where(browser, written):
    """Each test condition of ``--where`` has the same verdict on the page, and each refusal has a message."""
    judge = """([texts, row]) => {
      for (const name of Object.keys(row)) row[name] = row[name] === "not a number" ? NaN : row[name];
      return texts.map((text) => {
        try { return condition(text, Object.keys(row))(row); } catch (error) { return error.message; }
      });
    }"""
    row = {name: "not a number" if value != value else value for name, value in conditions.ROW.items()}  # noqa: PLR0124
    texts = [text for text, _ in conditions.VERDICTS + conditions.REFUSALS]
    with opened(browser, written_page(written.study(trials=2))) as tab:
        found = dict(zip(texts, tab.evaluate(judge, [texts, row]), strict=True))
    assert {text: found[text] for text, _ in conditions.VERDICTS} == dict(conditions.VERDICTS)
    for text, message in conditions.REFUSALS:
        assert isinstance(found[text], str), text
        assert message in found[text]


def test_the_filter_knows_all_columns_and_all_numbers(browser, written):
    """Columns that the table does not show can be asked for, and NaN is no missing value."""
    written.study(trials=6, states=("complete", "failed"))
    data = gathered(written)
    rows = tuple(row | {"val_loss": math.nan if row["trial"] == 0 else row["val_loss"]} for row in data.board.rows)
    file = Path(written.results) / "page.html"
    file.write_text(page(replace(data, board=replace(data.board, rows=rows))), encoding="utf-8")
    with opened(browser, file) as tab:
        for text, count in (
            ("cause == 'exception' and seed > 2", 2),
            ("val_loss != val_loss", 1),
            ("missing(val_loss)", 3),
            ('like(message, "ValueError*")', 3),
        ):
            tab.fill("#filter", text)
            assert tab.text_content("#problem") == ""
            assert tab.text_content("#count").startswith(f"{count} of 6")


def test_all_links_and_the_switch_can_be_reached(browser, written):
    """Nothing of the navigation lies outside the window, however wide, and the page is never wider than it."""
    with opened(browser, written_page(written.study(trials=12))) as tab:
        tab.evaluate("drawAll()")
        for width in (360, 768, 1280, 1920):
            tab.set_viewport_size({"width": width, "height": 800})
            until(tab, f"document.documentElement.scrollWidth <= {width}")
            places = tab.evaluate(
                "[...document.querySelectorAll('nav a, nav button')].map((e) => e.getBoundingClientRect())"
            )
            assert len(places) == len(tab.query_selector_all("main section")) + 1
            assert all(place["left"] >= 0 and place["right"] <= width and place["width"] > 0 for place in places)


def test_the_dialog_of_a_trial_opens_at_its_beginning(browser, written):
    """Its heading and the button that closes it are seen at once, however many values follow."""
    with opened(browser, written_page(written.study(trials=3))) as tab:
        tab.set_viewport_size({"width": 800, "height": 300})
        tab.click("#rows tr:nth-child(1) td.trial button")
        assert tab.evaluate("document.querySelector('dialog').scrollTop") == 0
        assert tab.evaluate(
            "document.querySelector('dialog').scrollHeight > document.querySelector('dialog').clientHeight"
        )
        tab.click("dialog[open] button")
        assert tab.query_selector("dialog[open]") is None


def test_a_range_in_a_figure_is_a_filter_and_a_filter_shows_in_all_figures(browser, written):
    """A range on an axis joins the filter, in place of one on that axis; what is left out is pale, ticks are marked."""
    history = "document.querySelector('#history [data-figure=history]')"
    with opened(browser, written_page(written.study(trials=60))) as tab:
        tab.evaluate("drawAll()")
        tab.fill("#filter", "filters > 4 or filters == 4")
        drag(tab, "#parallel .plot", axis=1, low=0.7, high=1.0)
        assert tab.input_value("#filter") == '(filters > 4 or filters == 4) and optimizer in ["adam"]'
        drag(tab, "#parallel .plot", axis=1, low=0.0, high=0.3)
        assert tab.input_value("#filter") == '(filters > 4 or filters == 4) and optimizer in ["sgd"]'
        assert "filter=%28filters" in tab.evaluate("location.hash")
        kept = [int(trial) for trial in column(tab, "trial")]
        until(tab, "document.querySelector('#parallel .plot').dataset.drawn === 'yes'")
        strong = "document.querySelector('#parallel .plot').data.flatMap((trace) => trace.customdata)"
        assert set(tab.evaluate(strong)) == {*kept}
        tab.locator("#history").scroll_into_view_if_needed()
        until(tab, f"{history}.dataset.drawn === 'yes'")
        points = tab.evaluate(f"{history}.data[0]")
        assert {points["customdata"][place] for place in points["selectedpoints"]} == {*kept}
        ringed = tab.evaluate(f"{history}.data[1].customdata")
        assert ringed == [
            trial for trial in points["customdata"] if trial in kept and trial in tab.evaluate("[...chosen]")
        ]
        paths = tab.evaluate("linked(DATA.figures.history.data, 10).shapes.map(({ path }) => path.match(/M/g).length)")
        assert paths == [60 - len(kept), len(kept)]  # what is left out first, and so below
        tab.click("#untick")
        until(tab, f"{history}.data.length === 2")
        tab.fill("#filter", "")
        until(tab, f"{history}.data[0].selectedpoints === null")


def test_paper_has_every_column_and_whole_numbers(browser, written):
    """In print, each chosen column of the leaderboard stands on some table that is no wider than the page."""
    with opened(browser, written_page(written.study(trials=12))) as tab:
        tab.click("#leaderboard summary")
        for box in tab.query_selector_all("#columns input:not(:checked)")[:12]:
            box.check()
        names = tab.evaluate("columns")
        tab.emulate_media(media="print")
        tab.evaluate("print(true)")
        parts = "[...document.querySelectorAll('#leaderboard .parts table')]"
        shown = tab.evaluate(f"{parts}.flatMap((t) => [...t.tHead.rows[0].cells].map((c) => c.textContent))")
        assert {*shown} == {*names}
        assert max(tab.evaluate(f"{parts}.map((t) => t.offsetWidth)")) <= 680
        numbers = tab.evaluate(
            "[...document.querySelectorAll('.parts td.number')].map((c) => getComputedStyle(c).whiteSpace)"
        )
        assert {*numbers} == {"nowrap"}
        tab.evaluate("print(false)")
        assert tab.query_selector_all(".parts, .too-wide") == []


def test_figures_are_groups_for_those_who_hear_the_page(browser, written):
    """No picture has controls inside it that one could land on; everything that scrolls can be reached by keyboard."""
    with opened(browser, written_page(written.study(trials=12))) as tab:
        tab.evaluate("drawAll()")
        assert tab.query_selector_all("[role=img] a, [role=img] button, [role=img] [tabindex]") == []
        assert tab.query_selector_all(".scroll:not([tabindex])") == []
