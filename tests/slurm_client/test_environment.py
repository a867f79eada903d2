"""Variables of the shell, and of a job around it, when a job is submitted."""

import os
import pwd

import pytest

from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.environment import for_submission, notes_on_variables, submitting, user_name
from cnn_sweep.slurm.profile import Profile

JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_ARRAY_JOB_ID": "6",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_MEM_PER_CPU": "100",
    "SRUN_CPUS_PER_TASK": "4",
    "SUBMITIT_EXECUTOR": "slurm",
    "CNN_SWEEP_SUBMIT_TIME": "1795202884",
    "CUDA_VISIBLE_DEVICES": "0",
}
SHELL = {"PATH": "/bin", "HOME": "/home/ann", "SLURM_CONF": "/etc/slurm.conf", "CNN_SWEEP_LOCKS": "honest"}


def test_nothing_of_the_job_around_reaches_the_new_one():
    """Neither its IDs, by which a task finds its pickle, nor its memory, which srun refuses beside the new one's."""
    assert for_submission(SHELL | JOB | {"SBATCH_EXPORT": "NONE"}) == SHELL


def test_devices_that_the_user_chose_outside_a_job_are_left():
    """CUDA_VISIBLE_DEVICES is removed only if it came from a job."""
    assert for_submission({"CUDA_VISIBLE_DEVICES": "1"}) == {"CUDA_VISIBLE_DEVICES": "1"}


def test_the_process_has_its_variables_back_after_the_submission(monkeypatch):
    """Also after a failure."""
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")

    def fails():
        assert "SBATCH_TIMELIMIT" not in os.environ
        raise OSError("no sbatch")

    with pytest.raises(OSError, match="no sbatch"), submitting():
        fails()
    assert os.environ["SBATCH_TIMELIMIT"] == "1"


def test_what_variables_would_have_changed_is_told_in_one_line():
    """Each with what the profile says instead; one that says the same, or changes no job, is not told."""
    profile = Profile.parse('time_limit = 10\npartition = "main"\n[sbatch]\nnice = 5\n')
    variables = {
        "SBATCH_TIMELIMIT": "1",
        "SBATCH_PARTITION": "main",
        "SBATCH_NO_REQUEUE": "1",
        "SBATCH_EXPORT": "NONE",
        "SBATCH_DEBUG": "1",
        "SBATCH_NICE": "9",
    }
    (note,) = notes_on_variables(profile, variables)
    assert note == (
        "variables without effect, because the profile decides: SBATCH_EXPORT=NONE (sbatch.export is not set), "
        "SBATCH_NICE=9 (sbatch.nice = 5), SBATCH_NO_REQUEUE=1 (requeue = true), SBATCH_TIMELIMIT=1 (time_limit = 10)"
    )


def test_variables_of_a_job_around_are_not_told():
    """Slurm sets them in every job."""
    assert notes_on_variables(Profile(), JOB) == []
    assert notes_on_variables(Profile(), {"SLURM_MEM_PER_CPU": "100"}) != []


def test_an_account_in_a_variable_counts_where_the_profile_has_none(tmp_path, monkeypatch):
    """As sites advise their users; it stands in the script, is told, and is named if the cluster refuses it."""
    monkeypatch.setenv("SBATCH_ACCOUNT", "bio")
    monkeypatch.setenv("SBATCH_QOS", "long")
    (tmp_path / "my.toml").write_text('qos = "short"\n', encoding="utf-8")
    profile = Profile.load(tmp_path / "my.toml")
    assert (profile.account, profile.qos) == ("bio", "short")
    assert notes_on_variables(profile, {"SBATCH_ACCOUNT": "bio", "SBATCH_QOS": "long"}) == [
        'account = "bio" is from SBATCH_ACCOUNT',
        'variables without effect, because the profile decides: SBATCH_QOS=long (qos = "short")',
    ]
    assert profile.problem("account", "unknown").message == "account (from SBATCH_ACCOUNT): unknown"


def test_the_user_is_the_one_that_slurm_knows(monkeypatch, tmp_path):
    """Not the one in $LOGNAME, which some sites set to an e-mail address."""
    monkeypatch.setenv("LOGNAME", "alice@example.org")
    ours = pwd.getpwuid(os.getuid()).pw_name
    for name in ("scontrol", "sinfo", "squeue"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/words\n', encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    assert SlurmCli(environment={"PATH": f"{tmp_path}:{os.defpath}"}).cluster().user == ours
    assert f"--user={ours}" in (tmp_path / "words").read_text(encoding="utf-8").split()
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert user_name() == "4000000"  # a user without a name, in a container
