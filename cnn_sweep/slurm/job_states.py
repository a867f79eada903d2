"""States of jobs according to Slurm: finds out whether an incarnation of a job is alive, and why it ended.

A requeued job keeps its ID and starts again, as a new *incarnation*. An incarnation is identified by the job ID, the
submit time (each requeue sets a new one) and the number of restarts, so it is never confused with a later incarnation
or with another job that reuses the ID. Anything uncertain is ``unknown``, and callers leave such jobs alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from signal import SIGTERM
from typing import TYPE_CHECKING, Literal

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.slurm.job_rows import StepEnds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.job_rows import AccountingRow, QueueRow

Cause = Literal[
    "completed",
    "exception",
    "time_limit",
    "preempted",
    "node_failure",
    "out_of_memory",
    "cancelled",
    "requeued",  # Slurm no longer knows the reason; all such reasons are infrastructure
    "gone",  # neither in the queue nor in accounting
]

LIVING = frozenset(
    [
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "COMPLETING",
        "CONFIGURING",
        "RESIZING",
        "STAGE_OUT",
        "STOPPED",
        "SIGNALING",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "SPECIAL_EXIT",
        "RESV_DEL_HOLD",
        "POWER_UP_NODE",
    ]
)
_CAUSES: Mapping[str, Cause] = {
    "COMPLETED": "completed",
    "FAILED": "exception",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "OUT_OF_MEMORY": "out_of_memory",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "REQUEUED": "requeued",
}
_CLOCKS_DIFFER_S = 5.0  # largest difference between nodes and controller; a requeue takes longer


@dataclass(frozen=True)
class Incarnation:
    """One run of a job, as identified by its processes.

    Attributes:
        job: ``123``, or ``123_4`` for an array element.
        restarts: Number of requeues before this run.
        submitted: Time of submission or requeue, in seconds since 1970; None if unknown.
        started: Start of one of its processes, in seconds since 1970, by its node's clock.
        cluster: Name of the cluster; None if unknown.
        uid: Numeric ID of its user; None if unknown.
    """

    job: str
    restarts: int = 0
    submitted: int | None = None
    started: float | None = None
    cluster: str | None = None
    uid: int | None = None

    @classmethod
    def from_slurm(cls, slurm: Mapping[str, str], *, started: float | None = None) -> Incarnation:
        """Return the incarnation that a process recorded in its journal.

        Args:
            slurm: job_id and, if Slurm set them, array_job_id, array_task_id, restart_count, submit_time, cluster, uid.
            started: Start of that process, in seconds since 1970.
        """
        job = slurm["job_id"]
        if "array_job_id" in slurm and "array_task_id" in slurm:
            job = f"{int(slurm['array_job_id'])}_{int(slurm['array_task_id'])}"
        submitted = slurm.get("submit_time", "")
        return cls(
            job=job,
            restarts=int(slurm.get("restart_count") or 0),
            submitted=int(submitted) if submitted.isdigit() else None,
            started=started,
            cluster=slurm.get("cluster"),
            uid=int(slurm["uid"]) if slurm.get("uid", "").isdigit() else None,
        )

    @property
    def asked_id(self) -> int:
        """The job ID to query; for an array element, that of the whole array."""
        return int(self.job.partition("_")[0])


@dataclass(frozen=True)
class JobStatus:
    """Status of an incarnation.

    Attributes:
        state: Callers must leave an ``unknown`` incarnation alone.
        detail: Slurm's state with exit code, signal and nodes, for messages.
        cause: Why a dead incarnation ended; otherwise None.
        ended: When it ended, in seconds since 1970; None if unknown.
    """

    state: Literal["alive", "dead", "unknown"]
    detail: str
    cause: Cause | None = None
    ended: int | None = None


def job_statuses(
    slurm: SlurmCli, incarnations: Iterable[Incarnation], *, queue: list[QueueRow] | None = None
) -> dict[Incarnation, JobStatus]:
    """Ask Slurm for the status of incarnations: one call if all are alive, two or three otherwise.

    Args:
        slurm: Slurm's commands.
        incarnations: The incarnations to look up.
        queue: Recent result of :meth:`SlurmCli.queue` for all their jobs, if the caller already has it.
    """
    wanted = list(dict.fromkeys(incarnations))
    if not wanted:
        return {}
    try:
        rows = slurm.queue(one.asked_id for one in wanted) if queue is None else queue
        found = statuses_from_rows(wanted, rows, None)
        open_ones = [one for one in wanted if found[one].state != "alive"]
        if open_ones:
            found |= _ask_accounts(slurm, open_ones, rows)
    except EnvironmentFault as fault:
        return dict.fromkeys(wanted, JobStatus("unknown", str(fault)))
    return found


def statuses_from_rows(
    incarnations: Iterable[Incarnation],
    queue: Iterable[QueueRow],
    accounts: Iterable[AccountingRow] | None,
    steps: Mapping[tuple[int, int], StepEnds] | None = None,
) -> dict[Incarnation, JobStatus]:
    """Derive the status of incarnations from rows of squeue and sacct; calls no command.

    Args:
        incarnations: The incarnations to look up.
        queue: squeue's rows for their jobs, read before sacct's.
        accounts: sacct's rows for their jobs; None if the cluster keeps no accounting.
        steps: How the steps of failed jobs ended, by raw ID and submit time.
    """
    queued = {job: row for row in queue for job in row.jobs}
    recorded: dict[str, list[AccountingRow]] = {}
    for record in accounts or ():
        for job in record.jobs:
            recorded.setdefault(job, []).append(record)
    return {
        one: _status(one, queued.get(one.job), _own_record(one, recorded.get(one.job, [])), steps or {})
        for one in incarnations
    }


def _ask_accounts(slurm: SlurmCli, open_ones: list[Incarnation], queue: list[QueueRow]) -> dict[Incarnation, JobStatus]:
    try:
        accounts = slurm.accounting(one.asked_id for one in open_ones)
    except EnvironmentFault as fault:
        return _without_accounts(open_ones, queue, fault)
    found = statuses_from_rows(open_ones, queue, accounts)
    failed = {one.job for one in open_ones if found[one].cause == "exception"}
    raw_ids = [row.raw_id for row in accounts or () if row.state == "FAILED" and failed.intersection(row.jobs)]
    if raw_ids:
        found = statuses_from_rows(open_ones, queue, accounts, slurm.steps(raw_ids))
    return found | _elsewhere(slurm, found)


def _without_accounts(
    open_ones: list[Incarnation], queue: list[QueueRow], fault: EnvironmentFault
) -> dict[Incarnation, JobStatus]:
    """Use squeue alone while accounting is down; states that only accounting knows remain unknown."""
    found = statuses_from_rows(open_ones, queue, None)
    return {
        one: JobStatus("unknown", f"not in the queue, and {fault}") if status.cause == "gone" else status
        for one, status in found.items()
    }


def _elsewhere(slurm: SlurmCli, found: dict[Incarnation, JobStatus]) -> dict[Incarnation, JobStatus]:
    """Return jobs that Slurm cannot show here as unknown, since their absence proves nothing.

    They belong to another cluster, or to another user where ``PrivateData`` hides other users' jobs.
    """
    gone = [one for one, status in found.items() if status.cause == "gone" and (one.cluster, one.uid) != (None, None)]
    here = slurm.visibility() if gone else None
    unknown = {}
    for one in gone:
        if here is not None and one.cluster is not None and one.cluster != here.cluster:
            unknown[one] = JobStatus("unknown", f"belongs to cluster {one.cluster}; this is {here.cluster}")
        elif here is not None and here.hides_jobs_of(one.uid):
            unknown[one] = JobStatus("unknown", "belongs to another user, whose jobs this cluster does not show you")
    return unknown


def _status(
    one: Incarnation,
    row: QueueRow | None,
    record: AccountingRow | None,
    steps: Mapping[tuple[int, int], StepEnds],
) -> JobStatus:
    now = row if row is not None and _is_now(one, row) else None
    if now is not None and now.state in LIVING:
        return JobStatus("alive", f"{now.state} ({now.reason})" if now.reason else now.state)
    if record is not None and record.state not in LIVING:
        return _ended(record, steps)
    if now is not None and now.state == "FAILED" and record is not None:
        return JobStatus("unknown", "it failed, and accounting does not show the cause yet")
    return _vanished(one, row) if now is None else _ended(now, steps)


def _vanished(one: Incarnation, row: QueueRow | None) -> JobStatus:
    """Return the status of an incarnation that neither squeue nor sacct shows."""
    later = row is not None and (one.submitted is None or (row.submitted or 0) >= one.submitted)
    if row is not None and later and row.restarts > one.restarts:
        return JobStatus("dead", f"requeued; now {row.state}", "requeued", row.submitted)
    return JobStatus("dead", "Slurm no longer knows it", "gone")


def _is_now(one: Incarnation, row: QueueRow) -> bool:
    """Return whether a row of squeue is exactly this incarnation."""
    if one.submitted is not None and row.submitted is not None:
        return one.submitted == row.submitted and one.restarts == row.restarts
    # Without a submit time, the running time distinguishes it from another job with the same ID.
    ran = one.started is None or _ran_at(row, one.started)
    return ran and one.restarts == row.restarts


def _own_record(one: Incarnation, records: list[AccountingRow]) -> AccountingRow | None:
    """Return the record of exactly this incarnation among those of all jobs with its ID."""
    if one.submitted is not None:
        return next((record for record in records if record.submitted == one.submitted), None)
    begun = sorted((r for r in records if r.submitted is not None), key=lambda record: record.submitted or 0)
    if one.started is None:
        # Without any time, only the order of incarnations is left; reused IDs cannot be distinguished.
        return begun[one.restarts] if one.restarts < len(begun) else None
    return next((record for record in reversed(begun) if _ran_at(record, one.started)), None)


def _ran_at(row: QueueRow | AccountingRow, moment: float) -> bool:
    if row.started is None or moment < row.started - _CLOCKS_DIFFER_S:
        return False
    # For a running job, squeue shows its time limit as the end.
    return row.state in LIVING or row.ended is None or moment <= row.ended + _CLOCKS_DIFFER_S


def _ended(row: QueueRow | AccountingRow, steps: Mapping[tuple[int, int], StepEnds]) -> JobStatus:
    """Return the status of a job whose state is final."""
    if row.state not in _CAUSES:
        return JobStatus("unknown", f"Slurm says {row.state}, a state that this version does not know")
    cause = _CAUSES[row.state]
    if cause == "exception":
        cause = _failure(row, steps.get((row.raw_id, row.submitted or 0), StepEnds()))
    detail = row.state
    if row.signal or row.exit_code:
        detail += f", signal {row.signal}" if row.signal else f", exit code {row.exit_code}"
    if row.nodes:
        detail += f" on {row.nodes}"
    return JobStatus("dead", detail, cause, row.ended)


def _failure(row: QueueRow | AccountingRow, ends: StepEnds) -> Cause:
    """Return the cause of a job that Slurm calls FAILED; some failures are not the trial's fault."""
    if ends.out_of_memory:
        return "out_of_memory"
    by_sigterm = row.exit_code == 128 + SIGTERM or (row.exit_code == SIGTERM and SIGTERM in ends.signals)
    # SIGTERM announces a preemption: the job ended by itself before it was preempted.
    return "preempted" if by_sigterm or row.signal == SIGTERM else "exception"
