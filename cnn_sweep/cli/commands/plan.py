"""``plan``: shows the trials of a sweep file and the resources that a submission would request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnn_sweep.cli.ui.options import RESULTS, AsJson, Results, Set, SweepFile, Trust, profile_option
from cnn_sweep.cli.ui.sweeps import load_sweep
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.earlier_studies import with_learned
from cnn_sweep.execution.study.pilots import first_rung_of
from cnn_sweep.execution.study.study_folder import StudyFolder, plan_sweeps
from cnn_sweep.execution.study.user_code import check_user_code
from cnn_sweep.journal.paths import StudyPaths, is_study
from cnn_sweep.journal.sweep_files import newest_revision
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import Table, shown
from cnn_sweep.search.feasibility import size_violation
from cnn_sweep.search.first_rung import chooses_first_rung
from cnn_sweep.search.plan import FROM_PRIOR
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.training.data.sources import notes_on_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnn_sweep.execution.array_jobs.submission import Submission
    from cnn_sweep.search.first_rung import FirstRung
    from cnn_sweep.search.plan import Plan, PlannedConfiguration
    from cnn_sweep.sweep.sweep import Sweep

_ROWS_SHOWN = 20


def plan(
    sweep: SweepFile,
    as_json: AsJson = False,
    profile: Annotated[Path | None, profile_option("Also show what `submit` would request.")] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Estimate time and cost: train a few networks here, unless the study has trials."),
    ] = False,
    job: Annotated[
        bool, typer.Option("--job", help="With --probe: train them in a job of the profile's, on its node.")
    ] = False,
    changes: Set = [],  # noqa: B006 - typer copies it
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Show the trials of a sweep, its duplicates and the networks that cannot be built. No study is written.

    With --probe, also what the study costs: hours of cores and GPUs, wall time, memory; and with a profile billing
    units, when it would start, and what would be cheaper or start sooner. The probe takes seconds, and prepares images.

    Examples:
      cnn-sweep plan sweeps/digits.yaml --set training.epochs=5
      cnn-sweep plan sweeps/digits.yaml --profile slurm/cpu.toml
      cnn-sweep plan sweeps/digits.yaml --profile slurm/cpu.toml --probe
      cnn-sweep plan sweeps/mnist.yaml --profile slurm/gpu.toml --probe --job
    """
    if job and not (probe and profile is not None):
        raise InputError("--job is for --probe with --profile PROFILE.toml")
    loaded = with_learned(load_sweep(sweep, changes), results)
    check_user_code(loaded)
    found, info = plan_sweeps(loaded)
    for note in notes_on_names(loaded.data, info):
        warn(note)
    first = _first_rung(loaded, results)
    if not as_json:
        _print_plan(loaded, found, first)
    data = _as_data(found) | {"first_rung": None if first is None else first.as_data()}
    submission = None if profile is None else _submission(loaded, results, profile)
    if profile is not None:
        data["submission"] = None if submission is None else _submission_as_data(submission)
    if submission is not None and not as_json:
        _print_submission(data["submission"])
    if probe and (submission is not None or profile is None):
        study = StudyFolder.preview(loaded, results) if submission is None else submission.study
        data["cost"] = _cost(study, submission, in_job=job, as_json=as_json)
    if as_json:
        print(json.dumps(data, indent=2))


def _first_rung(sweep: Sweep, results: Path) -> FirstRung | None:
    """Return the first rung that pilots have chosen or test, if the sweep has a study already."""
    paths = StudyPaths(results, sweep.study)
    if not (chooses_first_rung(sweep) and is_study(paths)) or newest_revision(paths).digest != sweep.digest:
        return None
    return first_rung_of(paths, sweep)


