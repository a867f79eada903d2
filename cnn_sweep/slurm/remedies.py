"""What to do when Slurm does not answer, refuses a job, or lets it wait: by Slurm's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

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
# squeue's reasons of pending jobs that their user can do something about, and some that only time changes.
_REASONS: Final = (
    (r"PartitionDown|PartitionInactive", "the partition starts no jobs now; choose another one"),
    (r"PartitionTimeLimit", "time_limit is longer than the partition allows; lower it"),
    (r"PartitionNodeLimit|PartitionConfig", "no node of the partition has so much; lower cpus, memory or GPUs"),
    (
        r"InvalidAccount|AccountNotAllowed|InvalidQOS",
        "account or qos may not be used here; `sacctmgr show assoc` lists",
    ),
    (r"^(Assoc|QOS)\w*(Max|Grp)|^(Assoc|QOS)\w*Limit", "a limit of your account or QOS is reached by other jobs; wait"),
    (r"ReqNodeNotAvail|NodeDown|BadConstraints", "the nodes that it needs are down or reserved; drop the constraint"),
    (r"Reservation", "a reservation, such as a maintenance, begins before its end; request less time"),
    (r"^(Priority|Resources|None|BeginTime|)$", "other jobs come first; wait longer with --wait, or request less"),
    (r"JobHeld", "the job is held; a job filter of the site may do this: ask the help desk"),
    (r"Licenses", "all licences are in use; drop the option of sbatch, or wait"),
)


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


def remedy_of_reason(reason: str) -> str:
    """Return what to do about a job that waits for one of squeue's reasons."""
    found = next((cure for pattern, cure in _REASONS if re.search(pattern, reason)), None)
    return found or "see `man squeue`, JOB REASON CODES"
