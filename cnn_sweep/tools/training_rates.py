"""Measures how many images a second this machine trains, for each division of its cores between workers."""

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
    """What one of the workers that are measured is told.

    Attributes:
        sweep: The sweep file.
        results: Root of all studies, beside which prepared data are.
        params: The configuration to train.
        threads: Threads of the worker.
        seconds: How long to train; at least an epoch of about a second.
    """

    sweep: Path
    results: Path
    params: dict[str, Any]
    threads: int
    seconds: float

    def to_argument(self) -> str:
        """Give it as one command-line argument."""
        return json.dumps(asdict(self) | {"sweep": str(self.sweep), "results": str(self.results)})

    @classmethod
    def from_argument(cls, text: str) -> Self:
        """Read what :meth:`to_argument` wrote."""
        values = json.loads(text)
        return cls(**values | {"sweep": Path(values["sweep"]), "results": Path(values["results"])})


@dataclass(frozen=True)
class Rate:
    """What a machine does with one division of its cores.

    Attributes:
        workers: Workers at the same time.
        threads: Threads of each.
        images_per_s: Training images a second, of all of them together.
    """

    workers: int
    threads: int
    images_per_s: float


def divisions(cores: int, most_workers: int) -> Iterator[tuple[int, int]]:
    """Yield workers and threads of each that share the cores: as many workers as fit, half of them, and so on to one.

    Args:
        cores: At least 1.
        most_workers: As many as memory allows.
    """
    workers = min(cores, most_workers)
    while workers >= 1:
        yield workers, cores // workers
        workers //= 2


def measure(timing: Timing, workers: int) -> Rate:
    """Let some workers train the same configuration at the same time.

    Args:
        timing: What each of them does.
        workers: How many.

    Raises:
        EnvironmentFault: One of them could not; with its own words.
    """
    with ExitStack() as stack:
        started = [_Worker(timing, stack) for _ in range(workers)]
        for worker in started:
            worker.expect(READY)
        for worker in started:  # all have compiled their graphs: from here on they get in each other's way
            worker.go()
        total = sum(float(worker.answer()) for worker in started)
    return Rate(workers, timing.threads, total)


class _Worker:
    """One process; it says that it is ready, waits for a line, and says how many images a second it trained."""

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
