"""``plan --probe``: what a study costs before anything is submitted."""

import getpass
import json
import os
import sys

import pytest
from helpers.fake_slurm import FakeSlurm
from helpers.written import Written
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.cli.ui import cost
from cnn_sweep.errors import EnvironmentFault, InputError

PROFILE = 'partition = "main"\ncpus = 2\nmemory = "4G"\nworkers_per_task = 2\ntime_limit = 60\n'


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster of scripts, on PATH."""
    found = FakeSlurm(tmp_path, getpass.getuser())
    monkeypatch.setenv("PATH", f"{found.programs}:{os.environ['PATH']}")
    return found


def typed(folder, *words):
    """Type a command in this process, and return what it prints; its errors are raised."""
    done = CliRunner().invoke(app, [*map(str, words), "--results", str(folder / "results")])
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture
def no_probe(monkeypatch):
    """Fail if a probe begins."""

    def measure(*_, **__):
        pytest.fail("a probe began")

    monkeypatch.setattr(cost, "measure", measure)


def test_a_probe_tells_hours_memory_units_and_the_start(slurm, cli, sweep_text):
    """Some of the networks are trained; no study is made, and nothing is submitted."""
    (cli.folder / "tiny.yaml").write_text(sweep_text, encoding="utf-8")
    (cli.folder / "p.toml").write_text(PROFILE, encoding="utf-8")
    partitions = slurm.partitions.replace("DefMemPerCPU", "TRESBillingWeights=CPU=1,Mem=0.25G DefMemPerCPU")
    slurm.put(partitions=partitions)
    answer = json.loads(cli("plan", "tiny.yaml", "--profile", "p.toml", "--probe", "--json").stdout)
    found = answer["cost"]
    assert found["trials"] == answer["trials"]
    assert found["epochs"] == 2 * answer["trials"]
    assert 0 < found["epoch_s"][0] <= found["epoch_s"][2]
    assert found["expected"] == found["most"]
    assert found["expected"]["core_hours"] == pytest.approx(found["expected"]["task_s"] * 2 / 3600)
    assert found["billing_units"] == 2 + 4 * 0.25
    assert 100 < found["memory_mb"] < found["task_memory_mb"]
    assert (found["start"], found["wait_s"]) == ("2026-11-20T19:31:09", 0)
    assert "from 4 shapes" in found["source"]
    assert not (cli.results / "tiny").exists()
    assert not (slurm.home / "submitted").exists()


@pytest.mark.usefixtures("no_probe", "slurm")
def test_a_study_that_has_trials_needs_no_probe(tmp_path):
    """Its own epochs are the measure, and only what is left costs something."""
    Written(tmp_path / "results").study(trials=27, states=("complete", "complete", "waiting"))
    profile = tmp_path / "p.toml"
    profile.write_text(PROFILE.replace("cpus = 2", "cpus = 4"), encoding="utf-8")  # its workers have two threads
    sweep = tmp_path / "results" / "digits" / "sweep.yaml"
    text = typed(tmp_path, "plan", sweep, "--profile", profile, "--probe")
    assert "cost, as 18 trials of the study took:" in text
    assert "unit hours (4 units a task)" in text
    here = typed(tmp_path, "plan", sweep, "--probe")
    assert "core hours" in here
    assert "billing" not in here


@pytest.mark.usefixtures("no_probe")
def test_without_the_option_nothing_is_measured_and_sbatch_is_not_asked(slurm, tmp_path, sweep_text):
    """A plan is as quick as it was."""
    slurm.program("sbatch", 'touch "$home/asked"')
    (tmp_path / "tiny.yaml").write_text(sweep_text, encoding="utf-8")
    (tmp_path / "p.toml").write_text(PROFILE, encoding="utf-8")
    assert "cost" not in typed(tmp_path, "plan", tmp_path / "tiny.yaml", "--profile", tmp_path / "p.toml")
    assert not (slurm.home / "asked").exists()


ON_NODE = """\
#!{python}
import json, sys
folder, workers = sys.argv[-2], int(sys.argv[-1])
question, timing = (json.load(open(folder + name)) for name in ("/question.json", "/timing.json"))
one = dict(epoch_s=0.5, build_s=1.0, trial_s=0.1, images=1079, memory_mb=600.0)
shapes = [[one] * workers for _ in timing["shapes"]]
if {works}:
    json.dump(dict(nonce=question["nonce"], start_s=4.0, shapes=shapes), open(folder + "/report.json", "w"))
else:
    sys.exit("a worker cannot train: no GPU")
"""


@pytest.mark.usefixtures("no_probe", "slurm")
@pytest.mark.parametrize("works", [True, False])
def test_a_job_times_the_networks_on_a_node(tmp_path, sweep_text, works):
    """Its report gives the times; without one, its last words are the reason. No file stays."""
    (tmp_path / "tiny.yaml").write_text(sweep_text, encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(ON_NODE.format(python=sys.executable, works=works), encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "p.toml").write_text(f'{PROFILE}python = "{python}"\n', encoding="utf-8")
    words = ("plan", tmp_path / "tiny.yaml", "--profile", tmp_path / "p.toml", "--probe", "--job")
    if works:
        text = typed(tmp_path, *words)
        assert "cost, from 4 shapes that 2 workers trained in a job:" in text
        assert "0.5 s; a network is built in 1 s" in text
    else:
        with pytest.raises(EnvironmentFault, match="job 17 told no times: a worker cannot train: no GPU"):
            typed(tmp_path, *words)
    assert not list((tmp_path / "results").glob(".doctor*"))
    with pytest.raises(InputError, match="--job is for --probe with --profile"):
        typed(tmp_path, "plan", tmp_path / "tiny.yaml", "--job")


@pytest.mark.usefixtures("no_probe", "slurm")
def test_what_cannot_be_estimated_is_said(tmp_path, sweep_text):
    """A function of the user's, and a profile with GPUs on a machine without."""
    (tmp_path / "network.py").write_text("def train(params, context):\n    return 1.0\n", encoding="utf-8")
    head, space = sweep_text[: sweep_text.index("model:")], sweep_text[sweep_text.index("space:") :]
    own = f"{head}objective: {{function: 'network:train'}}\n{space[: space.index('training:')]}"
    (tmp_path / "own.yaml").write_text(own, encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(sweep_text, encoding="utf-8")
    (tmp_path / "gpu.toml").write_text('partition = "gpu"\ngpus_per_node = 1\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"objective\.function trains by itself"):
        typed(tmp_path, "plan", tmp_path / "own.yaml", "--probe")
    with pytest.raises(InputError, match="asks for GPUs and this machine has none"):
        typed(tmp_path, "plan", tmp_path / "tiny.yaml", "--probe", "--profile", tmp_path / "gpu.toml")
