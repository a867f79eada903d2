"""The workers of one machine or of one Slurm array task: started, watched, replaced when they die, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.execution.settings import WorkerSettings

# Workers that die one after the other without having begun a trial: the environment is broken, not the trial.
_MAX_FALSE_STARTS = 3
# Exit codes of workers that ended with one clear message: another worker would say the same.
_OWN_WORDS = {InputError.exit_code, EnvironmentFault.exit_code}
_LOG_TAIL_LINES = 20


@dataclass(frozen=True)
class Death:
    """A worker that ended otherwise than by its own decision.

    Attributes:
        pid: Its process id.
        returncode: Its exit code; negative is the number of the signal that killed it.
        log: The file with its standard error.
    """

    pid: int
    returncode: int
    log: Path

    def __str__(self) -> str:
        """Say how it died."""
        if self.returncode < 0:
            return f"worker {self.pid} was killed by {signal.Signals(-self.returncode).name}"
        return f"worker {self.pid} ended with exit code {self.returncode}; see {self.log}"


class Pool:
    """Keeps up to ``size`` workers alive while there is work."""

    def __init__(self, settings: WorkerSettings, size: int, logs: Path) -> None:
        """Prepare a pool; :meth:`fill` starts it.

        Args:
            settings: Given to each worker.
            size: How many workers at once.
            logs: Folder for one log file a worker.
        """
        self._settings = settings
        self._logs = logs
        self._slots: list[subprocess.Popen[bytes] | None] = [None] * size
        self._false_starts = 0

    @property
    def running(self) -> int:
        """Number of live workers."""
        return sum(process is not None for process in self._slots)

    def fill(self, wanted: int) -> None:
        """Start workers in empty slots until ``wanted`` run, or the pool is full."""
        for slot, process in enumerate(self._slots):
            if process is None and self.running < wanted:
                self._slots[slot] = self._start(slot)

    def reap(self) -> list[Death]:
        """Take note of workers that ended, and return those that died."""
        deaths = []
        for slot, process in enumerate(self._slots):
            if process is None or process.poll() is None:
                continue
            self._slots[slot] = None
            if process.returncode != 0:
                deaths.append(Death(process.pid, process.returncode, self._log(process.pid)))
        return deaths

    def count_false_starts(self, deaths: list[Death], *, progressed: bool) -> None:
        """Give up when workers keep dying before they begin anything.

        Raises:
            EnvironmentFault: With the end of the last worker's log.
        """
        if progressed:
            self._false_starts = 0
        self._false_starts += len(deaths)
        for death in deaths:
            if death.returncode in _OWN_WORDS:
                raise EnvironmentFault(f"a worker cannot work:\n{_tail(death.log, 1)}")
        if deaths and self._false_starts > _MAX_FALSE_STARTS:
            raise EnvironmentFault(
                f"{self._false_starts} workers died without getting anywhere; the last one: {deaths[-1]}\n"
                f"{_tail(deaths[-1].log)}"
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask every worker to finish its chunk, write a checkpoint and end; the signal tells it why."""
        self._signal(number)

    def kill(self) -> None:
        """End every worker at once; what was journaled stays, the running chunk is lost."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._slots:
            if process is not None:
                process.send_signal(number)

    def _log(self, pid: int) -> Path:
        return log_file(self._logs, os.uname().nodename, pid)

    def _start(self, slot: int) -> subprocess.Popen[bytes]:
        self._logs.mkdir(mode=0o700, exist_ok=True)
        threads = str(self._settings.threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
            "PYTHONUNBUFFERED": "1",
        }
        beginning = self._logs / f".{os.uname().nodename}-{os.getpid()}-{slot}"
        with beginning.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cnn_sweep.execution.worker", self._settings.to_argument()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        beginning.rename(self._log(process.pid))
        return process


def log_file(logs: Path, host: str, pid: int) -> Path:
    """Name the file with a worker's standard error."""
    return logs / f"worker-{host}-{pid}.log"


def _tail(path: Path, most: int = _LOG_TAIL_LINES) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return "\n".join(f"    {line}" for line in lines[-most:])
