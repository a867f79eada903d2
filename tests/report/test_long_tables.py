"""A long leaderboard is shortened on the terminal, but not in formats for programs."""

from __future__ import annotations

from typer.testing import CliRunner

from cnn_sweep.cli.main import app


def _lines(results, *words):
    """Type ``leaderboard``; return its lines and what it says beside them."""
    done = CliRunner().invoke(app, ["leaderboard", "digits", *words, "--results", str(results)])
    assert done.exit_code == 0, done.output
    return done.stdout.strip().splitlines(), done.stderr


def test_a_long_table_is_cut_and_says_so(written):
    """The first 100 of 130 rows and two lines above them, with the way to the others."""
    lines, said = _lines(written.study(trials=130).results)
    assert len(lines) == 2 + 100
    assert "the first 100 rows" in said


def test_what_is_asked_for_comes_whole(written):
    """A number that is given, and forms for programs, are not cut."""
    written.study(trials=130)
    for words, expected in ((("--top", "120"), 2 + 120), (("--format", "csv"), 1 + 130)):
        lines, said = _lines(written.results, *words)
        assert len(lines) == expected
        assert not said
