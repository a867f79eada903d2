"""What to do when Slurm does not answer, refuses a job, or lets it wait: by Slurm's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from cnn_sweep.slurm.cluster import Cluster
    from cnn_sweep.slurm.commands import SlurmCli

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
