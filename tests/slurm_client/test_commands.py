import os
import stat

import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.slurm.commands import RareSlurmCli, SlurmCli
from cnn_sweep.slurm.job_rows import OwnJob


@pytest.fixture
def fake(tmp_path):
    """Return a function that puts a shell script where a command of Slurm's is looked for."""

    def put(name, script, **cli):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        environment = {"PATH": f"{tmp_path}:{os.defpath}", **cli.pop("environment", {})}
        return SlurmCli(environment=environment, **cli)

    return put


def test_a_command_that_is_not_there_is_a_fault_of_the_environment(tmp_path):
    """A machine without Slurm is told from a cluster that does not answer."""
    with pytest.raises(EnvironmentFault, match="squeue is not installed here"):
        SlurmCli(environment={"PATH": str(tmp_path)}).queue([1])


def test_a_command_that_hangs_is_given_up(fake):
    """No command waits for ever for a controller."""
    with pytest.raises(EnvironmentFault, match=r"squeue did not answer within 0\.2 s"):
        fake("squeue", "exec sleep 60", timeout_s=0.2).queue([1])


def test_a_failure_is_told_in_slurms_own_words(fake):
    """What Slurm complains of stands in one line, without repetition."""
    script = (
        'echo "sacct: error: Sending PersistInit msg: Connection refused" >&2\n'
        'echo "sacct: error: Sending PersistInit msg: Connection refused" >&2\n'
        'echo "sacct: error: Problem talking to the database: Connection refused" >&2; exit 1'
    )
    with pytest.raises(EnvironmentFault) as caught:
        fake("sacct", script).accounting([1])
    expected = "Sending PersistInit msg: Connection refused; Problem talking to the database: Connection refused"
    assert str(caught.value) == f"sacct failed: {expected}"


def test_a_job_that_squeue_has_forgotten_is_no_failure(fake):
    """Squeue fails when the only id asked for is unknown; that is an answer."""
    script = 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1'
    assert fake("squeue", script).queue([1]) == []


def test_a_cluster_without_accounting_is_told_from_one_that_fails(fake):
    """None means that no accounts are kept; an empty list that they know nothing."""
    script = 'echo "Slurm accounting storage is disabled" >&2; exit 1'
    assert fake("sacct", script).accounting([1]) is None
    assert fake("sacct", "true").accounting([1]) == []


def test_the_users_own_defaults_do_not_change_what_is_read(fake):
    """Variables that filter or format Slurm's answers are kept away, those that choose the cluster are not."""
    own = {"SQUEUE_STATES": "PD", "SACCT_FORMAT": "jobid", "SLURM_CONF": "/x", "SLURM_TIME_FORMAT": "relative"}
    text = fake("squeue", "env", environment=own).run("squeue")
    assert "SQUEUE_STATES" not in text
    assert "SACCT_FORMAT" not in text
    assert {"SLURM_CONF=/x", "SLURM_TIME_FORMAT=%s", "SLURM_BITSTR_LEN=0"} <= set(text.splitlines())


def test_many_jobs_are_asked_for_in_few_calls(fake, tmp_path):
    """Ids go together; a thousand in one call, each once."""
    cli = fake(
        "squeue", f'echo called >> {tmp_path}/calls; for word in "$@"; do echo "$word"; done >> {tmp_path}/words'
    )
    cli.queue([*range(1, 1501), *range(1, 1501)])
    assert len((tmp_path / "calls").read_text(encoding="utf-8").split()) == 2
    jobs = [word for word in (tmp_path / "words").read_text(encoding="utf-8").split() if word.startswith("--jobs=")]
    assert [len(word.split(",")) for word in jobs] == [1000, 500]
    assert cli.queue([]) == []


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"SLURM_JOB_ID": "7"}, "--jobs=7"),
        ({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "--jobs=7_3"),
    ],
)
def test_a_job_learns_when_it_was_submitted_and_when_it_ends(fake, tmp_path, given, asked):
    """The id of an array's last element is that of the array: it is asked for by its index."""
    answer = "1795202884|RUNNING|1795203484|N/A|"
    cli = fake("squeue", f'echo "$@" > {tmp_path}/words; echo "{answer}"', environment=given)
    assert cli.own_job() == OwnJob(1795202884, "RUNNING", 1795203484, preempted=False)
    assert asked in (tmp_path / "words").read_text(encoding="utf-8").split()


def test_what_slurm_does_not_tell_about_the_own_job_is_none(fake):
    """Neither a process outside Slurm nor a controller that is down stops a worker."""
    ours = {"SLURM_JOB_ID": "7"}
    assert fake("squeue", "echo '1|RUNNING|2|N/A|'").own_job() is None
    assert fake("squeue", "exit 1", environment=ours).own_job() is None
    assert fake("squeue", "echo nonsense", environment=ours).own_job() is None
    assert fake("squeue", "echo 'N/A|PENDING|N/A|9|'", environment=ours).own_job() == OwnJob(
        None, "PENDING", None, preempted=True
    )


def test_a_display_asks_slurm_the_same_question_once_a_minute(fake, tmp_path):
    """Answers and failures are given again; another question is asked at once."""
    path = {"PATH": f"{tmp_path}:{os.defpath}"}
    fake("squeue", f"echo >>{tmp_path}/calls")
    fake("sacct", f"echo >>{tmp_path}/calls; exit 1")
    slurm = RareSlurmCli(environment=path)
    for _ in range(5):
        slurm.queue([1])
        with pytest.raises(EnvironmentFault, match="sacct failed"):
            slurm.accounting([1])
    slurm.queue([1, 2])
    assert len((tmp_path / "calls").read_text(encoding="utf-8").splitlines()) == 3
    RareSlurmCli(environment=path, every_s=0.0).queue([1])
    assert len((tmp_path / "calls").read_text(encoding="utf-8").splitlines()) == 4


def test_accounting_that_is_down_is_noted_and_stops_nothing(fake):
    """A submission goes on without the accounts' limits, and says so."""
    fake("scontrol", "echo AccountingStorageType = accounting_storage/slurmdbd; echo ClusterName = lab")
    fake("sinfo", "true")
    fake("sacctmgr", 'echo "sacctmgr: error: Connection refused" >&2; exit 1')
    known = fake("squeue", "echo 'root|normal|main|'").cluster("ann")
    assert known.associations is None
    assert known.notes == ("account limits are unknown: sacctmgr failed: Connection refused",)
    assert (known.name, known.user, sum(known.queued.values())) == ("lab", "ann", 1)
