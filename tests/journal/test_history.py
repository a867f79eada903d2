from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_sweep.journal.events import Cancel, Checkpoint, End, Epoch, Extend, Finalize, Lost, Start, Worker
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.search.budget import Budget
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.sweep import Sweep

_PARAMS = {"filters": 8}


def _start(attempt, *, after=0, trial=0):
    return Start(10.0 + attempt, trial, attempt, "c0", 0, 7, _PARAMS, after)


def _epoch(attempt, epoch, value, *, trial=0):
    return Epoch(20.0 + attempt, trial, attempt, epoch, 0.5, {"loss": 1.0, "val_accuracy": value})


def _end(attempt, state="complete", *, trial=0):
    return End(30.0 + attempt, trial, attempt, state, epochs=2, seconds=1.0)


@pytest.fixture
def told(paths):
    """Write events into one journal and return the history that is read from it."""

    def tell(*events):
        with paths.journal("w").open("ab") as file:
            file.writelines(map(encode, events))
        history = History(paths)
        history.refresh()
        return history

    return tell


def test_a_trial_that_ran_through_is_complete(told):
    """A start, its epochs and an end make a complete trial with a best epoch."""
    trial = told(_start(0), _epoch(0, 1, 0.5), _epoch(0, 2, 0.8), _epoch(0, 3, 0.8), _end(0)).trials[0]
    assert trial.state == "complete"
    assert trial.best(Direction.MAXIMIZE) == (2, 0.8)
    assert trial.best(Direction.MINIMIZE) == (1, 0.5)
    assert (trial.params, trial.configuration, trial.repeat, trial.seed) == (_PARAMS, "c0", 0, 7)
    assert trial.next_attempt == 1


@pytest.mark.parametrize("state", ["complete", "pruned", "failed", "paused", "interrupted"])
def test_the_state_of_a_trial_is_what_its_last_attempt_ended_with(told, state):
    """An end decides; later words of others that the worker was lost do not."""
    lost = Lost(99.0, 0, 0, "killed", "gone")
    assert told(_start(0), _end(0, state), lost).trials[0].state == state
    assert told(lost).trials[0].state == state


def test_a_lost_attempt_leaves_its_trial_interrupted(told):
    """A trial whose worker is gone waits for the next attempt."""
    trial = told(_start(0), Lost(50.0, 0, 0, "killed", "gone")).trials[0]
    assert (trial.state, trial.attempts[0].state, trial.attempts[0].cause) == ("interrupted", "lost", "killed")


def test_a_claim_that_never_started_counts_as_an_attempt(told):
    """Declared lost before its start, an attempt still has its number, and the next one is free."""
    trial = told(Lost(50.0, 4, 2, "killed", "gone")).trials[4]
    assert (trial.state, trial.next_attempt, trial.params) == ("interrupted", 3, None)


def test_what_a_later_attempt_redoes_does_not_count(told):
    """Epochs behind the point where a later attempt took over are kept and not counted."""
    trial = told(
        *(_start(0), _epoch(0, 1, 0.1), _epoch(0, 2, 0.2), _epoch(0, 3, 0.9)),
        *(_start(1, after=1), _epoch(1, 2, 0.3)),
    ).trials[0]
    assert trial.values == {1: 0.1, 2: 0.3}
    assert trial.attempts[0].epochs[3].value == 0.9
    assert trial.state == "running"


def test_a_late_end_of_a_superseded_attempt_does_not_count(told):
    """After a later attempt has started, events of the earlier one are kept but change nothing."""
    trial = told(_start(0), Lost(1.0, 0, 0, "killed", ""), _start(1), _end(0)).trials[0]
    assert trial.state == "running"
    assert trial.attempts[0].state == "complete"


def test_the_newest_checkpoint_is_the_newest_attempts(told):
    """A resumed attempt's checkpoint stands before the one that it came from, which is next."""
    first = Checkpoint(5.0, 0, 0, 4, "checkpoints/0.0.ckpt", 10)
    second = Checkpoint(6.0, 0, 1, 2, "checkpoints/0.1.ckpt", 10)
    trial = told(_start(0), first, _start(1, after=0), second).trials[0]
    assert trial.checkpoint.file == "checkpoints/0.1.ckpt"
    assert [saved.attempt for saved in trial.checkpoints] == [1, 0]


def test_a_value_that_is_no_number_is_never_the_best(told):
    """NaN loses to everything; a trial with nothing else has no best."""
    trial = told(_start(0), _epoch(0, 1, math.nan), _epoch(0, 2, 0.4)).trials[0]
    assert trial.best(Direction.MAXIMIZE) == trial.best(Direction.MINIMIZE) == (2, 0.4)
    assert told(_start(0, trial=1), _epoch(0, 1, math.nan, trial=1)).trials[1].best(Direction.MAXIMIZE) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_what_is_no_finite_number_is_no_value_in_either_direction(told, value):
    """Epochs whose objective is NaN, infinite or enormous count as reported, without an objective."""
    trial = told(_start(0), _epoch(0, 1, value), _epoch(0, 2, 0.4), _epoch(0, 3, 0.5)).trials[0]
    assert (trial.best(Direction.MAXIMIZE), trial.best(Direction.MINIMIZE)) == ((3, 0.5), (2, 0.4))
    assert trial.values == {2: 0.4, 3: 0.5}
    assert [math.isnan(one) for one in trial.curve.values()] == [True, False, False]
    assert trial.attempts[0].last_epoch == 3


