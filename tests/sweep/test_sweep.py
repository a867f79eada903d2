"""The meaning of a sweep file: references, conditions, repeats, defaults."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.sweep.network.layers import L2, Conv2D, Dense, Dropout, Flatten, Output, Pool
from cnn_sweep.sweep.spec.data import ArrayFiles, ArraysData, DigitsData
from cnn_sweep.sweep.spec.training import EarlyStoppingSpec, OptimizerSpec
from cnn_sweep.sweep.sweep import InvalidTrialError, Sweep

HEAD = "study: s\ndata: {source: digits}\n"


def sweep(*, layers: str, space: str = "{}", training: str = "{epochs: 1}", more: str = "") -> Sweep:
    """Parse a small sweep; the output layer is added."""
    text = f"{HEAD}model:\n  layers: [{layers}, output]\nspace: {space}\ntraining: {training}\n{more}"
    return Sweep.parse(text)


def first_layer(one: Sweep, **params):
    """Give the first layer for some hyperparameters."""
    return one.resolve(params).layers[0]


def test_the_example_of_the_documentation_is_read(text):
    """Every section of the example arrives where it belongs."""
    example = Sweep.parse(text, source="digits.yaml", folder=Path("here"))
    assert (example.study, example.source, example.folder) == ("digits", "digits.yaml", Path("here"))
    assert example.data == DigitsData(source="digits", validation=0.2, test=0.2)
    assert example.space.names == (
        *("filters", "pooling", "dropout", "batch_size", "learning_rate", "optimizer", "momentum"),
    )
    assert [constraint.text for constraint in example.constraints] == ["batch_size * filters <= 2048"]
    assert (example.search.method, example.search.trials, example.search.repeats) == ("grid", None, 1)
    assert (example.objective.metric, example.objective.direction) == ("val_accuracy", "maximize")
    assert example.models_keep == 1
    assert len(example.grid.rows) == 3 * 2 * 3 * 2 * 4 * (3 + 1 + 1)


def test_a_configuration_becomes_a_trial(text):
    """Every reference is replaced by its value, and a reference alone keeps its type."""
    params = {"filters": 8, "pooling": "average", "dropout": 0.25, "batch_size": 32}
    params |= {"learning_rate": 0.001, "optimizer": "sgd", "momentum": 0.99}
    trial = Sweep.parse(text).resolve(params)
    assert trial.params == params
    assert trial.layers == (
        Conv2D(filters=8, kernel_size=(3, 3), padding="same", activation="relu"),
        Pool(pooling="average", size=(2, 2)),
        Dropout(rate=0.25),
        Flatten(),
        Dense(units=32, activation="relu"),
        Output(activation="softmax"),
    )
    assert trial.training is not None
    assert trial.training.batch_size == 32
    assert trial.training.optimizer == OptimizerSpec(name="sgd", learning_rate=0.001, momentum=0.99)


def test_what_refers_to_an_inactive_parameter_is_left_out(text):
    """With adam there is no momentum, so its default holds."""
    example = Sweep.parse(text)
    params = next(row for row in example.grid.rows if row["optimizer"] == "adam")
    assert "momentum" not in params
    training = example.resolve(params).training
    assert training is not None
    assert training.optimizer.momentum == 0.0


@pytest.mark.parametrize("layer", ["dropout: $rate", "dropout: {rate: $rate}", "{dropout: $rate / 2}"])
def test_a_layer_whose_required_setting_is_inactive_is_left_out(layer):
    """The short and the long form of a layer mean the same, also where its parameter does not count."""
    one = sweep(
        layers=f"flatten, {layer}",
        space="{drop: [true, false], rate: {choices: [0.2, 0.4], when: {drop: true}}, dummy: [1]}",
        training="{epochs: 1, early_stopping: {patience: $dummy}, batch_size: 8 if $drop else 16}",
    )
    assert len(one.resolve({"drop": True, "rate": 0.4, "dummy": 1}).layers) == 3
    assert len(one.resolve({"drop": False, "dummy": 1}).layers) == 2


def test_a_section_whose_required_setting_is_inactive_is_left_out():
    """Early stopping and regularisers can be switched on by a parameter."""
    one = sweep(
        layers="{conv2d: {filters: 2, kernel_size: 3, kernel_regularizer: {l2: $l2}}}, flatten",
        space="{careful: [true, false], l2: {choices: [0.1], when: {careful: true}}, "
        "patience: {choices: [3], when: {careful: true}}}",
        training="{epochs: 1, early_stopping: {patience: $patience, min_delta: 0.1}, "
        "batch_size: 8 if $careful else 16}",
    )
    on = one.resolve({"careful": True, "l2": 0.1, "patience": 3})
    off = one.resolve({"careful": False})
    assert on.layers[0].kernel_regularizer == L2(l2=0.1)
    assert on.training.early_stopping == EarlyStoppingSpec(patience=3, min_delta=0.1)
    assert off.layers[0].kernel_regularizer is None
    assert off.training.early_stopping is None


def test_trials_report_what_objectives_and_early_stopping_follow():
    """A metric on request is asked for once, wherever the sweep names it; the usual ones need no mention."""
    training = (
        "{epochs: 1, batch_size: $n, metrics: [val_mcc, loss], early_stopping: {patience: 2, monitor: val_brier}}"
    )
    more = "objectives: [{metric: val_kappa}, {metric: val_mcc}]"
    one = sweep(layers="flatten", space="{n: [8, 16]}", training=training, more=more)
    assert one.resolve({"n": 8}).training.metrics == ("mcc", "kappa", "brier")
    assert [o.direction for o in one.objectives] == ["maximize", "maximize"]


def test_a_list_with_an_inactive_parameter_is_left_out():
    """A pair of which one half does not count is no pair, so the default holds."""
    one = sweep(
        layers="{pool: {size: [$a, $b]}}, flatten",
        space="{a: [3, 4], b: {choices: [5], when: {a: 4}}}",
    )
    assert first_layer(one, a=4, b=5).size == (4, 5)
    assert first_layer(one, a=3).size == (2, 2)


def test_arithmetic_on_parameters():
    """Formulas are worked out; a whole result of a division is a whole number."""
    one = sweep(
        layers="{conv2d: {filters: $f * 2, kernel_size: [$k, $k + 2]}}, {dense: $f / 4}, flatten",
        space="{f: [8, 16], k: [3]}",
    )
    trial = one.resolve({"f": 16, "k": 3})
    assert trial.layers[0] == Conv2D(filters=32, kernel_size=(3, 5))
    assert trial.layers[1] == Dense(units=4)


def test_parameters_may_be_lists():
    """A list as a value reaches the layer as it is, and stays a list in the parameters."""
    one = sweep(layers="{conv2d: {filters: 2, kernel_size: $kernel}}, flatten", space="{kernel: [[3, 3], [5, 1]]}")
    trial = one.resolve(one.grid.rows[1])
    assert trial.layers[0].kernel_size == (5, 1)
    assert trial.params == {"kernel": [5, 1]}


def test_repeats_are_unrolled():
    """`repeat` gives its layers once a round, with `$index` counting from 0; rounds may be none."""
    one = sweep(
        layers="{repeat: {times: $blocks, layers: "
        "[{conv2d: {filters: $filters * 2 ** $index, kernel_size: 3}}, pool]}}, flatten",
        space="{blocks: {low: 0, high: 3}, filters: [4]}",
    )
    layers = one.resolve({"blocks": 3, "filters": 4}).layers
    assert [layer.kind for layer in layers] == [*["conv2d", "pool"] * 3, "flatten", "output"]
    assert [layer.filters for layer in layers[0:6:2]] == [4, 8, 16]
    assert len(one.resolve({"blocks": 0, "filters": 4}).layers) == 2


def test_repeats_nest():
    """Within two repeats `$index` is the round of the inner one."""
    one = sweep(
        layers="{repeat: {times: 2, layers: [{repeat: {times: $index + 1, layers: [{dense: $index + 1}]}}, flatten]}}",
        space="{}",
    )
    layers = one.resolve({}).layers
    assert [getattr(layer, "units", layer.kind) for layer in layers[:-1]] == [1, "flatten", 1, 2, "flatten"]


def test_a_repeat_with_an_inactive_number_of_rounds_is_left_out():
    """Where the parameter does not count, neither do the layers."""
    one = sweep(
        layers="{repeat: {times: $n, layers: [{dense: $deep}]}}, flatten",
        space="{deep: [1, 2], n: {choices: [2], when: {deep: 2}}}",
    )
    assert len(one.resolve({"deep": 1}).layers) == 2
    assert len(one.resolve({"deep": 2, "n": 2}).layers) == 4


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("flatten", "{flatten: {}}"),
        ("flatten", "{flatten: }"),
        ("batch_norm", "{batch_norm: {momentum: 0.99}}"),
        ("pool", "{pool: {kind: max, size: [2, 2]}}"),
        ("{pool: 3}", "{pool: {size: [3, 3]}}"),
        ("global_pool", "{global_pool: {kind: average}}"),
        ("{global_pool: max}", "{global_pool: {kind: max}}"),
        ("{dropout: 0.5}", "{dropout: {rate: 0.5}}"),
        ("{spatial_dropout: 0.5}", "{spatial_dropout: {rate: 0.5}}"),
        ("{dense: 4}", "{dense: {units: 4, activation: linear}}"),
        ("{activation: relu}", "{activation: {activation: relu}}"),
        ("{conv2d: {filters: 2, kernel_size: 3}}", "{conv2d: {filters: 2, kernel_size: [3, 3], strides: 1}}"),
    ],
)
def test_short_forms_mean_their_long_forms(short, long):
    """Each short form of a layer is the same layer as the written-out one, and has the same digest."""
    one, other = sweep(layers=short), sweep(layers=long)
    assert one.resolve({}).layers == other.resolve({}).layers
    assert one.digest == other.digest


def test_an_output_has_short_forms_too():
    """`output`, `output: softmax` and the long form are the same."""
    text = f"{HEAD}training: {{epochs: 1}}\nmodel: {{layers: [flatten, %s]}}"
    forms = ["output", "{output: softmax}", "{output: {activation: softmax}}"]
    assert {Sweep.parse(text % form).resolve({}).layers[-1] for form in forms} == {Output(activation="softmax")}


def test_values_that_make_no_trial_are_an_input_error():
    """A configuration whose arithmetic gives nonsense is told with the place and the values."""
    one = sweep(layers="{dense: $a - $b}, flatten", space="{a: [4, 8], b: [1, 4]}", more='constraints: ["a > b"]')
    with pytest.raises(InvalidTrialError, match=r"model.layers\[0\].dense.units: must be at least 1, not 0.*a=4, b=4"):
        one.resolve({"a": 4, "b": 4})
    with pytest.raises(InvalidTrialError, match="no parameter c"):
        one.resolve({"a": 4, "b": 1, "c": 1})


def test_a_network_cannot_be_made_of_endless_layers():
    """Nested repeats end with a message and not in a full memory."""
    rounds = "{repeat: {times: 1000, layers: [" * 3 + "flatten" + "]}}" * 3
    with pytest.raises(Exception, match="more than 10,000 layers"):
        sweep(layers=rounds)


def test_models_from_functions_may_use_any_parameter():
    """With a function of the user's own every parameter counts as used, and no layers are needed."""
    built = Sweep.parse(f'{HEAD}model: {{build: "nets.small:build"}}\nspace: {{a: [1, 2]}}\ntraining: {{epochs: 3}}')
    trial = built.resolve({"a": 1})
    assert (trial.build, trial.layers, trial.training.epochs) == ("nets.small:build", None, 3)
    own = Sweep.parse(f'{HEAD}space: {{a: [1]}}\nobjective: {{function: "mine:train", metric: score}}')
    trial = own.resolve({"a": 1})
    assert (trial.training, trial.objective.function, trial.objective.metric) == (None, "mine:train", "score")


