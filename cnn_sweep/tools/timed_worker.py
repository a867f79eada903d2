"""One of the workers whose speed is measured.

Started as ``python -m cnn_sweep.tools.timed_worker TIMING`` by ``training_rates``: it compiles, says that it
is ready, waits for a line on its standard input, trains, and prints images per second.
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
    from cnn_sweep.training.outcome import Verdict

_FIRST_STEPS = 4  # of the epochs that compile, and show how long a step takes
_EPOCH_S = 1.0  # what is measured in epochs of about so many seconds
_MANY = 1_000_000
_SEED = 0
# So small that no network diverges, however long it is trained.
_LEARNING_RATE = 1e-8


class _Stopwatch:
    """Lets a trial train for some seconds; its monitor.

    Attributes:
        epochs: How many it has done.
        took: Seconds from the beginning of the first of them to the end of the last.
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

    def verdict(self) -> Verdict:
        return "go on"

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Keep nothing."""

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Keep nothing."""


def images_per_s(timing: Timing, wait: Callable[[], object]) -> float:
    """Train a configuration for a while.

    Args:
        timing: Which, and how.
        wait: Called once all is compiled, before the time that counts.

    Raises:
        EnvironmentFault: The trial fails.
    """
    sweep = Sweep.load(timing.sweep)
    configure(timing.threads, whole_keras=uses_user_code(sweep))
    from cnn_sweep.training.trial.trainer import Trainer  # noqa: PLC0415 - starts TensorFlow, configured by now

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
        raise ValueError("a function of the user's does the training")
    return spec.training


def _endless(spec: TrialSpec, steps: int) -> TrialSpec:
    """Return a trial that does the same in each step, and ends only when it is stopped."""
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
    """Measure; return the process's exit code."""
    streams.for_logs()
    # What code of the user's prints is no answer.
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
