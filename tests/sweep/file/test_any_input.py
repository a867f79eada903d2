"""Any content of a sweep file gives a sweep or a list of mistakes, never another exception."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_sweep.errors import Problem, SweepFileError
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.file import yaml
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.sweep import Sweep

DIGITS = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))
RICH = """
study: s
data: {source: digits, validation: 0.2}
model:
  layers:
    - repeat: {times: $n, layers: [{conv2d: {filters: "$f * 2 ** $index", kernel_size: [3, $k], padding: same}}]}
    - pool: {kind: $p, size: 2}
    - dropout: $rate
    - flatten
    - dense: {units: 8, kernel_regularizer: {l2: 0.1}}
    - output: {activation: softmax}
space:
  n: [1, 2]
  f: [4, 8]
  k: {low: 1, high: 3}
  p: [max, average]
  rate: {low: 0.0, high: 0.4, points: 2, when: {p: max}}
constraints: ["n * f < 16"]
search: {method: grid, trials: 4, repeats: 2, seed: 1, options: {}}
training: {epochs: 2, optimizer: {name: adam}, early_stopping: {patience: 2}, schedule: {kind: cosine}}
objective: {metric: val_accuracy}
models: {keep: 2}
"""

junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 9),
        st.sampled_from([0.5, 1e30, -1.5, 10**30, 1e-320]),
        st.sampled_from(["$n", "$nothing", "$", "$n *", "$n - 1", "1 / ($n - 1)", "$f ** 99", "max", "sgd", "a:b", ""]),
        st.sampled_from(
            ["grid", "random", "qmc", "tpe", "arrays", "output", "repeat", "n < 2", "n", "n = 1", "[" * 99]
        ),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "layers", "times", "when", "low", "high", "step", "choices", "n", "x", "repeat"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=5,
)


def places(data: Any, path: tuple = ()) -> list[tuple]:
    """List the paths of all values."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


ORIGINAL = yaml.read(RICH, source="")[0].data
PLACES = places(ORIGINAL)[1:]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Put junk in one to three places of a good file, or take them away."""
    data = json.loads(json.dumps(ORIGINAL))
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        parent = data
        try:
            for key in path[:-1]:
                parent = parent[key]
            if draw(st.booleans()):
                parent[path[-1]] = draw(junk)
            else:
                del parent[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return json.dumps(data, indent=1)


def read(text: str) -> tuple[Sweep | None, tuple[Problem, ...]]:
    """Read a sweep, or its mistakes."""
    try:
        return Sweep.parse(text), ()
    except SweepFileError as error:
        return None, error.problems


@given(damaged())
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files_are_mistakes(text):
    """A good file with junk in it is read, or refused with a line and a message for each mistake."""
    sweep, mistakes = read(text)
    if sweep is None:
        assert mistakes
        assert all(problem.message and problem.line >= 1 for problem in mistakes)
    else:
        json.dumps(sweep.canonical(), allow_nan=False)
        assert len(sweep.digest) == 64
        make_plan([sweep], DIGITS)


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None, database=None)
def test_any_text_is_a_mistake(text):
    """No text that is not a sweep file gets through, or further than a message."""
    sweep, mistakes = read(text)
    assert sweep is None
    assert mistakes
