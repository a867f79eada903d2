"""The environment of sbatch, in which the profile decides: not the shell's variables, nor those of a job around it.

sbatch and srun obey many variables above the options of a script, and a job inherits the environment of its submission.
"""

from __future__ import annotations

import json
import os
import pwd
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.slurm.profile import Profile

# Which cluster, and where its programs are.
_KEPT: Final = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_ROOT", "SLURM_HOME")
# Options of sbatch and srun; what submitit reads; and which incarnation of a job a process belongs to.
_REMOVED: Final = ("SBATCH_", "SRUN_", "SLURM_", "SUBMITIT_", "CNN_SWEEP_SUBMIT_TIME")
# Devices of the job around this process; the new job has others, or none.
_DEVICES: Final = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK")

# Variables that change no job, among SBATCH_*; and those that change one, beside them.
_HARMLESS: Final = ("SBATCH_DEBUG", "SBATCH_IGNORE_PBS", "SBATCH_NO_KILL", "SBATCH_WAIT_ALL_NODES")
_OVERRIDING: Final = ("SLURM_MEM_PER_CPU", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_GPU", "SLURM_EXPORT_ENV")
# Names of options in variables, where they are not those of the option.
_OPTIONS: Final = {"timelimit": "time", "mem-per-node": "mem", "array-inx": "array", "export-env": "export"}

# On the node, before the profile's setup: without an exported environment (`--export=NIL`) bash passes on neither.
BEFORE_SETUP: Final = "export PATH HOME=~"
# After it: what a login shell or a module sets would change how srun and submitit work.
AFTER_SETUP: Final = "unset ${!SRUN_@} ${!SBATCH_@} ${!SUBMITIT_@} SLURM_EXPORT_ENV"


def user_name() -> str:
    """Return the user as Slurm knows them; $LOGNAME and $USER may have another name, such as an e-mail address."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container without this user
        return str(os.getuid())


def for_submission(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which sbatch obeys its script, and which a new job may inherit."""
    devices = _DEVICES if "SLURM_JOB_ID" in environment else ()
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not (name.startswith(_REMOVED) or name in devices)
    }


@contextmanager
def submitting() -> Iterator[None]:
    """Give this process the environment of :func:`for_submission`; submitit calls sbatch with that of the process."""
    before = dict(os.environ)
    removed = before.keys() - for_submission(before).keys()
    for name in removed:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update({name: before[name] for name in removed})


def overriding_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a user changes what sbatch does, sorted by name."""
    own = () if "SLURM_JOB_ID" in environment else _OVERRIDING  # inside a job, Slurm sets these
    return {
        name: value
        for name, value in sorted(environment.items())
        if (name.startswith("SBATCH_") and name not in _HARMLESS) or name in own
    }


def notes_on_variables(profile: Profile, environment: Mapping[str, str]) -> list[str]:
    """Return what the shell's variables set in a profile, and what they would have changed."""
    taken = profile.completions
    notes = [f"{key} = {json.dumps(getattr(profile, key))} is from {name}" for key, name in taken.items()]
    ignored = [
        f"{name}={value} ({said})"
        for name, value in overriding_variables(environment).items()
        if name not in taken.values() and (said := _instead(profile, name, value)) is not None
    ]
    if ignored:
        notes.append(f"variables without effect, because the profile decides: {', '.join(ignored)}")
    return notes


def _instead(profile: Profile, name: str, value: str) -> str | None:
    """Return what the profile says in place of a variable; None if it says the same."""
    option = name.partition("_")[2].lower().replace("_", "-")
    key, ours = profile.option(_OPTIONS.get(option, option))
    if str(ours) == value:
        return None
    return f"{key} is not set" if ours is None else f"{key} = {json.dumps(ours)}"
