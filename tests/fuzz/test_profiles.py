"""Profiles of any content are read and planned with, or refused with a message that names the file."""

from __future__ import annotations

import json
import tomllib

import pytest
from helpers.fuzzing import Found, corpus, finding, fuzz, mutated, odd_values, typed
from hypothesis import strategies as st

from cnn_sweep.execution.array_jobs.slurm import sbatch_parameters, single_job_script
from cnn_sweep.shipped import schemas
from cnn_sweep.slurm.array_plan import array_plan
from cnn_sweep.slurm.cluster import Association, Cluster, JobLimits, NodeKind, Partition, Qos
from cnn_sweep.slurm.profile import Profile

CASES = corpus("profiles")
KEYS = sorted(json.loads(schemas()["profile"].read_text(encoding="utf-8"))["properties"])
WORDS = [
    *("8:00:00", "1-0", "0", "90", "-1:00", "99999999-0", "2G", "1.5T", "0M", "9" * 30 + "G", "gpu:a100:1", "a100:2"),
    *("gpu:-1", "main", "main,old", "honest", "node", "auto", "short", "a,b", "1:2:3:4", "gpu", "1e3"),
]
NODE = NodeKind(4, cpus=4, memory_mb=8000, resources={"gpu:toy": 2}, features=frozenset({"odd"}), state="idle")
CLUSTER = Cluster(
    name="c",
    user="ann",
    enforced=frozenset({"associations", "limits", "qos"}),
    partitions={"main": Partition("main", default=True, max_minutes=60, nodes=(NODE,))},
    default_account="lab",
    associations=(Association("lab", None, ("normal",), None, JobLimits("of user ann", ("account", "lab"))),),
    accounts={"lab": JobLimits("of account lab", ("account", "lab"))},
    qos={"normal": Qos("normal", frozenset(), JobLimits("of QOS normal", ("qos", "normal"), job_resources={"cpu": 9}))},
)


@st.composite
def changed(draw):
    """A profile with some other values, keys more or keys less."""
    data = tomllib.loads(draw(st.sampled_from([text for text in CASES.values() if _is_toml(text)])).decode())
    for _ in range(draw(st.integers(1, 4))):
        table = draw(st.sampled_from([data, data, *(value for value in data.values() if isinstance(value, dict))]))
        key = draw(st.sampled_from([*table, *KEYS]))
        if draw(st.integers(0, 5)) == 0:
            table.pop(key, None)
        else:
            table[key] = draw(st.one_of(st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS)), odd_values()))
    return "\n".join(_lines(data)).encode("utf-8", "surrogatepass")


def _is_toml(text):
    try:
        return bool(tomllib.loads(text.decode())) and text.count(b".") < 100  # deeper tables cannot be written again
    except ValueError:
        return False


def _lines(data):
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    yield from (f"{json.dumps(key)} = {_value(value)}" for key, value in data.items() if key not in tables)
    for key, table in tables.items():
        yield f"[{json.dumps(key)}]"
        yield from (f"{json.dumps(name)} = {_value(value)}" for name, value in table.items())


def _value(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if value is None:
        return "2026-01-01"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


@pytest.fixture
def target(tmp_path):
    """Read a profile, and make the script of its jobs."""
    file = tmp_path / "p.toml"

    def examine(content):
        file.write_bytes(content)
        done = typed(
            tmp_path, "profile", "check", "p.toml", names=["p.toml", "Slurm"], environment={"PATH": "/nowhere"}
        )
        if done.returncode not in {2, 3} or "Slurm" not in done.stderr:
            return
        profile = Profile.load(file)
        plan = array_plan(7, profile, CLUSTER)
        parameters = sbatch_parameters(profile, "study", throttle=2)
        script = single_job_script(profile, "true", tmp_path)
        options = [line for line in script.splitlines() if line.startswith("#SBATCH")]
        if any("\n" in str(value) for value in parameters["additional_parameters"].values()):
            raise Found(f"an option of sbatch with a line break: {options}")
        assert plan.arrays or plan.refusals

    return examine


@pytest.mark.parametrize("case", CASES)
def test_kept_profiles(target, case):
    """Profiles that once made trouble, and sound ones to begin with."""
    assert finding(target, CASES[case]) is None


def test_profiles(target):
    """Any profile is used or refused."""
    fuzz("profiles", target, st.one_of(changed(), changed(), mutated(list(CASES.values()))), few=40, share=0.1)
