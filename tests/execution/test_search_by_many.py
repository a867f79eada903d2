"""Many workers that search together by the journals alone, with stub training; and the budget that ends them."""

from __future__ import annotations

import random
import statistics
import time

import pytest

from cnn_sweep.errors import StudyError
from cnn_sweep.execution.attempts.candidates import TrialPicker, left_to_do
from cnn_sweep.execution.attempts.proposals import Observer, Proposer
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.search.adaptive import AdaptiveSampler, Observation
from cnn_sweep.search.budget import Budget
from cnn_sweep.search.pruning_rules import PruningRules
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.sweep import Sweep

TEXT = """
study: many
data: {source: digits}
model: {layers: [{conv2d: {filters: $filters, kernel_size: 3}}, {dropout: $dropout}, flatten, {output: softmax}]}
space:
  filters: [2, 4, 8, 16]
  dropout: {low: 0.0, high: 0.5, step: 0.125}
  batch_size: [16, 32, 64]
  optimizer: [sgd, adam, rmsprop]
  learning_rate: {low: 1.0e-4, high: 1.0, log: true}
  momentum: {low: 0.0, high: 0.99, when: {optimizer: sgd}}
search: {method: tpe, trials: 300}
training:
  epochs: 2
  batch_size: $batch_size
  optimizer: {name: $optimizer, learning_rate: $learning_rate, momentum: $momentum}
"""
SMALL = TEXT.replace("{low: 1.0e-4, high: 1.0, log: true}", "[0.1, 0.01]").replace(
    "high: 0.99, when", "high: 0.5, step: 0.5, when"
)


def score(params) -> float:
    """Score more the nearer the learning rate is to 0.01, and the more filters there are."""
    return 0.05 * params["filters"] / 16 - abs(params["learning_rate"] - 0.01) + 0.9


class Hand:
    """A worker whose training takes no time; its clock is its own."""

    def __init__(self, study, gpus=()):
        writer = new_writer_name()
        self.study = study
        self.journal = JournalWriter(study.paths.journal(writer))
        event = worker_event(threads=1)
        event.extra.update({"gpus": list(gpus)} if gpus else {})
        self.journal.append(event)
        self.history = History(study.paths)
        self.claims = Claims(study.paths, writer, current())
        self.pruning = PruningRules(study.sweep, study.plan, self.history)
        self.picker = TrialPicker(study.plan, self.history, self.claims, lambda _: "", self.pruning)
        self.proposer = Proposer(study, self.history, self.claims)
        self.seconds = 0.0  # of the processor, for the newest proposal

    def begin(self, at=0.0):
        """Claim a trial and journal its start; return it with its parameters, or None."""
        self.history.refresh()
        claimed = self.picker.claim()
        if claimed is None:
            return None
        began = time.process_time()
        params = self.proposer.params(claimed.number)
        self.seconds = time.process_time() - began
        name, planned = configuration_id(params), self.study.plan.trials[claimed.number]
        start = {"configuration": name, "repeat": planned.repeat, "seed": planned.seed, "params": params}
        self.journal.append(Start(time=at, trial=claimed.number, attempt=claimed.attempt, **start))
        self.journal.flush()
        return claimed, params

    def end(self, begun, epochs=1, at=0.0):
        """Journal the trial's epochs and its end."""
        claimed, params = begun
        same = {"time": at, "trial": claimed.number, "attempt": claimed.attempt}
        for epoch in range(1, epochs + 1):
            self.journal.append(Epoch(epoch=epoch, seconds=0.1, metrics={"val_accuracy": score(params)}, **same))
        self.journal.append(End(state="complete", epochs=epochs, **same))
        self.journal.flush()


def study_of(folder, text=TEXT, search="{method: tpe, trials: 300}"):
    """Freeze the example with another search."""
    return StudyFolder.open_or_create(Sweep.parse(text.replace("{method: tpe, trials: 300}", search)), folder)


def test_64_workers_never_train_the_same_configuration(tmp_path):
    """Workers that claim, propose and end in any order, each by what it has read, share no configuration."""
    study, generator = study_of(tmp_path, TEXT, "{method: tpe, trials: 200}"), random.Random(1)
    hands = [Hand(study) for _ in range(64)]
    running, seen = {}, []
    while True:
        hand = generator.choice(hands)
        if hand in running:
            hand.end(running.pop(hand))
            continue
        begun = hand.begin()
        if begun is None and not running:
            break
        if begun is not None:
            running[hand] = begun
            seen.append(configuration_id(begun[1]))
    assert len(seen) == len(set(seen)) == 200
    # It learns all the same.
    hands[0].history.refresh()
    values = [trial.best(Direction.MAXIMIZE)[1] for _, trial in sorted(hands[0].history.trials.items())]
    assert statistics.mean(values[-40:]) > statistics.mean(values[:40])


def test_workers_that_have_read_the_same_still_differ(tmp_path):
    """A space of few configurations is gone through once by workers that all propose before any journals."""
    study = study_of(tmp_path, SMALL, "{method: tpe, trials: 300, options: {n_startup_trials: 1}}")
    hands = [Hand(study) for _ in range(16)]
    seen = []
    for _ in range(4):
        for hand in hands:
            hand.history.refresh()
        claimed = [(hand, hand.picker.claim()) for hand in hands]
        proposed = [hand.proposer.params(claim.number) for hand, claim in claimed]
        seen += map(configuration_id, proposed)
        for (hand, claim), params in zip(claimed, proposed, strict=True):
            start = {"configuration": configuration_id(params), "repeat": 0, "seed": 0, "params": params}
            hand.journal.append(Start(time=0.0, trial=claim.number, attempt=0, **start))
            hand.end((claim, params))
    assert len(seen) == len(set(seen)) == 64


