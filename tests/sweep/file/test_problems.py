"""Every mistake in a sweep file is one clear message with file, line, value and valid choices."""

from __future__ import annotations

import re

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.messages import _SYNONYMS, closest
from cnn_sweep.search.samplers import all_configurations
from cnn_sweep.sweep.sweep import Sweep

LAYERS = "conv2d, separable_conv2d, pool, global_pool, batch_norm, dropout"
OPTIMIZERS = "sgd, rmsprop, adam, adamw, adagrad, adadelta, nadam"
USE = ("units: 32", "units: $x")


def space(line: str, *, used: bool = True) -> list[tuple[str, str]]:
    """Add a parameter x to the example, in line 12."""
    return [("space:\n", f"space:\n  x: {line}\n"), *([USE] if used else [])]


def layer(line: str) -> list[tuple[str, str]]:
    """Add a layer to the example, in line 9."""
    return [("    - flatten\n", f"    - flatten\n    - {line}\n")]


def data(source: str) -> list[tuple[str, str]]:
    """Take the images from another source, in line 2."""
    return [("source: digits, validation: 0.2, test: 0.2", f"source: {source}")]


def training(line: str) -> list[tuple[str, str]]:
    """Add a setting to the training section, in line 22."""
    return [("training:\n", f"training:\n  {line}\n")]


def smoothing(line: str) -> list[tuple[str, str]]:
    """Add a parameter x that is no whole number."""
    return [*space(line, used=False), *training("label_smoothing: $x")]


