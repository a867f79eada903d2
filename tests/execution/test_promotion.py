"""Successive halving by hand: workers without TensorFlow claim, pause, promote and end trials of one study."""

from __future__ import annotations

import random

import pytest

from cnn_sweep.execution.freeze import freeze
from cnn_sweep.execution.picking import Picker
from cnn_sweep.execution.provenance import worker_event
from cnn_sweep.execution.unrun import end_unrun
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Lost, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.search.contest import Contest
from cnn_sweep.sweep.spec import Sweep

TEXT = """
study: halved
data: {source: digits}
model: {layers: [flatten, {output: softmax}]}
space: {learning_rate: {low: 1.0e-4, high: 1.0, log: true}}
search: {method: random, trials: TRIALS}
pruner: {asha: {min_epochs: 1, reduction: 3}}
training: {epochs: 9, optimizer: {name: sgd, learning_rate: $learning_rate}}
"""


class Hand:
    """A worker without TensorFlow, in a study whose trial n is worth n at every epoch unless told otherwise."""

    def __init__(self, study, clock, worth=float):
        writer = new_writer_name()
        self.study, self.clock, self.worth = study, clock, worth
        self.journal = JournalWriter(study.paths.journal(writer))
        self.journal.append(worker_event(threads=1))
        self.history = History(study.paths)
        self.contest = Contest(study.sweep, study.plan, self.history)
        claims = Claims(study.paths, writer, current())
        self.picker = Picker(study.plan, self.history, claims, lambda _: "", self.contest)

    def claim(self):
        """Claim as a worker does, and journal the start."""
        self.look()
        claimed = self.picker.claim()
        if claimed is not None:
            self.start(claimed)
        return claimed

    def look(self):
        """Read what is new."""
        self.history.refresh()
        self.history.refreshed = next(self.clock)

    def start(self, claimed):
        """Journal a start from the last epoch that was done."""
        trial = self.history.trials.get(claimed.number)
        self.begun = max(trial.values, default=0) if trial else 0
        self.until = self.contest.until(claimed.number, 9, promoted=claimed.promotion)
        planned = self.study.plan.trials[claimed.number]
        self.journal.append(
            Start(
                time=next(self.clock),
                trial=claimed.number,
                attempt=claimed.attempt,
                configuration=planned.configuration,
                repeat=planned.repeat,
                seed=planned.seed,
                params=planned.params,
                epoch=self.begun,
                until=self.until,
                promotion=claimed.promotion and claimed.promotion.to_data(),
            )
        )

    def train(self, claimed, epochs=9):
        """Journal epochs, and the end."""
        last = min(self.until or 9, self.begun + epochs)
        for epoch in range(self.begun + 1, last + 1):
            metrics = {"val_accuracy": self.worth(claimed.number)}
            self.journal.append(Epoch(next(self.clock), claimed.number, claimed.attempt, epoch, 1.0, metrics))
        state = "complete" if last == 9 else "paused" if last == self.until else "interrupted"
        self.journal.append(End(next(self.clock), claimed.number, claimed.attempt, state, epochs=last))

    def run(self):
        """Do the next thing, as a worker would; tell whether there was any."""
        claimed = self.claim()
        if claimed is not None:
            self.train(claimed)
            return True
        found = list(self.picker.claim_leftovers())
        for left, cause in found:
            trial = self.history.trials.get(left.number)
            end_unrun(self.study.plan, self.journal, left.key, trial=trial, end=("pruned", cause))
        return bool(found)


@pytest.fixture
def hands(tmp_path):
    """Make workers of one study."""

    def make(count, *, trials=9, worth=float, search="", text=TEXT):
        text = text.replace("TRIALS", f"{trials}{search}")
        study = freeze(Sweep.parse(text), tmp_path)
        clock = iter(range(1, 10**6))
        return [Hand(study, clock, worth) for _ in range(count)]

    return make


def states(hand):
    """Count trials by state and epochs."""
    hand.look()
    return {number: (t.state, max(t.values, default=0)) for number, t in sorted(hand.history.trials.items())}


