"""The documentation as a site: it is complete, has no dead link, and needs nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from cnn_sweep.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Links(HTMLParser):
    """Collects what a page refers to, and what it can be referred to by."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.anchors |= {named["id"]} if named.get("id") else set()
        if tag == "a" and named.get("href"):
            self.links.add(named["href"])
        elif tag in ("script", "img", "iframe"):
            self.fetched |= {named["src"]} if named.get("src") else set()
        elif tag == "link" and named.get("rel") in ("stylesheet", "icon", "preconnect"):
            self.fetched.add(named["href"])


def test_no_link_is_dead(site):
    """Each link within the site leads to a file, and each anchor to a heading of it."""
    read = {page: _Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(read) > 30
    for page, found in read.items():
        for link in found.links | found.fetched:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file(), f"{page.name}: {link}"
            if parts.fragment and target in read:
                assert unquote(parts.fragment) in read[target].anchors, f"{page.name}: {link}"


def test_pages_fetch_nothing_from_elsewhere(site):
    """Scripts, styles, fonts and pictures are part of the site, and no page has a diagram that a script would draw."""
    for page in site.rglob("*.html"):
        elsewhere = {link for link in _Links(page).fetched if urlsplit(link).netloc}
        assert not elsewhere, page
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8"), page


def test_search_finds_pages(site):
    """The site has a search box and an index of all pages."""
    assert 'data-md-component="search-query"' in (site / "index.html").read_text(encoding="utf-8")
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"] if "promoted" in entry["text"]}
    assert "reference/search.html" in found


def test_the_site_describes_every_command(site):
    """The reference of commands is written from the program."""
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f'id="cnn-sweep-{name}"' in page


def test_links_work_in_the_plain_files_too():
    """Who reads the Markdown files in a checkout can follow every link."""
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not urlsplit(link).scheme and (path := link.partition("#")[0]):
                assert (page.parent / path).exists(), f"{page.relative_to(ROOT)}: {link}"
