"""Pages of the documentation as what they ask a reader to do: their code blocks, in order.

A page is run as a reader would: top to bottom, in one folder. What a block needs stands in the page's source:

- ```` ```yaml title="beans.yaml" ```` writes the block to that file; readers see the name above the block.
- ``<!-- continues: tutorials/digits.md -->`` starts a page in the folder that another page left.
- ``<!-- not run: it opens a browser -->`` before a block says why the block is not run.
- ``<!-- needs: slurm -->`` before a block leaves it to the tests on a cluster, ``<!-- needs: time -->`` to
  ``make docs-test``.
- ``<!-- mistake: a wrong key -->`` before a sweep file says that it has one.
- ``<!-- exit code: 2 -->`` before a block says how its last command ends; 0 if there is no such line.
- ``<!-- output -->`` before a block says that the block above printed these lines. ``…`` stands for any text, and a
  number with a point for any number, because processors round differently and seconds vary.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = {"console", "html", "r", "tcl", "text"}  # languages of blocks that show something; R has tests of its own
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*?) -->\n+)?"
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: The page, relative to the documentation.
        line: Line of the page at which it begins.
        language: Language of the block, such as ``sh``; empty if it has none.
        title: File that the block is the text of, or None.
        mark: Kind of the comment before the block (``needs``), or an empty text.
        value: What the comment says (``slurm``).
        code: The text of the block.
    """

    page: str
    line: int
    language: str
    title: str | None
    mark: str
    value: str
    code: str

    def __str__(self) -> str:
        return f"docs/{self.page}:{self.line}"


def pages() -> list[str]:
    """Return the pages of the documentation, relative to it."""
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        mark, _, value = (match["mark"] or "").partition(": ")
        line = text.count("\n", 0, match.start("code"))
        found.append(Block(page, line, match["language"], match["title"], mark, value, match["code"]))
    return found


def predecessor(page: str) -> str | None:
    """Return the page whose folder a page continues in, or None."""
    match = re.search(r"^<!-- continues: (\S+) -->$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else None


def run_page(page: str, folder: Path, *, extra: dict[str, str] | None = None, needs: tuple[str, ...] = ()) -> None:
    """Do what a page says, in a folder; fail at the first block that does not do what the page says of it.

    Args:
        page: The page, relative to the documentation.
        folder: The folder to work in.
        extra: More variables of the environment.
        needs: What is there beside this machine, such as ``slurm``.
    """
    output: str | None = ""
    for block in blocks(page):
        if block.mark == "output":
            if output is not None:
                _compare(block, output)
        elif block.title:
            _write(folder / block.title, block)
        elif block.mark == "not run" or (block.mark == "needs" and block.value not in needs):
            output = None
        elif block.language in ("sh", "python"):
            output = _run(block, folder, extra or {})


def _write(path: Path, block: Block) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.code, encoding="utf-8")


def _run(block: Block, folder: Path, extra: dict[str, str]) -> str:
    """Run a block, and return what it printed."""
    shell = block.language == "sh"
    command = ["bash", "-euo", "pipefail", "-c", block.code] if shell else [sys.executable, "-c", block.code]
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {"COLUMNS": "200"} | extra
    environment["PATH"] = scripts + os.pathsep + environment["PATH"]
    environment.pop("CNN_SWEEP_RESULTS", None)
    done = subprocess.run(
        [*_one_core(), *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",  # where the locale's encoding is another one
        check=False,
    )
    wanted = int(block.value) if block.mark == "exit code" else 0
    assert done.returncode == wanted, f"{block}: exit code {done.returncode}\n{block.code}\n{done.stdout}"
    return done.stdout


def _one_core() -> list[str]:
    """Return a prefix of commands that gives them one core, so that a pool starts TensorFlow once."""
    return ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))] if hasattr(os, "sched_getaffinity") else []


def _compare(block: Block, output: str) -> None:
    """Fail unless each line of a block is in an output, apart from spaces, line breaks and digits after a point."""
    printed = " ".join(output.split())
    for line in block.code.splitlines():
        if line.strip(" ─"):
            assert re.search(_pattern(line), printed), f"{block}: not printed: {line}\n{output}"


def _pattern(line: str) -> str:
    pieces = (re.escape(" ".join(part.split())) for part in line.split("…"))
    return re.sub(r"\d+\\\.\d+", r"[\\d.e+-]+", ".*?".join(pieces))
