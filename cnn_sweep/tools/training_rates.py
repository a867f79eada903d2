"""Training speed of this machine, in images per second, for each division of its cores between workers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator

READY = "ready"


@dataclass(frozen=True)
class Timing:
    """Settings of one measured worker.

    Attributes:
        sweep: The sweep file.
        results: Root of all studies, with the prepared data.
        params: The configuration to train.
        threads: Threads of the worker.
        seconds: Duration of training, at least one epoch of about a second.
    """

    sweep: Path
    results: Path
    params: dict[str, Any]
    threads: int
    seconds: float

    def to_argument(self) -> str:
        """Return the settings as one command-line argument, in JSON."""
        return json.dumps(asdict(self) | {"sweep": str(self.sweep), "results": str(self.results)})

    @classmethod
    def from_argument(cls, text: str) -> Self:
        """Read the settings from the result of :meth:`to_argument`."""
        values = json.loads(text)
        return cls(**values | {"sweep": Path(values["sweep"]), "results": Path(values["results"])})


@dataclass(frozen=True)
class Rate:
    """The speed of one division of the cores.

    Attributes:
        workers: Number of workers at the same time.
        threads: Threads of each worker.
        images_per_s: Training images per second of all workers together.
    """

    workers: int
    threads: int
    images_per_s: float


def divisions(cores: int, most_workers: int) -> Iterator[tuple[int, int]]:
    """Yield (workers, threads of each) that share the cores: as many workers as fit, half as many, and so on to one.

    Args:
        cores: Number of cores, at least 1.
        most_workers: Number of workers that memory allows.
    """
    workers = min(cores, most_workers)
    while workers >= 1:
        yield workers, cores // workers
        workers //= 2


def measure(timing: Timing, workers: int) -> Rate:
    """Let several workers train the same configuration at the same time.

    Args:
        timing: Settings of each worker.
        workers: Number of workers.

    Raises:
        EnvironmentFault: A worker could not train; the message has its last line.
    """
    with ExitStack() as stack:
        started = [_Worker(timing, stack) for _ in range(workers)]
        for worker in started:
            worker.expect(READY)
        for worker in started:  # all have compiled their networks, so that they now compete for the cores
            worker.go()
        total = sum(float(worker.answer()) for worker in started)
    return Rate(workers, timing.threads, total)


class _Worker:
    """A measured process: it prints that it is ready, waits for a line, and prints its images per second."""

    def __init__(self, timing: Timing, stack: ExitStack) -> None:
        self._log: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        command = [sys.executable, "-m", "cnn_sweep.tools.timed_worker", timing.to_argument()]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, encoding="utf-8")
        stack.enter_context(self._process)
        stack.callback(self._process.kill)  # before the process is waited for

    def expect(self, word: str) -> None:
        if self.answer() != word:
            raise self._fault()

    def go(self) -> None:
        if self._process.stdin is None:
            raise ValueError("it has no standard input")
        print("go", file=self._process.stdin, flush=True)

    def answer(self) -> str:
        if self._process.stdout is None:
            raise ValueError("it has no standard output")
        if not (line := self._process.stdout.readline()):
            raise self._fault()
        return line.strip()

    def _fault(self) -> EnvironmentFault:
        self._process.wait()
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip().splitlines()
        return EnvironmentFault(f"a worker cannot train: {words[-1] if words else self._process.returncode}")
