"""The report and the live page in Firefox, as far as another browser may draw, lay out or run them differently."""

from __future__ import annotations

import pytest
from helpers.browser import column, drag, opened, read, until
from helpers.report_pages import written_page
from helpers.written import Written

pytestmark = pytest.mark.parametrize("browser", ["firefox"], indirect=True)


@pytest.fixture(scope="module")
def tab(browser, tmp_path_factory):
    """A report of 100 trials, opened from the disk; what it logs, raises or is forbidden is a failure at the end."""
    written = Written(tmp_path_factory.mktemp("results"))
    written.study(trials=100, states=("complete",) * 9 + ("failed",))
    with opened(browser, written_page(written), color_scheme="light") as tab:
        yield tab


@pytest.fixture(autouse=True)
def _whole(tab):
    """Tests begin with all rows."""
    tab.evaluate("$('filter').value = ''; select()")


@pytest.fixture
def paper(tab):
    """The page as it is in print, on the screen, because playwright cannot ask Firefox for paper."""
    rule = "[...document.styleSheets[0].cssRules].find((rule) => /print|all/.test(rule.media?.mediaText)).media"
    tab.evaluate("board.names.slice(0, 20).forEach((name) => show(name, true))")
    tab.evaluate(f"print(true); {rule}.mediaText = 'all'")
    yield tab
    tab.evaluate(f"{rule}.mediaText = 'print'; print(false)")


def test_the_leaderboard_is_sorted_and_filtered(tab):
    """By a click; a condition keeps its rows, is in the address, and one that cannot be read is said to be so."""
    tab.click("#board th[data-column=parameters] button")
    assert column(tab, "parameters") == sorted(column(tab, "parameters"), key=int)
    heights = tab.evaluate("[...$('rows').rows].map((row) => row.getBoundingClientRect().height)")
    assert all(height.is_integer() for height in map(float, heights))  # else lines of cells that stay in sight vanish
    tab.fill("#filter", 'value > 0.7 and optimizer == "adam"')
    assert {*column(tab, "optimizer")} == {"adam"}
    rows = column(tab, "trial")
    tab.evaluate("$('rows').replaceChildren(); restore()")  # what opening the address does
    assert column(tab, "trial") == rows
    tab.fill("#filter", "acuracy > 1")
    assert "all rows are shown: unknown column 'acuracy'" in tab.text_content("#problem")
    assert tab.text_content("#count").startswith("100 of 100")


def test_all_figures_are_drawn(tab):
    """Each visible one has a drawing of some size; the history has the axis that is chosen."""
    tab.evaluate("drawAll()")
    sizes = """holders().filter(isVisible).map((holder) => {
      const { width, height } = holder.querySelector(".main-svg").getBoundingClientRect();
      return Math.min(width, height);
    })"""
    found = tab.evaluate(sizes)
    assert len(found) > 5
    assert min(found) > 100
    assert tab.evaluate("document.querySelectorAll('#history [data-figure=history] .scatterlayer .point').length") > 90
    tab.select_option("#history select", "history-time")
    title = "document.querySelector('#history [data-figure=history-time] .xtitle').textContent"
    assert tab.evaluate(title) == "minutes since the first trial began"


def test_a_range_of_the_parallel_coordinates_is_a_filter(tab):
    """Dragging across an axis makes the condition."""
    tab.evaluate("drawAll()")
    drag(tab, "#parallel .plot", axis=1, low=0.7, high=1.0)
    assert tab.input_value("#filter") == 'optimizer in ["adam"]'


def test_a_tick_draws_a_curve_and_ticked_trials_are_compared(tab):
    """Training and validation of one more trial; a table and a figure of two; dialogs close with Escape."""
    curves = "document.querySelector('[data-curve=val_accuracy]')"
    tab.click("#untick")
    tab.evaluate(f"draw({curves})")
    before = tab.evaluate(f"{curves}.data.length")
    for place in (1, 2):
        tab.check(f"#rows tr:nth-child({place}) input")
    tab.locator("#curves").scroll_into_view_if_needed()
    until(tab, f"{curves}.data.length === {before + 4}")
    tab.click("#compare")
    assert tab.text_content("dialog[open] h2") == "Comparison of 2 trials"
    assert tab.query_selector("dialog .plot .main-svg") is not None
    tab.keyboard.press("Escape")
    tab.click("#rows tr:nth-child(1) td.trial button")
    assert "learning_rate" in tab.text_content("dialog[open]")
    tab.keyboard.press("Escape")
    assert tab.query_selector("dialog[open]") is None


