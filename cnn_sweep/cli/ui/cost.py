"""Estimates what a planned study costs, from trials that it has or from a probe, and prints it."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.cli.ui.image_preparation import prepare_images
from cnn_sweep.cli.ui.terminal import print_words, warn
from cnn_sweep.errors import CnnSweepError, InputError
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.machine import default_workers, usable_cores, visible_gpus
from cnn_sweep.execution.study.threads import threads_of
from cnn_sweep.messages import duration, plural
from cnn_sweep.search.rungs import Ladder
from cnn_sweep.slurm.billing import billing_units
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.tools.cost_advice import Plan as CostPlan
from cnn_sweep.tools.cost_advice import advice, in_gb, partition_of
from cnn_sweep.tools.cost_estimate import Allocation, Estimate, estimate, works_of
from cnn_sweep.tools.epoch_times import EpochTimes, Shapes, times_of_probe, times_of_study, to_probe
from cnn_sweep.tools.node_timing import measure_on_node
from cnn_sweep.tools.submission_check import expected_start
from cnn_sweep.tools.training_rates import Timing, measure
from cnn_sweep.training.data.dataset import read_meta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.execution.array_jobs.submission import Submission
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.slurm.profile import Profile
    from cnn_sweep.sweep.sweep import Sweep
    from cnn_sweep.tools.cost_estimate import TrialWork
    from cnn_sweep.tools.epoch_times import Shape

_PROBE_S: Final = 3.0  # training time of each shape; on shared machines the speed changes from one second to the next
_MOST_WORKERS: Final = 8  # of a probe: a login node belongs to everybody
_HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class StudyCost:
    """What is left of a study and what it costs.

    Attributes:
        times: How long everything takes.
        works: What is left to train of each trial.
        cost: The expected cost.
        most: The cost if every trial trains all its epochs.
        jobs: The workers' machines.
    """

    times: EpochTimes
    works: list[TrialWork]
    cost: Estimate
    most: Estimate
    jobs: Allocation


def study_cost(study: StudyFolder, submission: Submission | None, *, in_job: bool = False) -> StudyCost:
    """Estimate the cost of what is left of a study; trains some shapes here unless the study has enough trials.

    Args:
        study: The study, which need not exist.
        submission: Its planned submission; None if it runs on this machine.
        in_job: Whether a job of the submission's profile trains them, instead of this machine.

    Raises:
        InputError: There is nothing to measure, or not on this machine.
        EnvironmentFault: A shape cannot be trained, or the job does not start in time.
    """
    if study.sweep.objective.function is not None:
        raise InputError(f"{study.sweep.source}: objective.function trains by itself, so its cost cannot be estimated")
    profile = submission.profile if submission else None
    threads = profile.worker_threads if profile else threads_of(study.paths, study.sweep)
    workers = default_workers(threads)
    jobs = Allocation.of(submission) if submission else Allocation(1, 1, workers, workers * threads)
    images = int(read_meta(prepare_images(study.sweep, study.paths.results))["sizes"]["train"])
    shapes, history = Shapes(study.sweep, study.info, images), study.history()
    left = left_to_do(study, history)
    times = times_of_study(shapes, history)
    if times is None:
        stages = [shape for trial in left for shape in shapes.of(trial)]
        probe = _probed_in_job if in_job else _probed
        times = probe(study, to_probe(stages), jobs.workers, threads, profile)
    works = works_of(study.sweep, left, history, shapes, times)
    whole = [replace(work, seconds=work.most_s) for work in works]
    return StudyCost(times, works, estimate(works, times, jobs), estimate(whole, times, jobs), jobs)


def _probed(study: StudyFolder, shapes: list[Shape], workers: int, threads: int, profile: Profile | None) -> EpochTimes:
    if profile is not None and profile.gpus and not visible_gpus():
        raise InputError(
            f"{profile.source} asks for GPUs and this machine has none, so a probe here would say nothing: add --job, "
            "and it runs on a node"
        )
    together = max(1, min(workers, usable_cores() // threads, _MOST_WORKERS))
    warn(f"timing {plural(len(shapes), 'shape')} with {plural(together, 'worker')} …")
    if (load := os.getloadavg()[0]) > usable_cores():
        warn(f"this machine is busy (load {load:.1f} on {plural(usable_cores(), 'core')}): times will be too long")
    began = time.monotonic()
    found = measure(_timing(study, shapes, threads), together)
    source = f"from {plural(len(shapes), 'shape')} that {plural(together, 'worker')} trained here"
    return times_of_probe(shapes, found, f"{source} for {time.monotonic() - began:.0f} s")


def _probed_in_job(
    study: StudyFolder, shapes: list[Shape], workers: int, threads: int, profile: Profile | None
) -> EpochTimes:
    if profile is None:
        raise InputError("--job needs a profile: add --profile PROFILE.toml")
    found = measure_on_node(_timing(study, shapes, threads), profile, SlurmCli(), warn)
    return times_of_probe(
        shapes, found, f"from {plural(len(shapes), 'shape')} that {plural(workers, 'worker')} trained in a job"
    )


def _timing(study: StudyFolder, shapes: list[Shape], threads: int) -> Timing:
    asked = [(dict(shape.params), shape.stage) for shape in shapes]
    return Timing.of(study.sweep, study.paths.results, asked, threads=threads, seconds=_PROBE_S)


def cost_as_data(found: StudyCost, submission: Submission | None) -> dict[str, Any]:
    """Return an estimate as ``--json`` prints it; with a submission, asks sbatch when it would start.

    Keys: trials; source (of the times); epoch_s (lowest, median, highest); start_s, build_s; expected and most: the
    fields of an :class:`Estimate`; memory_mb of a worker; and of a submission billing_units (per hour, of a task),
    billing_hours, task_memory_mb, start, advice.
    """
    epochs = sorted(work.seconds / work.epochs for work in found.works if work.epochs)
    data = {
        "trials": len(found.works),
        "epochs": sum(work.epochs for work in found.works),
        "source": found.times.source,
        "epoch_s": [epochs[0], statistics.median(epochs), epochs[-1]] if epochs else None,
        "start_s": found.times.start_s,
        "build_s": found.times.build_s,
        "memory_mb": found.times.memory_mb,
        "expected": asdict(found.cost),
        "most": asdict(found.most),
    }
    if submission is None:
        return data
    slurm = SlurmCli()
    try:
        start = expected_start(submission.profile, slurm)
    except CnnSweepError as error:
        warn(f"sbatch does not say when it would start: {error}")
        start = None
    plan = CostPlan(submission, found.works, found.times, found.cost, start)
    partition = partition_of(submission.profile, submission.cluster)
    units = None if partition is None else billing_units(submission.profile, partition, submission.cluster)
    return data | {
        "billing_units": units,
        "billing_hours": None if units is None else units * found.cost.task_s / _HOUR_S,
        "task_memory_mb": plan.memory_mb,
        "start": None if start is None else start.at or None,
        "wait_s": None if start is None else start.wait_s,
        "advice": list(advice(plan, slurm)),
    }


def print_cost(found: StudyCost, data: dict[str, Any], sweep: Sweep, profile: Profile | None) -> None:
    """Print an estimate: a line for each fact, then the advice."""
    print(f"cost, {found.times.source}:")
    for name, text in _facts(found, data, profile):
        print(f"  {name:<12}{text}")
    if sweep.pruner is not None or sweep.search.epochs or found.cost.task_s < found.most.task_s:
        print_words(_on_the_bound(found, sweep))
    if sweep.search.hours and found.cost.wall_s > sweep.search.hours * _HOUR_S:
        print_words(f"The budget of {sweep.search.hours:g} h ends the search earlier.")
    for line in data.get("advice", ()):
        print_words(f"- {line}")


def _facts(found: StudyCost, data: dict[str, Any], profile: Profile | None) -> Iterator[tuple[str, str]]:
    cost, jobs = found.cost, found.jobs
    if data["epoch_s"]:
        low, median, high = (f"{value:.3g}" for value in data["epoch_s"])
        spread = f"{low} to {high}, median {median}" if low != high else low
        yield "epoch", f"{spread} s; a network is built in {found.times.build_s:.2g} s"
    workers = plural(jobs.at_once * jobs.workers, "worker")
    restarts = "" if not cost.restarts else f", with {plural(cost.restarts, 'restart')} by the time limit"
    yield "wall time", f"{duration(cost.wall_s)} with {workers}{restarts}"
    yield "core hours", f"{cost.core_hours:.3g}" + (f"; GPU hours {cost.gpu_hours:.3g}" if jobs.gpus else "")
    if found.times.memory_mb is not None:
        task = data.get("task_memory_mb")
        asked = f", {in_gb(task)} a task" if task else ""
        asked += f" of {in_gb(profile.memory)}" if profile is not None and profile.memory and task else ""
        yield "memory", f"{in_gb(found.times.memory_mb)} a worker{asked}"
    if data.get("billing_hours") is not None:
        yield "billing", f"{data['billing_hours']:.3g} unit hours ({data['billing_units']:.3g} units a task)"
    if data.get("start"):
        wait = data["wait_s"]
        yield "start", data["start"].replace("T", " ") + (f", in {duration(wait)}" if wait else ", at once")


def _on_the_bound(found: StudyCost, sweep: Sweep) -> str:
    """Say what the estimate expects of rules that end trials early, and the most that it can be."""
    bound = f"at most {found.most.core_hours:.3g} core hours and {duration(found.most.wall_s)}"
    if found.cost.task_s == found.most.task_s:
        return f"This is the most: {sweep.pruner.kind if sweep.pruner else 'the budget'} may end trials earlier."
    share = found.cost.core_hours / found.most.core_hours
    why = "of its rungs" if Ladder.of(sweep.pruner) is not None else "of rules that end trials early"
    return f"Expected is {share:.0%} of the whole, because {why}; {bound}."
