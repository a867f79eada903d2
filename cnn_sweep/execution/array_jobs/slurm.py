"""Array jobs of pools through submitit; no other module imports it.

submitit submits the jobs. On Slurm's signal before a time limit or a preemption it calls ``checkpoint`` and requeues
the job. Its result files are never read, because the journals record the results.

Queued jobs are pickled with :class:`PoolTask`: keep this module's path and the name of the class.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths
from submitit.helpers import DelayedSubmission
from submitit.slurm.slurm import _make_sbatch_string

from cnn_sweep.errors import CnnSweepError, EnvironmentFault, faults_of_the_system
from cnn_sweep.execution.array_jobs import start
from cnn_sweep.execution.array_jobs.task import TaskRun, TaskSettings
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.journal.trust import VARIABLE as TRUST
from cnn_sweep.slurm.environment import AFTER_SETUP, BEFORE_SETUP, submitting
from cnn_sweep.slurm.remedies import SETUP_FAILED
from cnn_sweep.slurm.sbatch_errors import may_have_been_accepted, said_by_sbatch, sbatch_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cnn_sweep.slurm.array_plan import Array, ArrayPlan
    from cnn_sweep.slurm.profile import Profile

log = logging.getLogger(__name__)

# submitit stops requeueing after this many time-outs of one job; a study may need any number.
_TIMEOUTS = 1_000_000

# A line of `setup` that fails ends the job: what comes next would be training without a GPU, or with other packages.
# The trap is quiet inside sourced files, whose own commands may fail harmlessly; their last exit code counts. As under
# `set -e`, commands in conditions and before && or || may fail. `set -u` would break functions of environment modules.
_STOP_AT_FAILED_SETUP = (
    f"trap 'code=$?; [ ${{#BASH_SOURCE[@]}} -gt 1 ] || {{ echo \"{SETUP_FAILED} $code on "
    '${SLURMD_NODENAME:-$HOSTNAME}: $(sed -n "${LINENO}{s/^ *//;p}" "$0")" >&2; '
    f"exit {EnvironmentFault.exit_code}; }}' ERR"
)
_SETUP_IS_OVER = "trap - ERR"

_CHECK = "cnn-sweep-check"  # name of jobs that train nothing

_UNNAMED = re.compile(r"[0-9a-f]{32}\.pkl|\.submission_file_[0-9a-f]{32}\.sh")
_UNSURE = (
    "sbatch failed: {0}; the job is not in the queue now, but may come: `cnn-sweep status {1}` shows it then, and "
    "`cnn-sweep cancel {1}` cancels it. `cnn-sweep resume {1} --profile …` submits the study again"
)


class UnsureFault(EnvironmentFault):
    """It is unknown whether a job is in the queue, so none of its files may be removed.

    Args:
        message: What happened.
        unnamed: Files of the job that do not have its number in their names yet.
    """

    def __init__(self, message: str, unnamed: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self._unnamed = unnamed

    def complete(self, job: Submitted) -> None:
        """Give the job, which is in the queue, the files that its elements wait for; all are alike."""
        pickles = [path for path in self._unnamed if path.suffix == ".pkl"]
        if pickles:
            missing = [path for path in _pickles(job.job, job.tasks, pickles[0].parent) if not path.exists()]
            for pickle, path in zip(pickles, missing, strict=False):
                pickle.rename(path)


class PoolTask:
    """The callable that submitit runs in each array element."""

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self._run: TaskRun | None = None

    def __call__(self) -> None:
        """Run the pool; if the time limit comes first, requeue the job, or end it.

        Raises:
            SystemExit: The job fails, and one line in its log says why; or it ends and is not requeued.
        """
        # submitit logs every signal as a time-out, and every message twice.
        logging.getLogger("submitit").setLevel(logging.ERROR)
        try:
            with faults_of_the_system(), shared_modes(self.settings.results):
                self._run = TaskRun(self.settings)
                left = self._run.run()
                if left:
                    # As on Slurm's own warning, submitit calls `checkpoint` and requeues this job.
                    signal.raise_signal(signal.SIGUSR2)
        except CnnSweepError as error:
            log.critical("this pool cannot work: %s", error)
            sys.exit(error.exit_code)
        except SubprocessError as error:
            log.warning("%s; after a preemption without a grace time, Slurm requeues this job itself", error)
            sys.exit(1)

    def checkpoint(self) -> DelayedSubmission:
        """Let the workers write their checkpoints; return what the next incarnation of the job runs.

        Raises:
            SystemExit: There is no next one; submitit would call that a failure of the job.
        """
        if self._run is not None:
            self._run.stop()
        log.info("every checkpoint is written; %s", "requeueing this job" if self.settings.requeue else "ending")
        if self.settings.requeue:
            return DelayedSubmission(PoolTask(self.settings))
        if self._run is not None:
            self._run.end()
        sys.exit(0)

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "_run": None}


@dataclass(frozen=True)
class Submitted:
    """One submitted array job.

    Attributes:
        job: Its ID.
        tasks: Number of its elements.
        time: When it was submitted, in seconds since 1970.
    """

    job: str
    tasks: int
    time: float


def comment_of(profile: Profile, study: str, key: str) -> str:
    """Return the comment of an array, by which it is found if sbatch does not answer.

    Args:
        profile: The cluster's settings; a comment there is kept.
        study: The study.
        key: Identifies this call of sbatch.
    """
    return str(profile.sbatch.get("comment", f"cnn-sweep {study} {key}"))


def sbatch_scripts(plan: ArrayPlan, profile: Profile, settings: TaskSettings, folder: Path) -> list[str]:
    """Return the scripts that sbatch would receive; the key at the end of the comment differs each time."""
    scripts = []
    for array in plan.arrays:
        executor = _executor(profile, settings, folder, array.throttle, comment_of(profile, settings.study, "KEY"))
        if array.tasks > 1:
            executor.parameters["map_count"] = array.tasks
        text = executor._make_submission_file_text(executor._submitit_command_str, "")  # noqa: SLF001 - there is no public function
        scripts.append(text)
    return scripts


def submit(array: Array, profile: Profile, settings: TaskSettings, folder: Path, *, comment: str) -> Submitted:
    """Submit an array; only one process at a time may do so for a study.

    Args:
        array: The array.
        profile: The cluster's settings.
        settings: The settings of each element.
        folder: Receives the files of the jobs.
        comment: The array's comment.

    Raises:
        SweepFileError: sbatch refused; the message has its words and the line of the profile. No files are left.
        EnvironmentFault: The controller does not answer. No files are left.
        UnsureFault: It is unknown whether sbatch accepted the job.
    """
    before = set(_unnamed_files(folder))
    try:
        executor = _executor(profile, settings, folder, array.throttle, comment)
        with submitting():
            jobs = executor.submit_array([PoolTask(settings) for _ in range(array.tasks)])
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        left = [path for path in _unnamed_files(folder) if path not in before]
        if isinstance(error, OSError) or may_have_been_accepted(str(error)):
            raise UnsureFault(_UNSURE.format(said_by_sbatch(str(error)), settings.study), left) from error
        for path in left:
            path.unlink(missing_ok=True)
        raise sbatch_error(str(error), profile) from error
    return Submitted(jobs[0].job_id.partition("_")[0], array.tasks, time.time())


def _unnamed_files(folder: Path) -> list[Path]:
    """Return the files that submitit wrote for a job whose ID it did not know yet; running jobs write others."""
    return [path for path in folder.glob("*") if _UNNAMED.fullmatch(path.name) and not path.is_symlink()]


def has_files(job: str, tasks: int, folder: Path) -> bool:
    """Return whether an array has the files that its elements wait for."""
    return all(path.exists() for path in _pickles(job, tasks, folder))


def _pickles(job: str, tasks: int, folder: Path) -> list[Path]:
    names = [job] if tasks == 1 else [f"{job}_{task}" for task in range(tasks)]
    return [JobPaths(folder, name).submitted_pickle for name in names]


def _executor(profile: Profile, settings: TaskSettings, folder: Path, throttle: int, comment: str) -> SlurmExecutor:
    executor = SlurmExecutor(folder=folder, max_num_timeout=_TIMEOUTS, python=_python(profile))
    executor.update_parameters(**sbatch_parameters(profile, settings.study, throttle=throttle), comment=comment)
    return executor


def _python(profile: Profile) -> str:
    # Signals are ignored until Python has its handlers, because a job that dies of a signal is not requeued.
    ignoring_signals = 'sh -c \'trap "" USR2 TERM; exec "$0" "$@"\''
    # -P: a module in the folder from which the job was submitted must not take the place of one of ours.
    return f"{ignoring_signals} {python_command(profile)} -u -P -m {start.__name__}"


def python_command(profile: Profile) -> str:
    """Return the shell command that starts Python on a node."""
    return profile.python or shlex.quote(sys.executable)


def single_job_script(  # noqa: PLR0913 - the parts of a script
    profile: Profile,
    command: str,
    folder: Path,
    *,
    name: str = _CHECK,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> str:
    """Return the script of one job that starts a command as a pool is started: same options, setup and srun.

    Slurm itself writes no file, so that the job also starts on a node that does not see the folder.

    Args:
        profile: The cluster's settings; the job is never requeued.
        command: What srun starts.
        folder: Where the command's output goes.
        name: Name of the job.
        before: Shell commands before those of the profile's setup.
        after: Shell commands after the command.
    """
    once = profile.model_copy(update={"requeue": False})
    parameters = sbatch_parameters(once, name, throttle=1)
    parameters["setup"] = [*before, *parameters.get("setup", ())]
    parameters["teardown"] = list(after)
    parameters["additional_parameters"] |= {"output": "/dev/null", "error": "/dev/null"}
    text: str = _make_sbatch_string(command, folder, **parameters)
    return text


def sbatch_parameters(profile: Profile, study: str, *, throttle: int) -> dict[str, Any]:
    """Translate a profile into submitit's parameters."""
    extra: dict[str, Any] = dict(profile.sbatch)
    extra["requeue" if profile.requeue else "no-requeue"] = True
    extra["signal"] = f"USR2@{profile.signal_delay_s}"  # submitit has a variable for another signal
    if profile.memory is not None:
        extra["mem"] = f"{profile.memory}M"
    if profile.gpus_per_node is not None:
        extra["gpus-per-node"] = profile.gpus_per_node
    wanted = {
        "job_name": study,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "time": profile.time_limit,
        "cpus_per_task": profile.cpus,
        "gres": profile.gres,
        "constraint": profile.constraint,
        "exclude": ",".join(profile.exclude) or None,
        "array_parallelism": throttle,
        "setup": _setup(profile),
        "additional_parameters": extra,
        # Since Slurm 22.05, srun does not inherit the CPUs from sbatch; and after `sbatch --export=NONE` it would not
        # pass on even PATH.
        "srun_args": [f"--cpus-per-task={profile.cpus}", "--export=ALL"],
    }
    # submitit would send a wckey of its own, which clusters that check these keys refuse.
    return {name: value for name, value in wanted.items() if value is not None} | {"wckey": None}


def _setup(profile: Profile) -> list[str]:
    exports = [f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()]
    locks = [] if profile.locks == "auto" else [f"export CNN_SWEEP_LOCKS={profile.locks}"]
    checked = [_STOP_AT_FAILED_SETUP, *profile.setup, _SETUP_IS_OVER] if profile.setup else []
    trusted = os.environ.get(TRUST)
    trust = [f"export {TRUST}={shlex.quote(trusted)}"] if trusted else []
    return [BEFORE_SETUP, *exports, *locks, *trust, *checked, AFTER_SETUP]
