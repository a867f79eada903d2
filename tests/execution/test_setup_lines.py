"""The `setup` of a profile in a job's script, run by bash as on a node."""

from __future__ import annotations

import subprocess

import pytest

from cnn_sweep.execution.array_jobs.slurm import sbatch_parameters
from cnn_sweep.slurm.profile import Profile

# As environment modules define it, with a command inside that fails harmlessly and a variable that is not set.
MODULE = 'module() { [ "$1" = no ] || grep -q x /dev/null; [ "$2" != "$LOADED" ] || return 0; [ "$2" != cuda/99 ]; }'


@pytest.fixture
def run(tmp_path):
    """Run lines of setup in a script whose next command prints a word; return its exit code and its two outputs."""

    def run_lines(*lines):
        (tmp_path / "harmless.sh").write_text("false\ngrep -q x /dev/null\ntrue\n", encoding="utf-8")
        (tmp_path / "bad.sh").write_text("true\nfalse\n", encoding="utf-8")
        setup = sbatch_parameters(Profile(setup=(MODULE, *lines)), "mine", throttle=1)["setup"]
        (tmp_path / "job.sh").write_text("\n".join([*setup, "false", "echo trained"]), encoding="utf-8")
        environment = {"SLURMD_NODENAME": "n2", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["bash", "job.sh"], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run_lines


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("module load gcc", "  module load cuda/99"), 1),
        (("source bad.sh",), 1),
        (("if true; then", "  nonsense --x", "fi"), 127),
        (("echo a | grep b",), 1),
        (("(exit 4)",), 4),
        (("true && module load cuda/99",), 1),
    ],
)
def test_a_line_that_fails_ends_the_job(run, lines, code):
    """The log has the line, its exit code and the node; nothing is trained."""
    exit_code, output, words = run(*lines)
    assert (exit_code, output) == (3, "")
    last = words.splitlines()[-1]
    assert last.startswith(f"cnn-sweep: setup failed with exit code {code} on n2: ")
    assert last.rpartition(": ")[2] in {line.strip() for line in lines}


@pytest.mark.parametrize(
    "lines",
    [
        ("module load gcc", "module load cuda"),
        ("source harmless.sh", 'echo "$UNSET" >/dev/null'),
        ("[ -f /no/such ] && source /no/such", "module load cuda/99 || true"),
        ("if grep -q x /dev/null; then", "  exit 9", "fi"),
    ],
)
def test_what_may_fail_may_fail(run, lines):
    """Conditions, the inside of functions and sourced files, and unset variables end nothing; nor does what follows."""
    assert run(*lines) == (0, "trained\n", "")
