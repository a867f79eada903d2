from dataclasses import dataclass, field, replace

import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.slurm.job_rows import AccountingRow, QueueRow, StepEnds, Visibility
from cnn_sweep.slurm.job_states import Incarnation, JobStatus, job_statuses, statuses_from_rows

OURS = Incarnation("7_3", restarts=0, submitted=1000, started=1010.5)
ROW = QueueRow(("7_3",), 9, "RUNNING", "", 0, 1000, 1010, 4000, 0, 0, "n1", "main")
RECORD = AccountingRow(("7_3",), 9, "COMPLETED", 0, 0, 1000, 1010, 1090, "n1")


def judged(one=OURS, *, queue=(), accounts=None, steps=None) -> JobStatus:
    """Judge a single incarnation."""
    return statuses_from_rows([one], queue, accounts, steps)[one]


def ended(state, **changes) -> QueueRow:
    """Return a row of squeue of a job that is no longer there."""
    return replace(ROW, state=state, ended=1090, **changes)


@dataclass
class FakeSlurm:
    """Slurm's answer, or its fault."""

    rows: object = ()
    records: object = ()
    ends: dict = field(default_factory=dict)
    name: str = "here"
    only_uid: int | None = None
    calls: list = field(default_factory=list)

    def _answer(self, call, answer):
        self.calls.append(call)
        if isinstance(answer, Exception):
            raise answer
        return answer if answer is None or isinstance(answer, dict) else list(answer)

    def queue(self, ids):
        """Answer as squeue."""
        return self._answer(("queue", tuple(ids)), self.rows)

    def accounting(self, ids):
        """Answer as sacct."""
        return self._answer(("accounting", tuple(ids)), self.records)

    def steps(self, ids):
        """Answer as sacct with steps."""
        return self._answer(("steps", tuple(ids)), self.ends)

    def visibility(self):
        """Answer as scontrol."""
        self.calls.append(("visibility",))
        return Visibility(self.name, self.only_uid)


@pytest.mark.parametrize(
    "state", ["PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED", "REQUEUE_HOLD", "SPECIAL_EXIT"]
)
def test_whatever_has_not_ended_is_alive(state):
    """A job that is still in Slurm's hands is left alone."""
    assert judged(queue=[replace(ROW, state=state, reason="why")]) == JobStatus("alive", f"{state} (why)")


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("COMPLETED", "completed"),
        ("FAILED", "exception"),
        ("TIMEOUT", "time_limit"),
        ("DEADLINE", "time_limit"),
        ("PREEMPTED", "preempted"),
        ("NODE_FAIL", "node_failure"),
        ("BOOT_FAIL", "node_failure"),
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("CANCELLED", "cancelled"),
    ],
)
def test_each_final_state_has_its_cause(state, cause):
    """The queue's word is enough, and so is that of the accounts."""
    by_queue = judged(queue=[ended(state)])
    by_accounts = judged(accounts=[replace(RECORD, state=state)])
    assert by_queue == by_accounts == JobStatus("dead", f"{state} on n1", cause, 1090)


@pytest.mark.parametrize("queue", [[], [ended("FAILED")]])
def test_states_of_other_versions_of_slurm_are_not_taken_for_death(queue):
    """A state that is not known means: leave it alone."""
    found = judged(queue=queue, accounts=[replace(RECORD, state="TELEPORTED")])
    assert found.state == "unknown"
    assert "TELEPORTED" in found.detail
    assert judged(queue=[replace(ROW, state="TELEPORTED")]).state == "unknown"


def test_an_earlier_incarnation_is_dead_of_what_the_accounts_say():
    """While the job runs again, its earlier run ended as node failure, preemption or requeue."""
    now = replace(ROW, submitted=1100, started=1111, restarts=1)
    records = [replace(RECORD, state="NODE_FAIL"), replace(RECORD, state="RUNNING", submitted=1100, ended=None)]
    assert judged(queue=[now], accounts=records).cause == "node_failure"
    second = replace(OURS, restarts=1, submitted=1100, started=1112.0)
    assert judged(second, queue=[now], accounts=records).state == "alive"


@pytest.mark.parametrize("accounts", [None, [], [replace(RECORD, state="RUNNING", ended=None)]])
def test_an_earlier_incarnation_without_a_record_was_requeued(accounts):
    """Without accounts, or before they know, it is certain that it ended and not why."""
    now = replace(ROW, state="PENDING", submitted=1100, started=None, restarts=1)
    found = judged(queue=[now], accounts=accounts)
    assert (found.state, found.cause, found.ended) == ("dead", "requeued", 1100)
    assert "now PENDING" in found.detail


