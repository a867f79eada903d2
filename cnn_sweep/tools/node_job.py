"""A job of one task that runs a probe on a node: submits it, waits for its report, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import shlex
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.array_jobs.slurm import python_command, single_job_script
from cnn_sweep.execution.study.provenance import package_versions
from cnn_sweep.journal.filesystem import aside_folder
from cnn_sweep.slurm.job_states import LIVING
from cnn_sweep.slurm.sbatch_errors import sbatch_error
from cnn_sweep.tools import node_probe, tensorflow_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.job_rows import QueueRow
    from cnn_sweep.slurm.profile import Profile

# Exit codes of the job's script, which Slurm shows even if the node does not see the results folder.
NO_FOLDER: Final = 41
OTHER_FOLDER: Final = 42
NOT_WRITABLE: Final = 43

_MOST_MINUTES: Final = 15  # a short job starts sooner
_LOOK_EVERY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # pauses between two looks; the last one repeats
_REPORT_LATE_S: Final = 15.0  # how long a network file system may hide a file that another machine wrote
_MOST_FAULTS: Final = 10  # failures of squeue in a row after which the job is given up

# Run by bash on the node before the profile's setup. A folder that was just created may appear late.
_BEFORE = """\
folder={folder}
for pause in 0 0.5 1 2; do sleep $pause; [ -e "$folder/login" ] && break; done
[ -d "$folder" ] || exit {no_folder}
[ "$(cat "$folder/login" 2>/dev/null)" = {nonce} ] || exit {other_folder}
date +%s >"$folder/began" || exit {not_writable}
exec 2>"$folder/0_log.err" # of `setup` and srun; read before those of the tasks"""
_AFTER = """\
code=$?
date +%s >"$folder/ended"
exit $code"""


@dataclass(frozen=True)
class Outcome:
    """How the job ended, and what it reported.

    Attributes:
        job: Its ID.
        state: Slurm's last state, such as ``PENDING`` if it did not start in time.
        reason: Slurm's reason for the state.
        exit_code: Exit code of its script.
        nodes: Where it ran; empty if it did not start.
        report: Report of the probe; it lacks ``tensorflow`` if that check did not end. None without a report.
        log: Last line of the probe's error output.
        over: Whether the job has ended; otherwise it was cancelled after the longest wait.
        started: When it started, in seconds since 1970 by the cluster's clock; None if it did not.
        began: When its script began, by the node's clock.
        ended: When its script ended, by the node's clock.
        seen: When its end was noticed, by this machine's clock.
    """

    job: int
    state: str = "PENDING"
    reason: str = ""
    exit_code: int = 0
    nodes: str = ""
    report: dict[str, Any] | None = None
    log: str = ""
    over: bool = False
    started: float | None = None
    began: float | None = None
    ended: float | None = None
    seen: float = 0.0

    @property
    def behind_s(self) -> float:
        """At least so many seconds the node's clock is behind the cluster's."""
        return 0.0 if self.started is None or self.began is None else max(0.0, self.started - self.began)

    @property
    def ahead_s(self) -> float:
        """At least so many seconds the node's clock is ahead of this machine's."""
        return 0.0 if self.ended is None else max(0.0, self.ended - self.seen)