# What is changed, the line and the place of the mistake, and what its message says.
CASES = [
    # the file as a whole
    ([("search:", "serach:")], 20, "serach", "unknown key 'serach' (did you mean 'search'?); valid: study, data"),
    ([("study: digits\n", "")], 1, "file", "the key 'study' is missing; needed: study, data, model, training"),
    ([("constraints:", "study: x\nconstraints:")], 19, "study", "'study' is repeated (first on line 1)"),
    ([("search:", "constraints: []\nsearch:")], 20, "constraints", "is repeated (first on line 19)"),
    ([("{method: grid}", "{method: grid, enqueue: 3}")], 20, "search.enqueue", "must be a list, not 3"),
    (
        training("label_smoothing: '1e-1'"),
        22,
        "training.label_smoothing",
        "must be a number, not '1e-1'; without quotes",
    ),
    # the study's name
    ([("study: digits", "study: ../digits")], 1, "study", "'../digits' cannot name a study; it must be 1 to 64"),
    ([("study: digits", "study: /tmp/x")], 1, "study", "'/tmp/x' cannot name a study"),
    ([("study: digits", "study: ..")], 1, "study", "'..' cannot name a study"),
    (
        [("study: digits", "study: sweeps.db")],
        1,
        "study",
        "'sweeps.db' cannot name a study",
        "another meaning",
    ),
    ([("study: digits", "study: Sweeps.DB-wal")], 1, "study", "'Sweeps.DB-wal' cannot name a study"),
    ([("study: digits", "study: .data")], 1, "study", "'.data' cannot name a study"),
    ([("study: digits", "study: a b")], 1, "study", "'a b' cannot name a study", "Try 'a_b'"),
    ([("study: digits", "study: Käfer")], 1, "study", "the letters a-z and A-Z", "Try 'Kaefer'"),
    ([("study: digits", f"study: {'a' * 65}")], 1, "study", "cannot name a study"),
    ([("study: digits", "study: 2024")], 1, "study", "must be text"),
    ([("study: digits", "study:")], 1, "study", "not nothing"),
    # data
    (
        [("source: digits", "source: digit")],
        2,
        "data.source",
        "'digit' (did you mean 'digits'?); valid: digits, arrays",
    ),
    ([("test: 0.2", "tset: 0.2")], 2, "data.tset", "did you mean 'test'?); valid: source, seed, rescale"),
    ([("validation: 0.2", "validation: 1.5")], 2, "data.validation", "must be less than 1, not 1.5"),
    ([("validation: 0.2", "validation: 120%")], 2, "data.validation", "must be less than 1, not '120%'"),
    (
        data("files, train: x, image_size: 8, labels: {table: t.csv, split: part}, validation: 0.2"),
        *(2, "data", "validation 0.2 has no effect, since the column 'part' divides the images"),
    ),
    (
        data("tiles, picture: p.png, size: 8, labels: {table: t.csv, split: part}, test: 10%"),
        *(2, "data", "test 0.1 has no effect, since the column 'part' divides the images; leave out 'test'"),
    ),
    (
        data("files, train: x, image_size: 8, labels: {pattern: '{class}.*', split: part}"),
        *(2, "data.labels", "split 'part' has no effect, since labels come from file names"),
    ),
    (
        data("rds, classes: {a: {train: x, validation: y}}, validation: 0.3"),
        *(2, "data", "validation 0.3 has no effect, since every class has a file for validation"),
    ),
    ([("validation: 0.2", "validation: 0.9")], 2, "data", "validation 0.9 and test 0.2 leave no images"),
    ([("{source: digits, validation: 0.2, test: 0.2}", "digits")], 2, "data", "which is one of: digits, arrays"),
    ([("source: digits", "source: arrays")], 2, "data", "the key 'train' is missing"),
    (
        [("source: digits", "source: arrays, train: {x: a.npy, z: b.npy, y: c.npy}")],
        *(2, "data.train.z", "unknown key 'z'; valid: x, y"),
    ),
    ([("source: digits", "source: arrays, train: x.npy")], 2, "data.train", "must be a mapping with the keys x, y"),
    (
        [("source: digits, validation: 0.2", "source: arrays, train: {x: a, y: b}, validation: {x: c}")],
        *(2, "data.validation", "the key 'y' is missing"),
    ),
    (data("mnist, validation: {lst: 0.2}"), 2, "lst", "unknown key 'lst' (did you mean 'last'?)", "'last' is m"),
    (data("mnist, validation: {last: 2}"), 2, "data.validation.last", "must be less than 1, not 2"),
    (data("mnist, per_class: {tran: 9}"), 2, "data.per_class.tran", "did you mean 'train'?); valid: train, val"),
    (data("mnist, per_class: 0"), 2, "data.per_class", "must be at least 1, not 0"),
    (data("folder, train: a"), 2, "data", "the key 'image_size' is missing"),
    (data("folder, train: a, image_size: many"), 2, "data.image_size", "must be a whole number or a list of two"),
    (data("folder, train: a, image_size: 9, fit: crp"), 2, "data.fit", "'crp' is not valid (did you mean 'crop'?)"),
    (data("folder, train: a, image_size: 9, color: gray"), 2, "data.color", "did you mean 'grayscale'?); valid: rgb"),
    (data("folder, train: a, image_size: 9, classes: 3"), 2, "data.classes", "a name or a list of names, not 3"),
    (data("folder, train: a, image_size: 9, classes: {x: [a, 3]}"), 2, "data.classes.x", "not ['a', 3]"),
    (data("folder, train: a, image_size: 9, classes: [a, a]"), 2, "data.classes", "a name is repeated in"),
    (data("folder, train: a, image_size: 9, on_leak: ignore"), 2, "data.on_leak", "valid: fail, warn"),
    (data("files, train: a, image_size: 9, labels: {}"), 2, "data.labels", "give exactly one"),
    (data("files, train: a, image_size: 9, labels: {pattern: x}"), 2, "data.labels", "must contain {class} once"),
    (data("files, train: a, image_size: 9, labels: {patern: x}"), 2, "data.labels.patern", "did you mean 'pattern'?"),
    (data("tiles, picture: a, size: 9, labels: {mask: m}"), 2, "data", "a mask needs 'classes' with the value of each"),
    (data("tiles, picture: a, size: 9, labels: {mask: m, cover: 2}, classes: {a: 1}"), 2, "cover", "at most 1"),
    (data("rds, classes: {a: {tran: a.rds}}"), 2, "classes.a.tran", "unknown key 'tran' (did you mean", "is missing"),
    # layers
    (layer("dens: 3"), 9, "model.layers[4].dens", f"unknown layer 'dens' (did you mean 'dense'?); valid: {LAYERS}"),
    (layer("flaten"), 9, "model.layers[4]", "unknown layer 'flaten' (did you mean 'flatten'?)"),
    (layer("3"), 9, "model.layers[4]", "must be a layer, not 3; valid: conv2d"),
    (layer("dense:\n      units: 3"), 9, "model.layers[4]", "2 keys: dense, units; indent settings below"),
    (layer("dense: {unit: 3}"), 9, "model.layers[4].dense.unit", "did you mean 'units'?)"),
    (layer("dense: {activation: relu}"), 9, "model.layers[4].dense", "the key 'units' is missing"),
    (layer("dense"), 9, "model.layers[4]", "the key 'units' is missing"),
    (layer("dense: many"), 9, "model.layers[4].dense", "must be a whole number, not 'many'"),
    (layer("dense: '32'"), 9, "model.layers[4].dense", "must be a whole number, not '32'"),
    (layer("dense: true"), 9, "model.layers[4].dense", "must be a whole number, not true"),
    (layer("dense: 2.5"), 9, "model.layers[4].dense", "must be a whole number, not 2.5"),
    (layer("dense: 0"), 9, "model.layers[4].dense", "must be at least 1, not 0"),
    (layer("dropout: 1.0"), 9, "model.layers[4].dropout", "must be less than 1, not 1"),
    (layer("activation: rulu"), 9, "model.layers[4].activation", "(did you mean 'relu'?); valid: linear, relu"),
    (layer("dense: {kind: relu, units: 3}"), 9, "model.layers[4].dense.kind", "unknown key 'kind'"),
    (layer("dense: {units: 3, kernel_regularizer: 0.1}"), 9, ".kernel_regularizer", "mapping with the keys l2"),
    (layer("dense: {units: 3, kernel_regularizer: {l1: 1}}"), 9, ".l1", "unknown key 'l1'", "key 'l2' is missing"),
    ([("size: 2}", "size: [2, 2, 2]}")], 6, "model.layers[1].pool.size", "or a list of two, such as 3 or [3, 3]"),
    ([("size: 2}", "size: [2]}")], 6, "model.layers[1].pool.size", "or a list of two, such as 3 or [3, 3], not [2]"),
    ([("size: 2}", "size: two}")], 6, "model.layers[1].pool.size", "or a list of two"),
    ([("size: 2}", "size: [2, 0]}")], 6, "model.layers[1].pool.size[1]", "must be at least 1, not 0"),
    ([("kind: $pooling", "pooling: $pooling")], 6, ".pool.pooling", "unknown key 'pooling'; valid: kind, size"),
    ([("padding: same", "padding: sane")], 5, ".conv2d.padding", "(did you mean 'same'?); valid: valid, same"),
    ([("    - output: {activation: softmax}\n", "")], 4, "model.layers", "the last layer must be 'output'"),
    (layer("output"), 9, "model.layers[4]", "only the last layer can be an output layer"),
    (layer("repeat: {times: 2, layers: [output]}"), 9, ".repeat.layers[0]", "only the last layer"),
    ([("activation: softmax", "activation: softmax, units: 1")], 10, ".output", "softmax over one unit is always 1"),
    ([("activation: softmax", "activation: sigmoid, units: 2")], 10, ".output.units", "2 is not valid; valid: 1"),
    ([("activation: softmax", "activation: relu")], 10, ".output.activation", "valid: softmax, sigmoid"),
    (layer("repeat: {time: 2, times: 1, layers: [flatten]}"), 9, ".repeat.time", "unknown key 'time'"),
    (layer("repeat: {layers: [flatten]}"), 9, ".repeat", "the key 'times' is missing"),
    (layer("repeat: {times: 2}"), 9, ".repeat", "the key 'layers' is missing"),
    (layer("repeat: {times: -1, layers: [flatten]}"), 9, ".repeat.times", "a whole number from 0 to 1,000, not -1"),
    (layer("repeat: {times: 2, layers: []}"), 9, ".repeat.layers", "must be a list of layers"),
    (layer("repeat: 3"), 9, ".repeat", "must be a mapping with the keys times, layers, not 3"),
    ([("  layers:\n", "  layer:\n")], 4, "model.layer", "unknown key 'layer' (did you mean 'layers'?); valid: layers"),
    # references and arithmetic
    ([("units: 32", "units: $filter")], 9, ".dense.units", "unknown parameter '$filter' (did you mean '$filters'?)"),
    ([("units: 32", "units: $filters * widt")], 9, ".dense.units", "write $widt to refer to a parameter"),
    ([("units: 32", "units: $filters * $widt")], 9, ".dense.units", "unknown parameter '$widt'"),
    ([("units: 32", "units: $filters *")], 9, ".dense.units", "'$filters *' is not an expression"),
    ([("units: 32", "units: '${filters}'")], 9, ".dense.units", "a '$' must be followed by a parameter's name"),
    ([("units: 32", "units: $filters - 8")], 9, ".dense.units", "from '$filters - 8' with filters=8, line 12"),
    ([("units: 32", "units: $filters / 3")], 9, ".dense.units", "must be a whole number, not 2.66"),
    ([("units: 32", "units: 8 / ($filters - 8)")], 9, ".dense.units", "filters=8: division by zero", "0.333"),
    ([("units: 32", "units: $index + 1")], 9, ".dense.units", "'$index' is the round of a repeat"),
    ([("epochs: 10", "epochs: $epoch")], 22, "training.epochs", "unknown parameter '$epoch'"),
    # the space
    (space("[]"), 12, "space.x", "the list of choices is empty"),
    (space("{choices: []}"), 12, "space.x.choices", "the list of choices is empty"),
    (space("{choices: 3}"), 12, "space.x.choices", "must be a list of choices, not 3"),
    (space("{choices: [1], low: 3}"), 12, "space.x.low", "unknown key 'low'; valid: choices, when, prior"),
    (space("3"), 12, "space.x", "for one value write [3]"),
    (space("max"), 12, "space.x", "must be a list of choices or a range"),
    (space(""), 12, "space.x", "must be a list of choices or a range"),
    (space("[1, 2, 1]"), 12, "space.x[2]", "the choice 1 is repeated"),
    (space("[1, 1.0]"), 12, "space.x[1]", "the choice 1.0 is repeated"),
    (space("[{a: 1}]"), 12, "space.x[0]", "is not a value"),
    (space("['$filters']"), 12, "space.x[0]", "references work only under model and training"),
    (space("{low: 3, high: 1}"), 12, "space.x.low", "low 3 is larger than high 1"),
    (space("{low: 0, high: 1, log: true, points: 3}"), 12, "space.x.low", "a log range needs a low above 0, not 0"),
    (space("{low: 1}"), 12, "space.x", "the key 'high' is missing"),
    (space("{low: a, high: 2}"), 12, "space.x.low", "must be a number, not 'a'"),
    (space("{low: '1e-3', high: 2}"), 12, "space.x.low", "must be a number, not '1e-3'; without quotes"),
    (space("{low: 1, high: true}"), 12, "space.x.high", "must be a number, not true"),
    (space("{low: 1, high: 3, setp: 1}"), 12, "space.x.setp", "(did you mean 'step'?); valid: low, high, step"),
    (space("{low: 1, high: 3, step: 0}"), 12, "space.x.step", "must be more than 0, not 0"),
    (space("{low: 1, high: 3, step: 5}"), 12, "space.x.step", "step 5 is larger than the range from 1 to 3"),
    (space("{low: 1, high: 9, step: 2, points: 3}"), 12, "space.x.step", "step and points exclude each other"),
    (space("{low: 1, high: 9, step: 2, log: true}"), 12, "space.x.step", "step and log exclude each other"),
    (space("{low: 1, high: 3, points: 0}"), 12, "space.x.points", "a whole number from 1 to 100,000, not 0"),
    (space("{low: 1, high: 3, log: maybe}"), 12, "space.x.log", "must be true or false, not 'maybe'"),
    (space("{low: 1.0, high: 3.0}"), 12, "space.x", "a grid needs to know which values to take"),
    (space("{lo: 1, hi: 2, choices: [3]}"), 12, "space.x.lo", "unknown key 'lo'", "unknown key 'hi'"),
    (space("[1, 2]", used=False), 12, "space.x", "nothing uses the parameter 'x'; write $x under model"),
    ([("space:\n", "space:\n  epochs: [1, 2]\n"), ("epochs: 10", "epochs: $epochs")], 12, "", "column of the leader"),
    ([("space:\n", "space:\n  Filters: [1]\n"), ("units: 32", "units: $Filters")], 13, "space.filters", "in case only"),
    ([("space:\n", "space:\n  my-x: [1, 2]\n")], 12, "space.my-x", "cannot name a hyperparameter", "nothing uses"),
    ([("space:\n", "space:\n  max: [1, 2]\n")], 12, "space.max", "reserved: False, None", "nothing uses"),
    ([("space:\n", "space:\n  index: [1, 2]\n")], 12, "space.index", "cannot name a hyperparameter", "nothing uses"),
    # conditions
    ([("when: {optimizer", "when: {optimiser")], 18, "space.momentum.when.optimiser", "(did you mean 'optimizer'?)"),
    ([("optimizer: sgd", "optimizer: sdg")], 18, "space.momentum.when.optimizer", "never 'sdg' (did you mean 'sgd'?)"),
    ([("optimizer: sgd", "optimizer: [sgd, x]")], 18, ".optimizer[1]", "valid: 'sgd', 'adam', 'rmsprop'"),
    ([("optimizer: sgd", "optimizer: []")], 18, "space.momentum.when.optimizer", "the list of values is empty"),
    ([("{optimizer: sgd}", "sgd")], 18, "space.momentum.when", "must be a mapping such as {optimizer: sgd}"),
    ([("{optimizer: sgd}", "{momentum: 0.0}")], 18, ".when.momentum", "'momentum' cannot depend on itself"),
    ([("{optimizer: sgd}", "{dropout: 0.9}")], 18, ".when.dropout", "never 0.9; its range is 0.0 to 0.5"),
    (
        [("optimizer: [sgd, adam, rmsprop]", "optimizer: {choices: [sgd, adam], when: {momentum: 0.0}}")],
        *(11, "space", "depend on each other in a cycle: optimizer, momentum"),
    ),
    # constraints
    ([("<= 2048", "<= 200")], 19, "constraints[0]", "none of the 720 configurations satisfies 'batch_size"),
    ([("filters <=", "filers <=")], 19, "constraints[0]", "unknown parameter 'filers' (did you mean 'filters'?)"),
    ([(" <= 2048", " =< 2048")], 19, "constraints[0]", "'<' is unexpected at character 23"),
    ([(" <= 2048", "")], 19, "constraints[0]", "is not a condition"),
    ([("batch_size * filters", "1")], 19, "constraints[0]", "mentions no parameter; valid: filters, pooling"),
    ([("batch_size * filters", "filters / (filters - 8)")], 19, "constraints[0]", "filters=8: division by zero"),
    ([('["batch_size * filters <= 2048"]', "{a: 1}")], 19, "constraints", "must be a list such as"),
    ([('"batch_size * filters <= 2048"', "3")], 19, "constraints[0]", "must be text such as"),
    ([('2048"]', '2048", "filters > 8", "filters < 16"]')], 19, "constraints", "satisfies all constraints together"),
    # the search
    (
        [("method: grid", "method: gird")],
        20,
        "search.method",
        "(did you mean 'grid'?); valid: grid, brute_force, table, random",
    ),
    ([("method: grid", "method: pso")], 20, "search.method", "'pso' is not valid; valid: grid"),
    ([("method: grid", "method: random")], 20, "search", "needs a number of trials; add trials: 50"),
    ([("method: grid", "method: grid, trials: 0")], 20, "search.trials", "must be at least 1, not 0"),
    ([("method: grid", "method: grid, repeats: 0")], 20, "search.repeats", "must be at least 1, not 0"),
    ([("method: grid", "method: grid, seed: -1")], 20, "search.seed", "must be at least 0, not -1"),
    ([("method: grid", "method: grid, seed: x")], 20, "search.seed", "must be a whole number, not 'x'"),
    ([("method: grid", "method: grid, options: {a: 1}")], 20, "search.options.a", "the method 'grid' has no options"),
    (
        [("method: grid", "method: tpe, trials: 9, options: {n_startup: 3}")],
        *(20, "search.options.n_startup", "(did you mean 'n_startup_trials'?); valid: n_startup_trials, multivariate"),
    ),
    (
        [("method: grid", "method: nsga2, trials: 9, options: {crossover: unifrom}")],
        *(20, "search.options.crossover", "'unifrom' is not valid (did you mean 'uniform'?); valid: uniform"),
    ),
    (
        [("method: grid", "fixed: {poling: max}")],
        20,
        "search.fixed.poling",
        "(did you mean 'pooling'?); valid: filters",
    ),
    (
        [("method: grid", "enqueue: [{filters: 9}]")],
        20,
        "search.enqueue[0].filters",
        "9 is not in the space of 'filters'",
    ),
    ([("method: grid", "enqueue: [{dropout: 0.7}]")], 20, "enqueue[0].dropout", "0 to 0.5 in steps of 0.25"),
    (
        [("method: grid", "enqueue: [{momentum: 0.5}]")],
        20,
        "enqueue[0].momentum",
        "depends on optimizer, which must be",
    ),
    (
        [("method: grid", "enqueue: [{optimizer: adam, momentum: 0.5}]")],
        *(20, "search.enqueue[0].momentum", "'momentum' is inactive with {'optimizer': 'adam'}; leave it out"),
    ),
    # training, objective and models
    (training("epoch: 3"), 22, "training.epoch", "unknown key 'epoch' (did you mean 'epochs'?); valid: epochs, batch"),
    ([("epochs: 10", "epochs: 0")], 22, "training.epochs", "must be at least 1, not 0"),
    ([("  epochs: 10\n", "")], 21, "training", "the key 'epochs' is missing"),
    (training("early_stopping: {}"), 22, "training.early_stopping", "the key 'patience' is missing"),
    (training("early_stopping: 3"), 22, "training.early_stopping", "must be a mapping with the keys patience, min_"),
    (training("early_stopping: {patience: 2, monitor: lss}"), 22, "early_stopping.monitor", "(did you mean 'loss'?)"),
    (training("metrics: [kapa]"), 22, "training.metrics", "(did you mean 'kappa'?); valid: balanced_accuracy"),
    (training("metrics: [top_1_accuracy]"), 22, "training.metrics", "unknown metric 'top_1_accuracy'"),
    (training("metrics: 3"), 22, "training.metrics", "must be a list of metrics such as [kappa, recall], not 3"),
    (training("schedule: {kind: cosin}"), 22, "training.schedule.kind", "(did you mean 'cosine'?); valid: constant"),
    (training("loss: mse"), 22, "training.loss", "valid: auto, binary_crossentropy, categorical_crossentropy"),
    ([("[sgd, adam,", "[sgd, adma,")], 24, ".optimizer.name", f"valid: {OPTIMIZERS} (from $optimizer, line 17)"),
    ([("high: 0.5, step: 0.25", "high: 1.5, step: 0.5")], 7, ".dropout", "less than 1, not 1; also 1.5 (from $dropout"),
    ([("low: 1.0e-4, high: 1.0e-1, log: true", "low: 0, high: 1")], 24, ".learning_rate", "must be more than 0, not 0"),
    ([("val_accuracy", "val_acuracy")], 25, "objective.metric", "(did you mean 'val_accuracy'?); valid: val_accuracy"),
    ([("val_accuracy", "test_accuracy")], 25, "objective.metric", "unknown metric 'test_accuracy'"),
    ([("maximize", "max")], 25, "objective.direction", "valid: maximize, minimize"),
    ([("maximize}", "maximize, value: median}")], 25, "objective.value", "must be best, last, or {mean_last: 5}"),
    ([("maximize}", "maximize, value: {mean_last: 0}}")], 25, "objective.value.mean_last", "must be at least 1, not 0"),
    ([("maximize}", "maximize, function: train}")], 25, "objective.function", "must be 'module:function'"),
    ([("search:", "models: {keep: -1}\nsearch:")], 20, "models.keep", "must be at least 0, not -1"),
    ([("search:", "models: 3\nsearch:")], 20, "models", "must be a mapping with the keys keep, predictions, not 3"),
    (
        [("  layers:\n", "  build: nets.build\n  layers:\n")],
        3,
        "model",
        "either layers or build, not both",
        "must be 'mod",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[3][:30]}" for i, case in enumerate(CASES)])
def test_a_mistake_is_told_with_its_place_its_value_and_the_choices(edit, case):
    """One mistake gives a message that has the line, the path of keys, the value, and what would be valid."""
    changes, line, where, *messages = case
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(edit(*changes), source="my.yaml")
    problems = caught.value.problems
    told = str(caught.value)
    first = next((problem for problem in problems if messages[0] in problem.message), None)
    assert first is not None, told
    assert (first.line, first.where.endswith(where)) == (line, True), told
    assert all(message in told for message in messages), told
    assert told.startswith("my.yaml:"), told
    assert len(problems) <= len(messages), told


def test_all_mistakes_of_a_file_are_told_at_once(edit):
    """Problems of every section come in one error, sorted by line, each once."""
    broken = edit(
        ("study: digits", "study: ../x"),
        ("test: 0.2", "tset: 0.2"),
        ("padding: same", "padding: sane"),
        ("[max, average]", "[max, averag]"),
        ("units: 32", "units: $filter"),
        ("optimizer: sgd}", "optimizer: sdg}"),
        ("<= 2048", "<= 20"),
        ("{method: grid}", "{method: grid, seeds: 4}"),
        ("epochs: 10", "epochs: 0"),
        ("val_accuracy", "val_acc"),
    )
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(broken)
    places = [(problem.line, problem.where) for problem in caught.value.problems]
    assert places == [
        (1, "study"),
        (2, "data.tset"),
        (5, "model.layers[0].conv2d.padding"),
        (6, "model.layers[1].pool.kind"),
        (9, "model.layers[4].dense.units"),
        (18, "space.momentum.when.optimizer"),
        (19, "constraints[0]"),
        (20, "search.seeds"),
        (22, "training.epochs"),
        (25, "objective.metric"),
    ]
    assert caught.value.exit_code == 2


def test_each_place_is_told_once_however_many_configurations_have_it(edit):
    """Many bad values of one parameter are one message that names some of them."""
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(edit(("{low: 0.0, high: 0.5, step: 0.25}", "[0.1, 1, 2, 3, 4, 5, 6]")))
    (problem,) = caught.value.problems
    assert problem.message == ("must be less than 1, not 1; also 2, 3, 4 and 2 more (from $dropout, line 14)")


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    """A missing file, a folder, and bytes that are no text are told without a traceback."""
    (tmp_path / "bytes.yaml").write_bytes(b"study: \xff")
    for name, words in (("none.yaml", "No such file"), (".", "Is a directory"), ("bytes.yaml", "not text in UTF-8")):
        with pytest.raises(SweepFileError, match=words) as caught:
            Sweep.load(tmp_path / name)
        assert str(tmp_path) in str(caught.value)


def test_a_file_with_almost_the_same_name_is_named(tmp_path):
    """The one beside it that the user probably meant; others are not."""
    (tmp_path / "first.yaml").write_text("study: first\n", encoding="utf-8")
    with pytest.raises(SweepFileError, match=r"No such file or directory \(did you mean 'first.yaml'\?\)"):
        Sweep.load(tmp_path / "frist.yaml")
    with pytest.raises(SweepFileError, match=r"No such file or directory$"):
        Sweep.load(tmp_path / "other.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "just text", "[1, 2]", "3"])
def test_a_file_that_is_no_mapping_says_which_keys_it_needs(text):
    """An empty file or a list is one mistake that lists the sections."""
    with pytest.raises(SweepFileError, match=re.escape("must be a mapping with the keys study, data, model")):
        Sweep.parse(text)


def test_a_grid_without_end_is_refused(edit):
    """More configurations than anybody trains are an error that tells what to do."""
    with pytest.raises(SweepFileError, match="more than 200,000 configurations; use the method random"):
        Sweep.parse(edit(("points: 4", "points: 10000"), ("points: 3", "points: 100")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("filters: [8, 16, 32]", "filters: {low: 1, high: 900000000}")], "a grid would take all 900,000,000 values"),
        ([("{method: grid}", "{method: random, trials: 1000000000000}")], "must be at most 1,000,000"),
        ([("{method: grid}", "{repeats: 1000000000000}")], "must be at most 10,000"),
        ([("filters: [8, 16, 32]", f"filters: [{'9' * 400}]")], "is too large for a whole number"),
        ([("filters: [8, 16, 32]", f"filters: [{'[' * 400}{']' * 400}]")], "nested more than 50 levels deep"),
    ],
)
def test_numbers_beyond_all_use_are_one_message(edit, changes, words):
    """A number, a nesting or a count that nobody can compute with is one mistake, and nothing runs out of memory."""
    with pytest.raises(SweepFileError, match=re.escape(words)) as caught:
        Sweep.parse(edit(*changes))
    assert len(caught.value.problems) == 1


