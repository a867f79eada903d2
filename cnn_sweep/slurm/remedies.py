"""What to do when Slurm does not answer, refuses a job, lets it wait, or ends it: by Slurm's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from cnn_sweep.slurm.cluster import Cluster
    from cnn_sweep.slurm.commands import SlurmCli

# What a job's script says before the exit code, the node and the line if a line of the profile's `setup` fails.
SETUP_FAILED: Final = "cnn-sweep: setup failed with exit code"
# In place of the words of a job's log that does not exist.
NO_LOG: Final = "it left no log"

# The first match decides. The wording is that of Slurm 22.05; older and newer versions differ in details.
_FAULTS: Final = (
    (
        r"[Mm]unge|authentication error|Invalid authentication credential|credential",
        "the authentication service (munge) is down on this machine; tell the cluster's help desk",
    ),
    (
        r"Unable to contact slurm controller|Connection refused|connect failure",
        "the controller (slurmctld) is down; `run` works meanwhile: try again later, or ask the help desk",
    ),
    (
        r"did not answer within|[Tt]imed out|Zero Bytes",
        "the controller (slurmctld) is overloaded; try again in some minutes, and ask the help desk if it stays so",
    ),
    (
        r"configuration source|cannot stat file|slurm\.conf",
        "Slurm's configuration is missing here: use a login node, and load the site's Slurm module if it has one",
    ),
    (r"not installed", "use one, and load the site's Slurm module if it has one"),
)
# squeue's reasons of waiting jobs, by what must happen: `change` the request, `release` the job, help from `others`, or
# `time`. Some reasons have words for spaces in some versions. `{job}` is the job.
_REASONS: Final[tuple[tuple[str, Literal["change", "release", "others", "time"], str], ...]] = (
    (
        r"launch failed|JobLaunchFailure|JobHoldMaxRequeue",
        "release",
        "its node could not start it: `scontrol release {job}` tries again; `sinfo -R` names nodes that need repair",
    ),
    (r"requeued in held state|JobHeldUser", "release", "a user or `hold` holds it: `scontrol release {job}` starts it"),
    (r"JobHeldAdmin", "release", "an administrator or a job filter of the site holds it: ask the help desk"),
    (r"DependencyNeverSatisfied", "change", "the job for which it waits has failed or is gone; correct `dependency`"),
    (r"ReservationDeleted", "change", "its reservation is gone; drop `reservation`"),
    (r"BadConstraints", "change", "no node fits its constraints; drop the constraint, or lower cpus, memory or GPUs"),
    (
        r"PartitionTimeLimit|(Association|QOS)TimeLimit|MaxWallDuration",
        "change",
        "time_limit is longer than the partition, account or QOS allows; lower it",
    ),
    (
        r"PartitionNodeLimit|PartitionConfig|MaxMemPerLimit",
        "change",
        "no node of the partition has so much; lower cpus, memory or GPUs",
    ),
    (
        r"InvalidAccount|AccountNotAllowed|InvalidQOS|QOSNotAllowed",
        "change",
        "account or qos may not be used here; `sacctmgr show assoc` lists yours",
    ),
    (
        r"(Assoc|QOS)Max\w*Per(Job|Node)|AccountingPolicy",
        "change",
        "a job of your account or QOS may not be so large; lower it",
    ),
    (r"QOSMin", "change", "a job of this QOS must be larger; request more, or use another qos"),
    (
        r"(Assoc|QOS)Grp(\w*(?<!Run)Minutes|Wall)",
        "others",
        "the time that your account or QOS may use is used up; ask for more, or use another account or qos",
    ),
    (r"PartitionDown|PartitionInactive", "others", "the partition starts no jobs now; wait, or choose another one"),
    (
        r"ReqNodeNotAvail|NodeDown|FrontEndDown",
        "others",
        "the nodes that it needs are down or reserved; wait, or drop the constraint",
    ),
    (r"Licenses", "others", "all licences are in use; wait, or drop the option of sbatch"),
    (r"^(Assoc|QOS|Max)", "time", "a limit of your account or QOS is reached by other jobs; wait"),
    (r"JobArrayTaskLimit", "time", "array_throttle lets no more tasks run at once"),
    (r"Reservation", "time", "a reservation, such as a maintenance, begins before its end; request less time"),
    (
        r"^(Priority|Resources|None|BeginTime|)$",
        "time",
        "other jobs come first; wait longer with --wait, or request less",
    ),
)
# How jobs end: a pattern of "STATE code:signal words", the likely cause, and what to do. Without a cause, the words of
# the job's log are the cause; `{study}` is its study's name.
_ENDS: Final = (
    (
        SETUP_FAILED,
        "",
        "correct this line of `setup` in the profile; end it with `|| true` if it may fail",
    ),
    (
        r"^\w+ \d+:53\b",  # slurmd's own number: the job's script was never started
        "Slurm could not open the job's log in the results folder",
        "the node does not see the folder, or may not write there (`cnn-sweep doctor --job`)",
    ),
    (
        r"^FAILED 12[67]:|ModuleNotFoundError|ImportError|No module named",
        "",
        "correct `python` or `setup` in the profile: the node lacks what they name (`cnn-sweep doctor --job`)",
    ),
    (
        r"^OUT_OF_MEMORY|oom.kill|^FAILED (9|137):0|^FAILED 0:9\b",
        "it was killed, probably for its memory use",
        "raise memory in the profile, or let fewer workers share it; a worker needs about 1.5 GB",
    ),
    (
        r"^(TIMEOUT|DEADLINE)",
        "its time limit came before everything was written",
        "raise time_limit or signal_delay_s in the profile; if they are long, the node's file system is very slow",
    ),
    (
        r"^(NODE_FAIL|BOOT_FAIL)",
        "its node failed",
        "with requeue = true, Slurm starts such a job again, unless the cluster forbids it",
    ),
    (
        r"^PREEMPTED",
        "another job took its place",
        "with requeue = true, Slurm starts such a job again, unless the cluster forbids it",
    ),
    (r"^CANCELLED", "somebody cancelled it", ""),
    (r"^COMPLETED", "", ""),
    (
        NO_LOG,
        "",
        "it was cancelled before it started, or its node does not see the results folder (`cnn-sweep doctor --job`)",
    ),
    (r"this pool cannot work", "", ""),  # its words include the cure
    (r"", "", "`cnn-sweep logs {study}` shows the ends of its log files"),
)
_POOL_CANNOT_WORK: Final = re.compile(r".*this pool cannot work: ")


class EndOfJob(NamedTuple):
    """Why a job probably ended, and what to do about it; each may be empty."""

    cause: str
    cure: str


def remedy_of_end(state: str, *, exit_code: int = 0, signal: int = 0, words: str = "", study: str = "") -> EndOfJob:
    """Return the likely cause of a job's end, and what to do about it.

    Args:
        state: Slurm's final state.
        exit_code: Exit code of the job's script.
        signal: Signal that ended it, or 0.
        words: The telling line of its log.
        study: The study's name.
    """
    text = f"{state} {exit_code}:{signal} {words}"
    cause, cure = next((cause, cure) for pattern, cause, cure in _ENDS if re.search(pattern, text))
    said = "" if state == "COMPLETED" else _POOL_CANNOT_WORK.sub("", words).removeprefix("cnn-sweep: ")
    return EndOfJob(cause or said, cure.format(study=study))


class Remedy(NamedTuple):
    """What to do about a job that waits.

    Attributes:
        needs: What must happen: the user must ``change`` the request, or somebody must ``release`` the job; by itself
            it starts once ``others`` have acted, or with ``time``.
        text: Why it waits, and what to do.
    """

    needs: Literal["change", "release", "others", "time"]
    text: str


def remedy_of_fault(words: str) -> str:
    """Return what to do about a command of Slurm that failed."""
    found = next((cure for pattern, cure in _FAULTS if re.search(pattern, words)), None)
    return found or "ask again later; if it stays so, ask the cluster's help desk"


def with_remedy(words: str) -> str:
    """Return the message of a command of Slurm that failed, and what to do about it.

    Of several messages in one, the last is that of the command; those before it are steps on the way.
    """
    remedy = remedy_of_fault(words)
    command, failed, rest = words.partition(" failed: ")
    words = f"{command}{failed}{rest.rpartition('; ')[2]}"
    return f"{words}{'' if words.endswith('?') else '.'} {remedy[0].upper()}{remedy[1:]}"


def reachable_cluster(slurm: SlurmCli) -> Cluster:
    """Return what the cluster allows this user.

    Raises:
        EnvironmentFault: There is no cluster, or it does not answer; the message says what to do.
    """
    try:
        return slurm.cluster()
    except EnvironmentFault as fault:
        raise EnvironmentFault(with_remedy(str(fault))) from None


def remedy_of_refusal(words: str) -> str:
    """Return what to do about a job that Slurm would not take, or never start."""
    if re.search(r"(Assoc|QOS)\w*Limit", words):
        return "a limit of your account or QOS is reached: wait until other jobs have ended, or ask for a higher limit"
    return "change this line of the profile"


def remedy_of_reason(reason: str, job: str) -> Remedy:
    """Return what to do about a job that waits for one of squeue's reasons."""
    words = reason.replace("_", " ")
    for pattern, needs, text in _REASONS:
        if re.search(pattern, words):
            return Remedy(needs, text.format(job=job))
    return Remedy("time", "see `man squeue`, JOB REASON CODES")
