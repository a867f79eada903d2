"""The cost of trials that workers share, from the times of their epochs."""

from dataclasses import replace

import pytest
from helpers.sweeps import sweep_of_digits
from helpers.written import Written

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.tools.cost_estimate import Allocation, TrialWork, estimate, works_of
from cnn_sweep.tools.epoch_times import EpochTimes, Shapes

TIMES = EpochTimes(
    start_s=4.0, build_s=2.0, trial_s=0.0, memory_mb=600.0, source="", measured={}, shares=(0, 0, 0, 0, 1)
)
SPACE = "space:\n  filters: [1, 2, 3]\ntraining: {{epochs: 27}}\n"
DRAWS = "space:\n  filters: {{low: 1, high: 64}}\ntraining: {{epochs: 27}}\nsearch: {{method: random, trials: 27}}\n"
BEGIN_S, END_S = 6.0, 3.0  # of a pool: its Python and its workers; noticing that the workers have ended


def works(*seconds, graph=""):
    """Return trials of given lengths that share a network, or each have their own."""
    return [TrialWork(graph or str(number), s, s, s) for number, s in enumerate(seconds)]


def jobs(tasks=1, workers=1, **changes):
    """Return tasks whose workers have a CPU each."""
    return replace(Allocation(tasks, tasks, workers, workers), **changes)


def test_one_worker_takes_one_trial_after_the_other():
    """Start, one compilation for all, the trials, and the end."""
    cost = estimate(works(10, 20, 30, graph="same"), TIMES, jobs())
    assert cost.wall_s == BEGIN_S + 2 + 60 + END_S
    assert cost.core_hours == pytest.approx(cost.wall_s / 3600)
    assert (cost.restarts, cost.gpu_hours) == (0, 0)


def test_cores_are_paid_for_until_the_last_worker_of_a_task_ends():
    """Two workers with one long trial: the other idles, and is charged."""
    cost = estimate(works(10, 90), TIMES, jobs(workers=2, gpus=1))
    assert cost.wall_s == BEGIN_S + 2 + 90 + END_S
    assert cost.core_hours == pytest.approx(2 * cost.wall_s / 3600)
    assert cost.gpu_hours == pytest.approx(cost.wall_s / 3600)
    apart = estimate(works(10, 90), TIMES, jobs(tasks=2))
    assert apart.wall_s == cost.wall_s
    assert apart.task_s == pytest.approx(2 * (BEGIN_S + 2 + END_S) + 100)


def test_workers_keep_to_networks_that_they_have_compiled():
    """Two networks and two workers: each is compiled once."""
    mixed = [work for pair in zip(works(*[1] * 8, graph="a"), works(*[1] * 8, graph="b"), strict=True) for work in pair]
    assert estimate(mixed, TIMES, jobs(workers=2)).wall_s == BEGIN_S + 2 + 8 + END_S


def test_a_time_limit_costs_restarts():
    """Every 100 s a task starts again and compiles again; trials go on where they were."""
    whole = estimate(works(350), TIMES, jobs())
    cut = estimate(works(350), TIMES, jobs(run_s=108.0))
    assert cut.restarts == 3
    assert cut.wall_s - whole.wall_s == pytest.approx(3 * (BEGIN_S + 2))
    assert not estimate(works(350), TIMES, jobs(run_s=5.0)).fits


def test_tasks_that_wait_for_others_only_start():
    """With a throttle, the later ones find nothing left."""
    cost = estimate(works(10, 10), TIMES, jobs(tasks=2, at_once=1))
    assert cost.task_s == pytest.approx(BEGIN_S + 24 + END_S + BEGIN_S)


def left_of(folder, text, *, study=None):
    """Return what is left of a study, in epochs of one second."""
    sweep = Sweep.parse(sweep_of_digits(text).format(study="digits", metric="val_accuracy", direction="maximize"))
    study = study or StudyFolder.preview(sweep, folder)
    shapes = Shapes(study.sweep, study.info, 1079)
    return works_of(study.sweep, study.plan.trials, study.history(), shapes, TIMES)


def test_rungs_are_expected_to_stop_most_trials(tmp_path):
    """With a third promoted at 1, 3 and 9 of 27 epochs, a trial trains 1 + 2/3 + 6/9 + 18/27 epochs on average."""
    one = left_of(tmp_path, DRAWS + "pruner: {{asha: {{min_epochs: 1, reduction: 3}}}}\n")[0]
    assert one.epochs == pytest.approx(3.0)
    assert (one.seconds, one.most_s) == (pytest.approx(3.0), 27)
    chosen_later = left_of(tmp_path, DRAWS + "pruner: {{asha: {{min_epochs: auto, reduction: 3}}}}\n")[0]
    assert chosen_later.epochs == pytest.approx(3 + 6 / 3 + 18 / 9)  # as if the second were the first


def test_a_budget_of_epochs_is_the_most(tmp_path):
    """27 trials of 27 epochs, of which 100 epochs are allowed."""
    found = left_of(tmp_path, DRAWS.replace("trials: 27", "trials: 27, epochs: 100"))
    assert sum(one.epochs for one in found) == pytest.approx(100)


def test_what_is_done_is_not_paid_again(tmp_path):
    """Trials that were interrupted continue; how early others ended is expected of the rest."""
    states = ("complete", "interrupted", "waiting")
    Written(tmp_path).study(trials=3, epochs=2, states=states)
    study = StudyFolder.open(tmp_path, "digits")
    assert [one.most_s for one in left_of(tmp_path, SPACE, study=study)[:3]] == [1, 1, 3]
    Written(tmp_path).study(name="early", trials=12, epochs=1, states=("complete",) * 6 + ("waiting",) * 6)
    early = StudyFolder.open(tmp_path, "early")
    assert left_of(tmp_path, SPACE, study=early)[-1].epochs == pytest.approx(1.0)
