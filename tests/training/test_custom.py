"""Functions of the user's: models that they build, and trials that they do as a whole."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers.outcomes import assert_equal

import cnn_sweep
from cnn_sweep.errors import InputError
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.spec.trial import TrialSpec
from cnn_sweep.training.network.user_functions import UserCode

NETWORKS = """
import keras

def build(params, image_shape, classes):
    return keras.Sequential([
        keras.Input(image_shape),
        keras.layers.Conv2D(params["filters"], 3, activation="relu", kernel_regularizer="l2"),
        keras.layers.Dropout(0.3),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])

class Doubling(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")])
        self.calls = []

    def call(self, x, training=False):
        return self.net(x, training=training)

    def train_step(self, data):
        self.calls.append(1)
        return super().train_step(data)

def custom_step(params, image_shape, classes):
    model = Doubling(classes)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def logits(params, image_shape, classes):
    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])

def sigmoids(params, image_shape, classes):
    return keras.Sequential([
        keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(classes, activation="sigmoid")])

def compiled(params, image_shape, classes):
    net = logits(params, image_shape, classes)
    model = keras.Sequential([net, keras.layers.Softmax()])
    metrics = [keras.metrics.CategoricalAccuracy(name="right"), keras.metrics.F1Score(name="each_class"),
               keras.metrics.Precision(name="precision", thresholds=0.0)]
    model.compile(keras.optimizers.Adam(0.015), "categorical_crossentropy", metrics=metrics)
    return model

def without_accuracy(params, image_shape, classes):
    model = sigmoids(params, image_shape, classes)
    model.compile("adam", "categorical_crossentropy", metrics=["mse"])
    return model

def bad_metric(params, image_shape, classes):
    def strict(y_true, y_pred):
        raise ValueError("not these labels")
    model = build(params, image_shape, classes)
    model.compile("adam", "categorical_crossentropy", metrics=[strict])
    return model

def leaves(params, image_shape, classes):
    import sys
    sys.exit("no licence")

def no_model(params, image_shape, classes):
    return "a model"

def two_outputs(params, image_shape, classes):
    x = keras.Input(image_shape)
    return keras.Model(x, [x, x])

def fails(params, image_shape, classes):
    raise RuntimeError("no such block")
"""
ELSEWHERE = """
import sys
from pathlib import Path

import cnn_sweep
from cnn_sweep.training.session import configure

configure(threads=1)
print(Path(cnn_sweep.__file__).parents[1])
import numpy as np
from types import SimpleNamespace
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.spec.trial import TrialSpec
from cnn_sweep.training.data.dataset import Dataset, Split
from cnn_sweep.training.trial import training_loop as run
from cnn_sweep.training.trial.trainer import Trainer

split = Split(np.zeros((4, 6, 6, 1), np.uint8), np.arange(4, dtype=np.int32) % 2)
info = ImageInfo(image_shape=(6, 6, 1), class_names=("a", "b"))
trainer = Trainer(Dataset({{"train": split, "validation": split}}, info, 1.0, "f"), folder=Path({folder!r}))
training = {{"epochs": 1}}
monitor = SimpleNamespace(should_stop=lambda: False)

def raises(*_, **__):
    raise MemoryError

def told(**trial):
    outcome = trainer.train(TrialSpec(params={{"filters": 3}}, **trial), 0, monitor)
    print(outcome.cause, outcome.message)

told(build="installed:fails", training=training)
told(objective={{"metric": "score", "function": "objectives:out_of_memory"}})
run.learning_rates = raises  # there is no frame of the user's
told(layers=({{"kind": "flatten"}}, {{"kind": "output"}}), training=training)
"""
OBJECTIVES = """
import keras, numpy as np

def train(context):
    for epoch in range(1, 4):
        if context.should_stop():
            return
        context.report(epoch, {"score": context.params["gain"] / epoch, "extra": epoch})

def with_model(context):
    model = keras.Sequential([keras.Input(context.data.info.image_shape), keras.layers.Flatten(),
                              keras.layers.Dense(3, activation="softmax")])
    context.report(1, {"score": float(model.layers[-1].kernel.numpy().sum())})
    return model