def test_an_adaptive_search_of_a_wide_range_is_read_at_once(edit):
    """A range of a billion whole numbers is not listed to see that it is large."""
    wide = ("filters: [8, 16, 32]", "filters: {low: 1, high: 1000000000}"), ("<= 2048", "<= 1.0e+20")
    sweep = Sweep.parse(edit(*wide, ("{method: grid}", "{method: tpe, trials: 5}")))
    assert all_configurations(sweep) is None


def test_text_that_an_older_yaml_takes_for_a_truth_value_is_a_mistake(edit):
    """``[yes, no]`` are texts: a condition on them is told with the place and the way out, and never true for both."""
    flag = ("space:\n", "space:\n  flag: [yes, no]\n"), ("epochs: 10", "epochs: 8 if $flag else 32")
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(edit(*flag))
    (problem,) = caught.value.problems
    assert (problem.line, problem.where) == (23, "training.epochs")
    assert "'yes' is text, not a truth value; write true or false without quotes" in problem.message
    right = edit(*flag).replace("[yes, no]", "[true, false]")
    sweep = Sweep.parse(right)
    assert {params["flag"]: sweep.resolve(params).training.epochs for params in sweep.grid.rows} == {True: 8, False: 32}


@pytest.mark.parametrize("constraint", ["flag", "not flag", "flag or filters > 8", "flag == true"])
def test_a_constraint_on_text_is_a_mistake(edit, constraint):
    """A constraint that needs a truth value and gets a text is told in the line of the constraint."""
    flag = ("space:\n", "space:\n  flag: [yes, no]\n"), ("epochs: 10", "epochs: 8 if $flag == 'yes' else 32")
    text = edit(*flag, ('["batch_size', f'["{constraint}", "batch_size'))
    with pytest.raises(SweepFileError, match="is text") as caught:
        Sweep.parse(text)
    assert [one.where for one in caught.value.problems] == ["constraints[0]"]


