"""A cluster's partitions, nodes, accounts and limits as data, and parsers for the Slurm output that shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cnn_sweep.slurm.units import billing_weights, gres, limit_count, limit_memory_mb, limit_minutes, resources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


# Columns of sacctmgr: jobs in the queue, running jobs, resources of all running jobs.
_USER_LIMITS = ("MaxSubmit", "MaxJobs", "GrpTRES")
_GROUP_LIMITS = ("GrpSubmit", "GrpJobs", "GrpTRES")
_QOS_LIMITS = ("MaxSubmitPU", "MaxJobsPU", "MaxTRESPU")
# Beginnings of the node states of sinfo(1) in which no job starts; a trailing * means that the node does not answer.
_STARTS_NO_JOBS = ("down", "drain", "error", "fail", "future", "inval", "no_resp", "npc", "perfctrs", "unk")


@dataclass(frozen=True)
class NodeKind:
    """Identical nodes of one partition.

    Attributes:
        count: Number of nodes.
        cpus: CPUs per node.
        memory_mb: Memory per node, in MB.
        resources: Generic resources per node, by ``name:type``.
        features: Features that a constraint can name.
        state: State in sinfo's words.
        threads_per_core: CPUs per core; 2 if Slurm counts hyperthreads.
        scratch_mb: Size of the node's own scratch file system, in MB; 0 if Slurm does not know it.
    """

    count: int
    cpus: int
    memory_mb: int
    resources: Mapping[str, int]
    features: frozenset[str]
    state: str
    threads_per_core: int = 1
    scratch_mb: int = 0

    @property
    def starts_jobs(self) -> bool:
        """Whether these nodes start jobs, now or after others have ended."""
        return not self.state.endswith("*") and not self.state.lower().startswith(_STARTS_NO_JOBS)

    @property
    def gpus(self) -> int:
        """GPUs per node, of any type."""
        return sum(n for name, n in self.resources.items() if name.split(":")[0] == "gpu")


@dataclass(frozen=True)
class Partition:
    """A partition, and the accounts and QOS that may use it.

    Attributes:
        name: Its name.
        default: Whether jobs without a partition run here.
        state: ``UP`` accepts and starts jobs, ``DOWN`` only accepts them, ``DRAIN`` and ``INACTIVE`` refuse them.
        max_minutes: Longest time limit of a job, in minutes; None if unlimited.
        accounts: Accounts that may use it; None for all.
        denied_accounts: Accounts that may not use it.
        qos: QOS that may be used in it; None for all.
        own_qos: QOS whose limits apply to all jobs in it, or None.
        nodes: Its nodes, grouped by kind.
        hidden: Whether ``sinfo`` lists it only with ``--all``.
        root_only: Whether users cannot submit to it.
        groups: Unix groups that may use it; None for all.
        default_minutes: Time limit of jobs that request none, in minutes; None if that is the longest one.
        default_memory_mb: Memory of jobs that request none, in MB: of each CPU, or of the node; None if all of it.
        default_is_per_cpu: Whether that memory is given for each CPU.
        max_memory_per_cpu_mb: Most memory per CPU of a job, in MB; None if unlimited.
        max_memory_per_node_mb: Most memory of a job on one node, in MB; None if unlimited.
        max_cpus_per_node: Most CPUs of its jobs on one node; None if unlimited.
        preempt_mode: What happens to its jobs if others preempt them: ``OFF``, ``REQUEUE``, ``CANCEL``, ``SUSPEND``.
        priority_tier: Jobs in partitions with a higher tier start first, and may preempt those here.
        billing_weights: Billing units of each resource, by its name in limits (memory: per MB); empty if a CPU is one.
    """

    name: str
    default: bool = False
    state: str = "UP"
    max_minutes: int | None = None
    accounts: frozenset[str] | None = None
    denied_accounts: frozenset[str] = frozenset()
    qos: frozenset[str] | None = None
    own_qos: str | None = None
    nodes: tuple[NodeKind, ...] = ()
    hidden: bool = False
    root_only: bool = False
    groups: frozenset[str] | None = None
    default_minutes: int | None = None
    default_memory_mb: int | None = None
    default_is_per_cpu: bool = False
    max_memory_per_cpu_mb: int | None = None
    max_memory_per_node_mb: int | None = None
    max_cpus_per_node: int | None = None
    preempt_mode: str = "OFF"
    priority_tier: int = 1
    billing_weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JobLimits:
    """Limits of an association, an account or a QOS; None means unlimited.

    Attributes:
        source: Owner of the limits, for messages.
        scope: Which of the user's jobs count: ``("account" | "qos" | "partition", name)``.
        submit: Jobs in the queue, running or not; each array element counts.
        running: Jobs that run at the same time.
        minutes: Longest time limit of one job, in minutes.
        job_resources: Resources of one job.
        total_resources: Resources of all running jobs together.
    """

    source: str
    scope: tuple[str, str]
    submit: int | None = None
    running: int | None = None
    minutes: int | None = None
    job_resources: Mapping[str, int] = field(default_factory=dict)
    total_resources: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Association:
    """A user's rights and limits under one account (in one partition, if ``partition`` is set)."""

    account: str
    partition: str | None
    qos: tuple[str, ...]
    default_qos: str | None
    limits: JobLimits


