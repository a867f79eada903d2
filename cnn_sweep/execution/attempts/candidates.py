"""Chooses a worker's next trial: first one that can be continued, then one that nobody has begun.

With a pruner that has rungs, paused trials that may be promoted come between the two.

There is no queue: the worker that first creates the claim of (trial, attempt) owns that attempt. The picker only orders
the candidates, so that workers rarely collide. Trials begin about as planned; among the next few, a worker prefers
those whose network it has compiled.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cnn_sweep.execution.attempts.retries import needs_device_alone
from cnn_sweep.journal.identity import current
from cnn_sweep.search.budget import Budget
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.claims import Claims
    from cnn_sweep.journal.history import History, TrialHistory
    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.search.plan import Plan, PlannedTrial
    from cnn_sweep.search.pruning_rules import PruningRules
    from cnn_sweep.search.rungs import Promotion

# After this many consecutive claims lost to other workers, listing all claims is cheaper than trying again.
_COLLISIONS_BEFORE_LISTING = 4
# How many trials may change places for a compiled network. A search that ends early must have tried what comes first,
# not all trials of a few networks; and with this many, hardly more networks are compiled than without a limit.
_AHEAD = 32


@dataclass(frozen=True)
class NextAttempt:
    """The next attempt at a trial, which a worker may claim or has exclusively claimed.

    Attributes:
        number: Number of the trial.
        attempt: Number of the attempt.
        promotion: Why the trial may leave the rung at which it is paused; None if it is not paused.
    """

    number: int
    attempt: int
    promotion: Promotion | None = None

    @property
    def key(self) -> tuple[int, int]:
        """The numbers of trial and attempt, which name the claim."""
        return self.number, self.attempt


class TrialPicker:
    """Claims trials for one worker."""

    def __init__(  # noqa: PLR0913 - all of them decide about the order
        self,
        plan: Plan,
        history: History,
        claims: Claims,
        signature: Callable[[Mapping[str, object]], str],
        pruning: PruningRules,
        *,
        alone: bool = False,
    ) -> None:
        """Prepare to claim trials of a plan.

        Args:
            plan: All trials of the study.
            history: History of the study; the caller refreshes it.
            claims: This worker's claims.
            signature: Maps parameters to a key of the graph that trains them.
            pruning: The pruning rules, which decide which trials may begin or continue.
            alone: Whether the worker has a device to itself; it then takes only trials that need that.
        """
        self._alone = alone
        self._history = history
        self._claims = claims
        self._taken: set[tuple[int, int]] = claims.taken()
        self._warm: set[str] = set()
        self._job = _job(current())
        self._signature = signature
        self.follow(plan, pruning)

    def follow(self, plan: Plan, pruning: PruningRules) -> None:
        """Choose from the trials of a newer plan, by its rules."""
        self._pruning = pruning
        self._signature_of = {
            one.number: "" if one.params is None else self._signature(one.params) for one in plan.trials
        }
        self._waiting = list(self._signature_of)

    def claim(self) -> NextAttempt | None:
        """Claim the next trial; return None if there is none to claim."""
        collisions = 0
        candidates = self._candidates()
        while (candidate := next((one for one in candidates if one.key not in self._taken), None)) is not None:
            self._taken.add(candidate.key)
            if self._claims.claim(*candidate.key):
                self._warm.add(self._signature_of[candidate.number])
                return candidate
            collisions += 1
            if collisions % _COLLISIONS_BEFORE_LISTING == 0:
                self._taken |= self._claims.taken()
            if self._signature_of[candidate.number] not in self._warm:
                candidates = self._candidates()  # another worker is about to compile that graph; prefer another one
        return None

    def claim_out_of_reach(self) -> Iterator[tuple[NextAttempt, str]]:
        """Claim the trials that can never leave their rung; yield each with the cause of its end."""
        return self._claim_each(self._pruning.out_of_reach())

    def claim_leftovers(self) -> Iterator[tuple[NextAttempt, str]]:
        """Claim the trials left at the study's end; yield each with its cause. Other workers may claim some of them."""
        # A claim without an event in a journal means that a worker is about to begin a trial.
        return self._claim_each(() if self._has_open_claims() else self._pruning.trials_to_prune())

    def _claim_each(self, ending: Iterable[tuple[int, str]]) -> Iterator[tuple[NextAttempt, str]]:
        for number, cause in ending:
            candidate = self._next_attempt(number)
            if candidate.key not in self._taken and self._claims.claim(*candidate.key):
                self._taken.add(candidate.key)
                yield candidate, cause

    def _has_open_claims(self) -> bool:
        """Return whether there is a claim on an attempt that no journal mentions yet."""
        self._taken |= self._claims.taken()
        begun = self._history.trials
        return any(number not in begun or attempt >= begun[number].next_attempt for number, attempt in self._taken)

    def _candidates(self) -> Iterator[NextAttempt]:
        continuable = [trial for trial in self._continuable() if needs_device_alone(trial) == self._alone]
        continuable.sort(key=lambda trial: (not self._was_ours(trial), trial.number))
        yield from (NextAttempt(trial.number, trial.next_attempt) for trial in continuable)
        if self._alone or self._pruning.budget.reached() is not None:
            return
        yield from (self._next_attempt(number, promotion) for number, promotion in self._pruning.promotions())
        yield from (NextAttempt(number, 0) for number in self._fresh())
        if (last := self._pruning.last_promotion()) is not None:
            yield self._next_attempt(*last)

    def _fresh(self) -> Iterator[int]:
        """Yield trials that may begin, as planned; of the next few, those first whose graph this worker has."""
        begun, signature_of = self._history.trials, self._signature_of
        self._waiting = [number for number in self._waiting if number not in begun]
        ready = (n for n in self._waiting if (n, 0) not in self._taken and self._pruning.may_begin(n))
        workers = self._workers_by_signature()
        yield from sorted(
            islice(ready, _AHEAD),
            key=lambda n: (signature_of[n] not in self._warm, len(workers[signature_of[n]])),
        )
        yield from ready

    def leaves_some_alone(self) -> bool:
        """Return whether some trials need a worker with a device to itself."""
        return not self._alone and any(
            needs_device_alone(trial) and (trial.number, trial.next_attempt) not in self._taken
            for trial in self._continuable()
        )

    def _continuable(self) -> Iterator[TrialHistory]:
        """Yield the trials that were begun and may continue now."""
        for trial in self._history.trials.values():
            if trial.number in self._signature_of and self._pruning.may_continue(trial):
                yield trial

    def _next_attempt(self, number: int, promotion: Promotion | None = None) -> NextAttempt:
        trial = self._history.trials.get(number)
        return NextAttempt(number, 0 if trial is None else trial.next_attempt, promotion)

    def _was_ours(self, trial: TrialHistory) -> bool:
        """Return whether an earlier incarnation of this Slurm job made the last attempt."""
        worker = self._history.workers.get(trial.last.writer or "")
        return (
            self._job is not None
            and worker is not None
            and worker.worker is not None
            and (_job(worker.worker.identity) == self._job)
        )

    def _workers_by_signature(self) -> dict[str, set[str]]:
        """Return who trains the trials of each graph."""
        busy: dict[str, set[str]] = defaultdict(set)
        for trial in self._history.trials.values():
            if trial.state == "running" and trial.number in self._signature_of:
                busy[self._signature_of[trial.number]].add(str(trial.last.writer))
        for number, attempt in self._taken:
            if number not in self._history.trials and number in self._signature_of:
                busy[self._signature_of[number]].add(f"claim {number}-{attempt}")
        return busy