@pytest.mark.parametrize("accounts", [None, [], [replace(RECORD, state="RUNNING", ended=None)]])
def test_a_job_that_the_queue_has_forgotten_is_gone(accounts):
    """The controller forgets no job that lives, whatever the accounts still say."""
    assert judged(accounts=accounts).cause == "gone"


def test_a_failure_waits_for_the_accounts_to_tell_of_what():
    """Out of memory is told by the accounts alone, a second after the end."""
    late = [replace(RECORD, state="RUNNING", ended=None)]
    assert judged(queue=[ended("FAILED")], accounts=late).state == "unknown"
    assert judged(queue=[ended("FAILED")], accounts=[]).cause == "exception"
    assert judged(queue=[ended("TIMEOUT")], accounts=late).cause == "time_limit"


@pytest.mark.parametrize(
    ("row", "ends", "cause", "words"),
    [
        ({"exit_code": 1}, StepEnds(), "exception", "FAILED, exit code 1 on n1"),
        ({"exit_code": 9}, StepEnds(frozenset({9})), "exception", "FAILED, exit code 9 on n1"),
        ({"exit_code": 9}, StepEnds(frozenset({9}), out_of_memory=True), "out_of_memory", "FAILED, exit code 9 on n1"),
        (
            {"exit_code": 1},
            StepEnds(frozenset({125}), out_of_memory=True),
            "out_of_memory",
            "FAILED, exit code 1 on n1",
        ),
        ({"exit_code": 15}, StepEnds(frozenset({15})), "preempted", "FAILED, exit code 15 on n1"),
        ({"exit_code": 15}, StepEnds(), "exception", "FAILED, exit code 15 on n1"),
        ({"signal": 15}, StepEnds(), "preempted", "FAILED, signal 15 on n1"),
        ({"signal": 11}, StepEnds(), "exception", "FAILED, signal 11 on n1"),
    ],
)
def test_failures_that_are_not_the_trials_are_told_from_those_that_are(row, ends, cause, words):
    """Memory and the signal of a preemption leave their marks on the job's steps."""
    record = replace(RECORD, state="FAILED", **row)
    assert judged(accounts=[record], steps={(9, 1000): ends}) == JobStatus("dead", words, cause, 1090)
    assert judged(accounts=[record], steps={(9, 999): ends}).cause in {"exception", "preempted"}


def test_without_accounts_sigterm_is_seen_in_the_scripts_exit_code():
    """A shell whose command died of SIGTERM exits with 143."""
    assert judged(queue=[ended("FAILED", exit_code=143)]).cause == "preempted"
    assert judged(queue=[ended("FAILED", exit_code=137)]).cause == "exception"


def test_another_job_with_the_same_id_is_not_ours():
    """Id and restarts are the same; the time of submission is not."""
    other = replace(ROW, submitted=900_000, started=900_001)
    assert judged(queue=[other], accounts=[]).cause == "gone"
    records = [replace(RECORD, state="TIMEOUT"), replace(RECORD, state="RUNNING", submitted=900_000, ended=None)]
    assert judged(queue=[other], accounts=records).cause == "time_limit"
    before_us = replace(ROW, state="COMPLETED", submitted=10, started=20, ended=30, restarts=4)
    assert judged(queue=[before_us], accounts=[]).cause == "gone"


@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_without_its_time_of_submission_an_incarnation_is_known_by_when_it_ran(shift):
    """The clock of its node may differ by seconds from the controller's."""
    blind = replace(OURS, submitted=None, started=1010.0 + shift)
    assert judged(blind, queue=[ROW]).state == "alive"
    records = [
        replace(RECORD, submitted=1, started=2, ended=5, state="TIMEOUT"),
        replace(RECORD, state="NODE_FAIL"),
        replace(RECORD, submitted=1090, started=1101, ended=None, state="RUNNING"),
    ]
    assert judged(blind, accounts=records).cause == "node_failure"
    again = replace(blind, restarts=1, started=1101.0 + shift)
    assert judged(again, accounts=records[:2]).cause == "gone"