def number(context):
    return 0.25

def scalar(context):
    return {"float32": np.float32(0.25), "array": np.array(0.25), "tensor": keras.ops.convert_to_tensor(0.25),
            "variable": keras.Variable(0.25), "bfloat16": keras.ops.cast(0.25, "bfloat16"), "integer": np.int8(1),
            "list": [0.25], "vector": np.array([0.25, 0.5]), "complex": np.complex64(1), "text": "0.25",
            "huge": 10**400, "enormous": 10**5000, "nothing": None}[context.params["kind"]]

def reports_what_is_no_number(context):
    context.report(1, {"score": 1.0, "extra": [1, 2]})

def not_finite(context):
    for epoch in (1, 2):
        context.report(epoch, {"score": context.params["value"]})

def sometimes_finite(context):
    for epoch, score in enumerate((float("-inf"), 2.0, float("inf"), float("nan")), start=1):
        context.report(epoch, {"score": score})

def leaves(context):
    context.report(1, {"score": 1.5})
    raise SystemExit(3)

def interrupts(context):
    raise KeyboardInterrupt

def out_of_memory(context):
    raise MemoryError

def wrong_metric(context):
    context.report(1, {"points": 1.0})

def wrong_epoch(context):
    context.report(0, {"score": 1.0})

def wrong_result(context):
    context.report(1, {"score": 1.0})
    return "done"

def fails(context):
    context.report(1, {"score": 1.5})
    raise RuntimeError("out of luck")
"""


@pytest.fixture
def trainer(dataset, tmp_path):
    """A trainer in a folder with modules of the user's."""
    from cnn_sweep.training.trial.trainer import Trainer

    (tmp_path / "networks.py").write_text(NETWORKS, encoding="utf-8")
    (tmp_path / "objectives.py").write_text(OBJECTIVES, encoding="utf-8")
    return Trainer(dataset, folder=tmp_path)


def built(function, **training):
    """Return a trial of a build function."""
    return TrialSpec(
        params={"filters": 3}, build=f"networks:{function}", training={"epochs": 3, "batch_size": 8, **training}
    )


def objective(function, **params):
    """Return a trial of an objective function."""
    return TrialSpec(params=params, objective={"metric": "score", "function": f"objectives:{function}"})


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_a_built_model_trains_repeatably(engine, trainer, recorder):
    """A build function's network is trained by either engine, its weights and dropout by the seed."""
    one = trainer.train(built("build", engine=engine), 1, recorder())
    again = trainer.train(built("build", engine=engine), 1, recorder())
    other = trainer.train(built("build", engine=engine), 2, recorder())
    assert one.state == "complete", one.message
    assert one.history == again.history != other.history
    assert one.parameters == 3 * 10 + 3 * (4 * 4 * 3 + 1)


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_a_built_model_resumes_exactly(engine, trainer, recorder):
    """Random states of Keras's layers, and of either engine's optimizer, are part of a checkpoint."""
    trial = built("build", engine=engine, checkpoint_every_s=0.0, optimizer={"name": "rmsprop"})
    notes = recorder()
    whole = trainer.train(trial, 1, notes)
    state, epoch = notes.checkpoints[0]
    assert epoch == 1
    resumed = trainer.train(trial, 1, recorder(), state)
    assert_equal(resumed, whole)


def test_a_custom_train_step_is_used_by_fit(trainer, recorder):
    """A model that comes compiled keeps its train_step, optimizer, loss and form of labels."""
    notes = recorder()
    outcome = trainer.train(built("custom_step", engine="fit"), 1, notes)
    assert outcome.state == "complete", outcome.message
    assert notes.epochs[-1]["loss"] < notes.epochs[0]["loss"]
    assert 0 <= notes.epochs[-1]["val_accuracy"] <= 1


