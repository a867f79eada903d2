"""The documentation can be followed: what it asks readers to type works, in order, in a clean folder."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from helpers.pages import DOCS, SHOWN, blocks, pages, predecessor, run_page

from cnn_sweep.sweep.sweep import Sweep

pytestmark = pytest.mark.timeout(900)

ALL = [block for page in pages() for block in blocks(page)]
NEEDS = ("time",) if os.environ.get("CNN_SWEEP_ALL_BLOCKS") else ()
RUNS = [page for page in pages() if any(b.language in ("sh", "python") and b.mark != "not run" for b in blocks(page))]
FROM_R = "how-to/from-r.md"  # tests/r runs this page
REST = {
    "study": "study: copied",
    "data": "data: {source: digits}",
    "model": "model: {layers: [{conv2d: {filters: $filters, kernel_size: 3}}, {dropout: $dropout}, flatten, output]}",
    "training": "training: {epochs: 1, optimizer: {name: $optimizer, learning_rate: $learning_rate}}",
}
CHOICES = {"filters": [8, 10, 50], "dropout": [0.0, 0.25], "optimizer": ["adam", "sgd"], "learning_rate": [0.001, 0.01]}
FRAGMENTS = [block for block in ALL if block.language == "yaml" and block.mark not in ("not run", "mistake")]


@pytest.fixture(scope="module")
def left_by(tmp_path_factory):
    """A function that runs a page once, and returns the folder that it left."""

    @functools.cache
    def run(page: str) -> Path:
        folder = tmp_path_factory.mktemp(Path(page).stem)
        if before := predecessor(page):
            shutil.copytree(run(before), folder, dirs_exist_ok=True)
        run_page(page, folder, needs=NEEDS)
        return folder

    return run


@pytest.mark.parametrize("page", RUNS)
def test_what_a_page_asks_for_works(page, left_by):
    """Every block of a page runs, in order, in a folder that holds nothing but what the page made."""
    assert left_by(page).is_dir()


@pytest.mark.parametrize("block", FRAGMENTS, ids=str)
def test_a_sweep_file_in_the_documentation_has_no_mistakes(block):
    """Each example, with the sections that it leaves out, is read as a sweep file."""
    given = re.findall(r"^(\w+):", block.code, re.MULTILINE)
    whole = "study" in given
    text = "\n".join([block.code, *(text for key, text in REST.items() if not whole and key not in given)])
    used = {name: values for name, values in CHOICES.items() if f"${name}" in text}
    space = "" if whole or "space" in given else f"\nspace: {json.dumps(used)}"
    assert Sweep.parse(text + space)


def test_every_block_runs_or_says_why_not():
    """A block has a language, and one that is not run says the reason; no block is made by indentation alone."""
    known = SHOWN | {"sh", "python", "yaml", "toml", "json"}
    for block in ALL:
        assert block.language in known, f"{block}: no language"
        assert block.mark in ("", "not run", "needs", "exit code", "output", "mistake"), f"{block}: {block.mark}"
        assert block.mark != "needs" or block.value in ("slurm", "time"), f"{block}: {block.value}"
        assert block.mark != "not run" or len(block.value) > 8, f"{block}: no reason"
    for page in set(pages()) - {FROM_R}:
        text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"\n\n    \S", text), f"docs/{page} has a block that is only indented"


def test_a_page_continues_one_that_is_there():
    """The page whose folder another page starts in exists."""
    for page in pages():
        before = predecessor(page)
        assert before is None or before in RUNS, page


def test_a_block_that_fails_names_its_page_and_line(tmp_path, monkeypatch):
    """Whoever breaks a page reads where."""
    monkeypatch.setattr("helpers.pages.DOCS", tmp_path)
    (tmp_path / "page.md").write_text("# Page\n\n```sh\nfalse\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"docs/page.md:3: exit code 1"):
        run_page("page.md", tmp_path)


def test_an_output_that_differs_is_found(tmp_path, monkeypatch):
    """A page cannot show what its commands do not print."""
    monkeypatch.setattr("helpers.pages.DOCS", tmp_path)
    text = "```sh\necho one two\n```\n\n<!-- output -->\n```text\n{}\n```\n"
    for shown, right in (("one … two", True), ("one three", False)):
        (tmp_path / "page.md").write_text(text.format(shown), encoding="utf-8")
        if right:
            run_page("page.md", tmp_path)
        else:
            with pytest.raises(AssertionError, match="not printed: one three"):
                run_page("page.md", tmp_path)