def test_a_proposal_at_5000_trials_is_quick():
    """Reading on and proposing computes less than a quarter of what reading the whole history costs (one core)."""
    sweep = Sweep.parse(TEXT.replace("trials: 300", "trials: 6000"))
    generator = random.Random(0)
    history = []
    for number in range(5_000):
        params = sweep.space.at([generator.random() for _ in sweep.space.parameters])
        state = "running" if number >= 4_936 else "complete"
        value = score(params) + generator.random() / 50
        history.append(Observation(number, params, state, None if state == "running" else value, ended=number))
    AdaptiveSampler(sweep, lambda _params: True).propose(5_000, history)  # imports what a first one needs
    sampler = AdaptiveSampler(sweep, lambda _params: True)
    began = time.process_time()
    sampler.propose(5_000, history)
    whole, times = time.process_time() - began, []
    for number in range(5_001, 5_006):
        history[number - 65] = Observation(number - 65, history[number - 65].params, "complete", 0.5, ended=number)
        began = time.process_time()
        params = sampler.propose(number, history)
        times.append(time.process_time() - began)
        history.append(Observation(number, params, "running", None))
    print("seconds of computing for a proposal at 5,000 trials:", whole, times)
    assert statistics.median(times) < whole / 4


def drive(study, *, epochs=1, seconds=1.0, gpus=((),)):
    """Let workers train in turns until nobody finds anything; return how many trials there are."""
    hands = [Hand(study, names) for names in gpus]
    clock, count = 0.0, 0
    while True:
        begun = [(hand, found) for hand in hands if (found := hand.begin(clock)) is not None]
        clock += seconds
        for hand, found in begun:
            hand.end(found, epochs, clock)
            count += 1
        clock += 5.0  # in which nobody trains
        if not begun:
            return count


@pytest.mark.parametrize(
    ("search", "trials"),
    [
        ("{method: random, epochs: 20}", 5),  # of 4 epochs each
        ("{method: tpe, trials: 300, epochs: 20}", 5),
        ("{method: tpe, trials: 3, epochs: 20}", 3),
        ("{method: random, hours: 2}", 8),  # of a quarter of an hour each, with pauses that do not count
        ("{method: random, trials: 300, until: {val_accuracy: -1.0}}", 1),
        ("{method: grid, until: {val_accuracy: 2.0}}", None),
    ],
)
def test_whichever_limit_comes_first_ends_the_search(tmp_path, search, trials):
    """Epochs, hours and a value that is reached: afterwards no trial is begun, and the limit says so."""
    study = study_of(tmp_path, SMALL, search)
    count = drive(study, epochs=4, seconds=900.0)
    assert count == (len(study.plan.trials) if trials is None else trials)
    history = History(study.paths)
    history.refresh()
    ended = trials not in (None, 3)
    assert (Budget(study.sweep, history).reached() is not None) == ended


def test_hours_of_gpus_are_those_of_all_gpus(tmp_path):
    """Two workers that share a GPU use it once; a pool on two GPUs uses both; a worker without one uses none."""
    study = study_of(tmp_path, TEXT, "{method: random, gpu_hours: 6}")
    count = drive(study, seconds=3600.0, gpus=[("0",), ("0",), ("1", "2"), ()])
    assert count == 8  # two rounds of three GPU hours


def test_a_larger_budget_continues_the_study(tmp_path):
    """``resume STUDY --epochs 30`` is an extension; less is refused with the reason; numbers do not move."""
    study = study_of(tmp_path, TEXT, "{method: random, epochs: 20}  # a comment that stays")
    assert drive(study, epochs=4) == 5
    with pytest.raises(StudyError, match=r"search\.epochs: 20 became 8, which is less"):
        StudyFolder.open(tmp_path, "many").extend_search({"epochs": 8})
    larger = StudyFolder.open(tmp_path, "many").extend_search({"epochs": 30})
    assert larger.plan.trials[:20] == study.plan.trials
    assert "# a comment that stays" in larger.sweep.text
    assert drive(StudyFolder.open(tmp_path, "many"), epochs=4) == 3
    assert drive(StudyFolder.open(tmp_path, "many"), epochs=4) == 0
    history = History(study.paths)
    history.refresh()
    assert left_to_do(larger, history) == []
    assert len(left_to_do(StudyFolder.open(tmp_path, "many").extend_search({"epochs": 40}), history)) == 32


def test_what_was_begun_is_finished_when_the_budget_is_spent(tmp_path):
    """A trial that was interrupted goes on although nothing new may begin."""
    study = study_of(tmp_path, TEXT, "{method: random, epochs: 4}")
    first, second = Hand(study), Hand(study)
    interrupted, whole = first.begin(), second.begin()
    second.end(whole, epochs=4)
    claimed, _ = interrupted
    same = {"time": 0.0, "trial": claimed.number, "attempt": claimed.attempt}
    first.journal.append(End(state="interrupted", cause="signal", **same))
    first.journal.flush()
    again = second.begin()
    assert again[0].key == (claimed.number, 1)
    second.end(again)
    assert second.begin() is None


def test_observations_of_finished_trials_are_made_once(tmp_path):
    """A search of thousands of trials does not look at them all again for each proposal."""
    study = study_of(tmp_path)
    hand = Hand(study)
    hand.end(hand.begin())
    running = hand.begin()
    hand.history.refresh()
    observer = Observer(study.sweep, hand.history)
    before = observer.observations()
    assert observer.observations()[0] is before[0]
    hand.end(running)
    hand.history.refresh()
    assert [one.state for one in observer.observations()] == ["complete", "complete"]