def test_a_loss_is_minimised_unless_the_file_says_otherwise():
    """Whoever names a loss as the metric wants it small."""
    one = sweep(layers="flatten", more="objective: {metric: val_loss}")
    assert one.objective.direction == "minimize"
    assert sweep(layers="flatten").objective.direction == "maximize"


def test_arrays_are_described_by_files_or_shares():
    """Validation and test images come from their own files, or as shares of the training files."""
    data = "{source: arrays, train: {x: a.npy, y: b.npy}, validation: {x: c.npy, y: d.npy}, test: 0.1, rescale: 0.5}"
    one = Sweep.parse(f"study: s\ndata: {data}\nmodel: {{layers: [flatten, output]}}\ntraining: {{epochs: 1}}")
    assert one.data == ArraysData(
        source="arrays",
        train=ArrayFiles(x="a.npy", y="b.npy"),
        validation=ArrayFiles(x="c.npy", y="d.npy"),
        test=0.1,
        rescale=0.5,
    )


def test_a_sweep_without_a_space_is_one_configuration():
    """Training once is a sweep too."""
    assert sweep(layers="flatten").grid.rows == ({},)


def test_a_file_is_read_from_its_folder(tmp_path, text):
    """Loading keeps the folder, from which relative paths and modules are found."""
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = Sweep.load(path)
    assert (loaded.folder, loaded.source, loaded.text) == (tmp_path, str(path), text)
    assert Sweep.load(str(path)).digest == loaded.digest


