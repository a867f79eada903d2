"""What the etiquette page says the program asks of a cluster is what it asks."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "etiquette.md"
SWEEP = """
study: polite
data: {source: digits, validation: 0.2, test: 0.2}
objective: {function: "polite:train", metric: score}
space:
  rate: {low: 0.0, high: 1.0}
search: {method: random, trials: 1000, seed: 3}
"""
PROFILE = 'time_limit = 10\nmemory = "1500M"\nthreads = 1\narray_width = 4\n'
COMMANDS = {
    "plan --profile": ("plan", "polite.yaml", "--profile", "profile.toml"),
    "submit": ("submit", "polite.yaml", "--profile", "profile.toml"),
    "status": ("status", "polite"),
    "list": ("list",),
    "leaderboard": ("leaderboard", "polite"),
    "logs": ("logs", "polite"),
    "cancel": ("cancel", "polite"),
    "resume --profile": ("resume", "polite", "--profile", "profile.toml"),
    "cancel TRIAL": ("cancel", "polite", "17"),
}


def table(title):
    """Return the rows of the page's table under a title, by their first cell."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def told(calls):
    """Return calls as the page does, such as ``2: 1 sbatch, 1 squeue``."""
    return f"{calls.total()}: " + ", ".join(f"{calls[name]} {name}" for name in sorted(calls)) if calls else "0"


def polite(desk, profile=PROFILE):
    """Write a sweep whose 1,000 trials take no time, and a profile."""
    desk.write("polite.py", "def train(context):\n    return context.params['rate']\n")
    desk.write("profile.toml", profile)
    return desk.write("polite.yaml", SWEEP)


def test_commands_ask_slurm_as_often_as_the_page_says(desk, counted):
    """Each command of the table is typed once for a study of 1,000 trials; submit stays within eight calls."""
    polite(desk, PROFILE + "[sbatch]\nhold = true\n")
    found = {}
    for name, words in COMMANDS.items():
        done = desk.type(*words)
        if name in {"submit", "resume --profile"}:
            desk.cluster.submitted.extend(int(line.split()[1]) for line in done.stdout.splitlines())
        found[name] = counted()
    found["status --watch, a minute"] = watched(desk, counted)
    desk.type("cancel", "polite")
    assert {name: told(calls) for name, calls in found.items()} == {
        name: calls for name, (calls,) in table("Calls of Slurm").items()
    }
    assert found["submit"].total() <= 8


def watched(desk, counted):
    """Return the calls of a display that looks five times a second, until it has looked several times."""
    counted()
    words = [sys.executable, "-m", "cnn_sweep.cli.main", "status", "polite", "--watch", "--interval", "0.2"]
    out = desk.folder / "watched"
    with out.open("w", encoding="utf-8") as file:
        watch = subprocess.Popen(words, cwd=desk.folder, env=desk.environment, stdout=file, stderr=file)
    try:
        desk.cluster.until(lambda: out.stat().st_size, 60, "the first look")
        time.sleep(2)  # nothing changes, so that further looks print nothing
    finally:
        watch.send_signal(signal.SIGINT)
        watch.wait(60)
    return counted()


@pytest.mark.long
def test_a_study_of_1000_trials_leaves_what_the_page_says(desk, counted):
    """Files, inodes and bytes are within the page's figures, and a pool asks Slurm once, and then once a minute."""
    begun = time.monotonic()
    desk.submit(polite(desk), "profile.toml")
    desk.wait_until_complete("polite", 1000, 900)
    desk.cluster.until(lambda: not desk.status("polite")["jobs"], 60, "the end of the jobs")
    minutes = (time.monotonic() - begun) / 60
    asked = counted(from_jobs=True)
    print(f"{minutes:.1f} min; calls of each pool: {dict(asked)}")
    assert max(asked.values()) <= 2 + minutes
    found = {name: left(desk.results, name.replace("STUDY", "polite")) for name in table("Files")}
    for name, cells in table("Files").items():
        print(name, found[name])
        files, inodes, kilobytes = map(int, cells[:3])
        for most, real in zip((files, inodes, 1000 * kilobytes), found[name], strict=True):
            assert most / 4 <= real <= most, (name, cells, found[name])


def left(results, name):
    """Return the files, inodes and bytes of a part of the results folder."""
    files = [path for path in results.glob(name) for path in [path, *path.rglob("*")] if path.is_file()]
    stats = {path: path.stat() for path in files}
    inodes = {stat.st_ino: stat.st_size for stat in stats.values()}
    return len(files), len(inodes), sum(inodes.values())
