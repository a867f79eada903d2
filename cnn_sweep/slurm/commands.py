"""Runs Slurm's commands, with a time limit, and returns their parsed output.

Every failure is an :class:`EnvironmentFault` with Slurm's own message.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import time
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.slurm.cluster import (
    Cluster,
    read_accounts,
    read_associations,
    read_config,
    read_nodes,
    read_partitions,
    read_qos,
    read_queue_counts,
)
from cnn_sweep.slurm.environment import for_submission, user_name
from cnn_sweep.slurm.job_rows import (
    ACCOUNTING_FORMAT,
    OWN_JOB_FORMAT,
    QUEUE_FORMAT,
    STEPS_FORMAT,
    AccountingRow,
    OwnJob,
    QueueRow,
    StepEnds,
    Visibility,
    read_accounting,
    read_own_job,
    read_queue,
    read_steps,
)
from cnn_sweep.slurm.job_usage import USAGE_FORMAT, JobUsage, read_usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# Removed from the environment, because the user's own defaults would filter rows or rename columns.
_USERS_DEFAULTS = ("SACCT_", "SINFO_", "SQUEUE_", "SCONTROL_")
_OURS = {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
_IDS_AT_ONCE = 1000
_NO_ACCOUNTING = "Slurm accounting storage is disabled"
_USER_FIELDS = "User,DefaultAccount,Cluster,Account,Partition,QOS,DefaultQOS,MaxJobs,MaxSubmit,MaxWall,MaxTRES,GrpTRES"
_ACCOUNT_FIELDS = "Account,User,GrpJobs,GrpSubmit,GrpTRES"
_QOS_FIELDS = "Name,Flags,MaxJobsPU,MaxSubmitPU,MaxWall,MaxTRES,MaxTRESPU,GrpJobs,GrpSubmit,GrpTRES"


@dataclass(frozen=True)
class SlurmCli:
    """Slurm's command line.

    Attributes:
        timeout_s: Time limit of a command, in seconds.
        environment: Environment of the commands; None for that of this process.
    """

    timeout_s: float = 60.0
    environment: Mapping[str, str] | None = None

    def run(self, *command: str) -> str:
        """Run a command and return its standard output.

        Raises:
            EnvironmentFault: The command is missing, times out or fails.
        """
        environment = {key: value for key, value in self._given.items() if not key.startswith(_USERS_DEFAULTS)}
        return self._call(command, environment | _OURS).stdout

    def submit(self, script: Path) -> int:
        """Submit a script and return the job's ID; the job inherits what :func:`.environment.for_submission` leaves.

        Raises:
            EnvironmentFault: sbatch is missing, times out or refuses.
        """
        done = self._call(("sbatch", "--parsable", str(script)), for_submission(self._given))
        answer = done.stdout.partition(";")[0].strip()
        if not answer.isdigit():
            raise EnvironmentFault(f"sbatch answered {answer!r} instead of a job ID")
        return int(answer)

    def test_submission(self, script: Path) -> str:
        """Let sbatch check a script without submitting it, and return its words, such as when the job would start.

        Raises:
            EnvironmentFault: sbatch is missing, times out or would refuse.
        """
        environment = for_submission(self._given) | {"SLURM_TIME_FORMAT": "standard"}
        return _words(self._call(("sbatch", "--test-only", str(script)), environment).stderr)

    @property
    def _given(self) -> Mapping[str, str]:
        return os.environ if self.environment is None else self.environment

    def _call(self, command: tuple[str, ...], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=self.timeout_s,
                env=environment,
            )
        except FileNotFoundError:
            raise EnvironmentFault(f"{command[0]} is not installed here; is this a login node of a cluster?") from None
        except subprocess.TimeoutExpired:
            raise EnvironmentFault(f"{command[0]} did not answer within {self.timeout_s:g} s") from None
        except OSError as error:
            raise EnvironmentFault(f"{command[0]} cannot be started: {error}") from None
        if done.returncode != 0:
            raise EnvironmentFault(f"{command[0]} failed: {_words(done.stderr) or _words(done.stdout)}")
        return done

    def queue(self, job_ids: Iterable[int]) -> list[QueueRow]:
        """Return squeue's rows for jobs that wait, run, or ended a few minutes ago.

        Args:
            job_ids: IDs of arrays or single jobs; an array's ID includes its elements.
        """
        rows: list[QueueRow] = []
        for ids in _batches(job_ids):
            command = (
                "squeue",
                "--all",
                "--noheader",
                "--states=all",
                f"--Format={QUEUE_FORMAT}",
                f"--jobs={ids}",
            )
            try:
                rows += read_queue(self.run(*command))
            except EnvironmentFault as fault:
                if "Invalid job id" not in str(fault):  # squeue fails for a single unknown ID
                    raise
        return rows

    def queue_of_name(self, name: str) -> list[QueueRow]:
        """Return squeue's rows, with comments, for the jobs of a name that wait, run, or ended a few minutes ago."""
        asked = (f"--name={name}", f"--Format={QUEUE_FORMAT},Comment:|")
        return read_queue(self.run("squeue", "--all", "--noheader", "--states=all", *asked))

    def accounting(self, job_ids: Iterable[int], *, since: float | None = None) -> list[AccountingRow] | None:
        """Return sacct's rows for jobs and all their earlier incarnations; None if accounting is disabled.

        Args:
            job_ids: IDs of arrays or single jobs.
            since: Leaves out what ended before this time, in seconds since 1970.
        """
        rows: list[AccountingRow] = []
        begin = [] if since is None else [time.strftime("--starttime=%Y-%m-%dT%H:%M:%S", time.localtime(since))]
        for ids in _batches(job_ids):
            options = ("--allocations", f"--format={ACCOUNTING_FORMAT}", f"--jobs={ids}", *begin)
            try:
                rows += read_accounting(self._sacct(*options))
            except EnvironmentFault as fault:
                if _NO_ACCOUNTING in str(fault):
                    return None
                raise
        return rows

    def usage(self, job_ids: Iterable[int]) -> list[JobUsage] | None:
        """Return what jobs and all their earlier incarnations asked for and used; None if accounting is disabled."""
        found: list[JobUsage] = []
        for ids in _batches(job_ids):
            try:
                found += read_usage(self._sacct(f"--format={USAGE_FORMAT}", f"--jobs={ids}"))
            except EnvironmentFault as fault:
                if _NO_ACCOUNTING in str(fault):
                    return None
                raise
        return found

    def steps(self, raw_ids: Iterable[int]) -> dict[tuple[int, int], StepEnds]:
        """Return how the steps of jobs ended, by raw ID and submit time."""
        found: dict[tuple[int, int], StepEnds] = {}
        for ids in _batches(raw_ids):
            found |= read_steps(self._sacct(f"--format={STEPS_FORMAT}", f"--jobs={ids}"))
        return found

    def _sacct(self, *options: str) -> str:
        return self.run("sacct", "--duplicates", "--parsable2", "--noheader", *options)

    def visibility(self) -> Visibility:
        """Return which jobs this cluster shows to this user."""
        config = read_config(self.run("scontrol", "show", "config"))
        hides = "jobs" in config.get("PrivateData", "").lower().split(",")
        return Visibility(config.get("ClusterName", ""), only_uid=os.geteuid() if hides and os.geteuid() != 0 else None)

    def own_job(self) -> OwnJob | None:
        """Return what Slurm knows of this process's job; None outside a job, or if Slurm does not answer."""
        given = self._given
        job = given.get("SLURM_JOB_ID", "")
        if "SLURM_ARRAY_JOB_ID" in given:  # an array's last element has the ID of the whole array
            job = f"{given['SLURM_ARRAY_JOB_ID']}_{given.get('SLURM_ARRAY_TASK_ID', '')}"
        if not job:
            return None
        try:
            asked = f"--Format={OWN_JOB_FORMAT}"
            return read_own_job(self.run("squeue", "--all", "--noheader", "--states=all", asked, f"--jobs={job}"))
        except EnvironmentFault:
            return None

    def cluster(self, user: str | None = None) -> Cluster:
        """Return what the cluster currently allows a user.

        If accounting does not answer, the result has a note instead of its limits.

        Raises:
            EnvironmentFault: The controller does not answer.
        """
        user = user or user_name()
        config = read_config(self.run("scontrol", "show", "config"))
        nodes = read_nodes(self.run("sinfo", "--all", "--noheader", "--format=%R|%D|%c|%m|%G|%f|%T|%Z|%d"))
        partitions = read_partitions(self.run("scontrol", "--all", "show", "partition", "--oneliner"), nodes)
        # Without those that are ending, which no longer count towards limits.
        counted = (
            "--array",
            f"--user={user}",
            "--states=PENDING,RUNNING,SUSPENDED",
            "--Format=Account:|,QOS:|,Partition:|",
        )
        queued = read_queue_counts(self.run("squeue", "--all", "--noheader", *counted))
        name = config.get("ClusterName", "")
        array_tasks = re.search(r"max_array_tasks=(\d+)", config.get("SchedulerParameters", ""))
        enforced = config.get("AccountingStorageEnforce", "").lower().split(",")
        cluster = Cluster(
            name=name,
            user=user,
            max_array_size=int(config.get("MaxArraySize", "1001")),
            max_array_tasks=int(array_tasks[1]) if array_tasks else None,
            max_jobs=int(config["MaxJobCount"]) if "MaxJobCount" in config else None,
            enforced=frozenset(enforced) & {"associations", "limits", "qos", "safe"},
            partitions=partitions,
            queued=queued,
            version=config.get("SLURM_VERSION", ""),
            preempt_type=config.get("PreemptType", "none").removeprefix("preempt/"),
            accounting=config.get("AccountingStorageType", "").endswith("/slurmdbd"),
            scratch=config.get("TmpFS", "") or "/tmp",  # noqa: S108 - Slurm's default
            billing_is_largest="MAX_TRES" in config.get("PriorityFlags", "").split(","),
        )
        if cluster.accounting:
            return self._with_accounts(cluster)
        return cluster

    def _with_accounts(self, cluster: Cluster) -> Cluster:
        try:
            users = self._sacctmgr("user", _USER_FIELDS, f"name={cluster.user}", "withassoc")
            associations, account = read_associations(users, cluster.name, cluster.user)
            names = ",".join(sorted({association.account for association in associations}))
            where = ("user=", f"account={names}", f"cluster={cluster.name}")
            accounts = read_accounts(self._sacctmgr("association", _ACCOUNT_FIELDS, *where)) if names else {}
            qos = read_qos(self._sacctmgr("qos", _QOS_FIELDS))
        except EnvironmentFault as fault:
            return replace(cluster, notes=(*cluster.notes, f"account limits are unknown: {fault}"))
        return replace(cluster, associations=associations, default_account=account, accounts=accounts, qos=qos)

    def _sacctmgr(self, what: str, fields: str, *where: str) -> str:
        condition = ("where", *where) if where else ()
        return self.run("sacctmgr", "--parsable2", "show", what, *condition, f"format={fields}")


@dataclass(frozen=True)
class RareSlurmCli(SlurmCli):
    """Slurm's command line for displays that follow a study: the same question is asked rarely.

    Attributes:
        every_s: Seconds for which an answer, or a failure, is given again.
    """

    every_s: float = 60.0
    _answers: dict[tuple[str, ...], tuple[float, str | EnvironmentFault]] = field(default_factory=dict, compare=False)

    def run(self, *command: str) -> str:
        """As :meth:`SlurmCli.run`, or the answer of a moment ago."""
        asked, answer = self._answers.get(command, (-math.inf, ""))
        if time.monotonic() >= asked + self.every_s:
            try:
                answer = super().run(*command)
            except EnvironmentFault as fault:
                answer = fault
            self._answers[command] = time.monotonic(), answer
        if isinstance(answer, EnvironmentFault):
            raise answer
        return answer


def _batches(ids: Iterable[int]) -> Iterator[str]:
    remaining = iter(sorted(set(ids)))
    while batch := list(islice(remaining, _IDS_AT_ONCE)):
        yield ",".join(map(str, batch))


def _words(text: str) -> str:
    """Return a command's error messages as one line, without the command's name."""
    lines: Sequence[str] = [re.sub(r"^\w+: (error: |fatal: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))[:500]