@pytest.mark.parametrize(
    ("changes", "point"),
    [
        (smoothing("[0,01, 0,001]"), ["0.01", "0.001"]),
        (smoothing("{low: 0,01, high: 0,5, points: 3}"), ["0.01", "0.5"]),
        (smoothing("\n    low: 0,01\n    high: 0.5\n    points: 2"), ["0.01"]),
        (smoothing("\n    - 0,01"), ["0.01"]),
        (training("label_smoothing: 0,1"), ["0.1"]),
        (training("label_smoothing: 1,5e-2"), ["1.5e-2"]),
        ([("momentum: $momentum}", "momentum: $momentum, epsilon: 0,01, clip_norm: 1}")], ["0.01"]),
        ([(" <= 2048", " <= 2048,5")], ["2048.5"]),
        ([(" <= 2048", " <= 0,05")], ["0.05"]),
    ],
)
def test_a_decimal_comma_is_one_message_that_says_to_write_a_point(edit, changes, point):
    """Wherever a number stands: as text, between brackets, where the comma ends it, and in a condition."""
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(edit(*changes))
    problems = [problem.message for problem in caught.value.problems]
    assert len(problems) == len(point), problems
    for number in point:
        assert any(f"write a decimal point: {number}" in message for message in problems), problems


@pytest.mark.parametrize("line", ["[1,2,3]", "[1,2]", "[1, 2]", "[0.5,1]", "[[1,3], [3,1]]", "[1,2, 3]", '["0,1"]'])
def test_lists_without_spaces_are_no_decimal_commas(edit, line):
    """What may well be several values is taken as such."""
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(edit(*space(line, used=False)))
    assert "decimal point" not in str(caught.value)
    assert "nothing uses the parameter 'x'" in str(caught.value)