@dataclass(frozen=True)
class Qos:
    """A quality of service: its flags, and the stricter of its limits per user and in total."""

    name: str
    flags: frozenset[str]
    limits: JobLimits


@dataclass(frozen=True)
class Cluster:
    """A cluster's current limits and partitions, as they apply to a user.

    Attributes:
        name: The cluster's name.
        user: The user.
        max_array_size: Upper bound of array indices, exclusive.
        max_array_tasks: Most elements in one array; None if unlimited.
        max_jobs: Most jobs that the controller keeps, of all users together.
        enforced: Which of ``associations``, ``limits`` and ``qos`` are enforced.
        partitions: By name.
        default_account: Account of jobs that name none.
        associations: The user's associations; None if accounting is off or did not answer.
        accounts: Shared limits of accounts, by name.
        qos: By name; None if accounting is off or did not answer.
        queued: The user's queued jobs by (account, qos, partition); each array element counts.
        notes: Queries that failed, for the user.
        version: Slurm's version, such as ``22.05.8``; empty if unknown.
        preempt_type: How jobs are preempted: ``none``, ``partition_prio`` or ``qos``.
        accounting: Whether a database keeps accounts and ended jobs, so that ``sacct`` works.
        scratch: The node's own scratch folder (``TmpFS``).
        billing_is_largest: Whether only the resource with the most billing units counts (``MAX_TRES``).
    """

    name: str
    user: str
    max_array_size: int = 1001
    max_array_tasks: int | None = None
    max_jobs: int | None = None
    enforced: frozenset[str] = frozenset()
    partitions: Mapping[str, Partition] = field(default_factory=dict)
    default_account: str | None = None
    associations: tuple[Association, ...] | None = None
    accounts: Mapping[str, JobLimits] = field(default_factory=dict)
    qos: Mapping[str, Qos] | None = None
    queued: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    version: str = ""
    preempt_type: str = "none"
    accounting: bool = False
    scratch: str = "/tmp"  # noqa: S108 - Slurm's default
    billing_is_largest: bool = False


def read_config(text: str) -> dict[str, str]:
    """Read ``scontrol show config``."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, separator, value in pairs if separator}


def read_partitions(text: str, nodes: Mapping[str, tuple[NodeKind, ...]]) -> dict[str, Partition]:
    """Read ``scontrol show partition --oneliner``, adding the nodes from :func:`read_nodes`."""
    found = {}
    for line in text.splitlines():
        values = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" not in values:
            continue
        name = values["PartitionName"]
        found[name] = _partition(values, nodes.get(name, ()))
    return found


def _partition(values: Mapping[str, str], nodes: tuple[NodeKind, ...]) -> Partition:
    per_cpu = "DefMemPerCPU" in values
    return Partition(
        name=values["PartitionName"],
        default=values.get("Default") == "YES",
        state=values.get("State", "UP"),
        max_minutes=limit_minutes(values.get("MaxTime", "")),
        accounts=_names(values.get("AllowAccounts", "ALL")),
        denied_accounts=_names(values.get("DenyAccounts", "")) or frozenset(),
        qos=_names(values.get("AllowQos", "ALL")),
        own_qos=None if values.get("QoS", "N/A") == "N/A" else values["QoS"],
        nodes=nodes,
        hidden=values.get("Hidden") == "YES",
        root_only=values.get("RootOnly") == "YES",
        groups=_names(values.get("AllowGroups", "ALL")),
        default_minutes=limit_minutes(values.get("DefaultTime", "")),
        default_memory_mb=limit_memory_mb(values.get("DefMemPerCPU" if per_cpu else "DefMemPerNode", "")),
        default_is_per_cpu=per_cpu,
        max_memory_per_cpu_mb=limit_memory_mb(values.get("MaxMemPerCPU", "")),
        max_memory_per_node_mb=limit_memory_mb(values.get("MaxMemPerNode", "")),
        max_cpus_per_node=limit_count(values.get("MaxCPUsPerNode", "")),
        preempt_mode=values.get("PreemptMode", "OFF"),
        priority_tier=limit_count(values.get("PriorityTier", "")) or 1,
        billing_weights=billing_weights(values.get("TRESBillingWeights", "")),
    )


def read_nodes(text: str) -> dict[str, tuple[NodeKind, ...]]:
    """Read ``sinfo --format='%R|%D|%c|%m|%G|%f|%T|%Z|%d'`` as kinds of nodes by partition."""
    found: dict[str, tuple[NodeKind, ...]] = {}
    for line in text.splitlines():
        values = line.split("|")
        if len(values) < 7:
            continue
        name, count, cpus, memory, generic, features, state, threads, scratch = (*values, "1", "0")[:9]
        kind = NodeKind(
            count=int(count),
            cpus=_least(cpus),
            memory_mb=_least(memory),
            resources=gres(generic),
            features=_names(features) or frozenset(),
            state=state,
            threads_per_core=max(1, _least(threads)),
            scratch_mb=_least(scratch),
        )
        found[name] = (*found.get(name, ()), kind)
    return found


def _least(text: str) -> int:
    """Read a number of sinfo's; ``4+`` means at least 4, if nodes differ."""
    digits = text.strip().rstrip("+")
    return int(digits) if digits.isdigit() else 0


