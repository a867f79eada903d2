"""Changes of single keys, as with ``--set``: they count as if the file had them."""

from __future__ import annotations

import re

import pytest

from cnn_sweep.errors import InputError, SweepFileError
from cnn_sweep.sweep.file.changes import parse_changes
from cnn_sweep.sweep.sweep import Sweep


def changed(text: str, *options: str) -> Sweep:
    """Read the example with changes."""
    return Sweep.parse(text, source="my.yaml", changes=parse_changes(options))


@pytest.mark.parametrize(
    ("option", "old", "new"),
    [
        ("training.epochs=5", "epochs: 10", "epochs: 5"),
        ("study=other", "study: digits", "study: other"),
        ("space.filters=[8, 64]", "[8, 16, 32]", "[8, 64]"),
        ("model.layers.4.dense.units=64", "units: 32", "units: 64"),
        ("data.validation=25%", "validation: 0.2", "validation: 25%"),
        ("training.early_stopping.patience=3", "  epochs: 10", "  epochs: 10\n  early_stopping: {patience: 3}"),
        ("models={keep: 3}", "study: digits", "study: digits\nmodels: {keep: 3}"),
        ("search.trials=2", "{method: grid}", "{method: grid, trials: 2}"),
    ],
)
def test_a_change_means_the_same_as_an_edited_file(text, edit, option, old, new):
    """A key that is set has the value that it would have in the file; the kept text has it, too."""
    one = changed(text, option)
    assert one.digest == Sweep.parse(edit((old, new))).digest
    assert Sweep.parse(one.text).digest == one.digest


def test_of_two_changes_of_a_key_the_later_one_counts(text):
    """Options are applied in order, and a part of a value can be changed afterwards."""
    one = changed(text, "training.epochs=2", "search={method: random}", "search.trials=7", "training.epochs=3")
    assert (one.sections.training.resolve({"batch_size": 1}).epochs, one.search.trials) == (3, 7)
    assert one.changed == (
        "training.epochs: 10 -> 2",
        "search: {method: grid} -> {method: random}",
        "search.trials: 7 (new)",
        "training.epochs: 2 -> 3",
    )


def test_the_same_value_is_no_change(text):
    """A key that has the value already is not listed."""
    assert changed(text, "training.epochs=10", "search={method: grid}").changed == ()


def test_a_hyperparameter_whose_references_are_replaced_leaves_the_space(text, edit):
    """Who sets a key to one value need not know the space; the other parameters' comments stay in the kept text."""
    one = changed(text, "model.layers.2.dropout=0.5")
    assert "dropout" not in one.space.names
    assert one.changed[-1] == "space.dropout: removed, since nothing uses it any more"
    assert Sweep.parse(one.text).digest == one.digest
    assert changed(text, "training.optimizer={name: adam}").space.names == (
        "filters",
        "pooling",
        "dropout",
        "batch_size",
    )


def test_a_hyperparameter_that_something_else_names_stays_and_the_message_has_the_cure(text):
    """A constraint on it would mean something else without it; one value does what was meant."""
    with pytest.raises(SweepFileError, match=re.escape("or remove it; for one value, batch_size: [VALUE]")):
        changed(text, "training.batch_size=32")
    assert changed(text, "space.batch_size=[32]").space.by_name["batch_size"].domain.values == (32,)
    with pytest.raises(SweepFileError, match="nothing uses the parameter 'more'"):
        changed(text, "space.more=[1, 2]")


def test_python_changes_keys_without_text(text):
    """A program gives values as they are."""
    one = Sweep.parse(text, changes={"training.epochs": 4, "space.filters": [1, 2]})
    assert one.space.by_name["filters"].domain.values == (1, 2)
    with pytest.raises(SweepFileError, match=r"^changes\['training.epochs'\]: must be at least 1, not 0$"):
        Sweep.parse(text, changes={"training.epochs": 0})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("training.epoch=5", "--set training.epoch: unknown key 'epoch' (did you mean 'epochs'?); valid: epochs"),
        ("training.epochs=0", "--set training.epochs: must be at least 1, not 0"),
        ("space.filters={low: 5, high: 1}", "--set space.filters: space.filters.low: low 5 is larger than high 1"),
        ("training.epochs.x=1", "--set training.epochs.x: training.epochs is 10, which has no keys"),
        ("model.layers.9=x", "--set model.layers.9: model.layers is a list with the items 0 to 5, so '9' is none"),
        ("model.layers.dense=x", "--set model.layers.dense: model.layers is a list with the items 0 to 5"),
        ("space.filters=[8, 16", "--set space.filters: while parsing a flow sequence"),
        ("space.filters={low: 0,01, high: 1}", "--set space.filters: 0,01 is read as two values"),
        ("training.epochs", "--set 'training.epochs' must be key=value, as in --set training.epochs=5"),
        ("=5", "--set '=5' must be key=value"),
        ("a..b=5", "--set 'a..b=5' must be key=value"),
        ("study=", "--set study: must be text"),
    ],
)
def test_a_wrong_change_gives_the_files_message_and_names_the_option(text, option, message):
    """What is wrong is said as for the file, after the option instead of the line."""
    with pytest.raises(InputError) as caught:
        changed(text, option)
    assert str(caught.value).startswith(message)


def test_lines_of_other_mistakes_are_those_of_the_file(text):
    """A change above a mistake does not move its line."""
    with pytest.raises(SweepFileError) as caught:
        changed(text.replace("epochs: 10", "epochs: -1"), "space.filters=[1]", "models.keep=-1")
    assert str(caught.value).splitlines() == [
        "my.yaml:22: training.epochs: must be at least 1, not -1",
        "--set models.keep: must be at least 0, not -1",
    ]