def test_fit_gives_up_the_running_epoch_when_stopped(trainer, recorder, monkeypatch):
    """The engine fit goes back to the last whole epoch, and resumes from there exactly."""
    from cnn_sweep.training.engines import fit_engine

    monkeypatch.setattr(fit_engine, "_ASK_EVERY_S", 0.0)
    trial = built("build", engine="fit")
    whole = trainer.train(trial, 1, recorder())
    stopped = recorder(stop_after_polls=10)  # within the second epoch
    outcome = trainer.train(trial, 1, stopped)
    assert (outcome.state, outcome.epochs) == ("interrupted", 1)
    ((state, epoch),) = stopped.checkpoints
    assert epoch == 1
    assert trainer.train(trial, 1, recorder(), state).history == whole.history


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_a_network_of_logits_is_refused(engine, trainer, recorder):
    """Outputs that are not probabilities are reported before the first epoch, with a remedy."""
    notes = recorder()
    with pytest.raises(
        InputError,
        match=r"networks:logits: the network must return probabilities, but returns numbers from -"
        r".*\. End it with activation='softmax'; or use engine: fit and compile .* from_logits=True",
    ):
        trainer.train(built("logits", engine=engine), 1, notes)
    assert notes.epochs == []
    outcome = trainer.train(built("sigmoids", engine=engine), 1, recorder())
    assert outcome.state == "complete", outcome.message


def test_metrics_of_a_compiled_model_are_reported(trainer, recorder):
    """Under their names, with ``val_`` on validation images; accuracy is found under any of them."""
    notes = recorder()
    trial = built("compiled", engine="fit")
    precise = trial.objective.model_copy(update={"metric": "val_precision"})
    outcome = trainer.train(trial.model_copy(update={"objective": precise}), 1, notes)
    assert outcome.state == "complete", outcome.message
    for metrics in notes.epochs:
        assert metrics["accuracy"] == metrics["right"]
        assert metrics["val_accuracy"] == pytest.approx(metrics["val_right"])
        assert metrics["precision"] == metrics["val_precision"] == pytest.approx(1 / 3)  # all are above 0
        assert {"each_class", "val_each_class", "val_learning_rate"}.isdisjoint(metrics)
        assert metrics["learning_rate"] == pytest.approx(0.015)  # the optimizer's own
    assert outcome.value == notes.epochs[0]["val_precision"]


@pytest.mark.parametrize(
    ("function", "training", "words"),
    [
        (
            "compiled",
            {},
            [
                "compiles its model with learning rate 0.015, which is not used",
                "trained with learning rate 0.001, from",
            ],
        ),
        ("compiled", {"optimizer": {"name": "adam", "learning_rate": 0.015}}, []),
        ("compiled", {"optimizer": {"name": "sgd", "learning_rate": 0.015}}, ["with optimizer adam", "optimizer sgd"]),
        ("compiled", {"loss": "binary_crossentropy"}, ["loss categorical_crossentropy", "loss binary_crossentropy"]),
        ("compiled", {"engine": "fit"}, []),
        (
            "compiled",
            {"engine": "fit", "optimizer": {"name": "sgd", "learning_rate": 0.1}},
            ["`engine: fit` trains with that: the sweep file's optimizer sgd, learning rate 0.1 is not used"],
        ),
        ("custom_step", {}, []),
        ("build", {"optimizer": {"name": "sgd"}}, []),
    ],
)
def test_settings_of_a_compiled_model_that_are_not_used_are_noted(trainer, recorder, function, training, words):
    """Where the model and the sweep file differ, a sentence says which of the two counts."""
    notes = []
    trainer.note = notes.append
    outcome = trainer.train(built(function, **{"epochs": 1, **training}), 1, recorder())
    assert outcome.state == "complete", outcome.message
    assert len(notes) == bool(words), notes
    for word in words:
        assert word in notes[0]
        assert notes[0].startswith(f"networks:{function} compiles its model")


def test_a_metric_that_a_compiled_model_lacks_is_not_invented(trainer, recorder):
    """Without an accuracy there is none, and an objective that is not reported is the user's mistake."""
    notes = recorder()
    trial = built("without_accuracy", engine="fit")
    outcome = trainer.train(trial, 1, notes)
    assert outcome.state == "complete", outcome.message
    assert "accuracy" not in notes.epochs[0]
    assert notes.epochs[0]["val_mse"] > 0
    missing = trial.objective.model_copy(update={"metric": "val_precision"})
    with pytest.raises(InputError, match=r"objective.metric: unknown metric 'val_precision'.*val_mse.*model.compile"):
        trainer.train(trial.model_copy(update={"objective": missing}), 1, recorder())