def test_a_sweep_travels_between_processes(text):
    """A pickled sweep is the same sweep."""
    one = Sweep.parse(text, folder=Path("x"))
    other = pickle.loads(pickle.dumps(one))
    assert (other.digest, other.folder, other.grid) == (one.digest, one.folder, one.grid)


SAME = [
    ("  dropout: {low: 0.0, high: 0.5, step: 0.25}", "  dropout:   # a comment\n    {step: 0.25, high: 0.5, low: 0.0}"),
    ("    - dropout: $dropout", "    - dropout: {rate: $dropout}"),
    ("kernel_size: 3, padding: same", "padding: same, kernel_size: 3.0"),
    ("conv2d: {filters: $filters,", "conv2d: {strides: 1, filters: $filters,"),
    ("search: {method: grid}", "search: {seed: 0, repeats: 1}\nmodels: {keep: 1, predictions: true}"),
    ("objective: {metric: val_accuracy, direction: maximize}", ""),
    ("batch_size * filters <= 2048", "(batch_size*$filters) <= 2048"),
    ("data: {source: digits, validation: 0.2, test: 0.2}", "data: {source: digits}"),
    ("[max, average]", "{choices: [max, average]}"),
]
OTHER = [
    ("study: digits", "study: digits2"),
    ("filters: [8, 16, 32]", "filters: [16, 8, 32]"),
    ("units: 32", "units: 33"),
    ("{method: grid}", "{method: grid, seed: 1}"),
    ("{optimizer: sgd}", "{optimizer: [sgd, adam]}"),
    ("<= 2048", "<= 2047"),
    ("epochs: 10", "epochs: 11"),
    ("step: 0.25", "step: 0.5"),
    ("search: {method: grid}", "models: {predictions: false}"),
    ("metric: val_accuracy", "metric: val_auc"),
    ("validation: 0.2", "validation: 0.25"),
    ("    - flatten\n", "    - batch_norm\n    - flatten\n"),
]


