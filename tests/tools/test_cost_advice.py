"""Advice on a profile: each with the number that makes it worth a change."""

import time
from dataclasses import dataclass, replace
from datetime import datetime

import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.slurm.array_plan import Array, ArrayPlan
from cnn_sweep.slurm.billing import billing_units
from cnn_sweep.slurm.cluster import Cluster, NodeKind, Partition
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.slurm.units import billing_weights
from cnn_sweep.tools.cost_advice import Plan, advice
from cnn_sweep.tools.cost_estimate import Allocation, TrialWork, estimate
from cnn_sweep.tools.epoch_times import EpochTimes
from cnn_sweep.tools.submission_check import expected_start

TIMES = EpochTimes(4.0, 2.0, 0.0, 1000.0, "", {}, ())
NODES = (NodeKind(4, 64, 256_000, {}, frozenset(), "idle"),)
HOUR_S = 3600.0


@dataclass
class Sbatch:
    """Slurm's commands of which only ``sbatch --test-only`` answers: with a wait in hours by limit and partition."""

    waits: dict
    asked: int = 0

    def test_submission(self, script):
        self.asked += 1
        text = script.read_text(encoding="utf-8")
        limit = int(text.partition("--time=")[2].split()[0])
        place = text.partition("--partition=")[2].split()[0]
        wait = self.waits.get((limit, place), self.waits.get(place))
        if wait is None:
            raise EnvironmentFault("sbatch failed: Requested node configuration is not available")
        at = datetime.fromtimestamp(time.time() + wait * HOUR_S)  # noqa: DTZ006 - sbatch writes local time
        return f"Job 17 to start at {at.isoformat(timespec='seconds')} using 4 processors on nodes n1 in partition main"


@dataclass
class Submitted:
    """A planned submission, as far as advice goes."""

    profile: Profile
    arrays: ArrayPlan
    cluster: Cluster


def plan_of(sbatch, works, *, tasks=1, **settings):
    """Return the plan of a profile in partition main."""
    profile = Profile(**{"partition": "main", "time_limit": 1440, "cpus": 8, "workers_per_task": 8} | settings)
    partitions = {
        "main": Partition("main", default=True, nodes=NODES),
        "low": Partition("low", nodes=NODES, preempt_mode="REQUEUE", billing_weights={"cpu": 0.5}),
        "tiny": Partition("tiny", nodes=(replace(NODES[0], cpus=2),)),
    }
    arrays = ArrayPlan((Array(tasks, tasks),))
    submission = Submitted(profile, arrays, Cluster("lab", "me", partitions=partitions))
    cost = estimate(works, TIMES, Allocation.of(submission))
    return Plan(submission, works, TIMES, cost, expected_start(profile, sbatch))


def trials(number, seconds):
    """Return trials of one network."""
    return [TrialWork("one", seconds, seconds, 1.0)] * number


def advised(plan, sbatch):
    """Return the advice as one text."""
    return "\n".join(advice(plan, sbatch))


def test_workers_without_a_trial_are_counted():
    """As many trials as the trials need."""
    sbatch = Sbatch({"main": 0})
    text = advised(plan_of(sbatch, trials(16, 600), cpus=64, workers_per_task=64), sbatch)
    assert "48 of 64 workers would idle: 16 trials; workers_per_task = 16, cpus = 16 does the same" in text


def test_memory_is_compared_with_what_a_worker_needed():
    """Too much is a smaller line, too little a warning; the reserve is a fifth."""
    sbatch = Sbatch({"main": 0})
    assert 'memory = "10G" is enough: a task needs about 8.11 GB of 32 GB' in advised(
        plan_of(sbatch, trials(80, 600), memory=32 * 1024), sbatch
    )
    small = advised(plan_of(sbatch, trials(80, 600), memory=4096), sbatch)
    assert 'a task needs about 8.11 GB and would be killed at 4 GB; memory = "10G"' in small
    assert "memory" not in advised(plan_of(sbatch, trials(80, 600), memory=10 * 1024), sbatch)


def test_fewer_tasks_save_core_hours_where_starting_costs_as_much_as_training():
    """Short trials in many tasks."""
    sbatch = Sbatch({"main": 0})
    text = advised(plan_of(sbatch, trials(64, 2), tasks=8), sbatch)
    assert "array_width = 2 takes 1.5 times as long and saves 63% of the core hours" in text
    assert "array_width" not in advised(plan_of(sbatch, trials(640, 200), tasks=8), sbatch)


def test_a_shorter_limit_that_starts_sooner_has_its_price():
    """The restarts continue exactly, so they cost only their starts."""
    sbatch = Sbatch({"main": 10, (60, "main"): 1, (240, "main"): 10})
    text = advised(plan_of(sbatch, trials(8, 5 * HOUR_S)), sbatch)
    assert 'time_limit = "1:00:00" would start 9 h earlier and costs 0.2% more core hours (5 restarts' in text
    assert "4:00:00" not in text
    assert "time_limit" not in advised(plan_of(sbatch, trials(8, 5 * HOUR_S), requeue=False), sbatch)


def test_a_cluster_that_starts_at_once_is_not_asked_about_limits():
    """One question to sbatch for the profile, one for each partition that could hold the task."""
    sbatch = Sbatch({"main": 0, "low": 0})
    plan = plan_of(sbatch, trials(8, HOUR_S))
    asked = sbatch.asked
    text = advised(plan, sbatch)
    assert sbatch.asked - asked == 1
    assert 'partition = "low" would start as soon, for 0.5 times the billing units, where jobs may be preempted' in text


def test_a_partition_that_starts_sooner_is_named():
    """Those that do not fit, or that sbatch refuses, are not."""
    sbatch = Sbatch({"main": 6, "low": 1})
    assert 'partition = "low" would start 5 h earlier' in advised(plan_of(sbatch, trials(8, 60)), sbatch)
    sbatch = Sbatch({"main": 6})
    assert "partition" not in advised(plan_of(sbatch, trials(8, 60)), sbatch)


def test_a_limit_that_is_all_start_is_told():
    """No trial would ever begin."""
    sbatch = Sbatch({"main": 0})
    plan = plan_of(sbatch, trials(8, 60), time_limit=1, signal_delay_s=55)
    assert "time_limit: 0:01:00 ends before a worker has started" in advised(plan, sbatch)


@pytest.mark.parametrize(
    ("weights", "is_largest", "units"),
    [("", False, 8), ("CPU=1.0,Mem=0.5G,GRES/gpu=8", False, 8 + 16 + 8), ("CPU=1.0,Mem=0.5G,GRES/gpu=8", True, 16)],
)
def test_billing_units_follow_the_weights_of_the_partition(weights, is_largest, units):
    """The sum, or with MAX_TRES the largest; without weights, CPUs."""
    profile = Profile(cpus=8, memory=32 * 1024, gpus_per_node="1")
    partition = Partition("main", billing_weights=billing_weights(weights))
    assert billing_units(profile, partition, Cluster("lab", "me", billing_is_largest=is_largest)) == units


def test_memory_by_default_is_billed_too():
    """A partition gives each CPU some memory if a job asks for none."""
    partition = Partition("main", default_memory_mb=2048, default_is_per_cpu=True, billing_weights={"mem": 1 / 1024})
    assert billing_units(Profile(cpus=4), partition, Cluster("lab", "me")) == 8
