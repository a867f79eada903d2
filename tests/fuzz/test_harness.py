"""The harness sees what it looks for."""

from __future__ import annotations

import re

import pytest
from helpers import fuzzing
from helpers.fuzzing import CORPUS, Found, check_message, finding, fuzz, typed
from hypothesis import strategies as st

from cnn_sweep.errors import InputError


def test_what_is_allowed():
    """Content may be used, or refused by one of the project's own errors."""

    def refuse(_content):
        raise InputError("s.yaml:1: file: empty")

    assert finding(len, b"") is None
    assert finding(refuse, b"") is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("x"), "KeyError at test_harness.py:"),
        (RecursionError(), "RecursionError"),
        (MemoryError(), "MemoryError"),
        (Found("it is odd"), "it is odd"),
        (InputError(""), "not one paragraph"),
        (InputError("one\n\nother"), "not one paragraph"),
        (InputError("a\n" * 200), "200 lines"),
        (InputError("\x1b[31mred"), "control characters"),
    ],
    ids=["KeyError", "RecursionError", "MemoryError", "found", "empty", "paragraphs", "lines", "control"],
)
def test_what_is_found(error, reason):
    """Other exceptions, and messages that a terminal or a reader cannot take."""

    def fail(_content):
        raise error

    assert reason in finding(fail, b"")


def test_time_and_memory(monkeypatch):
    """A target that does not end is ended, also where it catches every exception; growth is measured."""
    monkeypatch.setattr(fuzzing, "LIMIT_S", 0.05)
    monkeypatch.setattr(fuzzing, "LIMIT_MB", 20)

    def hang(_content):
        while True:
            try:
                sum(range(1_000))
            except Exception:  # noqa: BLE001 - as a program may do
                continue

    assert finding(hang, b"") == f"more than {fuzzing.LIMIT_S:g} s"
    monkeypatch.setattr(fuzzing, "_peak_mb", iter([100.0, 150.0]).__next__)
    assert finding(len, b"") == "more than 20 MB"


def test_commands(tmp_path, monkeypatch):
    """A command's exit code, its message and what it prints are looked at."""
    (tmp_path / "s.yaml").write_text("study: 1\n", encoding="utf-8")
    assert typed(tmp_path, "plan", "s.yaml", names=["s.yaml"]).returncode == 2
    with pytest.raises(Found, match=r"does not name other\.yaml"):
        typed(tmp_path, "plan", "s.yaml", names=["other.yaml"])
    monkeypatch.setattr(fuzzing, "EXIT_CODES", (0, 1))
    with pytest.raises(Found, match="`plan` ended with 2"):
        typed(tmp_path, "plan", "s.yaml")
    with pytest.raises(Found):
        check_message("a\x9b")


def test_findings_are_kept(tmp_path, monkeypatch):
    """All findings of a target are reported at once, and the shortest content of each is left in a file."""
    monkeypatch.setattr(fuzzing, "FOUND", tmp_path)
    monkeypatch.setattr(fuzzing, "TALLIES", [])
    monkeypatch.delenv("CNN_SWEEP_FUZZ", raising=False)

    def fail(content):
        raise ValueError if content > b"m" else KeyError

    with pytest.raises(AssertionError) as error:
        fuzz("letters", fail, st.binary(min_size=1, max_size=9), few=50, share=1)
    files = re.findall(r"^(?:AssertionError: )?(\S+): (?:KeyError|ValueError) at", str(error.value), re.MULTILINE)
    assert sorted(map(str, (tmp_path / "letters").iterdir())) == sorted(files)
    assert len(files) == 2


def test_the_corpus_is_small():
    """Each run of the tests reads all of it: no file is larger than 20 kB."""
    assert [file for file in CORPUS.rglob("*") if file.is_file() and file.stat().st_size > 20_000] == []
