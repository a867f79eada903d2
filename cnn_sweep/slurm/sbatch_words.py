"""What sbatch says when it refuses a job, traced back to the line of the profile that caused it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cnn_sweep.errors import CnnSweepError, EnvironmentFault, Problem, SweepFileError

if TYPE_CHECKING:
    from cnn_sweep.slurm.profile import Profile

# The first that occurs decides. What Slurm 22.05 says; other versions differ in details.
_CAUSES = (
    (r"[Ii]nvalid account", "account"),
    (r"partition", "partition"),
    (r"[Ii]nvalid qos", "qos"),
    (r"MaxWall|time limit|--time", "time_limit"),
    (r"MaxSubmit|MaxJobs|job array", "array_width"),
    (r"gres|GRES|--gpus", "gpus"),
    (r"MaxMem|[Mm]emory|--mem", "memory"),
    (r"MaxCpu|CPU count|[Mm]ore processors", "cpus"),
    (r"feature|--constraint", "constraint"),
    (r"node name", "exclude"),
    (r"--signal", "signal_delay_s"),
    (r"reservation", "sbatch.reservation"),
    (r"license", "sbatch.licenses"),
    (r"node configuration", "gpus"),
)
_ANY_LIMIT = "(job submit limit, user's size and/or time limits)"  # said of each limit alike
_OPTION = re.compile(r"(?:unrecognized option '--|option '--|[Ii]nvalid --)([\w-]+)")
_NOT_THE_PROFILE = re.compile(r"Unable to contact|Socket timed out|temporarily unable|configuration source|not found")

# sbatch gave up waiting, or said something that is no id: the job may be in the queue all the same.
_UNSURE = re.compile(r"timed out|make sense of")


def may_be_accepted(words: str) -> bool:
    """Tell whether a submission that failed with these words may have put a job into the queue."""
    return _UNSURE.search(words) is not None


def refused(words: str, profile: Profile) -> CnnSweepError:
    """Return the error for a submission that failed.

    Args:
        words: What sbatch wrote.
        profile: The profile that was submitted with.

    Returns:
        An :class:`EnvironmentFault` where the cluster is out of order; otherwise a :class:`SweepFileError`
        with sbatch's words at the profile's line.
    """
    said = " ".join(re.sub(r"(^|\s)sbatch: (error: )?", r"\1", words).split())
    if _NOT_THE_PROFILE.search(words):
        return EnvironmentFault(f"sbatch failed: {said}")
    key, message = _cause(words, profile), f"sbatch refused the job: {said}"
    return SweepFileError(profile.source, [profile.problem(key, message) if key else Problem(0, "", message)])


def _cause(words: str, profile: Profile) -> str | None:
    """Return the key of the profile that sbatch's words are about; None where they do not tell."""
    words = words.replace(_ANY_LIMIT, "")
    option = _OPTION.search(words)
    if option and option[1] in profile.sbatch:
        return f"sbatch.{option[1]}"
    found = next((key for pattern, key in _CAUSES if re.search(pattern, words)), None)
    if found == "gpus":
        asked = {
            "gres": profile.gres,
            "gpus_per_node": profile.gpus_per_node,
            "constraint": profile.constraint,
        }
        return next((key for key, value in asked.items() if value is not None), "cpus")
    return found
