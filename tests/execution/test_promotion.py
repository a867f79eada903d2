"""Successive halving by hand: workers without TensorFlow claim, pause, promote and end trials of one study."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from helpers.rung_audit import Audit

from cnn_sweep.execution.attempts.cancellation import end_untrained
from cnn_sweep.execution.attempts.candidates import TrialPicker
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Checkpoint, End, Epoch, Lost, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter, decode, encode
from cnn_sweep.search.pruning_rules import PruningRules
from cnn_sweep.sweep.sweep import Sweep

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
        self.study, self.clock = study, clock
        self.value = lambda number, _epoch: worth(number)
        self.journal = JournalWriter(study.paths.journal(writer))
        self.journal.append(worker_event(threads=1))
        self.history = History(study.paths)
        self.pruning = PruningRules(study.sweep, study.plan, self.history)
        claims = Claims(study.paths, writer, current())
        self.picker = TrialPicker(study.plan, self.history, claims, lambda _: "", self.pruning)

    def claim(self, *, stale=False):
        """Claim as a worker does (or by what was read the last time), and journal the start."""
        if not stale:
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
        self.until = self.pruning.until(claimed.number, 9, promoted=claimed.promotion)
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
                parameters=100 * claimed.number,
                until=self.until,
                source=planned.source,
                promotion=claimed.promotion and claimed.promotion.to_data(),
            )
        )

    def train(self, claimed, epochs=9):
        """Journal epochs, and the end."""
        last = min(self.until or 9, self.begun + epochs)
        for epoch in range(self.begun + 1, last + 1):
            metrics = {"val_accuracy": self.value(claimed.number, epoch)}
            self.journal.append(Epoch(next(self.clock), claimed.number, claimed.attempt, epoch, 1.0, metrics))
        state = "complete" if last == 9 else "paused" if last == self.until else "interrupted"
        self.journal.append(End(next(self.clock), claimed.number, claimed.attempt, state, epochs=last))

    def run(self):
        """Take the next step of a worker; return whether there was one."""
        self.look()
        self.end(self.picker.claim_out_of_reach())
        claimed = self.claim()
        if claimed is not None:
            self.train(claimed)
            return True
        return self.end(self.picker.claim_leftovers())

    def end(self, claimed):
        """End trials that will never go on."""
        found = list(claimed)
        for left, cause in found:
            end = End(next(self.clock), left.number, left.attempt, "pruned", cause)
            trial = self.history.trials.get(left.number)
            end_untrained(self.study.plan.trials[left.number], trial, self.journal, end)
        return bool(found)


@pytest.fixture
def hands(tmp_path):
    """Make workers of one study."""

    def make(count, *, trials=9, worth=float, search="", text=TEXT):
        text = text.replace("TRIALS", f"{trials}{search}")
        study = StudyFolder.open_or_create(Sweep.parse(text), tmp_path)
        clock = iter(range(1, 10**6))
        return [Hand(study, clock, worth) for _ in range(count)]

    return make


def breaches(hand):
    """Audit the study; return what was illegal, and how many promotions there were."""
    audit = Audit(hand.study.paths, hand.study.sweep, hand.study.plan)
    return list(audit.breaches()), audit.promotions


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


def test_what_violates_a_constraint_by_its_weights_does_not_go_on(hands):
    """The best trials have too many weights, so the best of the others is completed; the audit agrees."""
    (hand,) = hands(1, search=', constraints: ["parameters <= 350"]')
    while hand.run():
        pass
    found = states(hand)
    assert found[3] == ("complete", 9)
    assert {number for number, (_, epochs) in found.items() if epochs > 1} == {1, 2, 3}
    assert breaches(hand) == ([], 4)


def test_prediction_leaves_what_violates_a_constraint_by_its_weights_at_its_first_rung(hands):
    """The best trials have too many weights; the audit agrees, and objects to the same journals if 3 had more."""
    text = TEXT.replace("{asha: {min_epochs: 1, reduction: 3}}", "predictive")
    (hand,) = hands(1, search=', constraints: ["parameters <= 350"]', text=text)
    while hand.run():
        pass
    found = states(hand)
    assert found[3] == ("complete", 9)
    assert {number for number, (_, epochs) in found.items() if epochs > 1} <= {0, 1, 2, 3}
    illegal, promotions = breaches(hand)
    assert (illegal, promotions > 4) == ([], True)
    _edited(hand.study, lambda e: replace(e, parameters=400) if isinstance(e, Start) and e.trial == 3 else e)
    assert any("do so less" in breach.what for breach in breaches(hand)[0])


@pytest.mark.parametrize(("worth", "is_finished"), [(lambda number: -float(number), True), (float, False)])
def test_what_the_user_believes_is_finished_first_unless_it_looks_bad(hands, worth, is_finished):
    """Trial 0 comes from the prior: the best of all is complete first, the worst never; the audit agrees."""
    text = TEXT.replace("{asha: {min_epochs: 1, reduction: 3}}", "predictive").replace("true}", "true, prior: 0.01}")
    (hand,) = hands(1, trials=16, worth=worth, text=text)
    complete = []
    while hand.run():
        complete += [number for number, (state, _) in states(hand).items() if state == "complete"]
    assert hand.history.trials[0].start.source == "prior"
    assert (complete[0] == 0, 0 in complete) == (is_finished, is_finished)
    illegal, promotions = breaches(hand)
    assert (illegal, promotions > 10) == ([], True)


def test_a_small_study_ends_with_a_complete_trial(hands):
    """If no rung has enough results, the best trial continues alone when nothing else is left."""
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
    assert idle.pruning.is_worth_waiting()
    busy.train(running)
    assert idle.claim().promotion.place == 1


def test_a_promotion_that_never_started_waits_at_its_rung_again(hands):
    """A worker that claims a promotion and dies leaves the trial paused, and the rule is applied anew."""
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
    """However four workers take turns, also by old news, every trial ends, the best is complete, and all is legal."""
    asha = "{asha: {min_epochs: 1, reduction: 3}}"
    auto = (asha, "{asha: {min_epochs: auto, reduction: 3}}")
    hyperband = (asha, "{hyperband: {reduction: 2, brackets: 2}}")
    changes = [("", ""), ("", ""), hyperband, (asha, "predictive"), (asha, "predictive"), auto, auto]
    for seed, change in enumerate(changes):
        chance = random.Random(seed)
        text = TEXT.replace("study: halved", f"study: halved{seed}").replace(*change)
        worth = [chance.random() for _ in range(30)]
        workers = hands(4, trials=30, worth=worth.__getitem__, text=text)
        running = {}
        while True:
            hand = chance.choice(workers)
            if hand in running:
                hand.train(running.pop(hand))
                hand.end(hand.picker.claim_out_of_reach())
            elif (claimed := hand.claim(stale=chance.random() < 0.3)) is not None:
                running[hand] = claimed
            elif not running and not hand.run():
                break
        found = states(workers[0])
        assert {state for state, _ in found.values()} == {"complete", "pruned"}
        if change is not hyperband:
            assert found[max(range(30), key=worth.__getitem__)][0] == "complete"
        illegal, promotions = breaches(workers[0])
        assert illegal == []
        assert promotions >= 13


AUTO = TEXT.replace("min_epochs: 1", "min_epochs: auto")


def misleading(number, epoch):
    """Return a value whose order until epoch 2 is the reverse of the order later."""
    return number + 100.0 if epoch >= 3 else -float(number)


def firsts(hand):
    """Return the first rungs that promotions name."""
    starts = [a.start for t in hand.history.trials.values() for a in t.attempts.values()]
    return {start.promotion.get("first") for start in starts if start is not None and start.promotion}


def test_the_first_rung_is_the_lowest_whose_order_holds_at_the_next(hands):
    """Where epochs 1 and 2 mislead, nothing is left behind before epoch 3; else rung 1 decides; both are legal."""
    for study, value, first in (("early", misleading, 3), ("late", lambda number, _epoch: -float(number), 1)):
        (hand,) = hands(1, trials=40, text=AUTO.replace("halved", study))
        hand.value = value
        while hand.run():
            pass
        found = states(hand)
        assert firsts(hand) == {None, first}
        best = max(found, key=lambda number: value(number, 9))
        assert found[best] == ("complete", 9)
        assert {epochs for number, (_, epochs) in found.items() if number >= 24} == {9 if first == 3 else 1}
        # Of 24 pilots at rung 3, the 13 that are among the best third at rung 1 count; four of them go on.
        assert sum(state == "complete" for state, _ in found.values()) == (40 if first == 3 else 4)
        illegal, promotions = breaches(hand)
        assert (illegal, promotions >= 24) == ([], True)


def test_others_wait_at_the_rung_that_pilots_examine(hands):
    """While a pilot is on its way to rung 3, all others wait; when its worker has died, another one goes on with it."""
    first, second = hands(2, trials=26, text=AUTO)
    first.value = second.value = misleading
    while (claimed := first.claim()) is not None:
        if claimed.number == 5 and claimed.promotion is not None:
            held = claimed
        else:
            first.train(claimed)
    assert {number for number, (_, epochs) in states(first).items() if epochs == 1} == {5, 24, 25}
    assert first.pruning.is_worth_waiting()
    assert list(first.picker.claim_leftovers()) == []
    second.journal.append(Lost(next(second.clock), 5, held.attempt, "killed", ""))
    again = second.claim()
    assert (again.number, again.promotion) == (5, None)
    second.train(again)
    while second.run():
        pass
    assert states(second)[25] == ("complete", 9)
    assert breaches(second)[0] == []


def _edited(study, change):
    """Rewrite the journals of a study, event by event."""
    for path in study.paths.journals.glob("*.jsonl"):
        events = [decode(line) for line in path.read_bytes().splitlines()]
        path.write_bytes(b"".join(encode(changed) for event in events if (changed := change(event)) is not None))


def detects(hand, cases):
    """Assert that the audit finds each change of the journals, which are put back before the next one."""
    kept = {path: path.read_bytes() for path in hand.study.paths.journals.glob("*.jsonl")}
    for words, change in cases.items():
        for path, content in kept.items():
            path.write_bytes(content)
        _edited(hand.study, change)
        found = [breach.what for breach in breaches(hand)[0]]
        assert any(words in what for what in found), (words, found)


def test_the_audit_finds_what_is_not_legal(hands):
    """The audit detects altered journals: places, counts, grants, epochs trained twice, early ends."""
    (hand,) = hands(1, worth=lambda number: -float(number))
    while hand.run():
        pass
    assert breaches(hand) == ([], 4)
    causes = {n: trial.last.cause for n, trial in hand.history.trials.items() if trial.state == "pruned"}
    assert causes == dict.fromkeys(range(3, 9), "out_of_reach") | {1: "not_promoted", 2: "not_promoted"}

    def promoted(event):
        return isinstance(event, Start) and event.promotion is not None and event.trial == 1

    def start(**changes):
        return lambda e: replace(e, **changes) if promoted(e) else e

    def promotion(**changes):
        return lambda e: replace(e, promotion=e.promotion | changes) if promoted(e) else e

    def swapped(event):
        """Let trial 5 go on in trial 1's place."""
        other = {1: 5, 5: 1}.get(getattr(event, "trial", None))
        return event if other is None or getattr(event, "attempt", 0) == 0 else replace(event, trial=other)

    cases = {
        "it was said to have 0 better": promotion(place=1),
        "2 better results at rung 1, but 1 to 1": promotion(place=3, results=9),
        "is not among the best": promotion(place=2, results=5),
        "6 worse results": promotion(results=8),
        "had been granted 1": promotion(rung=3),
        "without a promotion": start(promotion=None),
        "it may train to epoch 2": start(until=2),
        "but had to pause": lambda e: replace(e, epoch=e.epoch + 3) if isinstance(e, Epoch) and e.trial == 1 else e,
        "again, which was in the checkpoint": (
            lambda e: Checkpoint(e.time, 1, 0, 3, "", 1) if isinstance(e, End) and e.trial == 8 else e
        ),
        "better results at rung 1, but": swapped,
        "it was given up while": lambda e: replace(e, time=30.5) if isinstance(e, End) and e.trial == 2 else e,
        "given up as out of reach": lambda e: (
            replace(e, cause="out_of_reach") if isinstance(e, End) and e.cause == "not_promoted" else e
        ),
    }
    detects(hand, cases)


