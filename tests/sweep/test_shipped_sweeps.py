"""The sweep files that come with the project, and the examples of its documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.sweep import Sweep

ROOT = Path(__file__).parents[2]
DIGITS = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))
DOCS = ROOT / "docs" / "reference"
REFERENCE = (DOCS / "sweep-files.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(study:.*?)```", REFERENCE, re.DOTALL)


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_a_shipped_sweep_has_no_mistakes(path):
    """Every file in sweeps/ is read."""
    assert Sweep.load(path).study


def test_the_default_sweep_is_a_real_one():
    """It has at least 24 configurations over six hyperparameters, all of which can be trained."""
    plan = make_plan([Sweep.load(ROOT / "sweeps" / "digits.yaml")], DIGITS)
    assert len(plan.configurations) >= 24
    assert plan.invalid == ()
    for name in ("filters", "pooling", "dropout", "batch_size", "learning_rate", "optimizer"):
        assert len({configuration.params[name] for configuration in plan.configurations}) > 1


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_the_reference_has_no_mistakes(text):
    """Whoever copies a whole example from the reference gets a sweep that can be planned."""
    assert make_plan([Sweep.parse(text)], DIGITS).trials


SOURCES = re.findall(r"```yaml\n(.*?)```", (DOCS / "data.md").read_text(encoding="utf-8"), re.DOTALL)
REST = "\nstudy: copied\nmodel: {layers: [flatten, output]}\ntraining: {epochs: 1}\n"


@pytest.mark.parametrize("text", SOURCES, ids=lambda text: re.search(r"source: (\w+)", text).group(1))
def test_each_data_section_of_the_documentation_has_no_mistakes(text):
    """Whoever copies a data section gets one that is read; all sources are shown."""
    assert Sweep.parse(text + REST).data.source in text
    assert len(SOURCES) >= 7