def read_associations(text: str, cluster: str, user: str) -> tuple[tuple[Association, ...], str | None]:
    """Read ``sacctmgr --parsable2 show user withassoc``: the user's associations and default account."""
    found, default = [], None
    for row in _table(text):
        if row["Cluster"] != cluster:
            continue
        default = row["Def Acct"] or default
        account = row["Account"]
        association = Association(
            account=account,
            partition=row["Partition"] or None,
            qos=tuple(filter(None, row["QOS"].split(","))),
            default_qos=row["Def QOS"] or None,
            limits=_limits(f"of user {user} in account {account}", ("account", account), row, _USER_LIMITS),
        )
        found.append(association)
    return tuple(found), default


def read_accounts(text: str) -> dict[str, JobLimits]:
    """Read ``sacctmgr --parsable2 show association user=''``: the limits that all users of an account share."""
    found = {}
    for row in _table(text):
        name = row["Account"]
        if not row["User"]:
            found[name] = _limits(f"of account {name}", ("account", name), row, _GROUP_LIMITS)
    return found


def read_qos(text: str) -> dict[str, Qos]:
    """Read ``sacctmgr --parsable2 show qos``."""
    found = {}
    for row in _table(text):
        scope = ("qos", row["Name"])
        limits = _limits(f"of QOS {row['Name']}", scope, row, _QOS_LIMITS)
        shared = _limits(limits.source, scope, row, _GROUP_LIMITS)
        both = JobLimits(
            source=limits.source,
            scope=scope,
            submit=lowest(limits.submit, shared.submit),
            running=lowest(limits.running, shared.running),
            minutes=limits.minutes,
            job_resources=limits.job_resources,
            total_resources={**shared.total_resources, **limits.total_resources},
        )
        found[row["Name"]] = Qos(row["Name"], frozenset(filter(None, row["Flags"].split(","))), both)
    return found


def read_queue_counts(text: str) -> Counter[tuple[str, str, str]]:
    """Read ``squeue --array --Format=Account:|,QOS:|,Partition:|`` as numbers of jobs by these three."""
    rows = (line.strip().split("|") for line in text.splitlines())
    return Counter((row[0], row[1], row[2]) for row in rows if len(row) > 3)


def lowest(*values: int | None) -> int | None:
    """Return the smallest number; None if all are None."""
    return min((value for value in values if value is not None), default=None)


def _limits(source: str, scope: tuple[str, str], row: Mapping[str, str], columns: tuple[str, str, str]) -> JobLimits:
    submit, running, total = columns
    return JobLimits(
        source=source,
        scope=scope,
        submit=limit_count(row[submit]),
        running=limit_count(row[running]),
        minutes=limit_minutes(row.get("MaxWall", "")),
        job_resources=resources(row.get("MaxTRES", "")),
        total_resources=resources(row[total]),
    )


def _table(text: str) -> Iterator[dict[str, str]]:
    """Read rows of values separated by ``|``; the first row names the columns."""
    lines = text.splitlines()
    for line in lines[1:]:
        yield dict(zip(lines[0].split("|"), line.split("|"), strict=False))


def _names(text: str) -> frozenset[str] | None:
    """Read comma-separated names; None means all."""
    if text == "ALL":
        return None
    return frozenset(filter(None, (name.strip() for name in text.split(",")))) - {"(null)"}
