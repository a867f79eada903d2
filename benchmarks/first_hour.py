"""A new user's first hour: what they type, what they see, and how long it takes.

In a new home with nothing but Python, make and a clone of this project, the script installs with ``make demo``, starts
a sweep on a folder of JPEGs (some of them odd), and, with ``--slurm``, runs it on a cluster. It stops at the first
command that fails. ``--page FILE`` keeps what was typed and seen as a page of the documentation.

    python benchmarks/first_hour.py                    everything, from an empty clone
    python benchmarks/first_hour.py --installed        with the cnn-sweep of this Python, without cloning
    python benchmarks/first_hour.py --slurm            and then on the cluster that SLURM_CONF names
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

PROJECT = Path(__file__).resolve().parents[1]
PATIENCE_S: Final = 1200.0  # for one command, or for a study on the cluster
INTRODUCTION: Final = """# The first hour, as it was

`make first-hour` typed what follows, in a new home with nothing but Python, make and this project, and wrote down what
it saw and how long each command took: on two cores, with pip's packages in a cache, and with the development cluster on
the same machine."""
SHOWN_LINES: Final = 40  # of a command's output on the page; the middle of longer ones is left out


def take_photos(folder: Path, per_class: int = 30) -> None:
    """Write a folder as people have them: two classes of JPEGs of unequal sizes, and some odd files."""
    draw = np.random.default_rng(0)
    for name, source in (("flower", "flower.jpg"), ("temple", "china.jpg")):
        photo = Image.fromarray(load_sample_image(source))
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            size = int(draw.integers(90, 130))
            left, top = (int(draw.integers(0, side - size)) for side in photo.size)
            cut = photo.crop((left, top, left + size, top + size))
            cut.save(folder / name / f"IMG_{number:04d}.JPG", quality=85)
    whole = (folder / "flower" / "IMG_0000.JPG").read_bytes()
    (folder / "flower" / "cut short.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "temple" / "not an image.jpg").write_text("no pixels here", encoding="utf-8")
    (folder / "temple" / "Thumbs.db").write_bytes(b"\0" * 64)
    Image.open(folder / "temple" / "IMG_0001.JPG").convert("CMYK").save(folder / "temple" / "print.jpg")
    shutil.copy(folder / "flower" / "IMG_0002.JPG", folder / "flower" / "Kopie für Zoë.jpg")


@dataclass
class Terminal:
    """A shell of 80 columns in a home of its own, which remembers what was typed and seen.

    Attributes:
        home: The home, where the shell starts.
        path: Folders of programs.
        page: What was typed and seen, as Markdown.
        started: When the first command began, in seconds of the monotonic clock.
    """

    home: Path
    path: list[str]
    page: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Add a paragraph or a heading."""
        self.page.append(text)
        print(f"\n{text}", flush=True)

    def type(self, command: str, *, show: bool = True, wide: bool = True) -> str:
        """Run a command in the home and return what it printed.

        Args:
            command: A line for bash.
            show: Whether the page shows it.
            wide: Whether its output goes to a pipe, where tables are as wide as they need; otherwise to a terminal.

        Raises:
            SystemExit: It failed, or took too long.
        """
        print(f"$ {command}", flush=True)
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command] if wide else ["script", "--quiet", "--return", "--command", command, os.devnull],
            cwd=self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=False,
        )
        seconds = time.monotonic() - began
        print(f"{done.stdout}({seconds:.1f} s)", flush=True)
        if done.returncode:
            raise SystemExit(f"exit code {done.returncode} of: {command}")
        if show:
            self.page.append(f"```console\n$ {command}\n{_shortened(done.stdout)}```\n\n*{seconds:.0f} s*")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        cluster = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
        return cluster | {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([*self.path, "/usr/local/bin", "/usr/bin", "/bin"]),
            "COLUMNS": "80",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }


def _shortened(text: str) -> str:
    """Return the beginning and the end of a long text, without progress that a terminal would have overwritten."""
    lines = [
        line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in text.splitlines() if not line.startswith("WARNING: ")
    ]
    if len(lines) > SHOWN_LINES:
        half = SHOWN_LINES // 2
        lines = [*lines[:half], f"[… {len(lines) - 2 * half} more]", *lines[-half:]]
    return "".join(f"{line}\n" for line in lines)


def install(terminal: Terminal) -> None:
    """Clone the project and run its demo."""
    terminal.say("## Install, and see a first leaderboard")
    terminal.type(f"git clone --quiet {PROJECT} cnn-sweep", show=False)
    terminal.type("cd cnn-sweep && make demo")
    used = sum(file.lstat().st_size for file in (terminal.home / "cnn-sweep" / ".venv").rglob("*"))
    minutes = (time.monotonic() - terminal.started) / 60
    terminal.say(f"From `git clone` to the leaderboard: {minutes:.1f} minutes, {used / 1e9:.1f} GB.")
    terminal.path.insert(0, str(terminal.home / "cnn-sweep" / ".venv" / "bin"))


def own_images(terminal: Terminal, budget: int) -> None:
    """Go from a folder of photos to a report."""
    take_photos(terminal.home / "photos")
    terminal.say("## A sweep of your own images")
    terminal.type(f"cnn-sweep init photos --budget {budget} --size 32")
    terminal.type("cnn-sweep plan photos.yaml")
    terminal.type("cnn-sweep run photos.yaml")
    terminal.type("cnn-sweep leaderboard photos --top 5", wide=False)
    terminal.type("cnn-sweep report photos")


def on_the_cluster(terminal: Terminal, budget: int) -> None:
    """Let the program read the cluster's settings, and run the sweep there."""
    terminal.say("## The same on a cluster")
    terminal.type("cnn-sweep profile detect --output cluster.toml && cat cluster.toml")
    terminal.type("cnn-sweep doctor --job --profile cluster.toml")
    changes = f"--set study=photos-cluster --set search.trials={budget}"
    terminal.type(f"cnn-sweep submit photos.yaml {changes} --profile cluster.toml")
    terminal.type("cnn-sweep status photos-cluster --watch", show=False)
    terminal.type("cnn-sweep status photos-cluster")
    terminal.type("cnn-sweep leaderboard photos-cluster --top 5", wide=False)


def play(home: Path, options: argparse.Namespace) -> Terminal:
    """Do what a new user does, in a home of its own."""
    terminal = Terminal(home, [str(Path(sys.executable).parent)] if options.installed else [])
    if not options.installed:
        install(terminal)
    own_images(terminal, options.budget)
    if options.slurm:
        on_the_cluster(terminal, options.budget)
    return terminal


def main() -> None:
    """Play the first hour, and write its page if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", action="store_true", help="use this Python's cnn-sweep")
    parser.add_argument("--slurm", action="store_true", help="go on to the cluster that SLURM_CONF names")
    parser.add_argument("--budget", type=int, default=8, metavar="N", help="trials of the sweep of photos")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write what was typed and seen")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-hour-") as folder:
        terminal = play(Path(folder), options)
        text = "\n\n".join([INTRODUCTION, *terminal.page])
    for place, shown in ((folder, "~"), (sys.prefix, "~/venv"), (str(PROJECT), "~/cnn-sweep")):
        text = text.replace(place, shown)
    if options.page:
        options.page.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
