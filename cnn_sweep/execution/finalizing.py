"""The one process that opens the test set: measures the best trials' models on it and journals what it finds.

Started as ``python -m cnn_sweep.execution.finalizing RESULTS STUDY TOP`` so that the command that was typed stays free
of TensorFlow. A trial whose model was not kept is trained again: its result is a function of (sweep, params, seed).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import CnnSweepError, StudyError
from cnn_sweep.execution.freeze import FrozenStudy, open_study
from cnn_sweep.execution.keeping import best_numbers
from cnn_sweep.execution.provenance import worker_event
from cnn_sweep.journal.events import Finalize
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.training.session import configure

if TYPE_CHECKING:
    from cnn_sweep.execution.engine import Engine
    from cnn_sweep.training.outcome import Verdict

log = logging.getLogger(__name__)


def start_finalizing(results: Path, study: str, top: int) -> int:
    """Finalize in a process of its own; its words go to standard error. Return its exit code."""
    command = [sys.executable, "-P", "-m", "cnn_sweep.execution.finalizing", str(results), study, str(top)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False).returncode


class _Silent:
    """Listens to a training whose events are in the journals already."""

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        """Hear of an epoch."""

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Hear of a checkpoint."""

    def verdict(self) -> Verdict:
        """Never prune: it was a good trial."""
        return "go on"

    def should_stop(self) -> bool:
        """Never stop."""
        return False


def finalize(study: FrozenStudy, engine: Engine, top: int) -> None:
    """Measure the best trials of a study on its test set.

    Raises:
        StudyError: No trial is complete, or a result cannot be had again.
    """
    history = History(study.paths, metric=study.sweep.objective.metric)
    history.refresh()
    numbers = best_numbers(history, study.sweep.objective, top)
    if not numbers:
        raise StudyError(f"study {study.paths.study!r} has no complete trial to finalize")
    with JournalWriter(study.paths.journal(new_writer_name())) as journal:
        journal.append(worker_event(threads=1))
        for number in numbers:
            trial = history.trials[number]
            spec = study.sweep.resolve(trial.params or {})
            path = study.paths.model(number)
            if not path.is_file():
                print(f"trial {number}: its model was not kept, training it again", file=sys.stderr)  # noqa: T201 - as below
                outcome = engine.train(spec, seed=trial.seed or 0, monitor=_Silent())
                if outcome.state != "complete" or not engine.export(spec, outcome, seed=trial.seed or 0, path=path):
                    raise StudyError(f"trial {number} could not be trained again: {outcome.message}")
            metrics = engine.evaluate_on_test(spec, path)
            journal.append(Finalize(time=time.time(), trial=number, metrics=metrics))


def main() -> int:
    """Finalize the study that the arguments name; return the exit code."""
    results, name, top = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    configure(threads=1)
    # Only now: TensorFlow starts with this import, and must know its threads by then.
    from cnn_sweep.execution.engine import Engine  # noqa: PLC0415

    try:
        study = open_study(results, name)
        finalize(study, Engine(study), top)
    except CnnSweepError as error:
        print(f"cnn-sweep: {error}", file=sys.stderr)  # noqa: T201 - this is its command line
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
