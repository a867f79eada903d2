# ruff: noqa: E501 - a row of the table is a line
"""Ailments of machines and clusters, each prepared where programs meet: `doctor` finds it and names its cure.

docs/reference/slurm.md lists them in the same order.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.disks import small_disk
from helpers.fake_slurm import MUNGE, QOS_HEAD, USER_HEAD, FakeSlurm, other_python, partition
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.tools import tensorflow_check

DOCUMENTED = Path(__file__).parents[2] / "docs" / "reference" / "slurm.md"
STARTS = """
import json
print(json.dumps({"version": "2.21.0", "seconds": 4.0, "gpus": []}))
"""
PROFILE = 'partition = "main"\ntime_limit = 10\nenvironment = {A = "b"}\n'
GPU_PROFILE = 'partition = "gpu"\ntime_limit = 10\ngpus_per_node = 1\n'
UNREACHABLE = "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)"
TIMED_OUT = "slurm_load_ctl_conf error: Socket timed out on send/recv operation"
NO_CONF = "scontrol: error: resolve_ctls_from_dns_srv: Unknown host\nfatal: Could not establish a configuration source"
NO_DATABASE = "sacctmgr: error: Sending PersistInit msg: Connection refused"
SUBMIT_LIMIT = (
    "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS "
    "policy (job submit limit, user's size and/or time limits)"
)
SKEWED = "date() {{ echo $(( $(/bin/date +%s) {by} )); }}; export -f date"
# A node that mounts the folder in another way keeps its own locks: here the files are others of the same name.
OWN_LOCKS = r"""sed -i 's|^srun |for name in record whole; do cp "$folder/$name" "$folder/new"; mv "$folder/new" "$folder/$name"; done\nsrun |' "$script" """
ELSEWHERE = r"""sed -i "s|^folder=.*|folder='{folder}'|" "$script" """


@dataclass(frozen=True)
class Ailment:
    """One ailment.

    Attributes:
        name: Its name in the table of the documentation.
        subject: Subject of the finding.
        says: Words of the finding.
        cure: Words of its cure.
        prepare: Makes the cluster, or this machine, ill; it gets a ``desk``.
        words: Words of the command after ``doctor``.
        level: Level of the finding.
        profile: The profile.
    """

    name: str
    subject: str
    says: str
    cure: str
    prepare: Any
    words: tuple[str, ...] = ("--slurm",)
    level: str = "bad"
    profile: str = PROFILE


PROFILED = ("--profile", "my.toml")
JOB = ("--job", "--profile", "my.toml")


def _config(**changes):
    def prepare(desk):
        text = desk.slurm.config
        for name, value in changes.items():
            lines = [line for line in text.splitlines() if not line.startswith(f"{name} ")]
            text = "\n".join([*lines, f"{name} = {value}"])
        desk.slurm.put(config=text)

    return prepare


def _answers(**texts):
    return lambda desk: desk.slurm.put(**texts)


def _main(**settings):
    return _answers(partitions=partition("main", default="YES", **settings) + partition("gpu"))


def _submit_limit(desk):
    refuses = f"cat >&2 <<'END'\n{SUBMIT_LIMIT}\nEND\nexit 1"
    desk.slurm.program("sbatch", f'case "$*" in *--test-only*) exit 0;; esac\n{refuses}')


def _fails(program, words):
    return lambda desk: desk.slurm.fails(program, words)


def _node(script):
    return lambda desk: desk.slurm.on_node(script)


def _full(desk):
    disk = desk.stack.enter_context(small_disk(desk.folder / "disk", "256k"))
    desk.results = disk


def _no_files(desk):
    desk.results = desk.stack.enter_context(small_disk(desk.folder / "disk", "1m,nr_inodes=20"))


def _read_only(desk):
    desk.results = desk.stack.enter_context(small_disk(desk.folder / "disk", "1m,ro"))


def _full_tmpdir(desk):
    disk = desk.stack.enter_context(small_disk(desk.folder / "scratch", "1m"))
    desk.slurm.on_node(f"export TMPDIR={disk}")


def _other_folder(desk):
    other = desk.folder / "other"
    other.mkdir()
    desk.slurm.on_node(ELSEWHERE.format(folder=other))


def _other_version(desk):
    info = desk.folder / "packages" / "keras-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 1.0\n", encoding="utf-8")
    desk.slurm.on_node(f"export PYTHONPATH={info.parent}")


def _other_python(desk):
    python = other_python(desk.folder / "python3.9")
    (desk.folder / "my.toml").write_text(f'partition = "main"\npython = "{python}"\n', encoding="utf-8")


def _waits(reason):
    return lambda desk: desk.slurm.tell("waits", reason)


def _of_memory(desk):
    desk.slurm.on_node("sed -i 's|^srun .*|false|' \"$script\"")
    desk.slurm.tell("state", "OUT_OF_MEMORY")


def _nothing(_desk):
    pass


def _set(name, value):
    return lambda desk: desk.monkeypatch.setenv(name, value)


def _gpu_of_driver(desk):
    desk.slurm.program("nvidia-smi", "echo 'GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-1)'")


QOS_LIMITED = f"{QOS_HEAD}normal||||00:05:00|||||\n"

AILMENTS = [
    Ailment("munge is down", "slurm", "Munge encode failed", "(munge) is down", _fails("scontrol", MUNGE)),
    Ailment("slurmctld is down", "slurm", "Unable to contact slurm", "slurmctld) is down", _fails("scontrol", UNREACHABLE)),
    Ailment("slurmctld is overloaded", "slurm", "Socket timed out", "overloaded", _fails("scontrol", TIMED_OUT)),
    Ailment("no configuration", "slurm", "configuration source", "use a login node", _fails("scontrol", NO_CONF)),
    Ailment("slurmdbd is down", "accounting", "limits are unknown", "help desk", _fails("sacctmgr", NO_DATABASE), level="note"),
    Ailment("accounting is off", "accounting", "sacct does not work", "", _config(AccountingStorageType="accounting_storage/none"), level="note"),
    Ailment("old Slurm", "slurm", "20.02.7 is older than 22.05", "newer", _config(SLURM_VERSION="20.02.7"), level="note"),
    Ailment("MaxArraySize is small", "arrays", "arrays of 10 tasks", "workers_per_task", _config(MaxArraySize="11"), level="note"),
    Ailment("no association", "account", "has no account on cluster lab", "administrators", _answers(users=USER_HEAD)),
    Ailment("invalid account", "profile", "my.toml:1: account: unknown account 'nobody'; valid: lab", "change this line", _nothing, PROFILED, profile='account = "nobody"\n'),
    Ailment("QOS limit", "profile", "my.toml:2: time_limit: 10 min exceeds the MaxWall of QOS normal, 5 min", "change this line", _answers(qos=QOS_LIMITED), PROFILED),
    Ailment("limit that only sbatch knows", "job", "sbatch refused the job: AssocMaxSubmitJobLimit", "wait until other jobs have ended", _submit_limit, JOB),
    Ailment("partition is down", "profile", "my.toml:1: partition: main is down", "change this line", _main(state="DOWN"), PROFILED),
    Ailment("partition is hidden", "partition main", "hidden", "", _main(hidden="YES"), level="note"),
    Ailment("all nodes are down", "partition main", "no node starts jobs (down*)", "another one", _answers(nodes="main|4|4|8000|(null)|ib|down*|1|0\n"), level="note"),
    Ailment("time limit over the partition's", "profile", "my.toml:2: time_limit: 10 min exceeds the MaxTime", "change this line", _main(time="00:05:00"), PROFILED),
    Ailment("SBATCH_ variable", "variable", "SBATCH_EXPORT=NONE changes other jobs of yours", "", _set("SBATCH_EXPORT", "NONE"), level="note"),
    Ailment("disk is full", "results", "0.0 GB free", "choose another folder", _full),
    Ailment("no more files", "results", "more files (inodes)", "choose another folder", _no_files),
    Ailment("results are read-only", "results", "cannot be written to", "--results", _read_only),
    Ailment("TMPDIR is missing", "temporary", "TMPDIR=/no/such/folder", "set TMPDIR", _set("TMPDIR", "/no/such/folder")),
    Ailment("job does not start", "job", "did not start within 1 s and was cancelled; Slurm's reason: QOSMaxJobsPerUserLimit", "limit of your account or QOS", _waits("QOSMaxJobsPerUserLimit"), (*JOB, "--wait", "1")),
    Ailment("results not visible on the node", "node results", "does not exist on n1", "that the nodes see", _node(ELSEWHERE.format(folder="/no/such/folder")), JOB),
    Ailment("another folder of that name on the node", "node results", "is another folder than here", "that the nodes see", _other_folder, JOB),
    Ailment("results read-only on the node", "node results", "cannot be written to from n1", "quota", _node("sed -i 's|>\"$folder/began\"|>/proc/began|' \"$script\""), JOB),
    Ailment("unreliable locks", "node locks", "n1 got a lock that this machine holds (record, whole)", 'locks = "dishonest"', _node(OWN_LOCKS), JOB, level="note"),
    Ailment("clock behind", "node clock", "s behind Slurm's controller", "synchronise", _node(SKEWED.format(by="- 600")), JOB),
    Ailment("clock ahead", "node clock", "s ahead of this machine", "synchronise", _node(SKEWED.format(by="+ 600")), JOB),
    Ailment("setup fails on the node", "node setup", "setup failed with exit code 127 on", "|| true", _nothing, JOB, profile='setup = "no_such_module load cuda"\n'),
    Ailment("no Python on the node", "node python", "/no/such/python does not start on n1", "set `python` or `setup`", _nothing, JOB, profile='python = "/no/such/python"\n'),
    Ailment("other Python on the node", "node python", "3.9.2 at", "submit from the environment", _other_python, JOB),
    Ailment("missing packages on the node", "node packages", "missing on n1: cnn-sweep, tensorflow", "set `python` or `setup`", _nothing, JOB, profile=f'python = "{sys.executable} -I -S"\n'),
    Ailment("other versions on the node", "node packages", "other versions on n1: keras 1.0", "submit from the environment", _other_version, JOB),
    Ailment("no GPU driver on the node", "node gpu", "no NVIDIA driver answers on n1", "help desk", _nothing, JOB, profile=GPU_PROFILE),
    Ailment("TensorFlow without GPU support", "node gpu", "1 on n1, none usable by TensorFlow", "cnn-sweep[cuda]", _gpu_of_driver, JOB, profile=GPU_PROFILE),
    Ailment("TMPDIR is missing on the node", "node temporary", "TMPDIR=/no/such/folder cannot be used", "TMPDIR", _node("export TMPDIR=/no/such/folder"), JOB),
    Ailment("TMPDIR is full on the node", "node temporary", "0.0 GB free", "TMPDIR", _full_tmpdir, JOB),
    Ailment("no home on the node", "node home", "/no/such/home cannot be used on n1", "HOME =", _node("export HOME=/no/such/home"), JOB, level="note"),
    Ailment("locale is missing on the node", "node locale", "xx_XX.UTF-8 is not installed on n1", "LC_ALL", _node("export LC_ALL=xx_XX.UTF-8 PYTHONUTF8=1"), JOB, level="note"),
    Ailment("too little memory", "job", "ended as OUT_OF_MEMORY on n1", "raise memory", _of_memory, JOB),
]  # fmt: skip


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A login node of a healthy cluster, whose nodes are like it."""
    slurm = FakeSlurm(tmp_path, getpass.getuser())
    monkeypatch.setenv("PATH", f"{slurm.programs}:/usr/bin:/bin")
    for name in os.environ:
        if name.startswith(("SBATCH_", "SLURM_", "TMPDIR")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(tensorflow_check, "SCRIPT", STARTS)
    monkeypatch.setattr("cnn_sweep.tools.doctor._LITTLE_SPACE", 10**7)
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield SimpleNamespace(
            folder=tmp_path, slurm=slurm, monkeypatch=monkeypatch, stack=stack, results=tmp_path / "results"
        )


def _doctor(desk, *words):
    done = CliRunner().invoke(app, ["doctor", "--json", *words, "--results", str(desk.results)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout), done


@pytest.mark.parametrize("ailment", AILMENTS, ids=lambda ailment: ailment.name)
def test_an_ailment_is_found_with_its_cure(ailment, desk):
    """The finding has its level, what is wrong and what to do; a job and its files are gone afterwards."""
    (desk.folder / "my.toml").write_text(ailment.profile, encoding="utf-8")
    ailment.prepare(desk)
    findings, done = _doctor(desk, *ailment.words)
    mine = [
        finding for finding in findings if finding["subject"] == ailment.subject and ailment.says in finding["text"]
    ]
    assert mine, json.dumps([f for f in findings if f["level"] != "ok"], indent=1)
    assert mine[0]["level"] == ailment.level
    assert ailment.cure in mine[0]["cure"]
    assert bool(mine[0]["cure"]) == bool(ailment.cure)
    assert done.exit_code == (3 if any(finding["level"] == "bad" for finding in findings) else 0)
    assert not list(desk.folder.glob("results/.doctor*"))


def test_the_documentation_lists_every_ailment():
    """In the order of the table above."""
    table = DOCUMENTED.read_text(encoding="utf-8").partition("| what is wrong |")[2].splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in table] == [ailment.name for ailment in AILMENTS]


def test_a_healthy_cluster_has_nothing_bad(desk):
    """Every check of node and login node is fine, and the results folder is as it was: not there."""
    (desk.folder / "my.toml").write_text(PROFILE, encoding="utf-8")
    findings, done = _doctor(desk, *JOB)
    assert [finding for finding in findings if finding["level"] == "bad"] == []
    assert done.exit_code == 0
    assert {"job", "node results", "node locks", "node clock", "node python"} <= {f["subject"] for f in findings}
    assert not desk.results.exists()


def test_a_job_that_waits_is_cancelled_and_its_reason_told(desk):
    """What squeue says goes to the terminal while `doctor` waits; afterwards the job is not in the queue."""
    desk.slurm.tell("waits", "Priority")
    findings, done = _doctor(desk, "--job", "--wait", "1")
    assert "job 17: PENDING Priority" in done.stderr
    assert "job 17 is cancelled" in done.stderr
    assert (desk.slurm.home / "cancelled").read_text(encoding="utf-8").split() == ["17"]
    assert "wait longer with --wait" in findings[-1]["cure"]


def test_ctrl_c_cancels_the_job(desk):
    """An interrupt while the job waits leaves neither a job nor files."""
    desk.slurm.tell("waits", "Resources")
    desk.slurm.program("squeue", 'case "$*" in *--jobs=*) kill -INT $PPID; sleep 1;; esac')
    CliRunner().invoke(app, ["doctor", "--job", "--results", str(desk.results)])
    assert (desk.slurm.home / "cancelled").exists()
    assert not desk.results.exists()
