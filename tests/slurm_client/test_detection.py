"""A profile that is detected fits its cluster, and each setting says why it has its value."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.slurm.cluster import Association, Cluster, JobLimits, NodeKind, Partition, Qos
from cnn_sweep.slurm.detection.partitions import Wanted
from cnn_sweep.slurm.detection.profile import detected_profile
from cnn_sweep.slurm.detection.settings import Setting, comment, profile_text
from cnn_sweep.slurm.limits import refusals_of
from cnn_sweep.slurm.profile import Profile


def node(**changes):
    """Return nodes of 64 CPUs and 256 GB."""
    kind = NodeKind(count=4, cpus=64, memory_mb=256_000, resources={}, features=frozenset(), state="idle")
    return replace(kind, **changes)


def cluster(*partitions, **changes):
    """Return a cluster without accounting."""
    return replace(Cluster("lab", "ann", partitions={one.name: one for one in partitions}), **changes)


def with_accounts(*names, partition=None, limits=None, **changes):
    """Return what gives a cluster accounts, the first one being the default."""
    none = limits or JobLimits("of user ann", ("account", "a"))
    associations = tuple(Association(name, partition, ("normal",), None, none) for name in names)
    enforced = frozenset({"associations", "limits", "qos"})
    return {
        "associations": associations,
        "default_account": names[0] if names else None,
        "enforced": enforced,
        "accounting": True,
        **changes,
    }


def detected(known, **wanted):
    """Return the profile, checked by its reader and against the cluster, and its text."""
    text = detected_profile(known, Wanted(**wanted))
    profile = Profile.parse(text)
    assert refusals_of(profile, known) == ()
    return profile, text


CPU = Partition("cpu", default=True, max_minutes=10_080, nodes=(node(),))
GPU = Partition("gpu", max_minutes=2_880, nodes=(node(count=2, resources={"gpu:a100": 4}),))


def test_a_part_of_a_node_is_requested_and_explained():
    """Of 64 CPUs a quarter, with as many workers and 2 GB for each; the other partition is named."""
    profile, text = detected(cluster(CPU, GPU))
    assert (profile.partition, profile.cpus, profile.workers_per_task, profile.memory) == ("cpu", 16, 16, 32 * 1024)
    assert (profile.time_limit, profile.array_width, profile.gpus) == (480, 8, 0)
    assert "nodes of partition cpu have 64 CPUs; a part of one starts sooner" in " ".join(text.split())
    assert "others: gpu (2 nodes, up to 2-00:00:00, gpu:a100)" in text.replace("\n# ", " ")


def test_a_profile_for_gpus_takes_the_partition_that_has_them():
    """Several workers share one GPU, with a share of the node's CPUs and memory."""
    profile, _ = detected(cluster(CPU, GPU), gpu=True)
    assert (profile.partition, profile.gpus, profile.workers_per_gpu, profile.cpus) == ("gpu", 1, 4, 8)
    assert profile.memory == 16 * 1024


def test_gpus_are_taken_from_the_default_partition_if_it_has_some():
    """A partition with more of them is only named."""
    mixed = replace(CPU, nodes=(node(), node(count=1, resources={"gpu": 2})))
    assert detected(cluster(mixed, GPU), gpu=True)[0].partition == "cpu"


@pytest.mark.parametrize(
    ("cpus", "expected"), [(1, 1), (4, 4), (23, 16), (24, 12), (40, 10), (48, 16), (94, 16), (96, 16), (128, 16)]
)
def test_the_number_of_cpus_divides_a_node(cpus, expected):
    """If a useful number does, so that no CPU is left over."""
    assert detected(cluster(replace(CPU, nodes=(node(cpus=cpus),))))[0].cpus == expected


def test_of_different_nodes_the_most_common_kind_decides():
    """Features and states do not make another kind; all sizes are named."""
    nodes = (node(count=3, cpus=32), node(count=3, cpus=32, features=frozenset({"ib"})), node(count=5, cpus=128))
    profile, text = detected(cluster(replace(CPU, nodes=nodes)))
    assert profile.cpus == 16
    assert "have 32 CPUs (most of them; 6 with 32, 5 with 128)" in text.replace("\n# ", " ")


def test_nodes_that_are_down_do_not_count():
    """A size that only a drained node has is not requested."""
    nodes = (node(count=50, cpus=128, state="drained"), node(count=9, state="idle*"), node(count=1, cpus=4))
    assert detected(cluster(replace(CPU, nodes=nodes)))[0].cpus == 4


CLOSED = [{"state": "DOWN"}, {"state": "DRAIN"}, {"hidden": True}, {"root_only": True}, {"groups": frozenset({"x"})}]


@pytest.mark.parametrize("state", CLOSED)
def test_a_default_partition_that_starts_nothing_is_passed_over(state):
    """The largest of the others is taken, and why is said; asked for, it is taken in spite of that."""
    other = replace(CPU, name="other", default=False)
    known = cluster(replace(CPU, **state), other)
    profile, text = detected(known, groups=frozenset({"y"}))
    assert profile.partition == "other"
    assert "the default partition cpu is unusable" in text
    text = detected_profile(known, Wanted(partition="cpu", groups=frozenset({"y"})))
    assert "as you asked, although it is" in text


