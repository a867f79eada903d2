"""Submissions from shells and jobs whose variables would change them."""

import re
import sys
from pathlib import Path

DEV = Path(__file__).parents[2] / "slurm" / "dev.toml"
SWEEP = """
study: nested
data: {source: digits, validation: 0.2, test: 0.2}
model: {layers: [flatten, output: softmax]}
training: {epochs: 1}
"""
# The job around has an index and memory per CPU; the new one has neither. Variables of a user's ~/.bashrc come on top.
AROUND = ("--array=7", "--mem-per-cpu=300", "--time=5", "--output={folder}/around")
SHELL = {
    "SBATCH_TIMELIMIT": "1",
    "SBATCH_NO_REQUEUE": "1",
    "SBATCH_EXPORT": "NONE",
    "SBATCH_ARRAY_INX": "1-3",
    "SLURM_EXPORT_ENV": "NONE",
    "SRUN_EXPORT_ENV": "NONE",
    "LOGNAME": "alice@example.org",
}


def test_a_submission_from_inside_a_job_does_what_the_profile_says(desk):
    """Its pool starts with nothing but the node's own environment (`export = "NONE"`), and trains."""
    sweep = desk.write("nested.yaml", SWEEP)
    profile = desk.write("my.toml", DEV.read_text(encoding="utf-8") + '[sbatch]\nexport = "NONE"\n')
    variables = " ".join(f"export {name}={value};" for name, value in SHELL.items())
    typed = f"{sys.executable} -m cnn_sweep.cli.main submit {sweep} --profile {profile} --results {desk.results}"
    options = (word.format(folder=desk.folder) for word in AROUND)
    around = int(desk.cluster.slurm.run("sbatch", "--parsable", *options, f"--wrap={variables} {typed}"))
    desk.cluster.submitted.append(around)
    said = desk.folder / "around"
    job = desk.cluster.until(
        lambda: said.exists() and re.search(r"^nested (\d+)$", said.read_text(encoding="utf-8"), re.MULTILINE),
        60,
        "the submission",
    )[1]
    desk.cluster.submitted.append(int(job))
    assert "SBATCH_TIMELIMIT=1 (time_limit = 10)" in said.read_text(encoding="utf-8")
    shown = desk.cluster.slurm.run("scontrol", "show", "job", job)
    assert "TimeLimit=00:10:00" in shown
    assert "Requeue=1" in shown
    assert "ArrayTaskId" not in shown
    desk.wait_until_complete("nested", 1, 120)