def test_layers_trained_by_fit_come_close_to_the_graph(trainer, spec, recorder):
    """Both engines train the same network on the same order; without dropout they agree."""
    one = trainer.train(spec(epochs=3), 1, recorder())
    other = trainer.train(spec(epochs=3, engine="fit"), 1, recorder())
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert math.isclose(value, theirs[name], abs_tol=1e-5)


def test_mistakes_in_build_functions_are_explained(trainer, recorder, tmp_path):
    """Missing modules and functions, and what is no model, name the function and what is there."""
    (tmp_path / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    for reference, message in (
        ("networks:biuld", r"networks has no function 'biuld'; it has .*build"),
        ("network:build", r"the module 'network' cannot be imported from .*No module named 'network'"),
        ("broken:build", r"ModuleNotFoundError: No module named 'no_such_package'"),
        ("networks", r"'networks' must have the form module:function"),
        ("networks:no_model", r"must return a keras.Model, but returned str"),
        ("networks:two_outputs", r"must have one output"),
    ):
        trial = built("build").model_copy(update={"build": reference})
        with pytest.raises(InputError, match=message):
            trainer.train(trial, 0, recorder())


def test_an_exception_in_a_build_function_fails_its_trial(trainer, recorder):
    """The message names the line of the user's file."""
    outcome = trainer.train(built("fails"), 0, recorder())
    assert (outcome.state, outcome.cause) == ("failed", "exception")
    line = NETWORKS.splitlines().index('    raise RuntimeError("no such block")') + 1
    assert outcome.message == f"RuntimeError: no such block (networks.py:{line})"


def called_from(file, lines, error):
    """Return a traceback as Python writes it: functions, each with its line of the file, and then the exception."""
    text = file.read_text(encoding="utf-8").splitlines()
    calls = "".join(
        f'  File "{file}", line {text.index(line) + 1}, in {function}\n    {line.strip()}\n' for function, line in lines
    )
    return f"Traceback (most recent call last):\n{calls}{error}"


def test_a_failure_has_the_calls_of_the_users_code_alone(trainer, recorder, tmp_path):
    """The traceback begins in the user's own file: of a build, of an objective, of a metric that `fit` calls."""
    for trial, file, line, error in (
        (built("fails"), "networks.py", "fails", 'RuntimeError("no such block")'),
        (objective("fails"), "objectives.py", "fails", 'RuntimeError("out of luck")'),
        (built("bad_metric", engine="fit"), "networks.py", "strict", 'ValueError("not these labels")'),
    ):
        failed = trainer.train(trial, 0, recorder())
        kind, _, text = error.rstrip(')"').partition('("')
        indent = "        " if line == "strict" else "    "
        assert failed.traceback == called_from(tmp_path / file, [(line, f"{indent}raise {error}")], f"{kind}: {text}")


def test_a_mistake_of_the_user_has_no_calls_of_ours(trainer, recorder, tmp_path):
    """The log has the line that led to the message, the exception of a module that cannot be imported, or neither."""
    (tmp_path / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    (tmp_path / "typed.py").write_text("def build(:\n", encoding="utf-8")
    broken = called_from(
        tmp_path / "broken.py",
        [("<module>", "import no_such_package")],
        "ModuleNotFoundError: No module named 'no_such_package'",
    )
    reported = called_from(
        tmp_path / "objectives.py",
        [("wrong_metric", '    context.report(1, {"points": 1.0})')],
        "cnn_sweep.errors.InputError: objectives:wrong_metric reported points, but the objective is 'score'",
    )
    for trial, expected in (
        (built("build").model_copy(update={"build": "broken:build"}), broken),
        (
            built("build").model_copy(update={"build": "typed:build"}),
            f'  File "{tmp_path / "typed.py"}", line 1\n    def build(:\n              ^\nSyntaxError: invalid syntax',
        ),
        (objective("wrong_metric"), reported),
        (built("no_model"), "networks:no_model must return a keras.Model, but returned str"),
    ):
        with pytest.raises(InputError) as found:
            trainer.train(trial, 0, recorder())
        text = UserCode.of(trial, tmp_path).traceback(found.value)
        assert text in (expected, f"{found.value}\n{expected}")


def test_a_bug_of_ours_keeps_its_whole_traceback(trainer, recorder, monkeypatch):
    """Without a call of the user's the log has every call."""
    monkeypatch.setattr("cnn_sweep.training.trial.training_loop.learning_rates", lambda *_, **__: 1 / 0)
    failed = trainer.train(built("build"), 0, recorder())
    assert re.search(r"trainer\.py.* in train\n(.*\n)*.*training_loop\.py(.*\n)*ZeroDivisionError", failed.traceback)


def test_modules_of_one_name_in_two_folders_do_not_mix(dataset, spec, recorder, tmp_path):
    """Two studies in one process each get their own file."""
    from cnn_sweep.training.network.user_functions import load_function

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(
            textwrap.dedent(f"def who():\n    return {name!r}\n"), encoding="utf-8"
        )
    assert load_function("mine:who", tmp_path / "one")() == "one"
    assert load_function("mine:who", tmp_path / "two")() == "two"
    assert load_function("mine:who", tmp_path / "one")() == "one"
    (tmp_path / "three").mkdir()
    with pytest.raises(InputError, match="the module 'mine' cannot be imported"):
        load_function("mine:who", tmp_path / "three")


def test_an_objective_function_reports_its_own_metrics(trainer, recorder):
    """Its reports are the trial's epochs, and the best of them is its value."""
    notes = recorder()
    outcome = trainer.train(objective("train", gain=6.0), 0, notes)
    assert (outcome.state, outcome.epochs, outcome.best_epoch, outcome.value) == ("complete", 3, 1, 6.0)
    assert notes.epochs == [{"score": 6.0 / k, "extra": float(k)} for k in (1, 2, 3)]


def test_an_objective_function_may_return_a_model_or_a_number(trainer, recorder):
    """A model is kept for export; a number is the objective of a function without reports."""
    outcome = trainer.train(objective("with_model"), 5, recorder())
    assert outcome.parameters == outcome.model.count_params() == 36 * 3 + 3
    assert outcome.value == trainer.train(objective("with_model"), 5, recorder()).value
    assert trainer.train(objective("number"), 0, recorder()).value == 0.25


def test_an_objective_function_that_was_asked_to_stop_is_interrupted(trainer, recorder):
    """What it reported before stays in the outcome."""
    outcome = trainer.train(objective("train", gain=6.0), 0, recorder(stop_after_polls=1))
    assert (outcome.state, outcome.epochs) == ("interrupted", 1)


def test_mistakes_in_objective_functions_are_explained(trainer, recorder):
    """A report without the objective, out of order, or a result of another type is the user's mistake."""
    for function, message in (
        ("wrong_metric", r"objectives:wrong_metric reported points, but the objective is 'score'"),
        ("wrong_epoch", r"reported epoch 0, but the next one is 1"),
        ("wrong_result", r"must return None, a keras.Model or .* but returned str"),
    ):
        with pytest.raises(InputError, match=message):
            trainer.train(objective(function), 0, recorder())


def test_objective_functions_can_fail_or_diverge(trainer, recorder):
    """An exception keeps the reports before it; no finite objective at all is divergence."""
    failed = trainer.train(objective("fails"), 0, recorder())
    assert (failed.state, failed.cause, failed.epochs, failed.value) == ("failed", "exception", 1, 1.5)
    assert failed.message.startswith("RuntimeError: out of luck (objectives.py:")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_without_a_finite_objective_has_diverged(value, trainer, recorder):
    """It is failed, and its message has the value; what is finite in any epoch is its value."""
    notes = recorder()
    outcome = trainer.train(objective("not_finite", value=value), 0, notes)
    assert (outcome.state, outcome.cause, outcome.value, outcome.best_epoch) == ("failed", "diverged", None, None)
    assert (
        outcome.message
        == f"objectives:not_finite reported no finite score in any of 2 epochs; the last one was {value}"
    )
    assert len(notes.epochs) == 2
    for direction in Direction:
        spec = objective("sometimes_finite")
        spec = spec.model_copy(update={"objective": spec.objective.model_copy(update={"direction": direction})})
        found = trainer.train(spec, 0, recorder())
        assert (found.state, found.best_epoch, found.value) == ("complete", 2, 2.0)


def test_any_scalar_is_a_number(trainer, recorder):
    """Numbers of NumPy, Keras and TensorFlow are what a function may return."""
    for kind in ("float32", "array", "tensor", "variable", "bfloat16"):
        assert trainer.train(objective("scalar", kind=kind), 0, recorder()).value == 0.25
    assert trainer.train(objective("scalar", kind="integer"), 0, recorder()).value == 1.0
    nothing = trainer.train(objective("scalar", kind="nothing"), 0, recorder())
    assert (nothing.state, nothing.message) == ("failed", "objectives:scalar reported no score; it reported nothing")
    for kind, message in (
        ("list", "must return None, a keras.Model or .* but returned list"),
        ("text", "but returned str"),
        ("vector", r"objectives:scalar reported score = array\(\[0.25, 0.5 ?\]\); a metric is one number"),
        ("complex", "a metric is one number"),
        ("huge", "reported score = an integer of 1329 bits; .* that a float can hold"),
        ("enormous", "reported score = an integer of 16610 bits"),
    ):
        with pytest.raises(InputError, match=message):
            trainer.train(objective("scalar", kind=kind), 0, recorder())
    with pytest.raises(InputError, match=r"reported extra = \[1, 2\]; a metric is one number"):
        trainer.train(objective("reports_what_is_no_number"), 0, recorder())


def test_a_function_that_leaves_fails_its_trial(trainer, recorder, monkeypatch):
    """``sys.exit`` and interrupts of the user's own code are failures like any other, in either kind of function."""
    outcome = trainer.train(objective("leaves"), 0, recorder())
    assert (outcome.state, outcome.cause, outcome.epochs, outcome.value) == ("failed", "exception", 1, 1.5)
    assert outcome.message.startswith("SystemExit: 3 (objectives.py:")
    assert trainer.train(built("leaves"), 0, recorder()).message.startswith("SystemExit: no licence (networks.py:")
    monkeypatch.setattr("signal.getsignal", lambda _: signal.default_int_handler)  # as in a terminal
    with pytest.raises(KeyboardInterrupt):  # it may be the user's
        trainer.train(objective("interrupts"), 0, recorder())
    monkeypatch.setattr("signal.getsignal", lambda _: signal.SIG_IGN)  # as in a worker
    interrupted = trainer.train(objective("interrupts"), 0, recorder())
    assert interrupted.message.startswith("KeyboardInterrupt (objectives.py:")


def test_failures_do_not_depend_on_where_the_package_lies(dataset, recorder, tmp_path):
    """Loaded from a folder called site-packages, where others' code lies too, messages and causes are the same."""
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "cnn_sweep").symlink_to(Path(cnn_sweep.__file__).parent, target_is_directory=True)
    (site / "installed").mkdir()
    (site / "installed" / "__init__.py").write_text(NETWORKS, encoding="utf-8")
    (tmp_path / "objectives.py").write_text(OBJECTIVES, encoding="utf-8")
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE.format(folder=str(tmp_path)), encoding="utf-8")
    command = [sys.executable, str(tmp_path / "elsewhere.py")]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    line = NETWORKS.splitlines().index('    raise RuntimeError("no such block")') + 1
    ours = Path(cnn_sweep.__file__).parent / "training" / "trial" / "training_loop.py"
    line_of_ours = ours.read_text(encoding="utf-8").splitlines().index("            rates=learning_rates(") + 1
    memory = OBJECTIVES.splitlines().index("    raise MemoryError") + 1
    assert done.stdout.splitlines() == [
        str(site),
        f"exception RuntimeError: no such block (__init__.py:{line})",
        f"oom MemoryError (objectives.py:{memory})",
        f"oom MemoryError (training_loop.py:{line_of_ours})",
    ]
