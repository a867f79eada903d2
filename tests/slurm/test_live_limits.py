"""Plans against what a real cluster takes and refuses."""

import time
from pathlib import Path
from typing import Any

import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.slurm.array_plan import array_plan
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.slurm.sbatch_errors import sbatch_error

DEV = Path(__file__).parents[2] / "slurm" / "dev.toml"
CLASSIC = "trials_per_task = 1\n"
OPTIONS = {"cpus": "--cpus-per-task={}", "memory": "--mem={}", "time_limit": "--time={}"}


def profile(text):
    """Read a profile's text."""
    return Profile.parse(text, source="p.toml")


def options_of(settings):
    """Return sbatch's options for the settings of a profile."""
    wanted = {key: value for key, value in settings if value is not None}
    return [OPTIONS.get(key, "--" + key.replace("_", "-") + "={}").format(value) for key, value in wanted.items()]


def take(cluster, plan):
    """Submit the arrays of a plan, held; return what sbatch said to each."""
    submit = ("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true")
    ids = [int(cluster.slurm.run(*submit, f"--array=0-{array.tasks - 1}")) for array in plan.arrays]
    cluster.submitted.extend(ids)
    return ids


@pytest.fixture
def limited(cluster):
    """A function that sets limits of the user's association; they are removed afterwards."""

    def limit(*settings):
        cluster.slurm.run("sacctmgr", "-i", "modify", "user", "root", "where", "account=root", "set", *settings)

    yield limit
    cluster.cancel_submitted()
    limit("MaxSubmitJobs=-1", "MaxJobs=-1", "MaxWall=-1", "GrpTRES=cpu=-1")


def test_the_dev_profile_fits_the_dev_cluster(cluster):
    """The example works as it is, and the cluster answers in time."""
    begun = time.monotonic()
    known = cluster.slurm.cluster()
    assert time.monotonic() - begun < 5
    dev = Profile.load(DEV)
    plan = array_plan(100, dev, known)
    plan.raise_refusals(dev)
    assert [array.tasks for array in plan.arrays] == [4]
    assert (known.name, known.user, known.max_array_size, known.notes) == ("lab", "root", 1001, ())
    assert {"main", "low", "high"} == set(known.partitions)
    assert known.partitions["main"].max_minutes == 60
    assert known.associations[0].account == known.default_account == "root"


def test_arrays_of_a_plan_are_taken_up_to_the_last_element(spare_cluster):
    """With MaxArraySize=11, eleven elements are taken and twelve are not."""
    spare = spare_cluster(SLURM_DBD="0", SLURM_MAX_ARRAY="11")
    known = spare.slurm.cluster()
    assert (known.max_array_size, known.associations, known.notes) == (11, None, ())
    plan = array_plan(200, profile(CLASSIC), known)
    assert plan.tasks == 200
    ids = take(spare, plan)
    assert sum(len(spare.states(job)) for job in ids) == 200
    with pytest.raises(EnvironmentFault, match="Invalid job array specification") as caught:
        spare.slurm.run("sbatch", "--hold", "--wrap=true", "--array=0-11")
    assert "p.toml:1: array_width" in str(sbatch_error(str(caught.value), profile("array_width = 12")))


def test_a_plan_under_a_limit_on_jobs_is_taken_and_one_more_is_not(cluster, limited):
    """What is in the queue already counts; when it is full, the plan refuses as sbatch would."""
    limited("MaxSubmitJobs=5", "MaxJobs=3")
    plan = array_plan(200, profile(CLASSIC), cluster.slurm.cluster())
    assert (plan.tasks, plan.trials_per_task) == (5, 40)
    pools = array_plan(200, profile("array_width = 8"), cluster.slurm.cluster())
    assert pools.tasks == 3
    take(cluster, pools)
    rest = array_plan(200, profile(CLASSIC), cluster.slurm.cluster())
    assert (rest.tasks, rest.trials_per_task) == (2, 100)
    take(cluster, rest)
    full = array_plan(200, profile(CLASSIC), cluster.slurm.cluster())
    assert "MaxSubmitJobs of user root in account root is 5 and 5 of your jobs" in full.refusals[0].message
    with pytest.raises(EnvironmentFault, match="AssocMaxSubmitJobLimit"):
        cluster.slurm.run("sbatch", "--hold", "--wrap=true")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('partition = "mian"', "partition"),
        ('account = "nobody"', "account"),
        ('qos = "fast"', "qos"),
        ("time_limit = 61", "time_limit"),
        ("cpus = 5", "cpus"),
        ('memory = "9G"', "memory"),
        ('gres = "gpu:a100:1"', "gres"),
        ('gres = "tpu:1"', "gres"),
        ("gpus_per_node = 3", "gpus_per_node"),
        ('constraint = "fast"', "constraint"),
    ],
)
def test_what_a_plan_refuses_the_cluster_would_never_run(cluster, text, key):
    """Sbatch refuses it too, at the same setting; or takes it, and it waits for ever."""
    wrong = profile(text)
    plan = array_plan(1, wrong, cluster.slurm.cluster())
    assert [refusal.key for refusal in plan.refusals] == [key]
    options = options_of(wrong.model_dump(include=wrong.model_fields_set).items())
    try:
        job = int(cluster.slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=true", *options))
    except EnvironmentFault as fault:
        error: Any = sbatch_error(str(fault), wrong)
        (problem,) = error.problems
        assert (problem.line, problem.where) == (1, key)
    else:
        cluster.submitted.append(job)
        cluster.until(lambda: cluster.slurm.queue([job])[0].reason.startswith("Partition"), 20, "the reason")


def test_what_a_plan_accepts_the_cluster_runs(cluster):
    """A profile at all limits of a node starts."""
    most = profile('cpus = 4\nmemory = "8000M"\ngpus_per_node = "toy:2"\nconstraint = "even"\ntime_limit = 60')
    plan = array_plan(1, most, cluster.slurm.cluster())
    assert plan.tasks == 1
    options = options_of(most.model_dump(include=most.model_fields_set).items())
    job = int(cluster.slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=true", *options))
    cluster.until(lambda: "COMPLETED" in cluster.states(job).values(), 30, "the job")