@pytest.mark.parametrize("change", SAME)
def test_the_digest_does_not_see_how_a_thing_is_written(text, edit, change):
    """Comments, order of keys, short forms and written-out defaults leave the digest as it is."""
    assert Sweep.parse(edit(change)).digest == Sweep.parse(text).digest


@pytest.mark.parametrize("change", OTHER)
def test_the_digest_sees_what_a_thing_means(text, edit, change):
    """Every change of a trial or its number changes the digest."""
    assert Sweep.parse(edit(change)).digest != Sweep.parse(text).digest


def test_keys_that_came_later_do_not_change_old_digests(text, edit):
    """A file that does without the newer keys of training has the digest it had when there were none of them."""
    later = ("augmentation", "class_weights", "steps_per_epoch", "validation_steps", "fine_tune", "threads")
    plain = Sweep.parse(text).resolve(next(iter(Sweep.parse(text).grid.rows))).training.model_dump()
    assert not set(later) & set(plain)
    fixed = edit(("batch_size: $batch_size", "batch_size: 8 if $batch_size else 8"))
    assert not set(later) & set(Sweep.parse(fixed).canonical()["training"])


def test_a_name_alone_is_an_optimizer_or_a_schedule():
    """`optimizer: adam` means `optimizer: {name: adam}`, also for a hyperparameter; a wrong name has a hint."""
    short, long = (
        sweep(layers="flatten", space="{o: [adam, sgd], e: [1, 2]}", training=f"{{epochs: $e, {both}}}")
        for both in ("optimizer: $o, schedule: cosine", "optimizer: {name: $o}, schedule: {kind: cosine}")
    )
    assert short.digest == long.digest
    assert short.resolve({"o": "sgd", "e": 1}).training.optimizer == OptimizerSpec(name="sgd")
    with pytest.raises(SweepFileError, match=r"training\.optimizer.*did you mean 'adam'"):
        sweep(layers="flatten", training="{epochs: 1, optimizer: adm}")