def _job(identity: ProcessIdentity) -> tuple[str | None, ...] | None:
    """Return the job or array element of a process, the same for all incarnations; None outside Slurm."""
    slurm = identity.slurm
    return None if slurm is None else (slurm.get("array_job_id", slurm["job_id"]), slurm.get("array_task_id"))


def is_finished(trial: TrialHistory) -> bool:
    """Return whether a trial has ended for good."""
    return trial.state in FINISHED


def remaining(plan: Plan, history: History) -> list[PlannedTrial]:
    """Return the planned trials that are not finished."""
    trials = history.trials
    return [p for p in plan.trials if p.number not in trials or not is_finished(trials[p.number])]


def left_to_do(study: StudyFolder, history: History) -> list[PlannedTrial]:
    """Return the unfinished trials that workers may train; once the budget is spent, only those that have begun."""
    left = remaining(study.plan, history)
    if Budget(study.sweep, history).reached() is None:
        return left
    states = {number: trial.state for number, trial in history.trials.items()}
    return [planned for planned in left if states.get(planned.number) in ("running", "interrupted")]


def why_nothing_is_left(study: StudyFolder, history: History) -> str | None:
    """Return why there is nothing to do in a study; None if there is something."""
    if left_to_do(study, history):
        return None
    if (limit := Budget(study.sweep, history).reached()) is not None:
        return f"study {study.name!r} was ended by its budget: {limit}; {limit.cure}"
    return f"study {study.name!r} is finished; nothing is left to do"
