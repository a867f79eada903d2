"""A cluster of stand-ins for Slurm's commands, to which tests submit."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.journal.paths import StudyPaths

SWEEP = """
study: mine
data: {source: digits}
model: {layers: [flatten, output: softmax]}
training: {epochs: 1}
"""
# A cluster of one partition without accounts, whose queue is empty.
CLUSTER = {
    "scontrol": """case "$*" in *partition*) echo "PartitionName=main Default=YES MaxTime=01:00:00 Nodes=n1 State=UP";;
*) echo "ClusterName = lab";; esac""",
    "sinfo": 'echo "main|1|4|8000|(null)|(null)|idle"',
    "squeue": "true",
    "srun": "true",
    "scancel": "true",
    "sbatch": "echo Submitted batch job 17",
}
# A queue in a file: what squeue prints, without the comments unless it is asked for them.
QUEUE = {
    "sbatch": """for script; do :; done
tasks=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/_[0-\\1]/p' "$script")
comment=$(sed -n "s/^#SBATCH --comment=//p" "$script" | tr -d "'")
job=$((17 + $(cat queue 2>/dev/null | wc -l)))
echo "$job$tasks|$job|PENDING|Priority|0|$(date +%s)|N/A|N/A|0||main|$comment|" >>queue
echo Submitted batch job $job""",
    "squeue": """case "$*" in *--array*) exit;; esac
cat queue 2>/dev/null | case "$*" in *Comment*) cat;; *) cut -d'|' -f1-11 | sed 's/$/|/';; esac""",
    "scancel": """for job; do sed -i "/^$job[^0-9]/s/PENDING/CANCELLED/" queue; done""",
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster whose sbatch a test decides, and a sweep file and a profile to submit to it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def install(name, script):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)

    for name, script in CLUSTER.items():
        install(name, script)
    (tmp_path / "mine.yaml").write_text(SWEEP, encoding="utf-8")
    (tmp_path / "my.toml").write_text("time_limit = 10\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def type_(*words):
        done = CliRunner().invoke(app, [*words, "--results", "results"])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    paths = StudyPaths(tmp_path / "results", "mine")
    return SimpleNamespace(install=install, commands=CLUSTER, type=type_, sweep=SWEEP, home=tmp_path, paths=paths)


@pytest.fixture
def queue(cluster):
    """The cluster with a queue, in which jobs wait until they are cancelled; gives a function that lists them."""
    for name, script in QUEUE.items():
        cluster.install(name, script)

    def waiting():
        rows = (cluster.home / "queue").read_text(encoding="utf-8") if (cluster.home / "queue").exists() else ""
        return [row.split("|")[0] for row in rows.splitlines() if "|PENDING|" in row]

    cluster.waiting = waiting
    return cluster