def test_a_cluster_where_nothing_starts_is_told_with_the_reason_of_each_partition():
    """There is no profile to write."""
    known = cluster(replace(CPU, state="DOWN"), replace(GPU, nodes=(node(state="down*"),)))
    with pytest.raises(EnvironmentFault, match=r"cpu \(down\), gpu \(no node is up: 4 down\*\)"):
        detected_profile(known, Wanted())


def test_what_the_cluster_lacks_is_refused_with_the_choices():
    """Partition, account and GPUs that do not exist; a misspelt name is guessed."""
    known = cluster(CPU, **with_accounts("bio", "geo"))
    with pytest.raises(InputError, match=r"unknown partition 'cpus' \(did you mean 'cpu'\?\); valid: cpu"):
        detected_profile(known, Wanted(partition="cpus"))
    with pytest.raises(InputError, match="unknown account 'chem'; valid: bio, geo"):
        detected_profile(known, Wanted(account="chem"))
    with pytest.raises(InputError, match="no partition that you may use has GPUs; partitions: cpu"):
        detected_profile(known, Wanted(gpu=True))
    with pytest.raises(InputError, match="no usable node of partition cpu has a GPU; partitions with GPUs: gpu"):
        detected_profile(cluster(CPU, GPU), Wanted(partition="cpu", gpu=True))


@pytest.mark.parametrize("memory", [0, 1])
def test_memory_that_slurm_does_not_know_is_not_requested(memory):
    """Nodes without a configured memory show 0 or 1 MB."""
    profile, text = detected(cluster(replace(CPU, nodes=(node(memory_mb=memory),))))
    assert profile.memory is None
    assert "Slurm does not know how much the nodes have" in text


def test_memory_is_at_most_what_a_task_may_have():
    """By its share of the node, by the partition's limit per CPU, and by the account's."""
    assert detected(cluster(replace(CPU, nodes=(node(memory_mb=64_000),))))[0].memory == 15 * 1024
    assert detected(cluster(replace(CPU, max_memory_per_cpu_mb=1024)))[0].memory == 16 * 1024
    limits = JobLimits("of user ann", ("account", "bio"), job_resources={"mem": 10_240})
    assert detected(cluster(CPU, **with_accounts("bio", limits=limits)))[0].memory == 10_240


def test_hyperthreads_share_a_worker():
    """Slurm counts two CPUs per core there; a worker needs a core."""
    profile, text = detected(cluster(replace(CPU, nodes=(node(threads_per_core=2),))))
    assert (profile.cpus, profile.workers_per_task) == (16, 8)
    assert "hyperthreads" in text


def test_limits_of_an_account_shape_the_task():
    """Time, CPUs and the number of tasks are lowered, each with the limit's name; jobs of today do not matter."""
    limits = JobLimits(
        "of user ann in account bio", ("account", "bio"), submit=3, minutes=120, job_resources={"cpu": 6}
    )
    known = cluster(CPU, **with_accounts("bio", limits=limits, queued={("bio", "normal", "cpu"): 2}))
    profile, text = detected(known)
    assert (profile.time_limit, profile.cpus, profile.array_width) == (120, 6, 3)
    text = text.replace("\n# ", " ")
    assert "MaxWall of user ann in account bio" in text
    assert "cpu of user ann in account bio is limited to 6" in text
    assert "MaxSubmitJobs of user ann in account bio is 3" in text


def test_one_account_is_taken_and_of_several_the_default_one():
    """The others are named; an account that the partition refuses leaves the partition aside."""
    assert detected(cluster(CPU, **with_accounts("bio")))[0].account == "bio"
    profile, text = detected(cluster(CPU, **with_accounts("geo", "bio")))
    assert profile.account == "geo"
    assert "your default account; others: bio" in text
    closed = cluster(replace(CPU, accounts=frozenset({"bio"})), GPU, **with_accounts("geo", "bio"))
    assert detected(closed)[0].partition == "gpu"
    assert detected(closed, account="bio")[0].partition == "cpu"
    assert detected(cluster(CPU, GPU, **with_accounts("bio", partition="gpu")))[0].partition == "gpu"


def test_without_accounting_no_account_is_named():
    """The line is there as a comment, for sites whose sbatch asks for one all the same."""
    profile, text = detected(cluster(CPU))
    assert profile.account is None
    assert '# account = "my-project"' in text


def test_a_user_without_an_account_is_told():
    """Sbatch would refuse every job."""
    with pytest.raises(EnvironmentFault, match="user ann has no account on cluster lab"):
        detected_profile(cluster(CPU, **with_accounts()), Wanted())


