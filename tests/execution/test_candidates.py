from __future__ import annotations

import time
from itertools import pairwise

import pytest

from cnn_sweep.execution.attempts.candidates import NextAttempt, TrialPicker
from cnn_sweep.execution.attempts.liveness import LocalDetector, declare_lost
from cnn_sweep.execution.attempts.retries import Retries, may_be_retried, why_given_up
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Lost, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.trials import AttemptHistory, TrialHistory
from cnn_sweep.search.pruning_rules import PruningRules
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.outcome import Outcome

TEXT = """
study: picked
data: {source: digits}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3}
    - flatten
    - output: softmax
space:
  filters: [2, 4]
  learning_rate: [0.1, 0.01, 0.001]
search: {method: grid}
training: {epochs: 1, optimizer: {name: sgd, learning_rate: $learning_rate}}
"""


class Hand:
    """A worker without TensorFlow: claims and journals by hand."""

    def __init__(self, study, identity=None):
        writer = new_writer_name()
        self.journal = JournalWriter(study.paths.journal(writer))
        self.journal.append(worker_event(threads=1))
        self.history = History(study.paths)
        self.claims = Claims(study.paths, writer, identity or current())
        pruning = PruningRules(study.sweep, study.plan, self.history)
        self.picker = TrialPicker(study.plan, self.history, self.claims, lambda params: str(params["filters"]), pruning)

    def claim(self):
        """Claim as a worker does."""
        self.history.refresh()
        return self.picker.claim()

    def start(self, claimed, epoch=0):
        """Journal a start."""
        self.journal.append(
            Start(
                time=time.time(),
                trial=claimed.number,
                attempt=claimed.attempt,
                configuration="c",
                repeat=0,
                seed=0,
                params={"filters": 2},
                epoch=epoch,
            )
        )

    def end(self, claimed, state):
        """Journal an end."""
        self.journal.append(End(time=time.time(), trial=claimed.number, attempt=claimed.attempt, state=state))


@pytest.fixture
def study(tmp_path):
    """A study of six trials with two shapes of network."""
    return StudyFolder.open_or_create(Sweep.parse(TEXT), tmp_path)


def test_two_workers_share_all_trials(study):
    """Workers that take turns claim every trial once, and then nothing."""
    hands = [Hand(study), Hand(study)]
    claimed = [hands[turn % 2].claim() for turn in range(6)]
    assert sorted(claim.number for claim in claimed) == list(range(6))
    assert [hand.claim() for hand in hands] == [None, None]


def test_a_random_search_that_ends_early_has_tried_what_came_first(tmp_path):
    """A worker prefers the graphs that it has, but only among the next few trials, so order and shapes are as drawn."""
    text = TEXT.replace("[2, 4]", str(list(range(1, 25)))).replace("grid", "random, trials: 300")
    text = text.replace("[0.1, 0.01, 0.001]", "{low: 0.001, high: 0.1}")
    study = StudyFolder.open_or_create(Sweep.parse(text), tmp_path)
    shapes = [one.params["filters"] for one in study.plan.trials]
    hand = Hand(study)
    claimed = [hand.claim().number for _ in range(60)]
    assert max(claimed) < 60 + 32
    tried = [shapes[number] for number in claimed]
    assert 12 < len(set(tried)) < 24
    assert sum(one != other for one, other in pairwise(tried)) < 40 < sum(a != b for a, b in pairwise(shapes[:60]))


def test_a_worker_stays_with_the_shape_whose_graph_it_has(study):
    """Each of two workers keeps to one shape while there is one."""
    hands = [Hand(study), Hand(study)]
    shapes = [[], []]
    for turn in range(6):
        hand = hands[turn % 2]
        claim = hand.claim()
        hand.start(claim)
        shapes[turn % 2].append(study.plan.trials[claim.number].params["filters"])
    assert [len(set(seen)) for seen in shapes] == [1, 1]


def test_workers_that_begin_at_the_same_moment_compile_different_graphs(study):
    """A trial that is claimed but not yet journaled shows that another worker is compiling its graph."""
    hands = [Hand(study), Hand(study)]
    first = [hand.claim() for hand in hands]
    assert {study.plan.trials[claim.number].params["filters"] for claim in first} == {2, 4}


