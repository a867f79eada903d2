"""A new user's first hour, as benchmarks/first_hour.py plays it; the page of the documentation shows a whole one."""

import subprocess
import sys
from pathlib import Path

FIRST_HOUR = Path(__file__).parents[2] / "benchmarks" / "first_hour.py"


def test_a_folder_of_photos_becomes_a_finished_study_here_and_on_a_cluster(cluster, tmp_path):
    """In a clean home, from init to a leaderboard on the cluster, no command fails."""
    page = tmp_path / "first-hour.md"
    done = subprocess.run(
        [sys.executable, FIRST_HOUR, "--installed", "--slurm", "--budget", "2", "--page", page],
        env=cluster.environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = page.read_text(encoding="utf-8")
    assert "2 images that cannot be used are left out" in shown
    assert "photos-cluster: 2 complete of 2" in shown
    assert "/tmp/" not in shown.replace("/tmp: ", "")
