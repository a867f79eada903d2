"""Clusters whose settings differ from the dev cluster's: memory in cgroups, and preemption by suspending."""

import pytest
from helpers.sweeps import sweep_of_digits

pytestmark = pytest.mark.long
SWEEP = sweep_of_digits("""\
space: {{filters: [2], rate: [0.01]}}
search: {{method: grid}}
training:
  epochs: {epochs}
  optimizer: {{name: adam, learning_rate: $rate}}
""")
LARGE = SWEEP.replace("filters: $filters", "filters: 16").replace("- flatten", "- flatten\n    - dense: 60000")
PROFILE = 'time_limit = 10\nmemory = "{memory}M"\nthreads = 1\npartition = "{partition}"\n'


def sweep(desk, template, **values):
    """Write a sweep."""
    text = template.replace("filters: [2], ", "") if "$filters" not in template else template
    return desk.write("sweep.yaml", text.format(metric="val_accuracy", direction="maximize", **values))


def test_a_kill_by_the_kernel_for_memory_is_seen_as_one(spare_cluster, desk_at, tmp_path):
    """Under cgroup limits a worker that needs too much is killed, and the pool, which lives on, knows why."""
    spare = spare_cluster(SLURM_CGROUP="1")
    desk = desk_at(spare, tmp_path)
    profile = desk.write("profile.toml", PROFILE.format(memory=1200, partition="main"))
    desk.submit(sweep(desk, LARGE, study="starved", epochs=2), profile)
    spare.until(lambda: desk.journaled("starved", b'"type":"lost"'), 400, "the death of the worker")
    assert desk.attempts("starved")[0] == ("lost", "out_of_memory")


def test_a_suspended_study_is_alive_and_goes_on(spare_cluster, desk_at, tmp_path):
    """Preempted by PreemptMode=SUSPEND, workers stand still and then go on: one attempt is enough."""
    spare = spare_cluster(SLURM_PREEMPT="SUSPEND")
    desk = desk_at(spare, tmp_path)
    (job,) = desk.submit(
        sweep(desk, SWEEP, study="asleep", epochs=400),
        desk.write("profile.toml", PROFILE.format(memory=1500, partition="low")),
    )
    spare.until(lambda: desk.journaled("asleep", b'"type":"epoch"'), 120, "training")
    above = spare.submit("above", "sleep", "--partition=high", "--exclusive")
    spare.until(lambda: "SUSPENDED" in spare.states(int(job)).values(), 120, "the suspension")
    spare.slurm.run("scancel", str(above))
    desk.wait_until_complete("asleep", 1, 300)
    assert desk.attempts("asleep") == [("complete", None)]


def test_cancelling_one_task_by_hand_leaves_its_trial_to_the_others(desk):
    """After ``scancel JOB_0`` the trial is interrupted with a checkpoint, and another pool ends it."""
    text = SWEEP.replace("rate: [0.01]", "rate: [0.01, 0.02]")
    profile = desk.write("profile.toml", PROFILE.format(memory=1500, partition="main") + "array_width = 2\n")
    (job,) = desk.submit(sweep(desk, text, study="two", epochs=300), profile)
    desk.cluster.until(lambda: desk.status("two")["workers"]["alive"] == 2, 120, "two workers")
    desk.cluster.until(lambda: len({p.name for p in desk.results.glob("two/claims/[01].0")}) == 2, 120, "two trials")
    desk.cluster.slurm.run("scancel", f"{job}_0")
    desk.wait_until_complete("two", 2, 600)
    attempts = sorted([desk.attempts("two", 0), desk.attempts("two", 1)], key=len)
    assert attempts == [[("complete", None)], [("interrupted", "stopped"), ("complete", None)]]
