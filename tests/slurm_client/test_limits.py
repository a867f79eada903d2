from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.errors import SweepFileError
from cnn_sweep.slurm.array_plan import array_plan
from cnn_sweep.slurm.cluster import Association, Cluster, JobLimits, NodeKind, Partition, Qos
from cnn_sweep.slurm.profile import Profile

NODE = NodeKind(4, cpus=4, memory_mb=8000, resources={"gpu:toy": 2}, features=frozenset({"odd"}), state="idle")
MAIN = Partition("main", default=True, max_minutes=60, nodes=(NODE,))
USER = ("account", "lab")


def cluster(*, user=None, account=None, qos=None, **changes) -> Cluster:
    """Return a cluster of four nodes with a user in one account."""
    association = Association("lab", None, ("normal", "short"), None, JobLimits("of user ann", USER, **(user or {})))
    normal = Qos("normal", frozenset(), JobLimits("of QOS normal", ("qos", "normal"), **(qos or {})))
    short = Qos("short", frozenset(), JobLimits("of QOS short", ("qos", "short"), minutes=10, job_resources={"cpu": 2}))
    known = Cluster(
        name="c",
        user="ann",
        enforced=frozenset({"associations", "limits", "qos"}),
        partitions={"main": MAIN, "old": replace(MAIN, name="old", default=False, state="DRAIN")},
        default_account="lab",
        associations=(association,),
        accounts={"lab": JobLimits("of account lab", USER, **(account or {}))},
        qos={"normal": normal, "short": short},
    )
    return replace(known, **changes)


def profile(text: str = "") -> Profile:
    """Read a profile's text."""
    return Profile.parse(text, source="p.toml")


def sizes(plan) -> list[int]:
    """Return the number of elements of each array."""
    return [array.tasks for array in plan.arrays]


def refusals(text: str, where: Cluster) -> list[tuple[str, str]]:
    """Return (key, message) of everything that is refused; nothing is planned then."""
    plan = array_plan(10, profile(text), where)
    assert not plan.arrays
    return [(refusal.key, refusal.message) for refusal in plan.refusals]


def test_pools_are_never_more_than_the_trials_can_use():
    """The width of the profile is an upper bound."""
    pools = profile("array_width = 8\nworkers_per_task = 2\ncpus = 2")
    assert sizes(array_plan(100, pools, cluster())) == [8]
    assert sizes(array_plan(5, pools, cluster())) == [3]
    assert sizes(array_plan(1, pools, cluster())) == [1]
    assert sizes(array_plan(0, pools, cluster())) == []


def test_trials_per_task_gives_the_classic_array():
    """Each task takes its share of the trials, whatever the width."""
    plan = array_plan(200, profile("trials_per_task = 1\narray_width = 3"), cluster())
    assert (sizes(plan), plan.trials_per_task, plan.notes) == ([200], 1, ())
    assert sizes(array_plan(7, profile("trials_per_task = 3"), cluster())) == [3]


def test_max_array_size_caps_the_index():
    """Indices run from 0 to MaxArraySize - 1, so that many elements fit; more make another array."""
    small = cluster(max_array_size=11)
    classic = profile("trials_per_task = 1")
    assert sizes(array_plan(11, classic, small)) == [11]
    assert sizes(array_plan(12, classic, small)) == [11, 1]
    plan = array_plan(200, classic, small)
    assert sizes(plan) == [11] * 18 + [2]
    assert plan.notes == ("19 arrays: this cluster allows 11 elements in one (MaxArraySize)",)


@pytest.mark.parametrize("size", [0, 1])
def test_a_cluster_without_arrays_gets_single_jobs(size):
    """MaxArraySize 0 (or 1) leaves one element for an array."""
    assert sizes(array_plan(3, profile("trials_per_task = 1"), cluster(max_array_size=size))) == [1, 1, 1]


def test_max_array_tasks_splits_as_well():
    """The scheduler's own limit on elements holds beside MaxArraySize."""
    assert sizes(array_plan(5, profile("trials_per_task = 1"), cluster(max_array_tasks=2))) == [2, 2, 1]


def test_a_limit_on_submitted_jobs_gives_each_task_more_trials():
    """Where few elements may be queued, all trials are still planned, in fewer tasks."""
    plan = array_plan(200, profile("trials_per_task = 1"), cluster(user={"submit": 5}, max_array_size=11))
    assert (sizes(plan), plan.trials_per_task) == ([5], 40)
    assert "5 tasks instead of 200: MaxSubmitJobs of user ann is 5 and 0 of your jobs are queued" in plan.notes
    assert "so each task takes up to 40 trials instead of 1" in plan.notes


def test_pools_are_narrowed_to_what_may_be_submitted():
    """Jobs that are in the queue already count; what is left is used."""
    where = cluster(user={"submit": 5}, queued={("lab", "normal", "main"): 3, ("other", "normal", "main"): 9})
    plan = array_plan(100, profile("array_width = 8"), where)
    assert sizes(plan) == [2]
    assert plan.notes == ("2 tasks instead of 8: MaxSubmitJobs of user ann is 5 and 3 of your jobs are queued",)


