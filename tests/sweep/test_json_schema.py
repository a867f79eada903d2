"""The JSON Schemas accept what the program accepts, and refuse the usual mistakes."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.errors import InputError
from cnn_sweep.shipped import example_profiles, example_sweeps, schemas
from cnn_sweep.slurm import profile_schema
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.sweep.file import schema, yaml
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.tools.schemas import schema_texts

ROOT = Path(__file__).parents[2]
SWEEP = json.loads(schemas()["sweep"].read_text(encoding="utf-8"))
PROFILE = json.loads(schemas()["profile"].read_text(encoding="utf-8"))


def mistakes(document: dict, data: object) -> list[str]:
    """Return what a schema finds wrong with data."""
    return [error.message for error in Draft7Validator(document).iter_errors(data)]


def content(text: str) -> object:
    """Return the data of a sweep file."""
    return yaml.read(text, source="")[0].data


def texts_of_tests() -> list[str]:
    """Return the sweep files that tests and pages of the documentation have as constants."""
    found: list[str] = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        found += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    for page in sorted((ROOT / "docs").rglob("*.md")):
        blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        rest = "study: copied\nmodel: {layers: [flatten, output]}\ntraining: {epochs: 1}\n"
        found += [block if "study:" in block else f"{block}\n{rest}" for block in blocks]
    return list(dict.fromkeys(text for text in found if "data:" in text and "study:" in text))


def test_the_committed_schemas_are_fresh():
    """`make schema` would change nothing."""
    assert {kind: file.read_text(encoding="utf-8") for kind, file in schemas().items()} == schema_texts()


@pytest.mark.parametrize("document", [SWEEP, PROFILE], ids=["sweep", "profile"])
def test_a_schema_is_one(document):
    """Both are valid by the rules of JSON Schema, and each key has a description that editors can show."""
    Draft7Validator.check_schema(document)
    silent = [
        key for key, value in document["properties"].items() if "description" not in value and "$ref" not in value
    ]
    assert [key for key in silent if key != "objectives"] == []


@pytest.mark.parametrize("name", example_sweeps())
def test_shipped_sweeps_fit_and_name_their_schema(name):
    """An editor that opens an example finds the schema from its first line, and no mistake."""
    file = example_sweeps()[name]
    text = file.read_text(encoding="utf-8")
    assert mistakes(SWEEP, content(text)) == []
    assert text.splitlines()[0] == schema.schema_line("../cnn_sweep/schemas/sweep.schema.json")


@pytest.mark.parametrize("name", example_profiles())
def test_shipped_profiles_fit_and_name_their_schema(name):
    """The same for the profiles of clusters."""
    text = example_profiles()[name].read_text(encoding="utf-8")
    assert mistakes(PROFILE, tomllib.loads(text)) == []
    assert text.splitlines()[0] == profile_schema.schema_line("../cnn_sweep/schemas/profile.schema.json")


def test_every_valid_sweep_of_tests_and_documentation_fits():
    """What the program reads without a mistake, an editor shows without one."""
    valid = 0
    for text in texts_of_tests():
        try:
            Sweep.parse(text)
        except InputError:
            continue
        valid += 1
        assert mistakes(SWEEP, content(text)) == [], text
    assert valid > 30


BROKEN = [
    ("study: digits", "study: a b"),
    ("study: digits\n", ""),
    ("source: digits", "source: digit"),
    ("validation: 0.2", "validaton: 0.2"),
    ("validation: 0.2", "validation: 1.5"),
    ("validation: 0.2", "validation: 20 percent"),
    ("    - flatten\n", "    - flaten\n"),
    ("    - flatten\n", "    - flatten\n    - dropout\n"),
    ("    - flatten\n", "    - dense: {units: 3}\n      dropout: 0.2\n"),
    ("filters: $filters", "filters: 0"),
    ("filters: $filters, ", ""),
    ("kernel_size: 3", "kernel_size: [3, 3, 3]"),
    ("activation: relu", "activation: rleu"),
    ("pool: {kind: $pooling", "pool: {kind: minimum"),
    ("pool: {kind: $pooling", "pool: {pooling: max"),
    ("filters: [8, 16, 32]", "filters: 8"),
    ("filters: [8, 16, 32]", "filters: []"),
    ("{low: 0.0, high: 0.5, step: 0.25}", "{low: 0.0, step: 0.25}"),
    ("{low: 0.0, high: 0.5, step: 0.25}", "{low: 0.0, high: 0.5, stepp: 0.25}"),
    ("learning_rate: {low", "min: {low"),
    ("method: grid", "method: gird"),
    ("method: grid", "method: tpe, options: {n_startup: 3}"),
    ("method: grid", "method: grid, trials: 0"),
    ("epochs: 10", "epochs: ten"),
    ("  epochs: 10\n", ""),
    ("name: $optimizer", "name: adm"),
    ("direction: maximize", "direction: up"),
    ("constraints: [", "constraint: ["),
    ("search: {method: grid}", "search: {method: grid}\npruner: {asha: {reduction: 1}}"),
    ("search: {method: grid}", "search: {method: grid}\npruner: {median: {}, asha: {}}"),
    ("search: {method: grid}", "search: {method: grid}\nmodels: {keep: all}"),
]


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change[1].strip()[:40])
def test_a_broken_sweep_does_not_fit(edit, change):
    """An editor marks the mistakes that the program reports."""
    text = edit(change)
    with pytest.raises(InputError):
        Sweep.parse(text)
    assert mistakes(SWEEP, content(text))


def test_short_forms_of_a_sweep_fit(edit):
    """A name may stand for an optimizer or a schedule, and a wrong one is marked."""
    text = edit(("  epochs: 10\n", "  epochs: 10\n  schedule: cosine\n"))
    assert mistakes(SWEEP, content(text)) == []
    assert mistakes(SWEEP, content(text.replace("cosine", "cosin")))


@pytest.mark.parametrize("line", ['partitions = "cpu"', "cpus = 0", 'retry = {exception = "no"}', "notify = [1]"])
def test_a_broken_profile_does_not_fit(line):
    """The same for profiles."""
    with pytest.raises(InputError):
        Profile.parse(line)
    assert mistakes(PROFILE, tomllib.loads(line))


@pytest.mark.parametrize(
    "line",
    ['time_limit = "1:30:00"', "time_limit = 90", 'memory = "2G"', 'gpus_per_node = "a100:2"', "gpus_per_node = 1"],
)
def test_short_forms_of_a_profile_fit(line):
    """A time, a size or a number of GPUs may be a number or a text."""
    Profile.parse(line)
    assert mistakes(PROFILE, tomllib.loads(line)) == []


def test_the_command_prints_a_schema_and_its_path():
    """`cnn-sweep schema` works wherever the package is installed."""
    typed = CliRunner().invoke(app, ["schema", "profile"])
    assert json.loads(typed.stdout) == PROFILE
    assert CliRunner().invoke(app, ["schema", "--path"]).stdout.strip() == str(schemas()["sweep"])
