import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.slurm.job_rows import StepEnds, names, read_accounting, read_queue, read_steps

# All texts are Slurm 22.05's own.
QUEUE = """\
45203775_[1-2,4-5%1]|45203775|PENDING|JobArrayTaskLimit|0|1795202884|N/A|N/A|0||main|
45203778|45203778|PENDING|ReqNodeNotAvail, UnavailableNodes:n4|1|1795202902|N/A|N/A|0||main|
45203775_0|45203781|RUNNING|None|0|1795202884|1795202885|1795206499|0|n2|main|
45203771|45203771|FAILED|NonZeroExitCode|0|1795202884|1795202885|1795202885|256|n1|main|
45203773|45203773|TIMEOUT|TimeLimit|0|1795202884|1795202885|1795202974|15|n1|main|
CLUSTER: lab
"""
ACCOUNTS = """\
45203778|45203778|NODE_FAIL|0:0|1795202884|1795202885|1795202902|n4
45203778|45203778|PENDING|0:0|1795202902|Unknown|Unknown|None assigned
45203774|45203774|CANCELLED by 1000|0:15|1795202884|1795202885|1795202887|n2
45203765_[3-4,8%3]|45203765|CANCELLED by 0|0:0|1795202848|1795202849|1795202849|None assigned
45203771|45203771|FAILED|1:0|1795202884|1795202885|1795202885|n1
45203780_4|45203780|COMPLETED|0:0|1795202902|1795202920|1795202920|n4
"""
STEPS = """\
45203802|FAILED|9:0|1795203730|200M|
45203802.batch|FAILED|9:0|1795203730||10692K
45203802.0|CANCELLED by 0|0:9|1795203730||392152K
45203803|FAILED|9:0|1795203730|200M|
45203803.batch|FAILED|9:0|1795203730||
45203803.0|CANCELLED|0:9|1795203730||832K
45203763|FAILED|1:0|1795202816|200M|
45203763.0|OUT_OF_MEMORY|0:125|1795202817||832K
45203814|FAILED|15:0|1795204546|200M|
45203814.0|CANCELLED|0:15|1795204547||
45203814|COMPLETED|0:0|1795204559|200M|
45203814.batch|COMPLETED|0:0|1795204570||
45203900|PENDING|0:0|1795204600||
"""


def test_waiting_elements_of_an_array_are_one_row_with_all_names():
    """Squeue writes them together; each is asked for by its own name."""
    waiting, requeued, running, failed, timed_out = read_queue(QUEUE)
    assert waiting.jobs == ("45203775_1", "45203775_2", "45203775_4", "45203775_5")
    assert (waiting.started, waiting.ended, waiting.reason) == (None, None, "JobArrayTaskLimit")
    assert (requeued.restarts, requeued.reason) == (1, "ReqNodeNotAvail, UnavailableNodes:n4")
    assert (running.jobs, running.raw_id, running.nodes, running.reason) == (("45203775_0",), 45203781, "n2", "")
    assert (failed.exit_code, failed.signal) == (1, 0)
    assert (timed_out.exit_code, timed_out.signal, timed_out.partition) == (0, 15, "main")


def test_each_incarnation_is_a_record_of_its_own():
    """Sacct lists a job once for each time that it was submitted or requeued."""
    crashed, waiting, cancelled, never_ran, failed, last = read_accounting(ACCOUNTS)
    assert (crashed.jobs, crashed.state, crashed.submitted, crashed.ended) == (
        ("45203778",),
        "NODE_FAIL",
        1795202884,
        1795202902,
    )
    assert (waiting.jobs, waiting.submitted, waiting.started, waiting.nodes) == (("45203778",), 1795202902, None, "")
    assert (cancelled.state, cancelled.signal) == ("CANCELLED", 15)
    assert never_ran.jobs == ("45203765_3", "45203765_4", "45203765_8")
    assert (failed.exit_code, failed.signal) == (1, 0)
    assert (last.jobs, last.raw_id) == (("45203780_4",), 45203780)


def test_steps_tell_how_a_job_that_failed_was_ended():
    """Signals and memory belong to the incarnation above the steps."""
    ends = read_steps(STEPS)
    assert ends[45203802, 1795203730] == StepEnds(frozenset({9}), out_of_memory=True)
    assert ends[45203803, 1795203730] == StepEnds(frozenset({9}))
    assert ends[45203763, 1795202816] == StepEnds(frozenset({125}), out_of_memory=True)
    assert ends[45203814, 1795204546] == StepEnds(frozenset({15}))
    assert ends[45203814, 1795204559] == StepEnds()
    assert (45203900, 1795204600) not in ends


@pytest.mark.parametrize("text", ["", "\n\n", "error: something\n", "a|b|c\n", "x_[1-2]|1|||||||||||\n"])
def test_lines_that_are_no_rows_are_left_out(text):
    """Neither warnings nor headings are taken for jobs."""
    assert read_queue(text) == []
    assert read_accounting(text) == []


@given(st.sets(st.integers(0, 2000), min_size=1))
def test_a_sparse_array_is_read_completely(tasks):
    """Whatever is left of an array, each element is found and no other."""
    spans, ordered = [], sorted(tasks)
    for task in ordered:
        if spans and spans[-1][1] == task - 1:
            spans[-1][1] = task
        else:
            spans.append([task, task])
    text = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
    assert names(f"7_[{text}%5]") == tuple(f"7_{task}" for task in ordered)