def test_a_full_queue_is_refused_with_its_numbers():
    """If the queue is full, nothing is submitted."""
    where = cluster(user={"submit": 5}, queued={("lab", "normal", "main"): 5})
    ((key, message),) = refusals("", where)
    assert key == "array_width"
    assert "MaxSubmitJobs of user ann is 5 and 5 of your jobs are queued" in message
    assert "scancel" in message


def test_pools_that_could_not_run_together_are_not_submitted():
    """A pool that started only after another one ended would find nothing left to do."""
    assert sizes(array_plan(100, profile("array_width = 8"), cluster(user={"running": 3}))) == [3]
    plan = array_plan(100, profile("array_width = 8\ncpus = 4"), cluster(account={"total_resources": {"cpu": 12}}))
    assert sizes(plan) == [3]
    assert "cpu=12 for all jobs of account lab has room for 3 of these tasks" in plan.notes[0]
    classic = profile("trials_per_task = 1")
    assert sizes(array_plan(100, classic, cluster(user={"running": 3}))) == [100]


def test_limits_that_are_not_enforced_do_not_count():
    """A cluster that keeps accounts but enforces no limits takes everything."""
    where = cluster(user={"submit": 1, "running": 1, "minutes": 1}, enforced=frozenset({"associations"}))
    assert sizes(array_plan(100, profile("array_width = 8"), where)) == [8]


def test_a_limit_of_the_qos_hides_the_same_limit_of_the_user():
    """Slurm uses the first limit that is defined: the quality of service's before the user's."""
    where = cluster(user={"submit": 2}, qos={"submit": 6})
    assert sizes(array_plan(100, profile("array_width = 8"), where)) == [6]
    where = cluster(user={"submit": 2}, qos={"running": 6})
    assert sizes(array_plan(100, profile("array_width = 8"), where)) == [2]


def test_limits_of_the_partitions_own_qos_hold():
    """A partition can carry a quality of service of its own; the user's jobs in that partition count."""
    own = Qos("part", frozenset(), JobLimits("of QOS part", ("qos", "part"), submit=4))
    where = cluster(queued={("lab", "normal", "main"): 1, ("lab", "normal", "old"): 3})
    where = replace(where, qos={**where.qos, "part": own}, partitions={"main": replace(MAIN, own_qos="part")})
    assert sizes(array_plan(100, profile("array_width = 8"), where)) == [3]


def test_a_throttle_is_shared_by_the_arrays():
    """Each array has a throttle of its own; together they are the user's."""
    plan = array_plan(25, profile("trials_per_task = 1\narray_throttle = 8"), cluster(max_array_size=10))
    assert [(array.tasks, array.throttle) for array in plan.arrays] == [(10, 3), (10, 3), (5, 2)]


def test_more_arrays_than_the_throttle_are_avoided():
    """Every array runs one element at least, so there are no more arrays than that."""
    plan = array_plan(100, profile("trials_per_task = 1\narray_throttle = 2"), cluster(max_array_size=10))
    assert [(array.tasks, array.throttle) for array in plan.arrays] == [(10, 1), (10, 1)]
    assert plan.trials_per_task == 5


@given(
    trials=st.integers(1, 3000),
    wanted=st.fixed_dictionaries(
        {"array_width": st.integers(1, 40)},
        optional={"trials_per_task": st.integers(1, 7), "array_throttle": st.integers(1, 20)},
    ),
    array_size=st.integers(0, 50),
    submit=st.none() | st.integers(1, 60),
    queued=st.integers(0, 70),
)
def test_a_plan_never_breaks_a_limit_and_forgets_no_trial(trials, wanted, array_size, submit, queued):
    """Whatever the numbers: all trials have a place, no array is too long, and no limit is exceeded."""
    asked = profile("\n".join(f"{key} = {value}" for key, value in wanted.items()))
    where = cluster(user={"submit": submit}, queued={("lab", "normal", "main"): queued}, max_array_size=array_size)
    plan = array_plan(trials, asked, where)
    assert bool(plan.refusals) == (submit is not None and queued >= submit)
    assert bool(plan.arrays) != bool(plan.refusals)
    if not plan.arrays:
        return
    assert all(1 <= array.tasks <= max(1, array_size) for array in plan.arrays)
    assert all(1 <= array.throttle <= array.tasks for array in plan.arrays)
    assert submit is None or plan.tasks <= submit - queued
    assert asked.array_throttle is None or sum(a.throttle for a in plan.arrays) <= asked.array_throttle
    if asked.trials_per_task is None:
        assert plan.tasks <= min(trials, asked.array_width)
    else:
        assert plan.trials_per_task >= asked.trials_per_task
        assert (plan.tasks - 1) * plan.trials_per_task < trials <= plan.tasks * plan.trials_per_task


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('partition = "mian"', "partition", "unknown partition 'mian'"),
        ('partition = "mian"', "partition", "did you mean 'main'"),
        ('partition = "old"', "partition", "accepts no jobs now (state DRAIN)"),
        ('account = "labb"', "account", "valid: lab"),
        ('qos = "fast"', "qos", "valid: normal, short"),
        ("time_limit = 120", "time_limit", "120 min exceeds the MaxTime of partition main, 60 min; request at most 60"),
        ('qos = "short"\ntime_limit = 30', "time_limit", "MaxWall of QOS short, 10 min"),
        ('qos = "short"\ntime_limit = 5\ncpus = 3', "cpus", "cpu=3 for a task exceeds cpu=2 for one job of QOS short"),
        ("cpus = 5", "cpus", "5 cpus is more than any node in partition main has; it has 4 nodes with 4 cpus, 8000 MB"),
        ('memory = "9G"', "memory", "9216 MB of memory is more than any node"),
        ('gres = "gpu:a100:1"', "gres", "gpu:a100:1 is more than any node"),
        ("gpus_per_node = 3", "gpus_per_node", "gpu:3 is more than any node in partition main has; it has"),
        ('gres = "tpu:1"', "gres", "gpu:toy:2"),
        ('constraint = "odd&evn"', "constraint", "unknown feature 'evn'"),
    ],
)
def test_what_can_never_run_is_refused_with_what_is_possible(text, key, words):
    """Every refusal names the setting, its value and the valid choices, before anything is submitted."""
    found = refusals(text, cluster())
    assert [found_key for found_key, _ in found] == [key]
    assert words in found[0][1]