def test_threads_belong_to_a_sweep_and_not_to_a_configuration(text, edit):
    """A number of threads changes what the file means; a hyperparameter in its place is refused with its line."""
    sweep = Sweep.parse(edit(("batch_size: $batch_size", "batch_size: $batch_size\n  threads: 2")))
    assert sweep.threads == 2
    assert sweep.digest != Sweep.parse(text).digest
    assert Sweep.parse(text).threads is None
    with pytest.raises(SweepFileError, match=r"training\.threads: applies to the whole study"):
        Sweep.parse(edit(("batch_size: $batch_size", "batch_size: $batch_size\n  threads: $batch_size")))


def test_the_canonical_form_is_plain_data(text):
    """It can be written as JSON, and has every section."""
    canonical = Sweep.parse(text).canonical()
    assert set(canonical) == {
        *("study", "data", "model", "space", "constraints", "search", "training", "objective", "models"),
    }


def test_reading_a_sweep_imports_nothing_heavy():
    """Neither TensorFlow nor Optuna, SQLAlchemy, pandas, NumPy or SciPy is needed to read a sweep file."""
    heavy = ["tensorflow", "keras", "optuna", "sqlalchemy", "pandas", "numpy", "scipy"]
    code = f"import sys, cnn_sweep.sweep.spec; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert found.stdout.strip() == "[]"


LAYERS = """\
study: s
data: {source: digits}
model:
  layers:
    - flatten
    - repeat: {times: $hidden, layers: [{dense: "[$u0, $u1][$index]"}]}
    - output
space:
  hidden: [1, 2]
  u0: [8, 16]
  u1: {choices: [4, 32], when: {hidden: 2}}
training: {epochs: 1}
"""


def test_a_layer_keeps_what_it_uses_beside_an_inactive_parameter():
    """With one hidden layer its units are those of ``u0``, although ``u1`` does not count."""
    sweep = Sweep.parse(LAYERS)
    found = {}
    for row in sweep.grid.rows:
        layers = sweep.resolve(row).layers
        found[tuple(row.values())] = [layer.units for layer in layers if layer.kind == "dense"]
    expected = {(1, units): [units] for units in (8, 16)}
    assert found == expected | {(2, one, other): [one, other] for one in (8, 16) for other in (4, 32)}


@pytest.mark.parametrize(
    ("written", "validation", "test"),
    [
        ("{source: digits, validation: 20%, test: 12.5 %}", 0.2, 0.125),
        ("{source: arrays, train: {x: a.npy, y: b.npy}, validation: 20%, test: 10%}", 0.2, 0.1),
        ("{source: folder, train: x, image_size: 8, validation: 25%, test: 0%}", 0.25, 0.0),
        ("{source: folder, train: x, image_size: 8, validation: images/20}", "images/20", 0.0),
    ],
)
def test_a_share_may_be_written_in_per_cent(text, written, validation, test):
    """``20%`` is the share 0.2, never a folder of that name."""
    data = Sweep.parse(text.replace("{source: digits, validation: 0.2, test: 0.2}", written)).data
    assert (data.validation, data.test) == (validation, test)


@pytest.mark.parametrize(("engine", "accepted"), [("graph", False), ("fit", True), ("$a", True)])
def test_only_a_model_that_comes_compiled_has_metrics_of_its_own(engine, accepted):
    """The graph engine reports its own metrics whoever built the network; any other name is refused by the plan."""
    text = (
        f'{HEAD}model: {{build: "nets:build"}}\nspace: {{a: [graph, fit]}}\n'
        f"training: {{epochs: 3, engine: {engine}}}\nobjective: {{metric: val_precision}}\n"
    )
    if accepted:
        assert Sweep.parse(text).objective.metric == "val_precision"
        return
    with pytest.raises(
        SweepFileError, match=r"objective.metric: unknown metric 'val_precision' .*; valid: val_accuracy"
    ):
        Sweep.parse(text)