def test_a_qos_is_named_where_the_partition_refuses_the_default_one():
    """Otherwise those that exist are a comment, with their limits."""
    none = JobLimits("", ("account", "bio"))
    accounts = with_accounts("bio")
    accounts["associations"] = (Association("bio", None, ("normal", "long"), "normal", none),)
    accounts["qos"] = {"long": Qos("long", frozenset(), JobLimits("of QOS long", ("qos", "long"), minutes=10_080))}
    assert detected(cluster(replace(CPU, qos=frozenset({"long"})), **accounts))[0].qos == "long"
    profile, text = detected(cluster(CPU, **accounts))
    assert profile.qos is None
    assert "long (up to 7-00:00:00)" in text


@pytest.mark.parametrize(
    ("preempt", "mode", "words"),
    [
        ("none", "OFF", "not preempted"),
        ("partition_prio", "OFF", "not preempted"),
        ("partition_prio", "REQUEUE", "after a node failure or a preemption"),
        ("partition_prio", "CANCEL", "cnn-sweep resume"),
        ("partition_prio", "SUSPEND", "suspended"),
        ("qos", "OFF", "higher QOS"),
    ],
)
def test_what_a_preemption_does_is_explained(preempt, mode, words):
    """The profile allows requeues, and says when they happen."""
    profile, text = detected(cluster(replace(CPU, preempt_mode=mode), preempt_type=preempt))
    assert profile.requeue
    assert words in text.replace("\n# ", " ")


def test_a_short_partition_leaves_time_for_checkpoints():
    """The warning comes within the time limit."""
    profile, _ = detected(cluster(replace(CPU, max_minutes=1)))
    assert (profile.time_limit, profile.signal_delay_s) == (1, 30)


def test_every_line_fits_on_a_terminal():
    """80 columns; a reason that does not fit beside its value stands above it. The path of the schema is one word."""
    _, text = detected(cluster(CPU, GPU, replace(GPU, name="gpu-long-name-of-a-partition")))
    schema, *lines = text.splitlines()
    assert schema.startswith("#:schema /")
    assert max(map(len, lines)) <= 80


def test_the_text_of_values_is_toml():
    """Quotes, control characters and letters of any language survive; comments stay comments."""
    text = profile_text("two\nlines", [[Setting("setup", ('a "b"\t\x7f', "é"), "why"), comment("# and\nmore")]])
    assert tomllib.loads(text) == {"setup": ['a "b"\t\x7f', "é"]}


names = st.sampled_from(["a", "b", "main", "gpu-1"])
counts = st.integers(1, 300)
kinds = st.builds(
    NodeKind,
    count=st.integers(1, 50),
    cpus=counts,
    memory_mb=st.one_of(st.sampled_from([0, 1, 900]), st.integers(2_000, 2_000_000)),
    resources=st.dictionaries(st.sampled_from(["gpu", "gpu:a100", "gpu:1g.5gb", "tpu"]), st.integers(1, 8), max_size=2),
    features=st.frozensets(st.sampled_from(["ib", "avx512", "gpu80gb"])),
    state=st.sampled_from(["idle", "mixed", "allocated", "down*", "drained", "idle~"]),
    threads_per_core=st.integers(1, 2),
)
maybe = st.one_of(st.none(), st.integers(1, 20_000))
partitions = st.builds(
    Partition,
    name=names,
    default=st.booleans(),
    state=st.sampled_from(["UP", "UP", "DOWN"]),
    max_minutes=maybe,
    max_cpus_per_node=st.one_of(st.none(), counts),
    max_memory_per_cpu_mb=maybe,
    nodes=st.lists(kinds, max_size=3).map(tuple),
    preempt_mode=st.sampled_from(["OFF", "REQUEUE", "CANCEL", "GANG,SUSPEND"]),
)
resource_limits = st.dictionaries(st.sampled_from(["cpu", "gres/gpu"]), st.integers(1, 50))
limits = st.builds(
    JobLimits,
    source=st.just("of user ann"),
    scope=st.just(("account", "bio")),
    submit=st.one_of(st.none(), st.integers(1, 50)),
    running=st.one_of(st.none(), st.integers(1, 50)),
    minutes=maybe,
    job_resources=resource_limits,
    total_resources=resource_limits,
)


some_partitions = st.lists(partitions, min_size=1, max_size=3, unique_by=lambda one: one.name)


@settings(max_examples=40, deadline=None)
@given(some_partitions, st.one_of(st.none(), limits), st.booleans())
def test_whatever_the_cluster_is_the_profile_fits_it(parts, limit, gpu):
    """The reader accepts it, no limit refuses it, and each active line has its reason; or why there is none is told."""
    accounts = {} if limit is None else with_accounts("bio", limits=limit)
    known = cluster(*parts, preempt_type="partition_prio", **accounts)
    try:
        _, text = detected(known, gpu=gpu)
    except (EnvironmentFault, InputError) as error:
        assert re.search("no partition", str(error))  # noqa: PT017 - a cluster may have nothing for this user
        return
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        assert not line or line.startswith("#") or " # " in line or before.startswith("#"), line