def test_a_switch_is_used_through_the_conditions_of_others(edit):
    """A hyperparameter that only decides, through others, which of them apply has an effect."""
    momentum = "momentum: {low: 0.0, high: 0.99, points: 3, when: {optimizer: sgd}}"
    smooth = "smooth: {low: 0.0, high: 0.5, points: 2, when: {mild: true}}"
    switches = f"{smooth}\n  mild: {{choices: [true, false], when: {{regularise: true}}}}\n  regularise: [true, false]"
    added = (momentum, f"{momentum}\n  {switches}")
    Sweep.parse(edit(added, *training("label_smoothing: $smooth")))
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(edit(added))
    for name in ("smooth", "mild", "regularise"):
        assert f"nothing uses the parameter '{name}'" in str(caught.value)


def test_other_methods_need_no_points(edit):
    """A range without points is fine where nothing is a grid, and its ends are tried."""
    changes = (", points: 4", ""), ("{method: grid}", "{method: random, trials: 5}")
    Sweep.parse(edit(*changes))
    with pytest.raises(SweepFileError, match=re.escape("must be less than 1, not 2 (from $dropout")):
        Sweep.parse(edit(*changes, ("{low: 0.0, high: 0.5, step: 0.25}", "{low: 0.0, high: 2.0}")))