def test_the_theme_is_switched(tab):
    """The page and its figures become dark, and light again."""
    colours = "[document.body, $('answer')].map((one) => getComputedStyle(one)).map((own) => own.backgroundColor)[0]"
    for colour in ("rgb(20, 24, 29)", "rgb(255, 255, 255)"):
        tab.click("#theme")
        assert tab.evaluate(colours) == colour


def test_the_page_is_never_wider_than_the_window(tab):
    """Not on a telephone, nor on a wide screen."""
    for width in (360, 768, 1200):
        tab.set_viewport_size({"width": width, "height": 900})
        until(tab, f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")


def test_paper_has_every_column(paper):
    """No table is wider than the page, nor is a number cut."""
    tables = "[...document.querySelectorAll('main table')].filter((one) => one.offsetParent)"
    parts = "[...document.querySelectorAll('#leaderboard .parts table')]"
    shown = paper.evaluate(f"{parts}.flatMap((one) => [...one.tHead.rows[0].cells].map((cell) => cell.textContent))")
    assert {*shown} == {*paper.evaluate("columns")}
    assert max(paper.evaluate(f"{tables}.map((one) => one.getBoundingClientRect().right)")) <= 680
    cells = f"{tables}.flatMap((one) => [...one.querySelectorAll('td.number')])"
    assert paper.evaluate(f"{cells}.filter((one) => one.scrollWidth > one.clientWidth).length") == 0


def test_figures_on_paper_have_headings_and_no_buttons(paper):
    """A heading takes room for its figure along, so that it is not left behind on the page before."""
    assert paper.evaluate("[...document.querySelectorAll('.modebar')].filter((one) => one.offsetParent).length") == 0
    room = """[...document.querySelectorAll("section:has(figure)")].map((section) => [
      parseFloat(getComputedStyle(section.querySelector("h2"), "::after").height),
      [...section.querySelectorAll("figure")].find((one) => one.offsetParent).offsetHeight,
    ])"""
    assert all(kept >= figure for kept, figure in paper.evaluate(room))


def test_the_page_is_printed(tab):
    """As a PDF, by Firefox itself; then the screen is as before."""
    pdf = tab.pdf(width="21in", height="29.7in")  # playwright gives Firefox inches where it wants centimetres
    assert len(pdf) > 20_000
    assert tab.query_selector_all(".parts, .too-wide, .printing") == []


def test_a_live_page_is_renewed_where_the_reader_is(live):
    """New trials come in; filter, ticks, zooms and scroll positions stay."""
    tab = live.tab
    ticked = read(tab)
    until(tab, "!$('more').offsetParent")  # all rows are there, so nothing above moves any more
    tab.evaluate("$('curves').scrollIntoView()")
    before = tab.evaluate("$('curves').getBoundingClientRect().top")
    live.renew()
    assert " of 120 trials" in tab.text_content("#count")
    assert tab.input_value("#filter") == "value > 0.3 "
    assert tab.evaluate("[...chosen]") == ticked
    assert tab.evaluate("$('board').parentElement.scrollTop") == 300
    assert abs(tab.evaluate("$('curves').getBoundingClientRect().top") - before) < 2
    assert tab.evaluate("document.querySelector('[data-curve=val_accuracy]').layout.xaxis.range") == [1, 2]


def test_a_live_page_without_a_writer_turns_amber(live):
    """After three intervals."""
    live.renew()
    live.tab.evaluate("writtenAt = Date.now() - 1_900_000; tellAge()")
    assert "nobody has renewed this page" in live.tab.text_content("#age")
    assert live.tab.evaluate("getComputedStyle($('age')).backgroundColor") == "rgb(255, 200, 87)"


def test_the_small_page_is_as_wide_as_a_telephone(browser, live):
    """Whatever the texts are; nothing of them is run."""
    with browser.new_context(viewport={"width": 390, "height": 800}, offline=True) as context:
        tab = context.new_page()
        tab.goto(live.page.file.with_name("phone.html").as_uri())
        assert "105 of 120 trials" in tab.text_content("main")
        assert tab.evaluate("window.pwned") is None
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