def test_all_refusals_come_at_once_at_their_lines():
    """One attempt to submit shows everything that is wrong, with file and line."""
    wrong = profile('time_limit = 120\npartition = "main"\ncpus = 40\naccount = "x"')
    plan = array_plan(10, wrong, cluster())
    with pytest.raises(SweepFileError) as caught:
        plan.raise_refusals(wrong)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["p.toml:1", "p.toml:3", "p.toml:4"]


def test_a_plan_that_is_possible_raises_nothing():
    """Nothing is refused where everything fits."""
    fits = profile('gpus_per_node = "toy:2"\ncpus = 4\nmemory = "7G"\ntime_limit = 60\nconstraint = "odd|even*2"')
    plan = array_plan(10, fits, cluster())
    plan.raise_refusals(fits)
    assert plan.tasks == 1


def test_one_of_several_partitions_is_enough():
    """Slurm takes the first partition that fits; only if none does, all reasons are told."""
    assert sizes(array_plan(1, profile('partition = "old,main"'), cluster())) == [1]
    keys = [key for key, _ in refusals('partition = "old,main"\ntime_limit = 90', cluster())]
    assert keys == ["partition", "time_limit", "time_limit"]


def test_resources_must_come_together_on_one_node():
    """A node with enough CPUs and another one with the GPU are not enough."""
    bare = replace(NODE, cpus=64, resources={}, count=1)
    where = cluster(partitions={"main": replace(MAIN, nodes=(NODE, bare))})
    ((key, message),) = refusals("cpus = 8\ngpus_per_node = 1", where)
    assert key == "cpus"
    assert "has all of 8 cpus, gpu:1; it has 4 nodes with 4 cpus, 8000 MB, gpu:toy:2; 1 node with 64 cpus" in message


def test_partitions_that_are_closed_to_an_account_or_qos_are_refused():
    """What a partition allows is named."""
    closed = replace(MAIN, accounts=frozenset({"paying"}), qos=frozenset({"short"}))
    found = refusals("", cluster(partitions={"main": closed}))
    assert [key for key, _ in found] == ["account", "qos"]
    assert "valid: paying" in found[0][1]
    denied = replace(MAIN, denied_accounts=frozenset({"lab"}))
    assert [key for key, _ in refusals("", cluster(partitions={"main": denied}))] == ["account"]


def test_a_user_without_an_account_is_told_so():
    """Where associations are enforced and there is none, sbatch would refuse without a reason."""
    ((key, message),) = refusals("", cluster(associations=(), default_account=None))
    assert key == "account"
    assert "user ann has no account on cluster c" in message


def test_a_cluster_without_a_default_partition_wants_one_named():
    """A profile without a partition is refused where there is no default, with the choices."""
    where = cluster(partitions={"main": replace(MAIN, default=False)})
    assert refusals("", where) == [("partition", "this cluster has no default partition; choose one of main")]


def test_a_qos_can_override_the_partitions_time_limit():
    """With the flag PartitionTimeLimit the partition's MaxTime does not hold."""
    where = cluster()
    free = replace(where.qos["normal"], flags=frozenset({"PartitionTimeLimit"}))
    assert sizes(array_plan(1, profile("time_limit = 600"), replace(where, qos={"normal": free}))) == [1]


def test_without_accounting_only_the_partition_is_checked():
    """A cluster that keeps no accounts has no limits of users."""
    plain = cluster(associations=None, accounts={}, qos=None, enforced=frozenset(), default_account=None)
    assert sizes(array_plan(100, profile('array_width = 8\naccount = "x"\nqos = "y"'), plain)) == [8]
    assert [key for key, _ in refusals("time_limit = 61", plain)] == ["time_limit"]


def test_what_could_not_be_asked_is_noted():
    """A plan made without the accounts' limits says so."""
    assert array_plan(1, profile(), cluster(notes=("sacctmgr failed",))).notes == ("sacctmgr failed",)