def test_an_impossible_constraint_of_a_random_search_is_found(edit):
    """Where nothing can be counted, thousands of random configurations decide."""
    changed = edit(("{method: grid}", "{method: qmc, trials: 5}"), ("<= 2048", "<= 200"))
    with pytest.raises(SweepFileError, match="none of 2,000 random configurations satisfies"):
        Sweep.parse(changed)


def test_values_that_constraints_exclude_are_no_mistakes(edit):
    """A choice that makes a bad layer is fine where a constraint keeps it out."""
    changed = edit(("units: 32", "units: $filters - 8"), ("constraints: [", 'constraints: ["filters > 8", '))
    assert len(Sweep.parse(changed).grid.rows) == 480


def test_a_constraint_may_protect_the_next_one(edit):
    """Constraints count in their order, so that one can keep another from a division by zero."""
    guarded = '["filters > 8", "batch_size / (filters - 8) < 9"]'
    assert Sweep.parse(edit(('["batch_size * filters <= 2048"]', guarded))).grid.rejected > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("learning_rate: $learning_rate", "lr: $learning_rate"), "'lr' (did you mean 'learning_rate'?)"),
        (("- pool: {kind: $pooling, size: 2}", "- max_pooling: 2"), "'max_pooling' (did you mean 'pool'?)"),
        (("- flatten", "- BatchNormalization"), "'BatchNormalization' (did you mean 'batch_norm'?)"),
        (("- flatten", "- MaxPooling2D: 2"), "'MaxPooling2D' (did you mean 'pool'?)"),
        (("- output: {activation: softmax}", "- softmax"), "'softmax'; write activation: softmax or output: softmax"),
        (("metric: val_accuracy", "metric: val_acc"), "'val_acc' (did you mean 'val_accuracy'?)"),
        (("epochs: 10", "num_epochs: 10"), "'num_epochs' (did you mean 'epochs'?)"),
        (("batch_size * filters <= 2048", "optimizer == adam"), "'adam'"),
        (("batch_size * filters <= 2048", "optimizer == adam"), "put a text in quotes: 'adam'"),
    ],
)
def test_words_of_other_tools_are_understood(edit, changes, words):
    """What Keras, PyTorch and others call a thing is answered with our word for it."""
    with pytest.raises(SweepFileError, match=re.escape(words)):
        Sweep.parse(edit(changes))


def test_no_word_of_ours_is_a_synonym_of_another(edit):
    """A synonym is never a suggestion for itself, and each leads to a word."""
    assert all(ours and word not in ours for word, ours in _SYNONYMS.items())
    assert closest("lr", ["rate", "$learning_rate"]) == "$learning_rate"
    assert closest("lr", ["filters"]) is None
