"""A worker whose training speed is measured.

``training_rates`` starts it as ``python -m cnn_sweep.tools.timed_worker`` and writes its settings, a ``Timing``, to its
standard input. For each shape it compiles the network, prints that it is ready, waits for a line on standard input,
trains, and prints a ``Measurement``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from cnn_sweep import streams
from cnn_sweep.errors import CnnSweepError, EnvironmentFault, faults_of_the_system
from cnn_sweep.execution.study.user_code import uses_user_code
from cnn_sweep.journal.paths import data_root
from cnn_sweep.sweep.spec.training import ScheduleSpec
from cnn_sweep.sweep.spec.trial import training_stages
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.tools.training_rates import READY, Measurement, Timing
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.data.prepare import prepared
from cnn_sweep.training.session import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.outcome import Decision
    from cnn_sweep.training.trial.trainer import Trainer

_FIRST_STEPS = 4  # steps of the epochs that compile the network and show how long a step takes
_EPOCH_S = 1.0  # a longer epoch is measured by a part of it that takes so many seconds
_MANY = 1_000_000
_SEED = 0
_KB_PER_MB = 1024
# Small enough that no network diverges, however long it is trained.
_LEARNING_RATE = 1e-8


class _Stopwatch:
    """The monitor of a trial that trains for some seconds.

    Attributes:
        epochs: Number of finished epochs.
        took: Seconds from the start of the first epoch to the end of the last.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: float | None = None
        self.epochs = 0
        self.took = 0.0

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:  # noqa: ARG002 - only counts
        self.epochs += 1
        self.took = time.perf_counter() - (self._began or 0.0)

    def should_stop(self) -> bool:
        if self._began is None:
            self._began = time.perf_counter()
        return self.epochs > 0 and time.perf_counter() - self._began >= self._seconds

    def decision(self) -> Decision:
        return "continue"

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Ignore a checkpoint."""

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Ignore a checkpoint."""


class _Clocked:
    """Trains shapes with one trainer and measures them.

    Args:
        trainer: The trainer, which keeps compiled networks.
        images: Number of training images.
        validation: Number of validation images.
        seconds: Duration of each measurement.
    """

    def __init__(self, trainer: Trainer, images: int, validation: int, seconds: float) -> None:
        self._trainer = trainer
        self._images = images
        self._validation = validation
        self._seconds = seconds

    def measure(self, spec: TrialSpec, wait: Callable[[], object]) -> Measurement:
        """Train a shape for some seconds.

        Args:
            spec: One stage of a trial.
            wait: Called after compilation, before the measured time.

        Raises:
            EnvironmentFault: The trial fails.
        """
        training = _training(spec)
        steps = training.steps_per_epoch or -(-self._images // training.batch_size)
        began = time.perf_counter()
        first = self._train(spec, _FIRST_STEPS, 1, 0.0)
        build_s = time.perf_counter() - began
        began = time.perf_counter()
        second = self._train(spec, _FIRST_STEPS, 1, 0.0)
        trial_s = time.perf_counter() - began - second.took
        step_s = second.took / _FIRST_STEPS
        part = min(steps, max(1, round(_EPOCH_S / step_s)))
        batches = training.validation_steps or -(-self._validation // training.batch_size)
        sizes = (part, max(1, round(batches * part / steps)))
        self._train(spec, *sizes, 0.0)  # anything that depends on the sizes is compiled now
        wait()
        watch = self._train(spec, *sizes, self._seconds)
        return Measurement(
            epoch_s=watch.took / watch.epochs * steps / part,
            build_s=max(0.0, build_s - first.epochs * second.took),
            trial_s=max(0.0, trial_s),
            images=steps * training.batch_size if training.steps_per_epoch else self._images,
            memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KB_PER_MB,
        )

    def _train(self, spec: TrialSpec, steps: int, validation_steps: int, seconds: float) -> _Stopwatch:
        watch = _Stopwatch(seconds)
        outcome = self._trainer.train(_endless(spec, steps, validation_steps), _SEED, watch)
        if outcome.state != "interrupted":
            raise EnvironmentFault(f"the trial is {outcome.state}: {outcome.message}")
        return watch


def measurements(timing: Timing, wait: Callable[[], object]) -> Iterator[Measurement]:
    """Train each shape for some seconds and yield its measurement.

    Args:
        timing: The shapes and the duration.
        wait: Called when this process can begin, and after each compilation, before the measured time.

    Raises:
        EnvironmentFault: A trial fails.
    """
    sweep = Sweep.parse(timing.sweep, folder=timing.folder)
    configure(timing.threads, whole_keras=uses_user_code(sweep))
    from cnn_sweep.training.trial.trainer import Trainer  # noqa: PLC0415 - starts TensorFlow, after its configuration

    folder = prepared(sweep.data, sweep.folder, data_root(timing.results))
    data = load(folder)
    trainer = Trainer(data, folder=sweep.folder, prepared=folder.parent)
    clocked = _Clocked(trainer, len(data.train.y), len(data.validation.y) if data.validation else 0, timing.seconds)
    wait()
    for params, stage in timing.shapes:
        yield clocked.measure(training_stages(sweep.resolve(params))[stage], wait)


def _training(spec: TrialSpec) -> TrainingSpec:
    if spec.training is None:
        raise ValueError("a function of the user trains this network")
    return spec.training


def _endless(spec: TrialSpec, steps: int, validation_steps: int) -> TrialSpec:
    """Return a trial whose steps are all alike and which trains until it is stopped."""
    training = _training(spec)
    changed = {
        "epochs": _MANY,
        "steps_per_epoch": steps,
        "validation_steps": validation_steps,
        "optimizer": training.optimizer.model_copy(update={"learning_rate": _LEARNING_RATE}),
        "schedule": ScheduleSpec(),
        "early_stopping": None,
        "fine_tune": None,
    }
    return spec.model_copy(update={"training": training.model_copy(update=changed)})


def main() -> int:
    """Measure the shapes; return the process's exit code."""
    streams.for_logs()
    # Answers use a separate stream, because the user's code may print to standard output.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def wait() -> None:
        print(READY, file=answers, flush=True)
        sys.stdin.readline()

    try:
        with faults_of_the_system():
            for measured in measurements(Timing.from_json(sys.stdin.readline()), wait):
                print(json.dumps(asdict(measured)), file=answers, flush=True)
    except CnnSweepError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is the worker's command line
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
