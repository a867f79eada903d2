"""Errors of ``sbatch``, traced to the line of the profile that caused them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cnn_sweep.errors import CnnSweepError, EnvironmentFault, Problem, SweepFileError

if TYPE_CHECKING:
    from cnn_sweep.slurm.profile import Profile

# The first match decides. The wording is that of Slurm 22.05; other versions differ in details.
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
    (r"dependency", "sbatch.dependency"),
    (r"node configuration", "gpus"),
)
_ANY_LIMIT = "(job submit limit, user's size and/or time limits)"  # appended to the message of any limit
_OPTION = re.compile(r"(?:unrecognized option '--|option '--|[Ii]nvalid --)([\w-]+)")
_NOT_THE_PROFILE = re.compile(r"Unable to contact|Socket timed out|temporarily unable|configuration source|not found")

# sbatch timed out, or printed something that is not a job ID: the job may be in the queue all the same.
_UNSURE = re.compile(r"timed out|make sense of")


def may_have_been_accepted(words: str) -> bool:
    """Return whether a failed submission may have queued a job all the same."""
    return _UNSURE.search(words) is not None


def said_by_sbatch(words: str) -> str:
    """Return the words of sbatch's standard error as one line."""
    return " ".join(re.sub(r"(^|\s)sbatch: (error: )?", r"\1", words).split())


def sbatch_error(words: str, profile: Profile) -> CnnSweepError:
    """Return the error for a submission that failed.

    Args:
        words: Standard error of sbatch.
        profile: Profile of the submission.

    Returns:
        An :class:`EnvironmentFault` if the cluster does not work; otherwise a :class:`SweepFileError` with
        sbatch's message at the line of the profile.
    """
    said = said_by_sbatch(words)
    if _NOT_THE_PROFILE.search(words):
        return EnvironmentFault(f"sbatch failed: {said}")
    key, message = _cause(words, profile), f"sbatch refused the job: {said}"
    return SweepFileError(profile.source, [profile.problem(key, message) if key else Problem(0, "", message)])


def _cause(words: str, profile: Profile) -> str | None:
    """Return the profile key that sbatch complains about; None if the message does not show it."""
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
