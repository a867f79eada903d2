"""The report for those who read it with a screen reader, a keyboard or weak eyes, as axe judges it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.browser import opened
from helpers.sweeps import sweep_of_digits
from helpers.written import some_findings

from cnn_sweep.report.document.html import SECTIONS, page
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.report_data import gather
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study

SWEEP = sweep_of_digits("""\
space: {{filters: [4, 8, 16], optimizer: [sgd, adam], learning_rate: {{low: 0.0001, high: 0.1, log: true, points: 3}}}}
training: {{epochs: 9, optimizer: {{name: $optimizer, learning_rate: $learning_rate}}}}
pruner: {{asha: {{min_epochs: 1, reduction: 3}}}}
""")


def _best_model():
    """The predictions of a model that is right on most images of two classes."""
    bins = Table(("mean", "accuracy"), ({"images": 30, "mean": 0.8, "accuracy": 0.7, "low": 0.6, "high": 0.8},))
    calibration = SimpleNamespace(temperature=1.2, error=(0.1, 0.05), bins=bins, scaled_bins=bins, is_at_bound=False)
    mistake = SimpleNamespace(true="cat", predicted="dog", probability=0.9, name="cat/7.png")
    return SimpleNamespace(
        trial=3,
        images=30,
        wrong=2,
        class_names=("cat", "dog"),
        counts=np.array([[13, 2], [0, 15]]),
        classes=Table(("class", "recall"), ({"class": "cat", "recall": 13 / 15}, {"class": "dog", "recall": 1.0})),
        calibration=calibration,
        mistakes=(mistake,),
        mistaken=np.zeros((1, 8, 8, 1), np.uint8),
    )


@pytest.fixture
def report(written):
    """A report with all sections."""
    written.study(trials=20, epochs=9, states=("complete",) * 4 + ("failed",), sweep=SWEEP)
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    data = replace(
        gather(StoreReader(written.results), "digits", board),
        findings=some_findings("learning_rate", "filters", "optimizer"),
        best_model=_best_model(),
        efficiency=Table(("measure", "asked", "used"), ({"measure": "cores", "asked": 8, "used": 2.5},), ("a note",)),
    )
    file = Path(written.results) / "digits.html"
    file.write_text(page(data), encoding="utf-8")
    return file


def test_axe_finds_no_fault_in_a_report(browser, report):
    """All sections with their figures, what is folded, a complaint and a dialog: light and dark, by axe's rules."""
    script = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT
    with opened(browser, report, draw=True, color_scheme="light") as tab:
        there = [section.get_attribute("id") for section in tab.query_selector_all("main section")]
        assert there == [name for name, _ in SECTIONS]
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        tab.evaluate(script)
        tab.fill("#filter", "value > > 1")
        for theme in ("light", "dark"):
            assert tab.get_attribute("html", "data-theme") == theme
            assert _faults(tab, "document") == []
            tab.click("#rows tr:nth-child(1) td.trial button")
            assert _faults(tab, "'dialog'") == []
            tab.keyboard.press("Escape")
            tab.click("#theme")


def _faults(tab, what):
    """Return each rule that is broken in a part of the page, with the elements that break it."""
    found = tab.evaluate(f"axe.run({what})")
    assert len(found["passes"]) > 5
    return [(one["id"], one["help"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]