def test_every_third_result_lets_the_best_go_on(hands):
    """One worker goes through nine trials as the asynchronous rule says, and the rest ends as pruned."""
    (hand,) = hands(1, worth=lambda number: -float(number))
    order = []
    while claimed := hand.claim():
        order.append((claimed.number, hand.until))
        hand.train(claimed)
    assert order[:8] == [(0, 1), (1, 1), (2, 1), (0, 3), (3, 1), (4, 1), (5, 1), (1, 3)]
    assert order[8:] == [(6, 1), (7, 1), (8, 1), (2, 3), (0, None)]
    while hand.run():
        pass
    ends = dict.fromkeys(range(3, 9), ("pruned", 1)) | dict.fromkeys((1, 2), ("pruned", 3))
    assert states(hand) == ends | {0: ("complete", 9)}


def test_a_small_study_ends_with_a_complete_trial(hands):
    """Where no rung has enough results, the best trial goes on alone once nothing else is left."""
    (hand,) = hands(1, trials=2)
    while hand.run():
        pass
    assert states(hand) == {0: ("pruned", 1), 1: ("complete", 9)}
    lasts = [a.start.promotion["last"] for a in hand.history.trials[1].attempts.values() if a.start.promotion]
    assert lasts == [True, True]


def test_nothing_is_given_up_while_somebody_trains(hands):
    """A worker without work leaves paused trials alone as long as another may bring a result."""
    idle, busy = hands(2, trials=3)
    for _ in range(2):
        idle.train(idle.claim())
    running = busy.claim()
    assert running.number == 2
    assert idle.claim() is None
    assert list(idle.picker.claim_leftovers()) == []
    assert idle.contest.is_worth_waiting()
    busy.train(running)
    assert idle.claim().promotion.place == 1


def test_a_promotion_that_never_started_waits_at_its_rung_again(hands):
    """Who claims a promotion and dies does not promote: the trial waits where it was, and the rule is asked anew."""
    first, second = hands(2, trials=4)
    for _ in range(3):
        first.train(first.claim())
    first.look()
    claimed = first.picker.claim()
    assert (claimed.number, claimed.promotion.rung) == (2, 1)
    second.journal.append(Lost(next(second.clock), 2, claimed.attempt, "killed", ""))
    again = second.claim()
    assert (again.number, again.attempt, again.promotion.rung) == (2, claimed.attempt + 1, 1)


def test_a_trial_that_is_interrupted_between_rungs_goes_on_without_a_promotion(hands):
    """An interruption is no pause: whoever continues goes to the same rung."""
    first, second = hands(2, trials=3)
    for _ in range(3):
        first.train(first.claim())
    promoted = first.claim()
    first.train(promoted, epochs=1)
    claimed = second.claim()
    assert (claimed.number, claimed.promotion, second.until, second.begun) == (2, None, 3, 2)


def test_repeats_follow_their_configuration(hands):
    """Repeats of what was pruned are pruned without training, those of what is complete train to the end."""
    (hand,) = hands(1, trials=3, search=", repeats: 2")
    while hand.run():
        pass
    firsts, repeats = ["pruned", "pruned", "complete"], [("pruned", 0), ("pruned", 0), ("complete", 9)]
    found = states(hand)
    assert [found[number][0] for number in range(3)] == firsts
    assert [found[number] for number in range(3, 6)] == repeats


def test_workers_in_any_order_end_the_study(hands):
    """However four workers take turns, every trial ends, the best is complete, and no rung lets too many go on."""
    for seed in range(3):
        chance = random.Random(seed)
        text = TEXT.replace("study: halved", f"study: halved{seed}")
        worth = [chance.random() for _ in range(30)]
        workers = hands(4, trials=30, worth=worth.__getitem__, text=text)
        running = {}
        while True:
            hand = chance.choice(workers)
            if hand in running:
                hand.train(running.pop(hand))
            elif (claimed := hand.claim()) is not None:
                running[hand] = claimed
            elif not running and not hand.run():
                break
        found = states(workers[0])
        assert {state for state, _ in found.values()} == {"complete", "pruned"}
        assert found[max(range(30), key=worth.__getitem__)][0] == "complete"
        assert len([1 for _, epochs in found.values() if epochs >= 3]) <= 10 + 3
