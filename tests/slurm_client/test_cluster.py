from cnn_sweep.slurm.cluster import (
    read_accounts,
    read_associations,
    read_config,
    read_nodes,
    read_partitions,
    read_qos,
    read_queue_counts,
)

# All texts are Slurm 22.05's own.
CONFIG = """\
Configuration data as of 2026-11-20T19:31:02
AccountingStorageEnforce = associations,limits,qos
AuthInfo                = socket=/run/munge,cred_expire=10
ClusterName             = lab
MaxArraySize            = 1001
SchedulerParameters     = bf_continue,max_array_tasks=500,bf_window=1440
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at localhost is UP
"""
PARTITIONS = (
    "PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A"
    " DefaultTime=NONE DisableRootJobs=NO MaxNodes=UNLIMITED MaxTime=01:00:00 MinNodes=0 Nodes=n[1-4]"
    " PriorityTier=10 PreemptMode=OFF State=UP TotalCPUs=16 JobDefaults=(null) TRES=cpu=16,mem=32000M\n"
    "PartitionName=long AllowGroups=ALL AllowAccounts=a,b AllowQos=slow AllocNodes=ALL Default=NO QoS=part"
    " MaxTime=UNLIMITED Nodes=n4 State=DRAIN\n"
    "PartitionName=rest AllowGroups=ALL DenyAccounts=c,d DenyQos=x Default=NO QoS=N/A MaxTime=7-00:00:00 State=UP\n"
)
NODES = """\
main|2|4|8000|gpu:toy:2|odd|idle
main|2|4|8000|gpu:toy:2|even|idle
long|1|64+|515000+|gpu:a100:4(S:0-1),gpu:v100:2|ib,avx512|mixed
rest|1|1|100|(null)|(null)|down*
"""
USER = """\
User|Def Acct|Cluster|Account|Partition|QOS|Def QOS|MaxJobs|MaxSubmit|MaxWall|MaxTRES|GrpTRES
ann|root|lab|root||normal,short||7|10|1-00:00:00||
ann|root|lab|other|long|normal|normal|||||cpu=12
ann|root|elsewhere|root||normal||1|||||
"""
ACCOUNTS = """\
Account|User|GrpJobs|GrpSubmit|GrpTRES
root|||500|cpu=12,gres/gpu=4
other||2||
other|ann|1|1|
"""
QOS = """\
Name|Flags|MaxJobsPU|MaxSubmitPU|MaxWall|MaxTRES|MaxTRESPU|GrpJobs|GrpSubmit|GrpTRES
normal|||||||||
short|DenyOnLimit,OverPartQOS|3|20|00:10:00|cpu=4|cpu=8,gres/gpu=2|2|30|cpu=16,mem=1T
"""


def test_configuration_values_may_hold_equals_signs():
    """Each line is a key and the whole rest."""
    config = read_config(CONFIG)
    assert config["AuthInfo"] == "socket=/run/munge,cred_expire=10"
    assert (config["ClusterName"], config["MaxArraySize"]) == ("lab", "1001")


def test_partitions_are_read_with_their_nodes():
    """Limits, who may use them, and what their nodes have."""
    found = read_partitions(PARTITIONS, read_nodes(NODES))
    main, long, rest = found["main"], found["long"], found["rest"]
    assert (main.default, main.state, main.max_minutes, main.accounts, main.own_qos) == (True, "UP", 60, None, None)
    assert [(kind.count, kind.cpus, kind.features) for kind in main.nodes] == [
        (2, 4, frozenset({"odd"})),
        (2, 4, frozenset({"even"})),
    ]
    assert (long.default, long.state, long.max_minutes, long.own_qos) == (False, "DRAIN", None, "part")
    assert (long.accounts, long.qos) == (frozenset({"a", "b"}), frozenset({"slow"}))
    assert long.nodes[0].resources == {"gpu:a100": 4, "gpu:v100": 2}
    assert (long.nodes[0].cpus, long.nodes[0].memory_mb) == (64, 515000)
    assert (rest.denied_accounts, rest.max_minutes) == (frozenset({"c", "d"}), 7 * 1440)
    assert (rest.nodes[0].resources, rest.nodes[0].features) == ({}, frozenset())


def test_associations_of_other_clusters_do_not_count():
    """One accounting database serves several clusters."""
    (first, second), account = read_associations(USER, "lab", "ann")
    assert account == "root"
    assert (first.account, first.partition, first.qos, first.default_qos) == ("root", None, ("normal", "short"), None)
    limits = first.limits
    assert (limits.submit, limits.running, limits.minutes, limits.total_resources) == (10, 7, 1440, {})
    assert (second.partition, second.default_qos, second.limits.total_resources) == ("long", "normal", {"cpu": 12})
    assert second.limits.scope == ("account", "other")


def test_a_user_who_is_not_known_has_no_associations():
    """Sacctmgr prints the head of its table alone."""
    assert read_associations(USER.splitlines()[0], "lab", "bob") == ((), None)
    assert read_associations("", "lab", "bob") == ((), None)


def test_an_accounts_own_limits_are_those_without_a_user():
    """Rows of users are in the same table."""
    found = read_accounts(ACCOUNTS)
    assert found["root"].submit == 500
    assert found["root"].total_resources == {"cpu": 12, "gres/gpu": 4}
    assert (found["other"].running, found["other"].submit) == (2, None)


def test_of_a_qos_the_stricter_limit_holds():
    """What holds for each user and what holds for all together are one limit to a user."""
    found = read_qos(QOS)
    short = found["short"]
    assert short.flags == {"DenyOnLimit", "OverPartQOS"}
    assert (short.limits.submit, short.limits.running, short.limits.minutes) == (20, 2, 10)
    assert short.limits.job_resources == {"cpu": 4}
    assert short.limits.total_resources == {"cpu": 8, "gres/gpu": 2, "mem": 2**20}
    assert (found["normal"].limits.submit, found["normal"].flags) == (None, frozenset())


def test_queued_jobs_are_counted_by_account_qos_and_partition():
    """Each element of an array is a line of its own."""
    text = "root|normal|main|\nroot|normal|main|\nroot|short|low|\n\n"
    assert read_queue_counts(text) == {("root", "normal", "main"): 2, ("root", "short", "low"): 1}
