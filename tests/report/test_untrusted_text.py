"""Text that somebody else chose stays text in CSV, spreadsheets, Markdown, LaTeX and HTML."""

from __future__ import annotations

import io
import json
import logging
from html import unescape

import pandas as pd
import pytest
from helpers.typed import typed_here
from markdown_it import MarkdownIt

from cnn_sweep.csv_tables import is_formula
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.leaderboards.formats import to_csv, to_html, to_latex, to_markdown, to_spreadsheet
from cnn_sweep.report.leaderboards.leaderboard import Table

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1+1", "\uff1d1+1", "=1", "-x"]
PLAIN = ["adam", "-", "-0.5", "+3", "-1e-5", "-inf", "", "a=b", 'say "hi", x', "two\nlines", "a\rb", "'quoted"]
MARKS = [
    *("[x](javascript:alert(1))", "![x](http://example.org/seen.png)", "<script>alert(1)</script>", "`code`", "a|b"),
    *("*strong*", "__strong__", "_x_", "[ref]: http://example.org", "<http://example.org>", "\\[x\\](y)", "&copy;"),
    "a_b_c",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_is_known_as_a_formula(text):
    """Text that begins with a sign by which spreadsheets know formulas is one."""
    assert is_formula(text)


@pytest.mark.parametrize("value", [*PLAIN, -0.5, -3, None, True])
def test_numbers_and_ordinary_text_are_no_formulas(value):
    """Negative numbers stay numbers, also as text; a lone sign is text."""
    assert not is_formula(value)


def test_csv_has_every_text_as_it_is():
    """Pandas reads from CSV the texts and numbers that were written, also with quotes, newlines and formulas."""
    texts = [text for text in (*FORMULAS, *PLAIN, *MARKS) if text]
    table = Table(("text", "number"), tuple({"text": text, "number": -0.5} for text in texts))
    read = pd.read_csv(io.StringIO(to_csv(table), newline=""), dtype={"text": str}, keep_default_na=False)
    assert read["text"].tolist() == texts
    assert (read["number"] == -0.5).all()


def test_a_spreadsheet_gets_formulas_as_text_and_numbers_as_numbers():
    """`--format spreadsheet` puts an apostrophe before formulas, in headings too, and changes nothing else."""
    rows = tuple({"=h": text, "n": -0.5} for text in (*FORMULAS, "adam", "-0.5"))
    read = pd.read_csv(io.StringIO(to_spreadsheet(Table(("=h", "n"), rows)), newline=""), dtype={"'=h": str})
    assert read["'=h"].tolist() == [*(f"'{text}" for text in FORMULAS), "adam", "-0.5"]
    assert (read["n"] == -0.5).all()


@pytest.mark.parametrize("text", MARKS)
def test_markdown_shows_the_text_itself(text):
    """No link, image, tag, code or emphasis comes from a cell."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(to_markdown(Table(("a",), ({"a": text},))))
    inside = html.partition("<td>")[2].partition("</td>")[0]
    assert "<" not in inside
    assert unescape(inside) == text


@pytest.mark.parametrize("text", ["\\input{/etc/passwd}", "\\immediate\\write18{id}", "a_b^c~d%e#f$g&h{i}", "[4pt]"])
def test_latex_gets_no_command_from_a_cell(text):
    """Every character that LaTeX treats specially is escaped, so that a value is typeset and not run."""
    row = to_latex(Table(("a",), ({"a": text},))).splitlines()[4]
    for known in ("\\textbackslash{}", "\\textasciitilde{}", "\\textasciicircum{}", " \\\\", "{}["):
        row = row.replace(known, "")
    for special in "_%#$&{}":
        row = row.replace(f"\\{special}", "")
    assert not set(row) & set("\\_%#$&{}~^")


def test_html_shows_the_text_itself():
    """Every value is escaped."""
    html = to_html(Table(("<b>",), ({"<b>": '<img src=x onerror="alert(1)">'},)))
    assert "<img" not in html
    assert "<b>" not in html


def test_a_table_with_formulas_is_written_with_a_warning(written):
    """CSV keeps the text, and standard error says how many texts a spreadsheet would run and what avoids it."""
    written.study(trials=2, params=lambda draw: {"filters": 4, "optimizer": "=1+1", "learning_rate": 0.1})
    environment = {"CNN_SWEEP_RESULTS": str(written.results)}
    done = typed_here(("leaderboard", "digits", "--format", "csv"), written.results.parent, environment)
    assert "2 texts begin like a formula, which a spreadsheet would run; `--format spreadsheet`" in done.stderr
    assert ",=1+1," in done.stdout
    done = typed_here(("leaderboard", "digits", "--format", "spreadsheet"), written.results.parent, environment)
    assert done.stderr == ""
    assert ",'=1+1," in done.stdout


def test_an_export_with_formulas_is_written_with_a_warning(written, tmp_path, caplog):
    """`export --to csv` warns in the same way, and `--to spreadsheet` writes them as text."""
    written.study(trials=2, params=lambda draw: {"filters": 4, "optimizer": "=1+1", "learning_rate": 0.1})
    environment = {"CNN_SWEEP_RESULTS": str(written.results)}
    with caplog.at_level(logging.WARNING):
        typed_here(("export", "digits", "out", "--to", "csv"), tmp_path, environment)
    assert "trials.csv: 2 texts begin like a formula" in caplog.text
    assert ",=1+1" in (tmp_path / "out" / "trials.csv").read_text(encoding="utf-8")
    done = typed_here(("export", "digits", "out", "--to", "spreadsheet"), tmp_path, environment)
    assert done.returncode == 0
    assert ",'=1+1" in (tmp_path / "out" / "trials.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_a_report_names_changed_files_and_tells_no_secret(written, tmp_path, form):
    """What was changed since the commit stays in the study's folder; the command line is told without secrets.

    So it is with studies of earlier versions, which recorded all of both.
    """
    written.study(trials=2)
    file = StudyPaths(written.results, "digits").provenance
    found = json.loads(file.read_text(encoding="utf-8"))
    found["command"] = "cnn-sweep run a.yaml --notify https://hooks.example.org/S3CRET"
    found["git"] = {"sha": "0123abcd", "diff": "diff --git a/.env b/.env\n+PLAIN=S3CRET\ndiff --git a/n.py b/n.py\n"}
    file.write_text(json.dumps(found), encoding="utf-8")
    words = ("report", "digits", "--format", form, "--output", "r", "--no-predictions")
    done = typed_here(words, tmp_path, {"CNN_SWEEP_RESULTS": str(written.results)})
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r").read_text(encoding="utf-8")
    assert "S3CRET" not in text
    assert "0123abcd, with changes in 2 files: .env, n.py" in text
    assert "cnn-sweep run a.yaml --notify" in text