def each_promotion(**changes):
    """Return a change of all promotions."""
    return lambda e: replace(e, promotion=e.promotion | changes) if isinstance(e, Start) and e.promotion else e


def test_the_audit_works_out_the_first_rung(hands):
    """It detects another first rung, a trial that did not wait for the pilots, and a place that is not good enough."""
    (hand,) = hands(1, trials=30, text=AUTO)
    hand.value = misleading
    while hand.run():
        pass
    assert breaches(hand)[0] == []

    def swapped(event):
        """Let trial 27 go on in pilot 3's place."""
        other = {27: 3, 3: 27}.get(getattr(event, "trial", None))
        return event if other is None or getattr(event, "attempt", 0) == 0 else replace(event, trial=other)

    cases = {
        "does not go on by what the pilots show": each_promotion(first=1),
        "place 29 of 30": lambda e: (
            replace(e, promotion=e.promotion | {"place": 29, "results": 30, "rung": 3})
            if isinstance(e, Start) and e.promotion and e.trial == 29 and e.promotion["rung"] == 3
            else e
        ),
        "results at rung 1 does not go on": swapped,
    }
    detects(hand, cases)


def test_the_audit_repeats_predictions(hands):
    """It detects other chances, other inputs, promotions before their results, and studies that ended early."""
    text = TEXT.replace("{asha: {min_epochs: 1, reduction: 3}}", "predictive")
    (hand,) = hands(1, trials=16, worth=lambda number: -float(number), text=text)
    while hand.run():
        pass
    illegal, promotions = breaches(hand)
    assert (illegal, promotions > 10) == ([], True)
    assert list(Audit(hand.study.paths, hand.study.sweep, hand.study.plan, lag_s=3.5).breaches()) == []

    cases = {
        "its chance was said to be": each_promotion(chance=0.123),
        "were never known": each_promotion(inputs="0" * 16),
        "had been granted": each_promotion(rung=2),
        "while a paused trial might have been the best": lambda e: (
            replace(e, state="pruned", cause="not_promoted")
            if isinstance(e, End) and (e.trial, e.state) == (1, "paused") and e.epochs > 1
            else e
        ),
    }
    detects(hand, cases)
