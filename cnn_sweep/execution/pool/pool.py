"""Starts, watches, replaces and stops the workers of one machine or one Slurm array task."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, InputError, fault_of
from cnn_sweep.execution.machine import gpu_of, kernel_memory_kills, visible_gpus
from cnn_sweep.execution.pool.worker_processes import WorkerStarter, log_file, signals_blocked
from cnn_sweep.execution.worker.protocol import OWN_WORDS, Ending
from cnn_sweep.messages import plural

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Container, Iterator
    from pathlib import Path

    from cnn_sweep.execution.pool.worker_processes import ForkedWorker
    from cnn_sweep.execution.worker.protocol import WorkerSettings

# If more workers than this die in a row before they begin a trial, the environment is the cause, not a trial.
_MAX_FALSE_STARTS = 3
# A place gets its next worker at once, but if a worker dies within the first number of seconds, as the one before it
# did, only after the second number; the pause doubles with each such death, up to the third.
_SOON_S = 60.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 60.0
# Exit codes of workers that ended with an error message after OWN_WORDS; another worker would end the same way.
_OWN_WORDS = {InputError.exit_code, EnvironmentFault.exit_code}
_LOG_TAIL_LINES = 20


@dataclass(frozen=True)
class WorkerExit:
    """The death of a worker, that is, an end other than by its own decision.

    Attributes:
        pid: Its process ID.
        returncode: Its exit code; if negative, the number of the signal that killed it.
        log: The file with its standard error.
        place: Number of its place in the pool.
        pause_s: Seconds until the place gets another worker.
        out_of_memory: Whether the kernel killed it, because the task had used up its memory.
    """

    pid: int
    returncode: int
    log: Path
    place: int = 0
    pause_s: float = 0.0
    out_of_memory: bool = False

    @property
    def how(self) -> str:
        """How it died, without its process ID."""
        if self.out_of_memory:
            return "was killed by the kernel, because its job had used up its memory"
        if self.returncode < 0:
            return f"was killed by {signal.Signals(-self.returncode).name}"
        return f"ended with exit code {self.returncode}"

    def __str__(self) -> str:
        """Return how it died, and where its log is."""
        return f"worker {self.pid} {self.how}" + (f"; see {self.log}" if self.returncode > 0 else "")


@dataclass
class _Slot:
    """A place for one worker.

    Attributes:
        gpu: The GPU of its workers; None if they train on the CPU.
        process: The worker that runs now; None if there is none.
        alone: Whether the worker has its device to itself.
        outdated: Whether the worker may end without having seen all trials.
        born: When its newest worker was started, on the monotonic clock; None if it has had none.
        early_deaths: Number of its workers that died soon after their start, in a row.
        false_starts: Number of its workers that died before they began a trial, in a row.
        free_at: Until when it stays empty after such deaths, on the monotonic clock; 0 if it need not wait.
        closed: Whether it gets no further worker.
    """

    gpu: str | None
    process: subprocess.Popen[bytes] | ForkedWorker | None = None
    alone: bool = False
    outdated: bool = False
    born: float | None = None
    early_deaths: int = 0
    false_starts: int = 0
    free_at: float = 0.0
    closed: bool = False

    def rest(self) -> float:
        """Stay empty for a while if workers keep dying soon after their start; return for how many seconds."""
        now = time.monotonic()
        soon = self.born is not None and now - self.born < _SOON_S
        self.early_deaths = self.early_deaths + 1 if soon else 1
        doublings = min(self.early_deaths - 2, 16)
        pause = min(_FIRST_PAUSE_S * 2.0**doublings, _LONGEST_PAUSE_S) if doublings >= 0 else 0.0
        self.free_at = now + pause
        return pause

    def rests(self) -> bool:
        """Return whether it stays empty at the moment."""
        return self.process is None and not self.closed and self.free_at > time.monotonic()


class Pool:
    """Keeps up to ``size`` workers alive while there is work.

    A worker whose trial ran out of memory reports this by its exit code. Then the other workers on its device (its GPU,
    or this machine) stop after a checkpoint, one worker has the device to itself for such trials, and all start again.
    """

    def __init__(self, settings: WorkerSettings, size: int, logs: Path, *, whole_keras: bool = False) -> None:
        """Prepare a pool; :meth:`fill` starts it.

        Args:
            settings: Settings of each worker.
            size: Maximum number of workers.
            logs: Folder for the workers' log files.
            whole_keras: Whether Keras may import its optional packages, which the user's code may expect.
        """
        gpus = visible_gpus()
        self._logs = logs
        self._starter = WorkerStarter(settings, logs, whole_keras=whole_keras)
        self._waits_for_import = False
        self._memory_kills = kernel_memory_kills()
        self._slots = [_Slot(gpu_of(number, gpus)) for number in range(size)]
        self._reserved: set[str | None] = set()
        self._asked: signal.Signals | None = None
        self._some_ended = False
        self._notes: list[str] = []

    @property
    def running(self) -> int:
        """Number of live workers."""
        return sum(slot.process is not None for slot in self._slots)

    @property
    def needs_refill(self) -> bool:
        """Whether :meth:`fill` should replace workers that have ended, or can start those that it could not."""
        return (
            self._some_ended
            or (self._waits_for_import and self._starter.is_ready())
            or any(
                slot.process is None and slot.free_at and not slot.rests() and not slot.closed for slot in self._slots
            )
        )

    @property
    def is_waiting(self) -> bool:
        """Whether places are to get workers later: their workers keep dying, or TensorFlow is being imported."""
        return self._asked is None and (self._waits_for_import or any(slot.rests() for slot in self._slots))

    @property
    def processes(self) -> set[int]:
        """Process IDs of the live workers."""
        return {slot.process.pid for slot in self._slots if slot.process is not None}

    def fill(self, wanted: int) -> None:
        """Start workers in empty slots until ``wanted`` run or the pool is full; none if the pool is stopping.

        If TensorFlow has to be imported for them first, none is started yet.
        """
        self._some_ended = False
        self._waits_for_import = self._asked is None and self.running < wanted and not self._starter.is_ready()
        if self._waits_for_import:
            return
        resting = 0
        for number, slot in enumerate(self._slots):
            if slot.process is not None or slot.closed:
                continue
            if slot.rests() and self.running + resting < wanted:
                resting += 1  # no other place takes the work over, or all would be tried at once
                continue
            slot.free_at = 0.0
            if self.running + resting >= wanted:
                continue
            slot.alone, slot.outdated = slot.gpu in self._reserved, False
            if not (slot.alone and self._is_in_use(slot.gpu)) and not self._starts(number, slot):
                return

    def reap(self) -> list[WorkerExit]:
        """Free the slots of workers that have ended, and return those that died."""
        deaths = []
        for place, slot in enumerate(self._slots):
            process = slot.process
            if process is None or (code := process.poll()) is None:
                continue
            slot.process = None
            # Workers that stopped to leave their device to a single worker are started again later.
            self._some_ended |= code != Ending.DONE or slot.gpu in self._reserved or slot.outdated
            if slot.alone:
                self._reserved.discard(slot.gpu)
            elif code == Ending.OUT_OF_MEMORY:
                self._reserve(slot.gpu)
            if code in set(Ending):
                slot.early_deaths = slot.false_starts = 0
            else:
                log = self._log(process.pid)
                deaths.append(WorkerExit(process.pid, code, log, place, slot.rest()))
        return self._with_memory_kills(deaths)

    def _with_memory_kills(self, deaths: list[WorkerExit]) -> list[WorkerExit]:
        """Mark the killed workers if the kernel has counted a kill for memory since the previous deaths."""
        killed = [death.returncode == -signal.SIGKILL for death in deaths]
        if not any(killed) or (kills := kernel_memory_kills()) == self._memory_kills:
            return deaths
        self._memory_kills = kills
        return [replace(death, out_of_memory=one) for death, one in zip(deaths, killed, strict=True)]

    def expect_more_work(self) -> None:
        """Replace also those of the present workers that end normally: they may not have seen the newest trials."""
        for slot in self._slots:
            slot.outdated = True

    def count_false_starts(self, deaths: list[WorkerExit], *, began: Container[int]) -> list[str]:
        """Close places whose workers keep dying before they begin a trial; raise an error if no other place is left.

        Args:
            deaths: Workers that have died since the last call.
            began: Process IDs of all workers of this pool that have ever begun a trial.

        Returns:
            A message for each place that was closed.

        Raises:
            EnvironmentFault: No worker can work; the message ends with the last worker's log.
        """
        for slot in self._slots:
            if slot.process is not None and slot.process.pid in began:
                slot.false_starts = 0
        for death in deaths:
            _check_own_words(death)
            slot = self._slots[death.place]
            slot.false_starts = 0 if death.pid in began else slot.false_starts + 1
            if slot.false_starts > 1 and not death.out_of_memory:
                self._starter.fork_no_more("two in a row died before they began a trial")
        tried = [slot.false_starts for slot in self._slots if slot.born is not None]
        if deaths and all(tried) and sum(tried) > _MAX_FALSE_STARTS:
            raise EnvironmentFault(_died_before_a_trial(sum(tried), deaths[-1]))
        return list(self._close_places(deaths))

    def _close_places(self, deaths: list[WorkerExit]) -> Iterator[str]:
        for death in deaths:
            slot = self._slots[death.place]
            if slot.false_starts > _MAX_FALSE_STARTS and not slot.closed:
                slot.closed = True
                yield f"going on with a worker less: {_died_before_a_trial(slot.false_starts, death)}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask every worker to finish its chunk, write a checkpoint and end; the signal indicates the cause."""
        self._asked = number
        self._signal(number)

    def kill(self) -> None:
        """Kill every worker; training since the last checkpoint is lost."""
        self._asked = signal.SIGKILL
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill every worker, and end what else was started for them."""
        self.kill()
        self._starter.close()

    def _signal(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.send_signal(number)

    def _reserve(self, gpu: str | None) -> None:
        """Reserve a device for a single worker; the workers on it stop after a checkpoint."""
        if gpu in self._reserved:
            return
        self._reserved.add(gpu)
        for slot in self._slots:
            if slot.gpu == gpu and slot.process is not None:
                slot.process.send_signal(signal.SIGTERM)

    def _is_in_use(self, gpu: str | None) -> bool:
        return any(slot.gpu == gpu and slot.process is not None for slot in self._slots)

    def _starts(self, number: int, slot: _Slot) -> bool:
        """Start a worker, unless the pool is stopping; return False if the machine allows no more of them.

        The pool goes on with fewer workers then; whenever one of them ends, it tries again.

        Raises:
            EnvironmentFault: It allows none.
        """
        try:
            self._start_unless_asked_to_stop(number, slot)
        except OSError as error:
            fault = fault_of(error)
            if not self.running:
                raise EnvironmentFault(f"a worker cannot be started: {fault}") from error
            self._notes.append(f"going on with {plural(self.running, 'worker')}, as another cannot be started: {fault}")
            return False
        return True

    def news(self) -> tuple[str, ...]:
        """Return what the user should know since the last call."""
        found, self._notes = (*self._starter.news(), *self._notes), []
        return found

    def _start_unless_asked_to_stop(self, number: int, slot: _Slot) -> None:
        with signals_blocked():
            if self._asked is None:
                slot.process = self._starter.start(number, slot.gpu, alone=slot.alone)
                slot.born = time.monotonic()
        # A stop signal may have arrived before this worker was registered.
        if self._asked is not None and slot.process is not None:
            slot.process.send_signal(self._asked)

    def _log(self, pid: int) -> Path:
        return log_file(self._logs, os.uname().nodename, pid)


def _check_own_words(death: WorkerExit) -> None:
    """Raise an error if a worker ended with an error message, because another one would end the same way."""
    words = _tail(death.log, 1)
    # The user's code may exit with the same codes, but does not write these words.
    if death.returncode in _OWN_WORDS and words.lstrip().startswith(OWN_WORDS):
        raise EnvironmentFault(f"a worker cannot work:\n{words}")


def _died_before_a_trial(count: int, last: WorkerExit) -> str:
    return f"{count} workers died in a row before they began a trial; the last one: {last}\n{_tail(last.log)}"


def _tail(path: Path, most: int = _LOG_TAIL_LINES) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return "\n".join(f"    {line}" for line in lines[-most:])
