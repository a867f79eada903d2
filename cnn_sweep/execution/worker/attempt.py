"""One attempt at a trial, from its claim to its end in the journal."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import EnvironmentFault, fault_of
from cnn_sweep.execution.attempts.cancellation import CANCELLED
from cnn_sweep.execution.attempts.proposals import Proposer
from cnn_sweep.execution.attempts.retries import EXCEPTION, OUT_OF_DEVICE_MEMORY, may_be_retried, why_given_up
from cnn_sweep.execution.worker.protocol import Ending
from cnn_sweep.execution.worker.recorder import Recorder
from cnn_sweep.execution.worker.retention import best_numbers, drop_checkpoints, drop_models, saved_model
from cnn_sweep.journal.events import End, Start
from cnn_sweep.journal.log import metric_value
from cnn_sweep.journal.predictions import keep
from cnn_sweep.messages import listed
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.network.shapes import infer_shapes
from cnn_sweep.sweep.spec.outcome_constraints import total_violation
from cnn_sweep.sweep.states import FINISHED
from cnn_sweep.training.evaluation.learning_curve import curve_numbers
from cnn_sweep.training.network.user_functions import UserCode
from cnn_sweep.training.outcome import Outcome
from cnn_sweep.training.trial.checkpoint import epochs_in
from cnn_sweep.training.trial.checkpoint import read as read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.execution.attempts.candidates import NextAttempt
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings
    from cnn_sweep.execution.worker.store_merges import Merger
    from cnn_sweep.execution.worker.study_trainer import StudyTrainer
    from cnn_sweep.journal.claims import Claims
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.search.pruning_rules import PruningRules
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec, TrialSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerContext:
    """Objects that the parts of one worker share.

    Attributes:
        study: The study.
        history: Its history.
        claims: The worker's claims.
        journal: The worker's own journal.
        stop: True once the worker is to stop.
        merger: Keeps the store up to date.
        settings: Settings from the pool.
        pruning: The study's pruning rules, which decide which trials may begin or continue.
    """

    study: StudyFolder
    history: History
    claims: Claims
    journal: JournalWriter
    stop: StopRequest
    merger: Merger
    settings: WorkerSettings
    pruning: PruningRules


class AttemptRunner:
    """Runs a worker's attempts, one after another."""

    def __init__(self, context: WorkerContext, trainer: StudyTrainer) -> None:
        self._context = context
        self._trainer = trainer
        self._study = context.study
        self._history = context.history
        self._journal = context.journal
        self._proposer = Proposer(self._study, self._history, context.claims)
        self._planned = {trial.number: trial for trial in self._study.plan.trials}

    def run(self, claimed: NextAttempt) -> Ending:
        """Train a claimed trial from its newest checkpoint, and journal its end whatever happens.

        Returns:
            ``DONE`` if this process can train another trial, or why it has to end.

        Raises:
            EnvironmentFault: The journal cannot be written, or the data cannot be read; the trial can be continued.
        """
        began = time.monotonic()
        spec = self._study.sweep.resolve(self._proposer.params(claimed.number))
        state, epoch = self._newest_checkpoint(claimed.number)
        epochs = spec.training.all_epochs if spec.training is not None else 0
        until = self._context.pruning.until(claimed.number, epochs, promoted=claimed.promotion)
        self._journal_start(claimed, spec, epoch, until)
        recorder = Recorder(claimed, self._context, epoch=epoch, until=until)
        try:
            outcome = self._given_up(claimed.number, epoch) or self._train(claimed, spec, state, recorder)
        finally:
            recorder.close()
        self._keep_predictions(claimed, outcome)
        saved = outcome.state == "complete" and self._keep_model(claimed, spec, outcome)
        self._journal_end(claimed, outcome, recorder, seconds=time.monotonic() - began)
        if saved:
            self._history.refresh()
            drop_models(self._study.paths, self._history, self._study.sweep, self._study.sweep.models_keep)
        return Ending.OUT_OF_MEMORY if outcome.cause == OUT_OF_DEVICE_MEMORY else Ending.DONE

    def _newest_checkpoint(self, number: int) -> tuple[bytes | None, int]:
        """Return the newest undamaged checkpoint of a trial, and the number of complete epochs in it."""
        trial = self._history.trials.get(number)
        reasons: list[str | None] = []
        state, epoch = None, 0
        for checkpoint in trial.checkpoints if trial else ():
            found = read_checkpoint(self._study.paths.folder / checkpoint.file)
            if found.state is not None:
                # Read from the file, because a worker may have died between writing a newer file and journaling it.
                state, epoch = found.state, epochs_in(found.state)
                break
            reasons.append(found.reason)
        if reasons:
            begins = f"from epoch {epoch + 1}" if epoch else "from its beginning"
            log.warning(
                "trial %d trains again %s, since checkpoints cannot be used: %s", number, begins, listed(reasons)
            )
        return state, epoch

    def _journal_start(self, claimed: NextAttempt, spec: TrialSpec, epoch: int, until: int | None) -> None:
        planned = self._planned[claimed.number]
        self._journal.append(
            Start(
                time=time.time(),
                trial=claimed.number,
                attempt=claimed.attempt,
                configuration=configuration_id(spec.params),
                repeat=planned.repeat,
                seed=planned.seed,
                fold=planned.fold,
                params=dict(spec.params),
                epoch=epoch,
                parameters=infer_shapes(spec.layers, self._study.info).parameters if spec.layers else None,
                until=until,
                promotion=claimed.promotion.to_data() if claimed.promotion is not None else None,
                digest=self._study.sweep.digest,
                source=planned.source,
            )
        )
        self._journal.flush()
        settings = ", ".join(f"{name}={value}" for name, value in spec.params.items())
        log.info("trial %d, attempt %d: from epoch %d on: %s", *claimed.key, epoch + 1, settings)

    def _given_up(self, number: int, epoch: int) -> Outcome | None:
        """Return the end of a trial whose workers have died too often; None if it is trained from an epoch on."""
        trial = self._history.trials.get(number)
        found = None if trial is None else why_given_up(trial, self._context.settings.retries, epoch=epoch)
        return None if found is None else Outcome("failed", cause=found.cause, message=found.message)

    def _train(self, claimed: NextAttempt, spec: TrialSpec, state: bytes | None, recorder: Recorder) -> Outcome:
        try:
            planned = self._planned[claimed.number]
            outcome = self._trainer.train(spec, seed=planned.seed, fold=planned.repeat, monitor=recorder, resume=state)
        except (EnvironmentFault, OSError):
            raise  # from the journal or the data; the trial is not the cause
        except Exception as error:  # noqa: BLE001 - an error of one trial must not end the worker
            text = UserCode.of(spec, self._study.code_folder).traceback(error)
            outcome = Outcome("failed", cause=EXCEPTION, message=f"{type(error).__name__}: {error}", traceback=text)
        if outcome.traceback:
            log.warning("trial %d failed\n%s", claimed.number, outcome.traceback)
        if may_be_retried(outcome, self._history.trials.get(claimed.number), self._context.settings.retries):
            return replace(outcome, state="interrupted")
        return outcome

    def _keep_predictions(self, claimed: NextAttempt, outcome: Outcome) -> None:
        """Write the predictions of a complete trial; the trial's result is valid without them."""
        if outcome.state != "complete" or outcome.predictions is None or not self._study.sweep.models_predictions:
            return
        try:
            keep(self._study.paths, self._journal.path.stem, claimed.key, outcome.predictions)
        except OSError as error:
            log.warning("trial %d: its predictions could not be kept: %s", claimed.number, fault_of(error))

    def _keep_model(self, claimed: NextAttempt, spec: TrialSpec, outcome: Outcome) -> bool:
        """Save the model if it is among the best so far; the end is journaled later, so no best trial lacks one."""
        keep = self._study.sweep.models_keep
        if outcome.value is None or keep == 0:
            return False
        self._history.refresh()
        newcomer = (claimed.number, self._violation(claimed.number, outcome), outcome.value)
        best = best_numbers(self._history, self._study.sweep, keep, candidate=newcomer)
        if claimed.number not in best:
            return False
        path, seed = self._study.paths.model(claimed.number), self._planned[claimed.number].seed
        try:
            path.parent.mkdir(exist_ok=True)  # somebody may have removed it to free space
            if saved := self._trainer.export(spec, outcome, seed=seed, path=path):
                artifact = saved_model(claimed, self._study.paths)
        except OSError as error:
            log.warning("trial %d: its model could not be saved: %s", claimed.number, fault_of(error))
            return False
        except Exception as error:  # noqa: BLE001 - the result is valid without the model, and `finalize` can train it again
            text = UserCode.of(spec, self._study.code_folder).traceback(error)
            log.warning("trial %d: its model could not be saved\n%s", claimed.number, text)
            return False
        if saved:
            self._journal.append(artifact)
        return saved

    def _violation(self, number: int, outcome: Outcome) -> float:
        """Return the total violation of the constraints by a trial whose end is not journaled yet."""
        sweep = self._study.sweep
        measured: dict[str, float | None] = {"parameters": outcome.parameters}
        trial = self._history.trials.get(number)  # missing while the own journal cannot be read
        measured["seconds"] = None if trial is None else trial.seconds
        if outcome.history and outcome.best_epoch:
            measured |= outcome.history[outcome.best_epoch - 1]
        return total_violation(one.value(measured) for one in sweep.outcome_constraints)

    def _journal_end(self, claimed: NextAttempt, outcome: Outcome, recorder: Recorder, *, seconds: float) -> None:
        state, cause, message = outcome.state, outcome.cause, outcome.message
        if state == "interrupted" and recorder.superseded:
            cause = "superseded"
        elif state == "interrupted" and recorder.cancelled:
            state, cause = "failed", CANCELLED
        elif state == "interrupted" and cause is None:
            cause = self._context.stop.cause()
        if state in ("interrupted", "paused") and message is None:
            message = recorder.what_is_lost()
        self._journal.append(
            End(
                time=time.time(),
                trial=claimed.number,
                attempt=claimed.attempt,
                state=state,
                cause=cause,
                message=message,
                epochs=outcome.epochs,
                seconds=seconds,
                parameters=outcome.parameters,
                cached=outcome.cached,
                curve={} if state == "interrupted" else curve_numbers(outcome.history),
                **_result(outcome.history, self._study.sweep.objective),
            )
        )
        self._journal.flush()
        why = f" ({cause})" if cause else ""
        best = f", {self._study.sweep.objective.metric} {outcome.value:.6g}" if outcome.value is not None else ""
        log.info("trial %d, attempt %d: %s%s after epoch %d%s", *claimed.key, state, why, outcome.epochs, best)
        if state in ("interrupted", "paused") and message is not None:
            log.warning("trial %d, attempt %d: %s", *claimed.key, message)
        if state in FINISHED:
            drop_checkpoints(self._study.paths, claimed.number)


def _result(history: Sequence[Mapping[str, float]], objective: ObjectiveSpec) -> dict[str, Any]:
    """Return the fields of a trial's end that readers compare with its epochs; none if the epochs are unknown."""
    values = {epoch: metric_value(metrics.get(objective.metric)) for epoch, metrics in enumerate(history, start=1)}
    best, value = objective.result(values) or (None, None)
    return {"value": value, "best_epoch": best, "counted": len(history)} if history else {}