def test_an_infinite_objective_does_not_reach_a_goal(told):
    """``until`` looks at finite values only."""
    sweep = Sweep.parse(
        "study: s\ndata: {source: digits}\nmodel: {layers: [flatten, output: softmax]}\ntraining: {epochs: 1}\n"
        "search: {method: random, trials: 3, until: {val_accuracy: 0.5}}\n"
    )
    history = told(_start(0), _epoch(0, 1, math.inf), _end(0))
    (limit,) = Budget(sweep, history).limits()
    assert (limit.used, limit.reached) == (None, False)
    (limit,) = Budget(sweep, told(_start(0, trial=1), _epoch(0, 1, 0.6, trial=1))).limits()
    assert (limit.used, limit.reached) == (0.6, True)


def test_a_goal_is_reached_by_values_that_are_final(told):
    """Where the last epochs count, a trial that still runs reaches no goal: the next epoch may be worse."""
    sweep = Sweep.parse(
        "study: s\ndata: {source: digits}\nmodel: {layers: [flatten, output: softmax]}\ntraining: {epochs: 2}\n"
        "objective: {value: last}\nsearch: {method: random, trials: 3, until: {val_accuracy: 0.5}}\n"
    )
    (limit,) = Budget(sweep, told(_start(0), _epoch(0, 1, 0.6))).limits()
    assert (limit.used, limit.reached) == (None, False)
    (limit,) = Budget(sweep, told(_epoch(0, 2, 0.4), _end(0))).limits()
    assert (limit.used, limit.reached) == (0.4, False)


def test_everything_else_that_happened_is_known(told, me):
    """Workers, revisions, cancellations and test results are there as well."""
    history = told(
        Worker(1.0, me, {"keras": "3"}, 2),
        Extend(2.0, 1, 10, 10, 0, 0),
        Extend(3.0, 2, 20, 20, 1, 2),
        Cancel(4.0, None),
        Finalize(5.0, 3, {"test_accuracy": 0.9}),
    )
    assert history.workers["w"].identity == me
    assert history.extends[2].trials == 20
    assert history.cancels == [Cancel(4.0, None)]
    assert history.finalized[3, ""].metrics == {"test_accuracy": 0.9}


def test_only_what_is_new_is_read(paths):
    """A refresh says whether anything was new, and finds journals that appear later."""
    history = History(paths)
    assert not history.refresh()
    paths.journal("a").write_bytes(encode(_start(0)))
    assert history.refresh()
    assert not history.refresh()
    paths.journal("b").write_bytes(encode(_start(0, trial=1)))
    assert history.refresh()
    assert set(history.trials) == {0, 1}


def test_bad_lines_are_counted_and_healed(paths):
    """A damaged line is counted; zeros that become bytes later are read then."""
    good = encode(_start(0))
    paths.journal("a").write_bytes(b"\0" * (len(good) - 1) + b"\n" + b"garbage\n")
    history = History(paths)
    history.refresh()
    assert (history.bad_lines, history.trials) == (2, {})
    paths.journal("a").write_bytes(good + b"garbage\n")
    assert history.refresh()
    assert (history.bad_lines, set(history.trials)) == (1, {0})


_ATTEMPTS = st.integers(0, 2)
_EVENTS = st.one_of(
    st.builds(_start, _ATTEMPTS, after=st.integers(0, 3)),
    st.builds(_epoch, _ATTEMPTS, st.integers(1, 4), st.sampled_from([0.1, 0.5, 0.5, math.nan, math.inf])),
    st.builds(_end, _ATTEMPTS, st.sampled_from(["complete", "failed", "interrupted"])),
    st.builds(Lost, st.floats(1, 9), st.just(0), _ATTEMPTS, st.just("killed"), st.just("")),
    st.builds(Checkpoint, st.floats(1, 9), st.just(0), _ATTEMPTS, st.integers(0, 4), st.just("f"), st.just(1)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_EVENTS, min_size=1, max_size=12, unique_by=encode), st.randoms())
def test_the_order_of_the_journals_does_not_matter(tmp_path_factory, events, random):
    """The same events, spread over the same journals and read in any portions, tell the same story."""
    events = _one_writer_per_start(events)
    stories = []
    for _ in range(2):
        paths = StudyPaths(tmp_path_factory.mktemp("results"), "s")
        paths.create()
        history = History(paths)
        order = list(events)
        random.shuffle(order)
        for writer, event in order:
            with paths.journal(writer).open("ab") as file:
                file.write(encode(event))
            if random.random() < 0.3:
                history.refresh()
        history.refresh()
        trial = history.trials[0]
        stories.append(repr((trial.state, trial.start, trial.values, trial.checkpoints, trial.seconds)))
    assert stories[0] == stories[1]


def _one_writer_per_start(events):
    """Give each event a journal; what one attempt says once (its start, its end, an epoch) it says once."""
    once = {}
    for event in events:
        key = (type(event), getattr(event, "attempt", 0), getattr(event, "epoch", 0) * isinstance(event, Epoch))
        once.setdefault(key if not isinstance(event, Lost | Checkpoint) else (key, encode(event)), event)
    return [(f"w{event.attempt}" if not isinstance(event, Lost) else "judge", event) for event in once.values()]
