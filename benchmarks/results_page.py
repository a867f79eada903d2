"""The page of results: one section a benchmark, which a new run replaces."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).with_name("RESULTS.md")
_TITLE = """# Results of the benchmarks

Each section is written by its benchmark; `make bench-all` runs all of them but the searches (`make bench-search`,
`make bench-search-trained`, `make bench-time-to-target`) and the simulations (`make bench-repeats`, `make bench-folds`,
`make bench-bias`), and `make bench` those of what a sweep costs.
"""
_PACKAGES = ("tensorflow", "keras", "optuna", "sqlalchemy")


def write_section(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "", quick: bool = False
) -> None:
    """Print a table, and put it into the page under its title in place of an older one.

    Args:
        title: Heading of the section.
        header: Names of the columns.
        rows: Cells; the first column is left-aligned, the others right.
        note: What stands below the table.
        quick: Whether the figures are those of a short cut: the page is left alone, and cells are easy to split.
    """
    if quick:
        print(*(" | ".join(row) for row in (header, *rows)), note, sep="\n")
        return
    text = "\n\n".join(part for part in (_table(header, rows), note, _circumstances()) if part)
    print(text)
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else _TITLE
    section = f"\n## {title}\n\n{text}\n"
    old = re.compile(rf"\n## {re.escape(title)}\n.*?(?=\n## |\Z)", re.DOTALL)
    page = old.sub(lambda _: section, page) if old.search(page) else page + section
    PAGE.write_text(page, encoding="utf-8")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    first, *others = widths
    line = "|".join(["", "-" * (first + 2), *("-" * (width + 1) + ":" for width in others), ""])
    return "\n".join([_row(header, widths), line, *(_row(row, widths) for row in rows)])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"


def _circumstances() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    machine = f"{len(os.sched_getaffinity(0))} cores ({_processor()})"
    return f"{time.strftime('%Y-%m-%d')}, {machine}, Python {platform.python_version()}, {versions}."


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    vectors = next((name for name in ("avx512f", "avx2") if name in found.get("flags", "").split()), "")
    return ", ".join(filter(None, (platform.machine(), found.get("model name"), vectors)))