def _print_plan(sweep: Sweep, found: Plan, first: FirstRung | None) -> None:
    number = len(found.configurations)
    proposed = sweep.search.is_adaptive and not number
    folds = f" of {sweep.fold_count} folds" if sweep.fold_count > 1 else ""
    configurations = "proposed configurations" if proposed else plural(number, "configuration")
    print(
        f"{sweep.study}: {plural(len(found.trials), 'trial')} of {configurations} "
        f"({sweep.search.method}, {plural(sweep.search.repeats, 'repeat')}{folds}), "
        f"{plural(found.duplicates, 'duplicate')} dropped, "
        f"{len(found.invalid)} invalid"
    )
    for note in found.notes:
        print(note)
    if sweep.pruner is not None:
        settings = ", ".join(f"{name} {value}" for name, value in sweep.pruner.model_dump(exclude={"kind"}).items())
        print(f"pruner {sweep.pruner.kind}: {settings}")
    if first is not None:
        print(f"first rung that decides: {first}")
    if sweep.search.constraints:
        print(f"constraints on results: {'; '.join(sweep.search.constraints)}")
        if count := sum(size_violation(sweep, one.parameters) > 0 for one in found.configurations):
            print(f"violated by the number of weights: {plural(count, 'configuration')}")
    for one in sweep.search.learned:
        print(
            f"first, from trial {one.trial} of {one.study} ({sweep.objective.metric} {shown(one.value)}): {one.params}"
        )
    if count := sum(trial.source == FROM_PRIOR and not trial.repeat for trial in found.trials):
        priors = ", ".join(f"{name} {shown(value)}" for name, value in sweep.space.priors.items())
        print(f"first, {plural(count, 'configuration')} drawn around the prior: {priors}")
    if sweep.when_finished:
        print(f"when finished: {', '.join(map(str, sweep.when_finished))}")
    _print_rows("configurations", [_row(c) for c in found.configurations])
    _print_rows("invalid: the network cannot be built", [i.params | {"reason": i.reason} for i in found.invalid])


def _row(configuration: PlannedConfiguration) -> dict[str, Any]:
    return configuration.params | {"parameters": configuration.parameters, "trainable": configuration.trainable}


def _as_data(found: Plan) -> dict[str, Any]:
    """Return a plan as ``--json`` prints it."""
    return {
        "trials": len(found.trials),
        "configurations": [
            {"params": c.params, "parameters": c.parameters, "trainable": c.trainable} for c in found.configurations
        ],
        "invalid": [{"params": i.params, "reason": i.reason} for i in found.invalid],
        "duplicates": found.duplicates,
    }


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    print_table(Table(names, tuple(rows[:_ROWS_SHOWN])), title=title)
    if len(rows) > _ROWS_SHOWN:
        print(f"… and {len(rows) - _ROWS_SHOWN} more (`--json` gives all)")


def _submission(sweep: Sweep, results: Path, profile: Path) -> Submission | None:
    """Plan a submission; None if no trials are left."""
    # A plan without a profile does not need the code that submits.
    from cnn_sweep.cli.commands.submit import plan_or_explain

    return plan_or_explain(StudyFolder.preview(sweep, results), Profile.load(profile))


def _submission_as_data(submission: Submission) -> dict[str, Any]:
    """Return the resources that a submission would request.

    Keys: trials; arrays, each with tasks and throttle; workers of a task; threads of a worker; time_limit_min;
    files, an estimate; notes.
    """
    settings, arrays = submission.settings, submission.arrays
    return {
        "trials": submission.trials,
        "arrays": [{"tasks": array.tasks, "throttle": array.throttle} for array in arrays.arrays],
        "workers": settings.workers,
        "threads": settings.threads,
        "time_limit_min": submission.profile.time_limit,
        # Files per task: submitit's two files and two logs. Per worker: a journal, the owner file of its claims, a log.
        "files": 4 * arrays.tasks + 3 * arrays.tasks * (settings.workers + 1),
        "notes": list(submission.notes),
    }


def _cost(study: StudyFolder, submission: Submission | None, *, in_job: bool, as_json: bool) -> dict[str, Any] | None:
    """Estimate the cost of what is left of a study, and print it unless JSON is wanted."""
    # A plan without a probe does not need the code that measures.
    from cnn_sweep.cli.ui.cost import cost_as_data, print_cost, study_cost
    from cnn_sweep.execution.attempts.candidates import why_nothing_is_left

    if (reason := why_nothing_is_left(study, study.history())) is not None:
        warn(reason)
        return None
    found = study_cost(study, submission, in_job=in_job)
    data = cost_as_data(found, submission)
    if not as_json:
        print_cost(found, data, study.sweep, submission.profile if submission else None)
    return data


def _print_submission(found: Mapping[str, Any]) -> None:
    each = f"{plural(found['workers'], 'worker')} of {plural(found['threads'], 'thread')}"
    for array in found["arrays"]:
        print(
            f"array of {plural(array['tasks'], 'task')}, {array['throttle']} at a time: each {each}, "
            f"for {found['time_limit_min']} min at a time"
        )
    print(f"about {found['files']} files for {plural(found['trials'], 'trial')}, and models")
