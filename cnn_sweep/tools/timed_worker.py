"""A worker whose training speed is measured.

``training_rates`` starts it as ``python -m cnn_sweep.tools.timed_worker TIMING``. It compiles the network, prints that
it is ready, waits for a line on standard input, trains, and prints images per second.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from cnn_sweep import streams
from cnn_sweep.errors import CnnSweepError, EnvironmentFault
from cnn_sweep.execution.study.study_folder import data_root
from cnn_sweep.execution.study.user_code import uses_user_code
from cnn_sweep.sweep.spec.training import ScheduleSpec
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.tools.training_rates import READY, Timing
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.data.prepare import prepared
from cnn_sweep.training.session import configure

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.outcome import Decision

_FIRST_STEPS = 4  # steps of the epochs that compile the network and show how long a step takes
_EPOCH_S = 1.0  # duration of a measured epoch, in seconds
_MANY = 1_000_000
_SEED = 0
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


def images_per_s(timing: Timing, wait: Callable[[], object]) -> float:
    """Train a configuration for some seconds and return its images per second.

    Args:
        timing: The configuration and the duration.
        wait: Called after compilation, before the measured time.

    Raises:
        EnvironmentFault: The trial fails.
    """
    sweep = Sweep.load(timing.sweep)
    configure(timing.threads, whole_keras=uses_user_code(sweep))
    from cnn_sweep.training.trial.trainer import Trainer  # noqa: PLC0415 - starts TensorFlow, after its configuration

    folder = prepared(sweep.data, sweep.folder, data_root(timing.results))
    trainer = Trainer(load(folder), folder=sweep.folder, prepared=folder.parent)
    spec = sweep.resolve(timing.params)

    def train(steps: int, seconds: float) -> _Stopwatch:
        watch = _Stopwatch(seconds)
        outcome = trainer.train(_endless(spec, steps), _SEED, watch)
        if outcome.state != "interrupted":
            raise EnvironmentFault(f"the trial is {outcome.state}: {outcome.message}")
        return watch

    train(_FIRST_STEPS, 0.0)
    step_s = train(_FIRST_STEPS, 0.0).took / _FIRST_STEPS
    steps = max(1, round(_EPOCH_S / step_s))
    wait()
    watch = train(steps, timing.seconds)
    return watch.epochs * steps * _training(spec).batch_size / watch.took


def _training(spec: TrialSpec) -> TrainingSpec:
    if spec.training is None:
        raise ValueError("a function of the user trains this network")
    return spec.training


def _endless(spec: TrialSpec, steps: int) -> TrialSpec:
    """Return a trial whose steps are all alike and which trains until it is stopped."""
    training = _training(spec)
    changed = {
        "epochs": _MANY,
        "steps_per_epoch": steps,
        "validation_steps": 1,
        "optimizer": training.optimizer.model_copy(update={"learning_rate": _LEARNING_RATE}),
        "schedule": ScheduleSpec(),
        "early_stopping": None,
        "fine_tune": None,
    }
    return spec.model_copy(update={"training": training.model_copy(update=changed)})


def main() -> int:
    """Measure the speed; return the process's exit code."""
    streams.for_logs()
    # Answers use a separate stream, because the user's code may print to standard output.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def wait() -> None:
        print(READY, file=answers, flush=True)
        sys.stdin.readline()

    try:
        print(images_per_s(Timing.from_argument(sys.argv[1]), wait), file=answers, flush=True)
    except CnnSweepError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is the worker's command line
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
