"""Lines of several writers that arrive in any portions end in the same tables, and the history agrees with them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cnn_sweep.journal.events import Artifact, Cancel, Checkpoint, End, Epoch, Extend, Finalize, Lost, Start, Submit
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import encode
from cnn_sweep.store import queries
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.sweep.spec.trial import ObjectiveSpec

# Each example makes two databases: to shrink a failure is left to whoever looks into it.
_PHASES = (Phase.explicit, Phase.generate)
_WRITERS = ("a", "b", "judge")
_TRIAL = st.integers(0, 2)
_ATTEMPT = st.integers(0, 2)
_EPOCH = st.integers(1, 4)
_TIME = st.integers(1, 6).map(float)
_STATE = st.sampled_from(["complete", "failed", "pruned", "interrupted", "paused"])


def _epoch(time, trial, attempt, epoch):
    """Make an epoch whose value follows from who says it when, so that rivals differ."""
    value = math.nan if (trial, epoch) == (1, 2) else (7 * time + 5 * attempt + 3 * epoch) % 4 / 4
    return Epoch(time, trial, attempt, epoch, 0.1 * time, {"val_accuracy": value, f"m{trial}": value})


def _start(time, trial, attempt, after):
    params = {"filters": 4 * (1 + trial), f"p{trial}": attempt}
    return Start(time, trial, attempt, f"c{trial}{attempt}", 0, attempt, params, after, 10 + attempt)


_KEY = (_TIME, _TRIAL, _ATTEMPT)
_EVENT = st.one_of(
    st.builds(_start, *_KEY, st.integers(0, 3)),
    st.builds(_epoch, *_KEY, _EPOCH),
    st.builds(_epoch, *_KEY, _EPOCH),
    st.builds(
        End,
        *_KEY,
        _STATE,
        st.just("why"),
        st.none(),
        _EPOCH,
        _TIME,
        curve=st.sampled_from([{}, {"gap": 1}, {"gap": 2}]),
    ),
    st.builds(Lost, *_KEY, st.sampled_from(["killed", "timeout"]), st.just("gone")),
    st.builds(Checkpoint, *_KEY, _EPOCH, st.sampled_from(["x", "y"]), st.just(1)),
    st.builds(Artifact, *_KEY, st.just("model"), st.just("models/0.keras"), st.just(1), st.sampled_from("ab")),
    st.builds(Finalize, _TIME, _TRIAL, st.fixed_dictionaries({"test_loss": _TIME})),
    st.builds(Cancel, _TIME, st.none() | _TRIAL),
    st.builds(Submit, _TIME, st.just([{"job": "7", "tasks": 2, "time": 1.0}]), st.just("p"), st.sampled_from("ab")),
    st.builds(Extend, _TIME, st.integers(1, 2), *[st.integers(0, 9)] * 4),
)
_LINE = _EVENT.map(encode) | st.just(b"garbage\n") | st.just(b"\n")
_TALE = st.fixed_dictionaries({writer: st.lists(_LINE, max_size=12) for writer in _WRITERS})


@pytest.fixture(scope="module", autouse=True)
def _honest():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_SWEEP_LOCKS", "honest")
        yield


@settings(max_examples=25, deadline=None, phases=_PHASES)
@given(tale=_TALE, data=st.data())
def test_however_lines_arrive_the_tables_are_the_same(tmp_path_factory, new_study, tables, tale, data):
    """Portions of any size, of any writer, with merges in between: equal to one merge of everything."""
    results = tmp_path_factory.mktemp("r")
    study = new_study(results)
    left = {writer: b"".join(lines) for writer, lines in tale.items() if lines}
    while left:
        writer = data.draw(st.sampled_from(sorted(left)))
        size = data.draw(st.integers(1, 600))
        study.append(writer, left[writer][:size])
        left[writer] = left[writer][size:]
        if not left[writer]:
            del left[writer]
        if data.draw(st.booleans()):
            assert merge(results).skipped is None
    assert merge(results).skipped is None
    assert tables.now(results) == tables.anew(results)


@settings(max_examples=30, deadline=None, phases=_PHASES)
@given(tale=_TALE, value=st.sampled_from(["best", "last", {"mean_last": 3}]))
def test_the_store_and_the_history_tell_the_same(tmp_path_factory, new_study, tale, value):
    """What a worker concludes from the journals is what the tables say, whatever epochs the objective counts."""
    results = tmp_path_factory.mktemp("r")
    objective = ObjectiveSpec(value=value)
    study = new_study(results, direction=f"maximize, value: {json.dumps(value)}")
    for writer, lines in tale.items():
        study.append(writer, b"".join(lines))
    merge(results)
    history = History(study.paths)
    history.refresh()
    rows = (
        {row["trial"]: row for row in queries.export_trials(StoreReader(results), "digits")[1]}
        if any(tale.values())
        else {}
    )
    assert set(rows) == set(history.trials)
    for number, trial in history.trials.items():
        row = rows[number]
        start = trial.start
        assert (row["state"], row["cause"], row["attempts"]) == (trial.state, trial.last.cause, len(trial.attempts))
        if start is not None:  # without a start, the tables have what was planned
            assert (row["configuration"], row["seed"]) == (trial.configuration, trial.seed)
        assert row["parameters"] == (start.parameters if start else None)
        assert (row["best_epoch"], row["value"]) == (trial.result(objective) or (None, None))
        assert row["epochs"] == max(_counted_epochs(trial), default=0)
        assert row["seconds"] == pytest.approx(trial.seconds, abs=1e-5)


def _counted_epochs(trial):
    """Return the epochs that count, also those without a value."""
    found, redone_after = set(), math.inf
    for number in sorted(trial.attempts, reverse=True):
        attempt = trial.attempts[number]
        found |= {epoch for epoch in attempt.epochs if epoch <= redone_after}
        redone_after = min(redone_after, attempt.start_epoch) if attempt.ran else redone_after
    return found
