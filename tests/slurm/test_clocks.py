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
PROFILE = 'time_limit = {minutes}\nsignal_delay_s = 60\nmemory = "1500M"\n'
# Limit in minutes, and more of the profile.
STUDIES = {
    "suspended": (4, ""),
    "extended": (4, ""),
    "shortened": (30, ""),
    "cancelled": (10, ""),
    "preempted": (10, 'partition = "low"\ngres = "gpu:2"\n[sbatch]\nnodelist = "n3"\n'),
}


def _ends(desk, name):
    return [row[1] for row in desk.attempts(name) if row[0] == "interrupted"]


def _until_it_ends(desk, name, seconds):
    desk.cluster.until(lambda: desk.journaled(name, b'"type":"end"'), seconds, f"the end of an attempt of {name}")
    return _ends(desk, name)[0]


def _change(desk, name, job):
    """Do to a job what its name says."""
    slurm = desk.cluster.slurm
    if name == "suspended":
        slurm.run("scontrol", "suspend", job)
    elif name == "cancelled":
        desk.type("cancel", name)
    elif name == "preempted":
        desk.cluster.submit("instead", "ok", "--partition=high", "--nodelist=n3", "--gres=gpu:2")
    else:
        slurm.run("scontrol", "update", f"JobId={job}", f"TimeLimit={20 if name == 'extended' else 3}")


@pytest.mark.long
def test_a_job_stops_when_slurm_says_and_for_slurms_reason(desk):
    """A suspended job, limits that are changed while jobs run, a preemption and a cancellation."""
    jobs = {}
    for name, (minutes, more) in STUDIES.items():
        sweep = desk.write(f"{name}.yaml", SWEEP.format(name=name))
        (jobs[name],) = desk.submit(sweep, desk.write(f"{name}.toml", PROFILE.format(minutes=minutes) + more))
        desk.cluster.until(lambda name=name: desk.journaled(name, b'"type":"checkpoint"'), 180, f"{name} to train")
        _change(desk, name, jobs[name])
        if name == "extended":
            begun = time.monotonic()
    assert _until_it_ends(desk, "preempted", 60) == "preempted"
    assert _until_it_ends(desk, "cancelled", 60) == "stopped"
    assert _until_it_ends(desk, "shortened", 240) == "time_limit"
    # By our own clock, the suspended and the extended job would stop three minutes after their start.
    desk.cluster.until(lambda: time.monotonic() > begun + 200, 240, "the end of the first limit")
    desk.cluster.slurm.run("scontrol", "resume", jobs["suspended"])
    epochs = desk.journaled("suspended", b'"type":"epoch"')
    desk.cluster.until(lambda: desk.journaled("suspended", b'"type":"epoch"') > epochs + 50, 60, "training to go on")
    assert (_ends(desk, "suspended"), _ends(desk, "extended")) == ([], [])
