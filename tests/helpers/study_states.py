"""A study in every state that a reader can meet, each as a function that writes it."""

from __future__ import annotations

from helpers.sweeps import sweep_of_digits
from helpers.written import SWEEP, some_params

from cnn_sweep.journal.events import Cancel, End, Epoch, Extend, Finalize, Known
from cnn_sweep.store.merge import merge

LONG = "\n".join(
    ["Traceback (most recent call last):", *["  File [bold]model.py[/bold], line 7, in build"] * 30, "é漢"]
)
_SPACE = "space:\n  filters: [4, 8, 16]\n  learning_rate: {{low: 0.0001, high: 0.1, log: true}}\n"
_TRAINING = "training:\n  epochs: 3\n  optimizer: {{name: adam, learning_rate: $learning_rate}}\n"
_ADAPTIVE = sweep_of_digits(_SPACE + "search: {{method: tpe, trials: 20}}\n" + _TRAINING)
_OBJECTIVE = "objective: {{metric: {metric}, direction: {direction}}}\n"
_OBJECTIVES = "objectives: [{{metric: {metric}, direction: {direction}}}, {{metric: parameters}}]\n"

_LISTS_AND_NULL = sweep_of_digits(
    "space:\n  filters: [4, 8]\n  kernel: [[3, 3], [1, 1]]\n  clip: [null, 0.5]\n  optimizer: [sgd, adam]\n"
    "  decay: {{choices: [null, 0.01], when: {{optimizer: adam}}}}\n"
    "training:\n  epochs: 3\n"
    "  optimizer: {{name: $optimizer, learning_rate: 0.01, clip_norm: $clip, weight_decay: $decay}}\n"
).replace("kernel_size: 3", "kernel_size: $kernel")


def nothing_begun(written):
    """Write a study that was created and never run."""
    written.study(trials=8, states=("waiting",))


def running(written):
    """Write a study whose first trials run."""
    written.study(trials=8, states=("running", "running", "waiting"))


def first_epoch(written):
    """Write a study whose only trial has begun and done no epoch."""
    written.study(trials=8, states=("running", *["waiting"] * 7), epochs=0)


def under_way(written):
    """Write a study of which some trials are complete and every other state occurs."""
    states = ("complete", "complete", "running", "waiting", "failed", "pruned", "paused", "interrupted")
    written.study(trials=24, states=states)


def failures_only(written):
    """Write a study whose trials have all failed, one of them with a long message."""
    last = End(1_100.0, 3, 0, "failed", "exception", LONG)
    written.study(trials=4, states=("failed", "failed", "failed", "running"), more=[last])


def pruned(written):
    """Write a study of which one trial is complete, and the others were pruned."""
    written.study(trials=8, states=("complete", *["pruned"] * 7))


def pruned_only(written):
    """Write a study of which no trial was allowed to go to its end."""
    written.study(trials=8, states=("pruned",))


def one_trial(written):
    """Write a study with a single trial."""
    written.study(trials=1)


def repeats(written):
    """Write a study with three repeats of each configuration."""
    written.study(trials=18, configurations=6, sweep=SWEEP + "search: {{repeats: 3}}\n")


def repeats_under_way(written):
    """Write a study whose repeats have not all ended."""
    states = ("complete", "complete", "running", "failed", "waiting")
    written.study(trials=18, configurations=6, states=states, sweep=SWEEP + "search: {{repeats: 3}}\n")


def several_objectives(written):
    """Write a study with two objectives."""
    written.study(trials=12, states=("complete", "complete", "failed"), sweep=SWEEP.replace(_OBJECTIVE, _OBJECTIVES))


def finalized(written):
    """Write a study whose best trials were measured on the test set."""
    tested = [Finalize(2_000.0, trial, {"test_loss": 0.5, "test_accuracy": 0.9}) for trial in (0, 1)]
    written.study(trials=8, more=tested)


def extended(written):
    """Write a study whose sweep file has a second revision, of which nothing has run."""
    wider = SWEEP.replace("[4, 8, 16]", "[4, 8, 16, 32]")
    written.study(trials=9, second=wider, more=[Extend(2_000.0, 2, 18, 18, 0, 0)])


def cancelled(written):
    """Write a study that was cancelled."""
    written.study(trials=8, states=("complete", "interrupted"), more=[Cancel(2_000.0)])


def imported(written):
    """Write a study that knows another program's results, and has trained nothing."""
    known = [
        Known(1_500.0, "sqlite:///study.db#other", number, {"filters": 4, "learning_rate": 0.01}, "complete", [0.9])
        for number in range(3)
    ]
    written.study(trials=20, states=("waiting",), sweep=_ADAPTIVE, more=known)


def with_budget(written):
    """Write a study whose search has limits."""
    text = _ADAPTIVE.replace("trials: 20", "trials: 20, epochs: 30, hours: 2.5")
    written.study(trials=6, states=("complete", "running"), sweep=text, params=_without_optimizer)


def renamed_folder(written):
    """Write a study whose folder was renamed."""
    written.study(name="before", trials=6)
    (written.results / "before").rename(written.results / "digits")
    assert merge(written.results, wait_s=20).skipped is None


def not_finite(written):
    """Write a study of which a trial reported numbers that are none."""
    nan = float("nan")
    metrics = {"loss": float("inf"), "accuracy": 0.1, "val_loss": nan, "val_accuracy": nan}
    written.study(
        trials=4, states=("complete", "complete", "complete", "running"), more=[Epoch(1_030.0, 3, 0, 4, 1.0, metrics)]
    )


def lists_and_null(written):
    """Write a study with lists and null among the choices of its hyperparameters."""
    written.study(trials=24, sweep=_LISTS_AND_NULL, params=_lists_and_null)


def _lists_and_null(draw):
    found = {"filters": draw.choice([4, 8]), "kernel": draw.choice([[3, 3], [1, 1]]), "clip": draw.choice([None, 0.5])}
    found["optimizer"] = draw.choice(["sgd", "adam"])
    return found | ({"decay": draw.choice([None, 0.01])} if found["optimizer"] == "adam" else {})


def _without_optimizer(draw):
    return {name: value for name, value in some_params(draw).items() if name in {"filters", "learning_rate"}}


EVERY_STATE = {
    state.__name__: state
    for state in (
        nothing_begun,
        running,
        first_epoch,
        under_way,
        failures_only,
        pruned,
        pruned_only,
        one_trial,
        repeats,
        repeats_under_way,
        several_objectives,
        finalized,
        extended,
        cancelled,
        imported,
        with_budget,
        renamed_folder,
        not_finite,
        lists_and_null,
    )
}
