"""Sweep files of any content, and `--set`: `plan` reads them, or refuses them with a message that names the file."""

from __future__ import annotations

import copy
import json
import math

import pytest
from helpers.fuzz_images import write_images
from helpers.fuzzing import (
    Found,
    corpus,
    finding,
    fuzz,
    mutated,
    odd_values,
    places,
    removed,
    replaced,
    typed,
    value_at,
)
from hypothesis import strategies as st

from cnn_sweep.errors import CnnSweepError
from cnn_sweep.execution.study.study_folder import plan_sweeps
from cnn_sweep.shipped import schemas
from cnn_sweep.sweep.file import yaml
from cnn_sweep.sweep.identity import canonical_json
from cnn_sweep.sweep.sweep import Sweep

CASES = corpus("sweeps")
SET_CASES = corpus("set_options")


def _vocabulary(schema):
    """Return the keys and the words that a schema has."""
    if isinstance(schema, list):
        return {word for item in schema for word in _vocabulary(item)}
    if not isinstance(schema, dict):
        return set()
    own = {*schema.get("properties", {}), *schema.get("enum", []), schema.get("const")}
    return own.union(*(_vocabulary(item) for item in schema.values()))


def _mapping(text):
    """Return the content of a sweep file; None if it has none."""
    try:
        return yaml.read(text.decode(), source="")[0].data
    except (CnnSweepError, UnicodeDecodeError):
        return None


_SCHEMA = json.loads(schemas()["sweep"].read_text(encoding="utf-8"))
WORDS = sorted(word for word in _vocabulary(_SCHEMA) if isinstance(word, str))
MAPPINGS = [data for text in CASES.values() if isinstance(data := _mapping(text), dict)]
PLACES = [[place for place in places(data) if place] for data in MAPPINGS]
# Where a sweep file names a file.
PATHS = [
    "~nobody_here/x",
    "\0",
    "a" * 300,
    "images",
    "labels.csv",
    "/dev/null",
    ".",
    "",
    "s.yaml",
    "a.npz:",
    "a.npz:nothing",
]
EXPRESSIONS = [
    "$f",
    "$nothing",
    "$",
    "$n *",
    "1 / ($n - 1)",
    "$f ** 99",
    "$f ** $f ** $f",
    "a:b",
    "$a.b",
    "n < 2",
    "n = 1",
]
YAML_VALUES = [
    "&a [*a]",
    "*nothing",
    "!!python/name:os.system x",
    "<<",
    "!!binary aGk=",
    "2026-01-01",
    "1:30",
    "0x1F",
    "? a",
]


@st.composite
def values(draw):
    """A value for a key of a sweep file: an odd one, a word of the grammar, an expression, part of another file."""
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return draw(st.sampled_from(WORDS))
    if kind == 1:
        return draw(st.sampled_from([*EXPRESSIONS, *PATHS]))
    if kind == 2:
        return {draw(st.sampled_from(WORDS)): draw(odd_values()) for _ in range(draw(st.integers(1, 3)))}
    if kind in (3, 4):
        number = draw(st.integers(0, len(MAPPINGS) - 1))
        return copy.deepcopy(value_at(MAPPINGS[number], draw(st.sampled_from(PLACES[number]))))
    return draw(odd_values())


@st.composite
def changed(draw):
    """A sweep file with one to four other values, keys more or keys less."""
    number = draw(st.integers(0, len(MAPPINGS) - 1))
    data = copy.deepcopy(MAPPINGS[number])
    for _ in range(draw(st.integers(1, 4))):
        path, kind = draw(st.sampled_from(PLACES[number])), draw(st.integers(0, 5))
        if kind == 0:
            removed(data, path)
        elif kind == 1:
            replaced(data, (*path[:-1], draw(st.sampled_from(WORDS))), draw(values()))
        else:
            replaced(data, path, draw(values()))
    return _written(data, draw(st.integers(0, 30)), draw(st.sampled_from(YAML_VALUES)))


def _written(data, indent, odd):
    """Write data as YAML; sometimes with a value that JSON has no form of."""
    text = json.dumps(data, indent=indent % 3, ensure_ascii=indent % 2 == 0)
    text = text.replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf")
    if indent > 20:
        text = text.replace("null", odd, 1) if "null" in text else text.replace('"s"', odd, 1)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def set_options(draw):
    """One to three `--set` options, one a line."""
    number = draw(st.integers(0, len(MAPPINGS) - 1))
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(PLACES[number]))
        key = ".".join(map(str, path[: draw(st.integers(1, len(path)))]))
        key += draw(st.sampled_from(["", "", "", "", ".x", ".0", ".-1", ".", " ", "é", ".99999999999999999999"]))
        value = draw(
            st.one_of(values().map(json.dumps), st.sampled_from([*YAML_VALUES, "", "{", "[1,", "a: b: c", "#"]))
        )
        lines.append(f"{key}={value}")
    return "\n".join(lines).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with images of every source."""
    folder = tmp_path_factory.mktemp("sweeps")
    write_images(folder)
    return folder


@pytest.fixture
def target(folder):
    """What `plan` makes of a sweep file, and that its frozen form means the same."""

    def examine(content):
        (folder / "s.yaml").write_bytes(content)
        if typed(folder, "plan", "s.yaml", names=["s.yaml", "common.yaml", "rows.csv", "labels.csv"]).returncode == 0:
            _check_frozen(folder)

    return examine


def _check_frozen(folder):
    sweep = Sweep.load(folder / "s.yaml")
    frozen = Sweep.parse(sweep.text, source="frozen", folder=folder)
    if frozen.digest != sweep.digest:
        raise Found("the frozen form means another sweep")
    canonical_json(sweep.canonical())
    one, other = plan_sweeps(sweep)[0], plan_sweeps(frozen)[0]
    if one != other:
        raise Found("the plan of the frozen form differs")
    for configuration in one.configurations[:3]:
        if any(isinstance(value, float) and not math.isfinite(value) for value in configuration.params.values()):
            raise Found("a configuration with a value that is not finite")


@pytest.fixture
def set_target(folder):
    """What `plan` makes of `--set` options."""
    (folder / "set.yaml").write_bytes(CASES["grid_of_expressions.yaml"])

    def examine(content):
        lines = content.replace(b"\0", b"").decode("utf-8", "surrogateescape").splitlines()
        options = [word for line in lines for word in ("--set", line)]
        typed(folder, "plan", "set.yaml", *options, names=["set.yaml", "--set", "rows.csv"])

    return examine


@pytest.mark.parametrize("case", CASES)
def test_kept_sweep_files(target, case):
    """Sweep files that once made trouble, and sound ones to begin with."""
    assert finding(target, CASES[case]) is None


@pytest.mark.parametrize("case", SET_CASES)
def test_kept_options(set_target, case):
    """Options that once made trouble, and sound ones to begin with."""
    assert finding(set_target, SET_CASES[case]) is None


def test_sweep_files(target):
    """Any sweep file is planned or refused, and what is planned can be frozen."""
    contents = st.one_of(changed(), changed(), changed(), mutated(list(CASES.values())))
    fuzz("sweeps", target, contents, few=40, share=1)


def test_set_options(set_target):
    """Any `--set` option changes the sweep or is refused."""
    contents = st.one_of(set_options(), set_options(), mutated(list(SET_CASES.values())))
    fuzz("set_options", set_target, contents, few=25, share=0.1)
