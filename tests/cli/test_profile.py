"""`profile detect` and `profile check`, as typed on a login node."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.fake_slurm import MUNGE, USER_HEAD, FakeSlurm, partition
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.cli.ui import files
from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.shipped import example_profiles
from cnn_sweep.slurm.profile import Profile


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster with a partition of CPUs and one of GPUs; the folder of the user is empty."""
    fake = FakeSlurm(tmp_path, getpass.getuser())
    monkeypatch.setenv("PATH", f"{fake.programs}:/usr/bin:/bin")
    for name in ("LOADEDMODULES", "CONDA_PREFIX", "SCRATCH", "WORK"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return fake


def _type(*words, **options):
    return CliRunner().invoke(app, ["profile", *words], **options)


def test_the_detected_profile_is_printed_and_read_again(slurm):
    """Standard output is the profile and nothing else; what sbatch says goes to the terminal."""
    done = _type("detect")
    assert done.exit_code == 0, done.output
    profile = Profile.parse(done.stdout)
    assert (profile.partition, profile.account, profile.cpus) == ("main", "lab", 4)
    assert profile.python == sys.executable
    assert "would start at 2026-11-20 19:31:09 on n1" in done.stderr


def test_a_file_is_written_once(slurm, tmp_path):
    """It is never overwritten, and nothing else is left in its folder."""
    assert _type("detect", "--gpu", "--output", "gpu.toml").exit_code == 0
    assert Profile.load("gpu.toml").gpus == 1
    before = (tmp_path / "desk" / "gpu.toml").read_bytes()
    done = _type("detect", "--output", "gpu.toml")
    assert done.exit_code != 0
    assert "gpu.toml exists and is not overwritten" in str(done.exception)
    assert [path.name for path in Path().iterdir()] == ["gpu.toml"]
    assert (tmp_path / "desk" / "gpu.toml").read_bytes() == before


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path):
    """The last step refuses as well, with or without links on the file system."""
    (tmp_path / "my.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(files.InputError, match="exists"):
        files.create_text(tmp_path / "my.toml", "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["detect", "--partition", "mian"], 2, "unknown partition 'mian' (did you mean 'main'?); valid: gpu, main"),
        (["detect", "--account", "x"], 2, "unknown account 'x'; valid: lab"),
        (["detect", "--partition", "main", "--gpu"], 2, "partitions with GPUs: gpu"),
        (["detect", "--output", "no/such/my.toml"], 2, "the folder no/such does not exist"),
        (["check", "my.toml"], 2, "there is no profile my.toml"),
    ],
)
def test_a_mistake_is_one_message(slurm, words, code, says):
    """With the value and the choices; no file is written."""
    done = _type(*words)
    assert says in str(done.exception)
    assert done.exception.exit_code == code
    assert not list(Path().iterdir())


def test_without_slurm_one_message_says_where_it_would_be(slurm, monkeypatch, tmp_path):
    """The exit code is that of a wrong environment."""
    monkeypatch.setenv("PATH", str(tmp_path))
    done = _type("detect")
    assert done.exception.exit_code == 3
    assert str(done.exception).startswith("scontrol is not installed here; is this a login node of a cluster? Use one")


def test_submit_and_plan_say_in_one_sentence_that_there_is_no_cluster(slurm, tmp_path):
    """Of Slurm's own messages the last is shown, which is that of the command, with what to do."""
    words = ["fetch_config: DNS SRV lookup failed", "scontrol: Could not establish a configuration source"]
    slurm.fails("scontrol", "\n".join(words))
    (tmp_path / "my.toml").write_text(example_profiles()["cpu"].read_text(encoding="utf-8"), encoding="utf-8")
    CliRunner().invoke(app, ["init", "--example", "digits"])
    for command in ("plan", "submit"):
        done = CliRunner().invoke(app, [command, "digits.yaml", "--profile", str(tmp_path / "my.toml")])
        assert isinstance(done.exception, EnvironmentFault)
        assert str(done.exception).startswith(
            "scontrol failed: Could not establish a configuration source. Slurm's configuration is missing here: use a"
        )


def test_a_cluster_that_does_not_answer_is_told_with_its_remedy(slurm):
    """As in `doctor`."""
    slurm.fails("scontrol", MUNGE)
    done = _type("detect")
    assert done.exception.exit_code == 3
    assert "(munge) is down" in str(done.exception)


