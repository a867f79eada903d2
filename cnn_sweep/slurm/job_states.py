"""Slurm's truth about jobs: which incarnations of them live, which are dead, and of what they died.

A job that is requeued keeps its id and starts again: one more incarnation. An incarnation is named by the job, the
time of its submission (each requeue is a new one) and the number of restarts, so that neither a later incarnation
nor another job that was given the same id is taken for it. What is not known for certain is ``unknown``, and
whoever asks leaves it alone.
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
    "requeued",  # for a reason that Slurm does not tell (any more): all of them are infrastructure
    "gone",  # neither in the queue nor in the accounts
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
_CLOCKS_DIFFER_S = 5.0  # at most, between nodes and controller; a requeue takes longer


@dataclass(frozen=True)
class Incarnation:
    """One run of a job, as its processes know it.

    Attributes:
        job: The job's name: ``123``, or ``123_4`` in an array.
        restarts: How often it was requeued before.
        submitted: When it was submitted or requeued, in seconds since 1970; None where it could not find out.
        started: When one of its processes started, in seconds since 1970, by the clock of its node.
        cluster: The cluster's name; None where it is not known.
    """

    job: str
    restarts: int = 0
    submitted: int | None = None
    started: float | None = None
    cluster: str | None = None

    @classmethod
    def from_slurm(cls, slurm: Mapping[str, str], *, started: float | None = None) -> Incarnation:
        """Read what a process wrote down of its job.

        Args:
            slurm: job_id and, where Slurm gave them, array_job_id, array_task_id, restart_count, submit_time, cluster.
            started: When that process started.
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
        )

    @property
    def asked_id(self) -> int:
        """The id to ask Slurm for: that of the whole array."""
        return int(self.job.partition("_")[0])


@dataclass(frozen=True)
class JobStatus:
    """What became of an incarnation.

    Attributes:
        state: ``unknown`` means: leave it alone.
        detail: Slurm's state and what belongs to it, for people.
        cause: Of a dead one.
        ended: When it died, in seconds since 1970; None where that is not known.
    """

    state: Literal["alive", "dead", "unknown"]
    detail: str
    cause: Cause | None = None
    ended: int | None = None


def job_statuses(
    slurm: SlurmCli, incarnations: Iterable[Incarnation], *, queue: list[QueueRow] | None = None
) -> dict[Incarnation, JobStatus]:
    """Ask Slurm what became of incarnations: one call while all live, two or three otherwise.

    Args:
        slurm: Slurm's commands.
        incarnations: Whom to ask for.
        queue: What :meth:`SlurmCli.queue` said of all their jobs a moment ago, where that was asked already.
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
    """Conclude from what Slurm said what became of incarnations.

    Args:
        incarnations: Whom to statuses_from_rows.
        queue: squeue's rows for their jobs, asked for before the accounts.
        accounts: sacct's rows for their jobs; None where no accounts are kept.
        steps: How the steps of those that failed ended, by raw id and time of submission.
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
    """Judge by squeue alone while the accounts are out of order: what only they can tell waits for them."""
    found = statuses_from_rows(open_ones, queue, None)
    return {
        one: JobStatus("unknown", f"not in the queue, and {fault}") if status.cause == "gone" else status
        for one, status in found.items()
    }


def _elsewhere(slurm: SlurmCli, found: dict[Incarnation, JobStatus]) -> dict[Incarnation, JobStatus]:
    """Take back what was said of jobs of other clusters: that this one does not know them means nothing."""
    gone = [one for one, status in found.items() if status.cause == "gone" and one.cluster is not None]
    here = slurm.cluster_name() if gone else None
    return {
        one: JobStatus("unknown", f"belongs to cluster {one.cluster}; this is {here}")
        for one in gone
        if one.cluster != here
    }


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
        return JobStatus("unknown", "it failed, and the accounts do not tell of what yet")
    return _vanished(one, row) if now is None else _ended(now, steps)


def _vanished(one: Incarnation, row: QueueRow | None) -> JobStatus:
    """Judge an incarnation that neither the queue nor the accounts show as such."""
    later = row is not None and (one.submitted is None or (row.submitted or 0) >= one.submitted)
    if row is not None and later and row.restarts > one.restarts:
        return JobStatus("dead", f"requeued; now {row.state}", "requeued", row.submitted)
    return JobStatus("dead", "Slurm does not know it any more", "gone")


def _is_now(one: Incarnation, row: QueueRow) -> bool:
    """Tell whether squeue shows this very incarnation."""
    if one.submitted is not None and row.submitted is not None:
        return one.submitted == row.submitted and one.restarts == row.restarts
    # Without the time of submission, another job with the same id is told by when it ran.
    ran = one.started is None or _ran_at(row, one.started)
    return ran and one.restarts == row.restarts


def _own_record(one: Incarnation, records: list[AccountingRow]) -> AccountingRow | None:
    """Return the record of this very incarnation among those of jobs with its id."""
    if one.submitted is not None:
        return next((record for record in records if record.submitted == one.submitted), None)
    begun = sorted((r for r in records if r.submitted is not None), key=lambda record: record.submitted or 0)
    if one.started is None:
        # Without a time, the order of the incarnations; ids that were given out twice cannot be told apart.
        return begun[one.restarts] if one.restarts < len(begun) else None
    return next((record for record in reversed(begun) if _ran_at(record, one.started)), None)


def _ran_at(row: QueueRow | AccountingRow, moment: float) -> bool:
    if row.started is None or moment < row.started - _CLOCKS_DIFFER_S:
        return False
    # Of a job that runs, squeue tells when it would end at the latest.
    return row.state in LIVING or row.ended is None or moment <= row.ended + _CLOCKS_DIFFER_S


def _ended(row: QueueRow | AccountingRow, steps: Mapping[tuple[int, int], StepEnds]) -> JobStatus:
    """Judge by a state that is no longer a living one."""
    if row.state not in _CAUSES:
        return JobStatus("unknown", f"Slurm says {row.state}, a state that is not known here")
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
    """Tell failures that are not the trial's from those that are."""
    if ends.out_of_memory:
        return "out_of_memory"
    by_sigterm = row.exit_code == 128 + SIGTERM or (row.exit_code == SIGTERM and SIGTERM in ends.signals)
    # The signal that announces a preemption: it ended by itself before it was preempted.
    return "preempted" if by_sigterm or row.signal == SIGTERM else "exception"