def test_without_any_time_the_order_of_incarnations_decides():
    """Restarts count the records of a job."""
    blind = Incarnation("7_3", restarts=1)
    records = [replace(RECORD, submitted=1090, state="TIMEOUT"), replace(RECORD, state="NODE_FAIL")]
    assert judged(blind, accounts=records).cause == "time_limit"
    assert judged(replace(blind, restarts=2), accounts=records).cause == "gone"


def test_a_job_that_waits_again_is_not_the_one_that_had_started():
    """A process cannot belong to a job that has not started yet."""
    waiting = replace(ROW, state="PENDING", started=None, submitted=900_000)
    assert judged(replace(OURS, submitted=None), queue=[waiting]).cause == "gone"


def test_while_all_live_one_call_is_enough():
    """Accounts are asked for those only that the queue does not show alive."""
    second = replace(OURS, job="7_4")
    slurm = FakeSlurm(rows=[ROW, replace(ROW, jobs=("7_4",), state="COMPLETED", ended=1050)], records=[])
    found = job_statuses(slurm, [OURS, second, OURS])
    assert (found[OURS].state, found[second].cause) == ("alive", "completed")
    assert slurm.calls == [("queue", (7, 7)), ("accounting", (7,))]
    slurm = FakeSlurm(rows=[ROW])
    job_statuses(slurm, [OURS])
    assert slurm.calls == [("queue", (7,))]
    assert job_statuses(slurm, []) == {}


def test_an_answer_of_the_queue_can_be_used_twice():
    """Whoever shows the queue need not ask for it again."""
    slurm = FakeSlurm()
    assert job_statuses(slurm, [OURS], queue=[ROW])[OURS].state == "alive"
    assert slurm.calls == []


def test_steps_are_asked_for_only_where_something_failed():
    """The third call is for those that failed, under the id that is their own."""
    slurm = FakeSlurm(
        records=[replace(RECORD, state="FAILED", exit_code=9)], ends={(9, 1000): StepEnds(frozenset(), True)}
    )
    assert job_statuses(slurm, [OURS])[OURS].cause == "out_of_memory"
    assert slurm.calls[-1] == ("steps", (9,))


@pytest.mark.parametrize("broken", ["rows", "records"])
def test_a_slurm_that_does_not_answer_has_declared_nobody_dead(broken):
    """Without the queue nothing is known; without the accounts, nothing of those that the queue does not show."""
    slurm = FakeSlurm(**{broken: EnvironmentFault("down")})
    found = job_statuses(slurm, [OURS])[OURS]
    assert found.state == "unknown"
    assert "down" in found.detail
    slurm = FakeSlurm(rows=[ended("TIMEOUT")], records=EnvironmentFault("down"))
    assert job_statuses(slurm, [OURS])[OURS].cause == "time_limit"


def test_jobs_of_another_cluster_are_left_alone():
    """Absence from this cluster proves nothing for other clusters' jobs; for its own, it means that they are gone."""
    theirs, ours = replace(OURS, cluster="there"), replace(OURS, job="8", cluster="here")
    found = job_statuses(FakeSlurm(), [theirs, ours])
    assert found[theirs].state == "unknown"
    assert "belongs to cluster there; this is here" in found[theirs].detail
    assert found[ours].cause == "gone"


def test_an_incarnation_is_read_from_what_a_process_wrote_down():
    """Slurm's variables as a job has them, in an array and not; the first start has no restart count."""
    array = {"job_id": "9", "array_job_id": "7", "array_task_id": "3", "restart_count": "2", "submit_time": "1000"}
    assert Incarnation.from_slurm(array, started=5.0) == Incarnation("7_3", 2, 1000, 5.0)
    assert Incarnation.from_slurm({"job_id": "9", "submit_time": "", "cluster": "c"}) == Incarnation("9", cluster="c")
    assert Incarnation("7_3").asked_id == 7


@pytest.mark.parametrize(("uid", "state"), [(1000, "dead"), (1001, "unknown"), (None, "dead")])
def test_a_job_that_this_user_may_not_see_is_not_declared_dead(uid, state):
    """With PrivateData=jobs, Slurm denies that other users' jobs exist; whoever shares a study must not end them."""
    one = replace(OURS, uid=uid, cluster="here")
    slurm = FakeSlurm(only_uid=1000)
    assert job_statuses(slurm, [one])[one].state == state
    assert job_statuses(FakeSlurm(), [one])[one].state == "dead"
