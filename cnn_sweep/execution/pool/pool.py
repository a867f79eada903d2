"""The workers of one machine or of one Slurm array task: started, watched, replaced when they die, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.execution.machine import VISIBLE, gpu_of, visible_gpus
from cnn_sweep.execution.worker.protocol import OWN_WORDS, STOP_SIGNALS, Ending

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cnn_sweep.execution.worker.protocol import WorkerSettings

# Workers that die one after the other without having begun a trial: the environment is broken, not the trial.
_MAX_FALSE_STARTS = 3
# Exit codes of workers that ended with one clear message, OWN_WORDS and what follows: another one would say the same.
_OWN_WORDS = {InputError.exit_code, EnvironmentFault.exit_code}
_LOG_TAIL_LINES = 20


@dataclass(frozen=True)
class WorkerExit:
    """A worker that ended otherwise than by its own decision.

    Attributes:
        pid: Its process id.
        returncode: Its exit code; negative is the number of the signal that killed it.
        log: The file with its standard error.
    """

    pid: int
    returncode: int
    log: Path

    @property
    def how(self) -> str:
        """How it died, the same for all that die so."""
        if self.returncode < 0:
            return f"was killed by {signal.Signals(-self.returncode).name}"
        return f"ended with exit code {self.returncode}"

    def __str__(self) -> str:
        """Say how it died."""
        return f"worker {self.pid} {self.how}" + (f"; see {self.log}" if self.returncode > 0 else "")


@dataclass
class _Slot:
    """A place for one worker.

    Attributes:
        gpu: The GPU of its workers; None where they train on the CPU.
        process: The worker, if there is one.
        alone: Whether the worker has its device to itself.
    """

    gpu: str | None
    process: subprocess.Popen[bytes] | None = None
    alone: bool = False


class Pool:
    """Keeps up to ``size`` workers alive while there is work.

    A worker whose trial ran out of memory says so at its end. Then the others on its device (its GPU, or this
    machine) are stopped after a checkpoint, one worker has the device to itself for such trials, and all begin anew.

    Attributes:
        short: Whether workers ended that others shall replace; `fill` does that.
    """

    def __init__(self, settings: WorkerSettings, size: int, logs: Path) -> None:
        """Prepare a pool; :meth:`fill` starts it.

        Args:
            settings: Given to each worker.
            size: How many workers at once.
            logs: Folder for one log file a worker.
        """
        gpus = visible_gpus()
        self._settings = settings
        self._logs = logs
        self._slots = [_Slot(gpu_of(number, gpus)) for number in range(size)]
        self._reserved: set[str | None] = set()
        self._false_starts = 0
        self._asked: signal.Signals | None = None
        self.needs_refill = False

    @property
    def running(self) -> int:
        """Number of live workers."""
        return sum(slot.process is not None for slot in self._slots)

    def fill(self, wanted: int) -> None:
        """Start workers in empty slots until ``wanted`` run, or the pool is full; none once they are to stop."""
        self.needs_refill = False
        for number, slot in enumerate(self._slots):
            if slot.process is not None or self.running >= wanted:
                continue
            slot.alone = slot.gpu in self._reserved
            if not (slot.alone and self._is_in_use(slot.gpu)):
                self._start_unless_asked_to_stop(number, slot)

    def reap(self) -> list[WorkerExit]:
        """Take note of workers that ended, and return those that died."""
        deaths = []
        for slot in self._slots:
            process = slot.process
            if process is None or process.poll() is None:
                continue
            slot.process = None
            # While a device is being cleared, its workers end for that, and come back after it.
            self.needs_refill |= process.returncode != Ending.DONE or slot.gpu in self._reserved
            if slot.alone:
                self._reserved.discard(slot.gpu)
            elif process.returncode == Ending.OUT_OF_MEMORY:
                self._reserve(slot.gpu)
            if process.returncode not in set(Ending):
                deaths.append(WorkerExit(process.pid, process.returncode, self._log(process.pid)))
        return deaths

    def count_false_starts(self, deaths: list[WorkerExit], *, progressed: bool) -> None:
        """Give up when workers keep dying before they begin anything.

        Raises:
            EnvironmentFault: With the end of the last worker's log.
        """
        if progressed:
            self._false_starts = 0
        self._false_starts += len(deaths)
        for death in deaths:
            words = _tail(death.log, 1)
            # A trial's own code may end its process with the same exit codes.
            if death.returncode in _OWN_WORDS and words.lstrip().startswith(OWN_WORDS):
                raise EnvironmentFault(f"a worker cannot work:\n{words}")
        if deaths and self._false_starts > _MAX_FALSE_STARTS:
            raise EnvironmentFault(
                f"{self._false_starts} workers died without getting anywhere; the last one: {deaths[-1]}\n"
                f"{_tail(deaths[-1].log)}"
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask every worker to finish its chunk, write a checkpoint and end; the signal tells it why."""
        self._asked = number
        self._signal(number)

    def kill(self) -> None:
        """End every worker at once; what was journaled stays, the running chunk is lost."""
        self._asked = signal.SIGKILL
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.send_signal(number)

    def _reserve(self, gpu: str | None) -> None:
        """Keep a device for one worker alone; those that use it stop after a checkpoint."""
        if gpu in self._reserved:
            return
        self._reserved.add(gpu)
        for slot in self._slots:
            if slot.gpu == gpu and slot.process is not None:
                slot.process.send_signal(signal.SIGTERM)

    def _is_in_use(self, gpu: str | None) -> bool:
        return any(slot.gpu == gpu and slot.process is not None for slot in self._slots)

    def _start_unless_asked_to_stop(self, number: int, slot: _Slot) -> None:
        with _signals_held():
            if self._asked is None:
                slot.process = self._start(number, slot)
        # Another thread of this process may have been interrupted meanwhile, when nobody knew of this worker yet.
        if self._asked is not None and slot.process is not None:
            slot.process.send_signal(self._asked)

    def _log(self, pid: int) -> Path:
        return log_file(self._logs, os.uname().nodename, pid)

    def _start(self, number: int, slot: _Slot) -> subprocess.Popen[bytes]:
        self._logs.mkdir(mode=0o700, exist_ok=True)
        threads = str(self._settings.threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
            "PYTHONUNBUFFERED": "1",
            **({} if slot.gpu is None else {VISIBLE: slot.gpu}),
        }
        settings = replace(self._settings, alone=slot.alone)
        beginning = self._logs / f".{os.uname().nodename}-{os.getpid()}-{number}"
        with beginning.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cnn_sweep.execution.worker.worker", settings.to_argument()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        beginning.rename(self._log(process.pid))
        return process


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let signals wait until the end of the block; a process that is started in it begins with them held, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *STOP_SIGNALS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def log_file(logs: Path, host: str, pid: int) -> Path:
    """Name the file with a worker's standard error."""
    return logs / f"worker-{host}-{pid}.log"


def _tail(path: Path, most: int = _LOG_TAIL_LINES) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return "\n".join(f"    {line}" for line in lines[-most:])
