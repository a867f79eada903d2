"""When and why jobs stop on a cluster whose limits move: suspension, `scontrol update`, `--time-min`, short limits."""

import time

import pytest

SWEEP = """
study: {name}
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: 2, kernel_size: 3, activation: relu}}
    - flatten
    - output: softmax
training:
  epochs: 100000
  batch_size: 8
  checkpoint_every_s: 1
"""
PROFILE = 'time_limit = {minutes}\nsignal_delay_s = {delay_s}\nmemory = "1500M"\n'
# Limit in minutes, seconds between the warning and the limit, and more of the profile.
STUDIES = {
    "preempted": (10, 60, 'partition = "low"\ngres = "gpu:2"\n[sbatch]\nnodelist = "n3"\n'),
    "cancelled": (10, 60, ""),
    "suspended": (4, 60, ""),
    "extended": (4, 60, ""),
    "shortened": (30, 60, ""),
}


def _ends(desk, name):
    return [row[1] for row in desk.attempts(name) if row[0] == "interrupted"]


def _until_it_ends(desk, name, seconds):
    desk.cluster.until(lambda: desk.journaled(name, b'"type":"end"'), seconds, f"the end of an attempt of {name}")
    return _ends(desk, name)[0]


def _trains(desk, name):
    desk.cluster.until(lambda: desk.journaled(name, b'"type":"checkpoint"'), 180, f"{name} to train")


@pytest.mark.long
def test_a_job_stops_when_slurm_says_and_for_slurms_reason(desk):
    """Five studies: a suspended job, limits that are changed while jobs run, a preemption and a cancellation."""
    slurm, jobs = desk.cluster.slurm, {}
    for name, (minutes, delay_s, more) in STUDIES.items():
        text = PROFILE.format(minutes=minutes, delay_s=delay_s) + more
        sweep = desk.write(f"{name}.yaml", SWEEP.format(name=name))
        (jobs[name],) = desk.submit(sweep, desk.write(f"{name}.toml", text))
    begun = time.monotonic()
    _trains(desk, "preempted")
    desk.cluster.submit("instead", "ok", "--partition=high", "--nodelist=n3", "--gres=gpu:2")
    _trains(desk, "cancelled")
    desk.type("cancel", "cancelled")
    _trains(desk, "suspended")
    slurm.run("scontrol", "suspend", jobs["suspended"])
    slurm.run("scontrol", "update", f"JobId={jobs['extended']}", "TimeLimit=20")
    _trains(desk, "shortened")
    slurm.run("scontrol", "update", f"JobId={jobs['shortened']}", "TimeLimit=3")
    assert _until_it_ends(desk, "preempted", 60) == "preempted"
    assert _until_it_ends(desk, "cancelled", 60) == "stopped"
    assert _until_it_ends(desk, "shortened", 240) == "time_limit"
    # By our own clock, the suspended and the extended job would stop three minutes after their start.
    desk.cluster.until(lambda: time.monotonic() > begun + 200, 240, "the end of the first limit")
    slurm.run("scontrol", "resume", jobs["suspended"])
    epochs = desk.journaled("suspended", b'"type":"epoch"')
    desk.cluster.until(lambda: desk.journaled("suspended", b'"type":"epoch"') > epochs + 50, 60, "training to go on")
    assert (_ends(desk, "suspended"), _ends(desk, "extended")) == ([], [])