def test_who_has_done_all_trials_of_its_shape_helps_with_the_others(study):
    """No trial waits for the worker that has its graph while another worker has nothing to do."""
    quick, slow = Hand(study), Hand(study)
    slow.start(slow.claim())
    others = [quick.claim() for _ in range(5)]
    assert None not in others
    assert len({claim.number for claim in others}) == 5


def test_an_interrupted_trial_is_taken_before_a_new_one(study):
    """Begun trials are continued first, as the next attempt."""
    first, second = Hand(study), Hand(study)
    claimed = first.claim()
    first.start(claimed)
    first.end(claimed, "interrupted")
    assert second.claim() == NextAttempt(claimed.number, claimed.attempt + 1)


def test_finished_trials_are_not_claimed_again(study):
    """Complete, failed and pruned trials are over for a worker that comes later."""
    first = Hand(study)
    for state in ("complete", "failed", "pruned") * 2:
        claimed = first.claim()
        first.start(claimed)
        first.end(claimed, state)
    assert Hand(study).claim() is None


def test_a_claim_without_a_start_is_freed_only_when_its_process_is_gone(study):
    """A live owner keeps its claim; a dead one's goes to the next attempt."""
    dead = current().__class__(**current().to_data() | {"pid": 2**22 - 1, "started": 1})
    ghost, other = Hand(study, identity=dead), Hand(study)
    claims = [ghost.claim() for _ in range(3)] + [other.claim() for _ in range(3)]
    assert other.claim() is None
    assert declare_lost(other.history, other.claims, other.journal, (LocalDetector(),)) == 3
    freed = {other.claim() for _ in range(3)}
    assert freed == {NextAttempt(claim.number, 1) for claim in claims[:3]}
    assert other.claim() is None


def test_an_owner_on_another_host_is_left_alone(study):
    """A process that cannot be judged from here is unknown, and unknown is not dead."""
    elsewhere = current().__class__(**current().to_data() | {"host": "elsewhere", "boot_id": "another"})
    far, near = Hand(study, identity=elsewhere), Hand(study)
    for _ in range(6):
        far.claim()
    near.history.refresh()
    assert declare_lost(near.history, near.claims, near.journal, (LocalDetector(),)) == 0
    assert near.claim() is None


def test_only_attempts_that_got_nowhere_count_as_crashes(study):
    """An epoch in between starts the count anew."""
    hand = Hand(study)

    def lose(attempt, *, epochs):
        claim = type(first)(first.number, attempt)
        hand.start(claim, epoch=0)
        for epoch in range(1, epochs + 1):
            hand.journal.append(
                Epoch(time=1.0, trial=claim.number, attempt=attempt, epoch=epoch, seconds=1.0, metrics={})
            )
        hand.journal.append(
            Lost(time=2.0, trial=claim.number, attempt=attempt, cause="killed", message="it was killed")
        )

    first = hand.claim()
    limit = 5
    for attempt in range(limit):
        lose(attempt, epochs=1 if attempt == 0 else 0)
    hand.history.refresh()
    trial = hand.history.trials[first.number]
    assert why_given_up(trial, Retries()) is None
    lose(limit, epochs=0)
    hand.history.refresh()
    assert why_given_up(trial, Retries()) == (
        "crashed",
        "its worker died 5 times in a row before the trial got further: it was killed",
    )


def test_retries_are_counted_by_cause():
    """Node failures, lack of memory and exceptions each have their own number of further chances."""
    trial = TrialHistory(0)

    def lose(cause, times):
        for number in range(times):
            lost = Lost(time=2.0, trial=0, attempt=number, cause=cause, message="")
            trial.attempts[number] = AttemptHistory(number, lost=lost)
        return why_given_up(trial, Retries(infrastructure=3, out_of_memory=1))

    assert lose("out_of_memory", 1) is None
    assert lose("out_of_memory", 2).cause == "out_of_memory"
    assert lose("node_failure", 3) is None
    assert lose("node_failure", 4).cause == "node_failure"
    assert lose("preempted", 50) is None
    raised = Outcome("failed", cause="exception")
    assert not may_be_retried(raised, None, Retries(exception=0))
    assert may_be_retried(raised, None, Retries(exception=1))
    assert not may_be_retried(Outcome("failed", cause="diverged"), None, Retries(exception=1))
    end = End(time=3.0, trial=0, attempt=0, state="interrupted", cause="exception", message="", epochs=0, seconds=1.0)
    again = TrialHistory(0, {0: AttemptHistory(0, end=end)})
    assert not may_be_retried(raised, again, Retries(exception=1))
