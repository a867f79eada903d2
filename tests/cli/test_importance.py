"""``importance``, as people read it."""

from __future__ import annotations

from helpers.sweeps import sweep_of_digits
from helpers.written import Written

from cnn_sweep.cli.main import app

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


def test_null_has_a_name_and_the_first_objective_is_named(tmp_path, capsys):
    """The effect of a null stands beside ``null``; with several objectives it is said which one counts."""
    Written(tmp_path).study(
        trials=12,
        sweep=SWEEP,
        params=lambda draw: {"filters": draw.choice([4, 8]), "clip": draw.choice([None, 0.5])},
    )
    assert app(["importance", "digits", "--results", str(tmp_path)], standalone_mode=False) in (None, 0)
    captured = capsys.readouterr()
    effects = captured.out.partition("effect of each value")[2].splitlines()
    assert ["clip", "null"] in [line.split()[:2] for line in effects]
    assert captured.err == "of 2 objectives, only the first counts here: val_accuracy\n"
