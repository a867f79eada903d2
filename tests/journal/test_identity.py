from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from cnn_sweep.journal import identity
from cnn_sweep.journal.identity import ProcessIdentity, current, is_alive, new_writer_name

_CHILD = (
    "import json, sys; from cnn_sweep.journal.identity import current;"
    "print(json.dumps(current().to_data()), flush=True); sys.stdin.read()"
)


@pytest.fixture
def child():
    """A process that prints its identity and then waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    yield process
    process.kill()
    process.communicate()


def _identity_of(process):
    import json

    return ProcessIdentity.from_data(json.loads(process.stdout.readline()))


def test_a_running_process_is_alive_and_a_killed_one_is_dead(child):
    """A process that was killed is dead at once, also while nobody has waited for it (a zombie)."""
    who = _identity_of(child)
    assert is_alive(who) is True
    child.send_signal(signal.SIGKILL)
    import os

    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie from here on
    assert is_alive(who) is False
    child.wait()
    assert is_alive(who) is False


def test_a_number_that_was_given_to_another_process_does_not_make_it_alive():
    """The same process number with another start time is another process."""
    me = current()
    assert is_alive(me) is True
    assert is_alive(replace(me, started=me.started - 1)) is False


def test_processes_of_an_earlier_boot_of_this_host_are_dead():
    """After a reboot, no earlier process is alive."""
    assert is_alive(replace(current(), boot_id="0" * 36)) is (None if _is_unnamed() else False)


@pytest.mark.parametrize(
    "change",
    [
        {"host": "elsewhere", "boot_id": "0" * 36},
        {"pid_namespace": "pid:[1]"},
        {"boot_id": ""},
        {"host": "localhost", "boot_id": "0" * 36},
    ],
)
def test_what_cannot_be_judged_from_here_is_unknown(change):
    """A process of another host or container is neither alive nor dead."""
    assert is_alive(replace(current(), **change)) is None


def test_an_identity_survives_its_written_form():
    """What was written is read back, and fields of newer versions are ignored."""
    who = replace(current(), slurm={"job_id": "7", "restart_count": "1"})
    assert ProcessIdentity.from_data(who.to_data() | {"colour": "blue"}) == who


def test_slurm_says_which_task_a_process_belongs_to(monkeypatch):
    """Inside a job the identity has Slurm's numbers; outside it has none."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert current().slurm is None
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert current().slurm == {"job_id": "12", "array_task_id": "3"}


def test_writer_names_are_unique_and_safe_as_file_names(monkeypatch):
    """Names differ within one process too, and strange host names do no harm."""
    monkeypatch.setattr(identity.socket, "gethostname", lambda: "../node 7.cluster" + "x" * 300)
    names = {new_writer_name() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9-]{1,120}", name) for name in names)


def _is_unnamed():
    return current().host.startswith("localhost")