class NodeJob:
    """The job, from its files to its end; as a context manager it cancels the job and removes the files."""

    def __init__(self, results: Path, profile: Profile, slurm: SlurmCli, tell: Callable[[str], None]) -> None:
        """Write the job's files into a hidden folder of the results, and lock two of them.

        Args:
            results: Root of all studies; it is created if it does not exist.
            profile: The cluster's settings.
            slurm: Slurm's commands.
            tell: Called with each new state of the job, in words.

        Raises:
            EnvironmentFault: The folder cannot be written.
        """
        self._slurm = slurm
        self._tell = tell
        self._profile = profile.model_copy(update={"time_limit": min(profile.time_limit, _MOST_MINUTES)})
        self._job: int | None = None
        self._over = False
        self._stack = ExitStack()
        nonce = secrets.token_hex(8)
        question = {
            "packages": list(package_versions()),
            "nonce": nonce,
            "tensorflow": tensorflow_check.SCRIPT,
            "timeout_s": tensorflow_check.TIMEOUT_S,
        }
        try:
            self._folder = _new_folder(results.resolve(), self._stack)
            (self._folder / "login").write_text(nonce, encoding="utf-8")
            (self._folder / node_probe.QUESTION).write_text(json.dumps(question), encoding="utf-8")
            shutil.copy(node_probe.__file__, self._folder / "probe.py")
            self._nonce = nonce
            self._lock()
        except OSError as error:
            self._stack.close()
            raise EnvironmentFault(f"{results} cannot be written to: {error.strerror or error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._job is not None and not self._over:
                self._slurm.run("scancel", str(self._job))
                self._tell(f"job {self._job} is cancelled")
        except EnvironmentFault as fault:
            self._tell(f"job {self._job} may still be in the queue; cancel it with scancel ({fault})")
        finally:
            self._stack.close()

    @property
    def folder(self) -> Path:
        """Folder of the job's files, which the node sees."""
        return self._folder

    def submit(self, command: str | None = None) -> int:
        """Submit the job and return its ID.

        Args:
            command: What runs on the node, and writes a report with the question's nonce; by default the probe.

        Raises:
            SweepFileError: sbatch refused; the message has its words and the line of the profile.
            EnvironmentFault: The cluster does not answer.
        """
        codes = {"no_folder": NO_FOLDER, "other_folder": OTHER_FOLDER, "not_writable": NOT_WRITABLE}
        folder = shlex.quote(str(self._folder))
        before = _BEFORE.format(folder=folder, nonce=self._nonce, **codes)
        probe = f"{python_command(self._profile)} {shlex.quote(str(self._folder / 'probe.py'))} {folder}"
        command = command or probe
        text = single_job_script(self._profile, command, self._folder, before=[before], after=_AFTER.splitlines())
        script = self._folder / "job.sh"
        script.write_text(text, encoding="utf-8")
        try:
            self._job = self._slurm.submit(script)
        except EnvironmentFault as fault:
            raise sbatch_error(str(fault).removeprefix("sbatch failed: "), self._profile) from None
        return self._job

    def wait(self, seconds: float) -> Outcome:
        """Wait until the job has ended, or cancel it.

        Args:
            seconds: How long to wait.

        Raises:
            EnvironmentFault: squeue keeps failing.
        """
        if self._job is None:
            raise ValueError("wait() before submit()")
        outcome, told = Outcome(self._job), ""
        deadline = time.monotonic() + seconds
        for row in self._rows(self._job, deadline):
            if row is not None:
                outcome = _with_row(outcome, row)
            if outcome.state in LIVING and (now := f"{outcome.state} {outcome.reason}".strip()) != told:
                self._tell(f"job {self._job}: {now}")
                told = now
            if row is None or row.state not in LIVING or row.state == "COMPLETING":
                self._over = True
                break
        return self._with_report(outcome)

    def _rows(self, job: int, deadline: float) -> Iterator[QueueRow | None]:
        """Yield squeue's row of the job until the deadline; None if it is no longer known."""
        faults, pauses = 0, iter(_LOOK_EVERY_S)
        while time.monotonic() < deadline:
            try:
                rows = self._slurm.queue([job])
                faults = 0
                yield rows[0] if rows else None
            except EnvironmentFault:
                faults += 1
                if faults > _MOST_FAULTS:
                    raise
            time.sleep(min(next(pauses, _LOOK_EVERY_S[-1]), max(0.0, deadline - time.monotonic())))

    def _with_report(self, outcome: Outcome) -> Outcome:
        """Add report, log and clocks to an outcome; a report of a job that succeeded may appear late."""
        report = self._folder / node_probe.REPORT
        expected = self._over and outcome.exit_code == 0
        deadline = time.monotonic() + (_REPORT_LATE_S if expected else 0.0)
        while not report.exists() and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S[0])
            list(self._folder.iterdir())  # makes a network file system look again
        known = _read_json(report)
        return replace(
            outcome,
            report=known if known and known.get("nonce") == self._nonce else None,
            log=_last_line(self._folder),
            over=self._over,
            began=_number(self._folder / "began"),
            ended=_number(self._folder / "ended"),
            seen=time.time(),
        )

    def _lock(self) -> None:
        """Hold both kinds of lock until the end; the probe must not get them."""
        for name, lock in zip(node_probe.LOCKED, (fcntl.lockf, fcntl.flock), strict=True):
            file = self._stack.enter_context((self._folder / name).open("wb"))
            with contextlib.suppress(OSError):  # without locks at all, the probe gets its own
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _new_folder(results: Path, stack: ExitStack) -> Path:
    if not results.exists():
        results.mkdir(parents=True)
        stack.callback(_remove_if_empty, results)
    return stack.enter_context(aside_folder(results / "doctor"))


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _with_row(outcome: Outcome, row: QueueRow) -> Outcome:
    return replace(
        outcome,
        state=row.state,
        reason=row.reason,
        exit_code=row.exit_code,
        nodes=row.nodes or outcome.nodes,
        started=None if row.state == "PENDING" or row.started is None else float(row.started),
    )


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _last_line(folder: Path) -> str:
    """Return the last line that srun or Python wrote to the error output."""
    lines: list[str] = []
    for path in sorted(folder.glob("*_log.err")):
        with contextlib.suppress(OSError):
            lines += path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
