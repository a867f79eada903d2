"""``threads``: which division of the cores trains fastest."""

import json

import pytest

from cnn_sweep.execution.machine import usable_cores
from cnn_sweep.tools.training_rates import divisions


@pytest.mark.long
def test_every_division_of_the_cores_is_measured(cli, sweep_text):
    """Each row trains, and the advice is one of the rows; no study is made."""
    (cli.folder / "tiny.yaml").write_text(sweep_text, encoding="utf-8")
    answer = json.loads(cli("threads", "tiny.yaml", "--seconds", 0.2, "--json").stdout)
    rates = answer["rates"]
    assert [(rate["workers"], rate["threads"]) for rate in rates] == list(divisions(usable_cores(), 1000))
    assert all(rate["images_per_s"] > 0 for rate in rates)
    assert answer["advised"] in rates
    assert not (cli.results / "tiny").exists()


def test_cores_are_divided_between_fewer_and_fewer_workers():
    """As many as memory allows, half of them, and so on down to one that has all cores."""
    assert list(divisions(8, 1000)) == [(8, 1), (4, 2), (2, 4), (1, 8)]
    assert list(divisions(6, 1000)) == [(6, 1), (3, 2), (1, 6)]
    assert list(divisions(6, 4)) == [(4, 1), (2, 3), (1, 6)]
    assert list(divisions(1, 4)) == [(1, 1)]


def test_what_cannot_be_measured_is_said(cli, sweep_text):
    """A network that fails gives its own words; a function of the user's has nothing to measure."""
    (cli.folder / "network.py").write_text(
        "def build(params, image_shape, classes):\n    print(1)\n    raise ValueError('no such network')\n"
        "def function(params, context):\n    return 1.0\n",
        encoding="utf-8",
    )
    head, space = sweep_text[: sweep_text.index("model:")], sweep_text[sweep_text.index("space:") :]
    (cli.folder / "built.yaml").write_text(f"{head}model: {{build: 'network:build'}}\n{space}", encoding="utf-8")
    failed = cli("threads", "built.yaml", "--seconds", 0.2, code=3).stderr
    assert "a worker cannot train: the trial is failed: ValueError: no such network" in failed
    space = space[: space.index("training:")]
    (cli.folder / "own.yaml").write_text(
        f"{head}objective: {{function: 'network:function'}}\n{space}", encoding="utf-8"
    )
    assert "so its threads cannot be measured" in cli("threads", "own.yaml", code=2).stderr
