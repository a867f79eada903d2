"""A result is a function of (trial, seed) alone: not of interruptions, chunks, or what the process did before."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from helpers.outcomes import assert_equal, resumed

LAYERS = (
    {
        "kind": "conv2d",
        "filters": 4,
        "kernel_size": 3,
        "activation": "relu",
        "kernel_regularizer": {"l2": 0.01},
    },
    {"kind": "batch_norm"},
    {"kind": "spatial_dropout", "rate": 0.2},
    {"kind": "flatten"},
    {"kind": "dropout", "rate": 0.4},
    {"kind": "dense", "units": 6, "activation": "relu"},
    {"kind": "output"},
)
TRAINING = {
    "epochs": 5,
    "optimizer": {"name": "nadam", "learning_rate": 0.01},
    "schedule": {"kind": "cosine", "warmup_epochs": 1},
    "early_stopping": {"patience": 4},
}


@pytest.fixture(scope="module")
def trial():
    """A trial with everything that has a state."""
    from cnn_sweep.sweep.spec.trial import TrialSpec

    return TrialSpec(params={}, layers=LAYERS, training={"batch_size": 8, "checkpoint_every_s": 3600.0, **TRAINING})


@pytest.fixture(scope="module")
def whole(trial, dataset, recorder):
    """The trial as a fresh trainer does it in one go."""
    from cnn_sweep.training.trial.trainer import Trainer

    return Trainer(dataset).train(trial, 7, recorder())


@pytest.fixture(scope="module")
def stepping(dataset):
    """A trainer in chunks of one step, each followed by a look at the monitor; it compiles the trial's graph once."""
    from cnn_sweep.training.trial.trainer import Trainer

    return Trainer(dataset, chunk_s=0.0)


@pytest.fixture(scope="module")
def states(trial, stepping, recorder):
    """Checkpoints by epochs that they are after."""
    eager = trial.model_copy(update={"training": trial.training.model_copy(update={"checkpoint_every_s": 0.0})})
    notes = recorder()
    stepping.train(eager, 7, notes)
    return eager, {complete: state for state, complete in notes.checkpoints}


def test_the_same_trial_again_gives_the_same_bits(trial, dataset, whole, recorder):
    """Two trainers agree on every metric and weight."""
    from cnn_sweep.training.trial.trainer import Trainer

    assert_equal(Trainer(dataset).train(trial, 7, recorder()), whole)


def test_another_seed_gives_another_result(trial, dataset, whole, recorder):
    """The seed matters."""
    from cnn_sweep.training.trial.trainer import Trainer

    assert Trainer(dataset).train(trial, 8, recorder()).history != whole.history


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_resume_after_an_epoch_is_exact(epoch, states, stepping, whole, recorder):
    """A trial that goes on from the checkpoint of any epoch ends as if it had never stopped."""
    eager, of = states
    assert_equal(stepping.train(eager, 7, recorder(), of[epoch]), whole)


@pytest.mark.parametrize("polls", [0, 1, 2, 5, 9, 14, 20, 29])
def test_resume_within_an_epoch_is_exact(polls, trial, stepping, whole, recorder):
    """A trial that was stopped after any step ends as if it had never stopped."""
    stopped = recorder(stop_after_polls=polls)
    outcome = stepping.train(trial, 7, stopped)
    assert outcome.state == "interrupted"
    assert outcome.epochs == len(stopped.epochs)
    ((state, epoch),) = stopped.checkpoints
    assert epoch == outcome.epochs
    assert_equal(stepping.train(trial, 7, recorder(), state), whole)


@pytest.mark.parametrize("epoch", [1, 3])
def test_pausing_at_a_rung_and_going_on_is_exact(epoch, trial, stepping, whole, recorder):
    """A trial that paused after an epoch and was promoted ends bit for bit as one that never paused."""
    paused = recorder(pause_after=epoch)
    outcome = stepping.train(trial, 7, paused)
    assert (outcome.state, outcome.epochs, len(paused.epochs)) == ("paused", epoch, epoch)
    state, complete = paused.checkpoints[-1]
    assert complete == epoch
    assert_equal(stepping.train(trial, 7, recorder(), state), whole)


def test_a_trial_may_be_stopped_at_every_chunk(trial, stepping, whole, recorder):
    """Progress of one step per attempt adds up to the undisturbed result."""
    assert_equal(resumed(stepping, trial, 7, polls=1, attempts=200), whole)


