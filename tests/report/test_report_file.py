"""Which files a report replaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnn_sweep.cli.commands.report import ReportFormat, report
from cnn_sweep.errors import InputError
from cnn_sweep.report.document.report_file import write_report
from cnn_sweep.study import Study


def _write(written, study, file, form):
    report(study, file, ReportFormat(form), predictions=False, results=written.results)


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_a_report_replaces_no_other_studys_report(written, tmp_path, form):
    """An earlier report of the same study is replaced; another study's is refused before anything is written."""
    written.study("first", trials=2).study("second", trials=2)
    file = tmp_path / "page"
    file.touch()  # as mktemp leaves it
    for _ in range(2):
        _write(written, "first", file, form)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"page is a report of 'first', .*`cnn-sweep report second --output"):
        _write(written, "second", file, form)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["page"]


def test_a_report_replaces_no_file_of_another_kind(written, tmp_path):
    """A file that no report wrote is refused, from Python as well."""
    written.study(trials=2)
    file = tmp_path / "digits.html"
    file.write_text("<!DOCTYPE html><title>My page</title>", encoding="utf-8")
    with pytest.raises(InputError, match="was written by no report"):
        Study.open(written.results, "digits").report(file)
    assert "My page" in file.read_text(encoding="utf-8")


def test_reports_of_earlier_versions_are_known(tmp_path):
    """A report is recognised by its title or its first heading alone."""
    for name, text in (("old.html", "<title>digits: sweep report</title>"), ("old.md", "# digits\n\n## Summary\n")):
        file = Path(tmp_path / name)
        file.write_text(text, encoding="utf-8")
        write_report(file, "new", study="digits")
        assert file.read_text(encoding="utf-8") == "new"
