"""Training speed of this machine: how long an epoch takes, with several workers that share the cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.machine import VISIBLE, gpu_of, visible_gpus
from cnn_sweep.execution.study.user_code import uses_user_code
from cnn_sweep.journal.trust import check_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cnn_sweep.sweep.sweep import Sweep

READY = "ready"


@dataclass(frozen=True)
class Timing:
    """Settings of one measured worker.

    Attributes:
        sweep: The text of the sweep file, with all changes.
        folder: Folder of the sweep file.
        results: Root of all studies, with the prepared data.
        shapes: What to train, one after the other: hyperparameters, and the number of the stage.
        threads: Threads of the worker.
        seconds: Duration of training of each, at least one epoch, or about a second of a longer one.
    """

    sweep: str
    folder: Path
    results: Path
    shapes: tuple[tuple[dict[str, Any], int], ...]
    threads: int
    seconds: float

    @classmethod
    def of(cls, sweep: Sweep, results: Path, shapes: Sequence[tuple[dict[str, Any], int]], **settings: Any) -> Self:
        """Return the settings for a sweep as it was read; for the others, see the class.

        Raises:
            EnvironmentFault: The sweep has code that others can change.
        """
        folder = sweep.folder.resolve()
        if uses_user_code(sweep):
            check_code(folder, results)
        return cls(sweep=sweep.text, folder=folder, results=results.resolve(), shapes=tuple(shapes), **settings)

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(asdict(self) | {"folder": str(self.folder), "results": str(self.results)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the settings from the result of :meth:`to_json`."""
        values = json.loads(text)
        paths = {name: Path(values[name]) for name in ("folder", "results")}
        return cls(**values | paths | {"shapes": tuple((params, stage) for params, stage in values["shapes"])})


@dataclass(frozen=True)
class Measurement:
    """How long one worker took for a shape.

    Attributes:
        epoch_s: Seconds of a whole epoch, with its validation.
        build_s: Seconds of the first trial of a network before and beside its epochs: it is built and compiled.
        trial_s: Seconds of a later trial of it beside its epochs.
        images: Training images of an epoch.
        memory_mb: Most memory that the process has used so far, in MB.
    """

    epoch_s: float
    build_s: float
    trial_s: float
    images: int
    memory_mb: float

    @property
    def images_per_s(self) -> float:
        """Training images per second."""
        return self.images / self.epoch_s


@dataclass(frozen=True)
class Measured:
    """The measurements of several workers that trained the same shapes at the same time.

    Attributes:
        start_s: Seconds from the start of a worker until it can build a network, on average.
        shapes: For each shape, the measurement of each worker.
    """

    start_s: float
    shapes: tuple[tuple[Measurement, ...], ...]


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


def _silent(_done: int) -> None:
    return


def measure(timing: Timing, workers: int, observe: Callable[[int], None] = _silent) -> Measured:
    """Let several workers train the same shapes at the same time.

    Args:
        timing: Settings of each worker.
        workers: Number of workers.
        observe: Called with the number of measured shapes.

    Raises:
        EnvironmentFault: A worker could not train; the message has its last line.
    """
    with ExitStack() as stack:
        began = time.monotonic()
        gpus = visible_gpus()
        started = [_Worker(timing, stack, gpu_of(number, gpus)) for number in range(workers)]
        starts = []
        for worker in started:
            worker.expect(READY)
            starts.append(time.monotonic() - began)
            worker.go()
        found = []
        for _ in timing.shapes:
            for worker in started:
                worker.expect(READY)
            for worker in started:  # all have compiled their networks, so that they now compete for the cores
                worker.go()
            found.append(tuple(Measurement(**json.loads(worker.answer())) for worker in started))
            observe(len(found))
    return Measured(sum(starts) / workers, tuple(found))


class _Worker:
    """A measured process.

    It prints that it is ready to begin; then, for each shape, that it has compiled it, waits for a line, and prints the
    measurement.
    """

    def __init__(self, timing: Timing, stack: ExitStack, gpu: str | None) -> None:
        self._log: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        command = [sys.executable, "-P", "-m", "cnn_sweep.tools.timed_worker"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=self._log,
            encoding="utf-8",
            env=os.environ | ({} if gpu is None else {VISIBLE: gpu}),
        )
        stack.enter_context(self._process)
        stack.callback(self._process.kill)  # before the process is waited for
        self._tell(timing.to_json())

    def expect(self, word: str) -> None:
        if self.answer() != word:
            raise self._fault()

    def go(self) -> None:
        self._tell("go")

    def _tell(self, line: str) -> None:
        if self._process.stdin is None:
            raise ValueError("it has no standard input")
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._fault() from None

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