@pytest.mark.parametrize(
    "answers",
    [
        {"config": "ClusterName = lab\nAccountingStorageType = accounting_storage/none\n"},
        {"users": USER_HEAD, "config": "ClusterName = lab\nAccountingStorageType = accounting_storage/slurmdbd\n"},
        {"partitions": partition("main", time="UNLIMITED")},
        {"nodes": "main|4|0|0|(null)|(null)|down*|0|0\nmain|1|2+|1+|(null)|(null)|idle~|1+|0\n"},
        {"nodes": "main|2|64|1|gpu:1g.5gb:7(S:0-1)|(null)|planned|2|0\n"},
    ],
    ids=["no accounting", "no association, none enforced", "no default partition", "odd nodes", "slices of GPUs"],
)
def test_odd_clusters_have_a_profile(slurm, answers):
    """Without accounts, limits, a default partition, or with nodes that nobody described."""
    slurm.put(**answers)
    done = _type("detect")
    assert done.exit_code == 0, done.exception
    assert Profile.parse(done.stdout).partition == "main"


def test_accounts_that_do_not_answer_are_noted(slurm):
    """The profile is written all the same, and says what is missing."""
    slurm.fails("sacctmgr", "sacctmgr: error: Connection refused")
    assert "account limits are unknown" in " ".join(_type("detect").stdout.split())


def test_a_profile_that_sbatch_refuses_is_written_and_told(slurm):
    """The exit code says so, with sbatch's words and the line."""
    slurm.fails("sbatch", "allocation failure: Invalid account or account/partition combination specified")
    done = _type("detect", "--output", "my.toml")
    assert done.exception.exit_code == 3
    assert "account: sbatch refused the job" in str(done.exception)
    assert Profile.load("my.toml").account == "lab"


def test_modules_conda_and_scratch_are_in_the_profile(slurm, monkeypatch, tmp_path):
    """Loaded modules become the setup; folders with space are comments."""
    monkeypatch.setenv("LOADEDMODULES", "gcc/12:cuda/12.4")
    monkeypatch.setenv("CONDA_PREFIX", sys.prefix)
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "sweep")
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    text = _type("detect").stdout
    assert Profile.parse(text).setup == ("module load gcc/12 cuda/12.4",)
    joined = text.replace("\n# ", " ")
    assert "conda environment sweep" in joined
    assert "CNN_SWEEP_RESULTS=$SCRATCH/results" in joined
    assert "nodes have up to 879 GB of their own at /tmp" in joined


def test_several_accounts_are_asked_for_on_a_terminal(slurm, monkeypatch):
    """An answer that is none of them is asked again; without a terminal, the default one is taken."""
    row = f"{getpass.getuser()}|lab|lab|{{}}||normal||||||\n"
    slurm.put(users=USER_HEAD + row.format("lab") + row.format("bio"))
    assert Profile.parse(_type("detect").stdout).account == "lab"
    monkeypatch.setattr("cnn_sweep.cli.commands.profile._person_answers", lambda: True)
    done = _type("detect", input="chem\nbio\n")
    assert Profile.parse(done.stdout).account == "bio"
    assert "Account to charge (bio, lab) [lab]" in done.stderr
    assert "'chem' is not one of them" in done.stderr


def test_check_says_when_a_task_would_start_or_what_is_wrong(slurm, tmp_path):
    """The cluster's limits come with the line of the profile."""
    (tmp_path / "desk" / "my.toml").write_text("time_limit = 60\n", encoding="utf-8")
    assert "cluster lab takes it; a task would start at 2026-11-20 19:31:09" in _type("check", "my.toml").stdout
    (tmp_path / "desk" / "my.toml").write_text("cpus = 5\ntime_limit = 61\n", encoding="utf-8")
    message = str(_type("check", "my.toml").exception)
    assert "my.toml:1: cpus: 5 cpus is more than any node in partition main has" in message
    assert "my.toml:2: time_limit: 61 min exceeds" in message


def test_a_profile_is_printed_where_the_encoding_is_ascii(slurm, tmp_path):
    """A folder's name that ASCII lacks stands in the reason; the profile is printed all the same."""
    folder = os.fsencode(tmp_path) + "/Größe".encode()
    os.mkdir(folder)  # noqa: PTH102 - a name in bytes, as a shell in another locale made it
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **ascii_locale, "SCRATCH": os.fsdecode(folder)}
    command = [sys.executable, "-m", "cnn_sweep.cli.main", "profile", "detect"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    Profile.parse(done.stdout.decode("ascii"))