@pytest.mark.parametrize("last", [1, 3])
def test_a_value_over_the_last_epochs_survives_interruptions(last, trial, stepping, whole, recorder):
    """It comes from the same epochs, and the model from the last one, however often the trial was stopped."""
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

    judged = trial.model_copy(update={"objective": ObjectiveSpec(value={"mean_last": last} if last > 1 else "last")})
    undisturbed = stepping.train(judged, 7, recorder())
    assert undisturbed.history == whole.history
    mean = sum(epoch["val_accuracy"] for epoch in whole.history[-last:]) / last
    assert (undisturbed.best_epoch, undisturbed.value) == (5, pytest.approx(mean))
    assert_equal(resumed(stepping, judged, 7, polls=7, attempts=60), undisturbed)
    falling = trial.model_copy(update={"objective": ObjectiveSpec(metric="learning_rate", direction="minimize")})
    for mine, theirs in zip(undisturbed.weights, stepping.train(falling, 7, recorder()).weights, strict=True):
        assert (mine == theirs).all()  # where the last epoch is the best one


def test_chunks_change_nothing(trial, stepping, whole, recorder):
    """One step at a time gives what whole epochs give."""
    assert_equal(stepping.train(trial, 7, recorder()), whole)


def test_a_warm_graph_gives_what_a_fresh_one_gives(trial, dataset, whole, recorder):
    """Trials that used the graph before leave nothing behind, whatever they set and however they ended."""
    from cnn_sweep.training.trial.trainer import Trainer

    trainer = Trainer(dataset)
    other = trial.model_dump()
    other["layers"][2]["rate"] = 0.0
    other["layers"][0]["kernel_regularizer"]["l2"] = 0.5
    other["training"] |= {"batch_size": 11, "epochs": 2, "label_smoothing": 0.3}
    other["training"]["optimizer"] |= {"learning_rate": 1e6, "beta_1": 0.5}
    from cnn_sweep.sweep.spec.trial import TrialSpec

    trainer.train(TrialSpec.model_validate(other), 1, recorder())
    trainer.train(trial, 8, recorder())
    assert_equal(trainer.train(trial, 7, recorder()), whole)
    assert (trainer.hits, trainer.misses) == (2, 1)


RESUME = """
import pickle, sys
from cnn_sweep.training.session import configure
configure(threads=1)
from cnn_sweep.training.trial.trainer import Trainer

class Silent:
    def epoch(self, epoch, metrics, seconds): pass
    def checkpoint(self, state, epoch): pass
    def decision(self): return "continue"
    def should_stop(self): return False

with open(sys.argv[1], "rb") as file:
    trial, dataset, state = pickle.load(file)
outcome = Trainer(dataset).train(trial, 7, Silent(), state)
with open(sys.argv[1], "wb") as file:
    pickle.dump(outcome, file)
"""


def test_resume_in_another_process_is_exact(trial, dataset, whole, recorder, tmp_path):
    """A checkpoint means the same in a process that never saw the trial."""
    from cnn_sweep.training.trial.trainer import Trainer

    stopped = recorder(stop_after_polls=8)
    Trainer(dataset, chunk_s=0.0).train(trial, 7, stopped)
    file = tmp_path / "exchange"
    file.write_bytes(pickle.dumps((trial, dataset, stopped.checkpoints[-1][0])))
    subprocess.run([sys.executable, "-c", RESUME, str(file)], check=True, timeout=120)
    assert_equal(pickle.loads(file.read_bytes()), whole)


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": {"name": name}, "schedule": {"kind": "plateau", "patience": 1}}
        for name in ("sgd", "rmsprop", "adam", "adamw", "adagrad", "adadelta")
    ],
    ids=lambda t: t["optimizer"]["name"],
)
def test_the_state_of_each_optimizer_is_kept(training, spec, dataset, recorder):
    """Momenta, accumulators and the plateau's memory survive an interruption."""
    from cnn_sweep.training.trial.trainer import Trainer

    trial, trainer = spec(epochs=4, **training), Trainer(dataset, chunk_s=0.0)
    whole = trainer.train(trial, 1, recorder())
    stopped = recorder(stop_after_polls=17)
    assert trainer.train(trial, 1, stopped).state == "interrupted"
    assert_equal(trainer.train(trial, 1, recorder(), stopped.checkpoints[-1][0]), whole)
