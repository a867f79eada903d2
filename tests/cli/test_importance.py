"""``importance``, as people read it."""

from __future__ import annotations

import json

from helpers.sweeps import sweep_of_digits
from helpers.written import Written

from cnn_sweep.cli.main import app

PRUNED = sweep_of_digits("""\
search: {{method: random, trials: 12}}
space: {{filters: [4, 8], rate: [0.1, 0.2]}}
training: {{epochs: 3, optimizer: {{name: adam, learning_rate: $rate}}}}
pruner: median
""")
SWEEP = sweep_of_digits("""\
search: {{method: tpe, trials: 12}}
space:
  filters: [4, 8]
  clip: [null, 0.5]
training: {{epochs: 3, optimizer: {{name: adam, clip_norm: $clip}}}}
""").replace(
    "objective: {{metric: {metric}, direction: {direction}}}",
    "objectives: [{{metric: {metric}}}, {{metric: parameters}}]",
)


def test_null_has_a_name_and_each_objective_its_tables(tmp_path, capsys):
    """The effect of a null stands beside ``null``; with several objectives, CSV and JSON name each, too."""
    Written(tmp_path).study(
        trials=12,
        sweep=SWEEP,
        params=lambda draw: {"filters": draw.choice([4, 8]), "clip": draw.choice([None, 0.5])},
    )
    assert app(["importance", "digits", "--results", str(tmp_path)], standalone_mode=False) in (None, 0)
    captured = capsys.readouterr()
    first, _, second = captured.out.partition("importance for parameters")
    assert first.startswith("importance for val_accuracy")
    assert "effect of each value on parameters" in second
    effects = first.partition("effect of each value on val_accuracy")[2].splitlines()
    assert ["clip", "null"] in [line.split()[:2] for line in effects]
    assert captured.err == ""
    typed = ["importance", "digits", "--results", str(tmp_path), "--format"]
    app([*typed, "csv"], standalone_mode=False)
    rows = [line.split(",")[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["objective", "parameter"]
    assert sorted(rows[1:]) == [[one, name] for one in ("parameters", "val_accuracy") for name in ("clip", "filters")]
    app([*typed, "json"], standalone_mode=False)
    assert list(json.loads(capsys.readouterr().out)) == ["val_accuracy", "parameters"]


def test_what_was_not_counted_is_said(tmp_path, capsys):
    """The command gives the number of pruned trials, and names each hyperparameter that does not vary."""
    Written(tmp_path).study(
        trials=12,
        sweep=PRUNED,
        states=("complete", "pruned"),
        params=lambda draw: {"filters": 4, "rate": draw.choice([0.1, 0.2])},
    )
    app(["importance", "digits", "--results", str(tmp_path)], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "Not estimated, because complete trials have at most one value: filters." in said
    assert "6 pruned trials are not counted" in said
