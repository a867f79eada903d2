"""The data of a report, read in one pass from the store and the study's frozen files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from cnn_sweep.errors import CnnSweepError, DamagedFileError, InputError
from cnn_sweep.execution.study.pilots import first_rung_of
from cnn_sweep.journal.decoding import BadLineError
from cnn_sweep.journal.events import Worker
from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.log import decode
from cnn_sweep.journal.paths import StudyPaths, data_root
from cnn_sweep.journal.study_files import open_file, read_text
from cnn_sweep.journal.sweep_files import newest_revision, read_provenance
from cnn_sweep.report.axes import Axis, axis_of
from cnn_sweep.report.efficiency import efficiency_table, study_usage
from cnn_sweep.report.leaderboards.configurations import STATISTICS, board_of, column_beside_statistics
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.pareto import PARETO, column_of, knee_of, with_front
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.models.openings import newest_tests, openings_in
from cnn_sweep.report.models.selection_bias import Corrected, corrected_best
from cnn_sweep.report.worker_times import worker_times
from cnn_sweep.search.budget import covered
from cnn_sweep.search.rungs import Ladder
from cnn_sweep.store import queries, report_queries
from cnn_sweep.store.column_names import VIOLATION
from cnn_sweep.sweep.file.yaml import replace_study_name
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.sweep.states import counted, unfinished
from cnn_sweep.training.data.prepare import last_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.models.best_model import BestModel
    from cnn_sweep.report.models.openings import Opening
    from cnn_sweep.report.worker_times import WorkerTime
    from cnn_sweep.search.first_rung import FirstRung
    from cnn_sweep.search.importance import Findings
    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.store.reader import StoreReader
    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.sweep import Sweep

T = TypeVar("T")
Images = Mapping[str, Mapping[str, int]]  # number of images by split and class

# Objectives that are a share of the validation images.
_ACCURACY = re.compile(r"val_(top_\d+_)?accuracy")
# Limit on the numbers in learning curves of one report: about 2 MB of text.
_CURVE_BUDGET = 150_000


@dataclass(frozen=True)
class FailedParts:
    """Parts of a report that could not be made.

    Attributes:
        found: A sentence about each, in order of occurrence.
    """

    found: list[str] = field(default_factory=list)

    def attempt(self, part: str, make: Callable[[], T], instead: Callable[[str], T]) -> T:
        """Make a part; if that fails, record the reason and make a replacement.

        Args:
            part: The subject of the sentence, such as ``the section Summary``.
            make: Makes the part.
            instead: Makes the replacement from the sentence.
        """
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - any error must leave the other parts intact
            kind = "" if isinstance(error, CnnSweepError) else f"{type(error).__name__}: "
            sentence = f"{part} could not be made: {kind}{error}"
            if sentence not in self.found:
                self.found.append(sentence)
            return instead(sentence)


@dataclass(frozen=True)
class ReportData:
    """The data of one study's report.

    Attributes:
        summary: The study's summary, see :func:`cnn_sweep.store.queries.study_summary`.
        board: Its leaderboard.
        axes: The axis of each hyperparameter, by its column of the leaderboard.
        curves: Epochs by trial: of the chosen trials, then of the best ones, as far as there is room.
        chosen: Trials whose learning curves are shown initially.
        cost: See :func:`cnn_sweep.store.report_queries.cost` and ``time_of_attempts``; ``gpu_seconds`` is None without
            a GPU.
        failures: Failed trials, counted by cause and message.
        jobs: Slurm jobs.
        workers: Processes that trained.
        attempts: What they trained, see :func:`cnn_sweep.store.report_queries.attempts`.
        provenance: Content of ``provenance.json``; empty if it cannot be read.
        sweep: The newest sweep file; None if it cannot be read.
        revisions: Text of each frozen file by name, the oldest first; ``repeat`` marks its own in their first line.
        by_epoch: The objective of all trials that completed an epoch, by epoch.
        at_rungs: Epochs of a rung to results there by trial; empty without rungs.
        first_rung: The first rung that decides, and its evidence; None unless pilots choose it.
        best_model: The best model's predictions of the validation images; None without predictions.
        no_model: Why there are no predictions.
        corrected: The value of the best without selection bias; None where it is not known.
        findings: Estimated importance of the hyperparameters; None if it was not estimated.
        other_findings: The same for the other objectives, by metric.
        no_findings: Why the importance was not estimated.
        configurations: The leaderboard with a row per configuration; None without repeats.
        efficiency: What its jobs asked for and used; None if it was not submitted.
        images: Number of images by split and class; None if the prepared data set is gone.
        tests: Newest evaluation of each model on the test set; see :func:`.openings.newest_tests`.
        openings: How often the test set was opened, and for which models.
        members: All trials of a configuration by the one that stands for it; empty without repeats.
        problems: Parts that could not be made.
    """

    summary: dict[str, Any]
    board: Table
    axes: dict[str, Axis]
    curves: dict[int, list[Row]]
    chosen: tuple[int, ...]
    cost: dict[str, Any]
    failures: list[Row]
    jobs: list[Row]
    workers: list[Row]
    provenance: dict[str, Any]
    sweep: Sweep | None
    revisions: dict[str, str]
    attempts: list[Row] = field(default_factory=list)
    by_epoch: dict[int, list[float]] = field(default_factory=dict)
    at_rungs: dict[int, dict[int, float]] = field(default_factory=dict)
    first_rung: FirstRung | None = None
    best_model: BestModel | None = None
    no_model: str = ""
    corrected: Corrected | None = None
    findings: Findings | None = None
    other_findings: dict[str, Findings] = field(default_factory=dict)
    no_findings: str = ""
    configurations: Table | None = None
    efficiency: Table | None = None
    images: Images | None = None
    tests: dict[str, Row] = field(default_factory=dict)
    openings: Sequence[Opening] = ()
    members: dict[int, list[int]] = field(default_factory=dict)
    problems: FailedParts = field(default_factory=FailedParts)

    @property
    def study(self) -> str:
        """The study's name."""
        return str(self.summary["study"])

    @property
    def metric(self) -> str:
        """The objective."""
        return str(self.summary["metric"])

    @property
    def objectives(self) -> tuple[ObjectiveSpec, ...]:
        """All objectives, the one that ranks trials first."""
        if self.sweep is not None:
            return self.sweep.objectives
        return (ObjectiveSpec(metric=self.metric, direction=self.direction),)

    @property
    def all_findings(self) -> dict[str, Findings]:
        """Estimated importance for each objective, by metric, the first objective first; empty if not estimated."""
        return {} if self.findings is None else {self.metric: self.findings} | self.other_findings

    @cached_property
    def worker_times(self) -> list[WorkerTime]:
        """What each worker did in its time."""
        return worker_times(self.workers, self.attempts)

    @cached_property
    def front(self) -> list[Row]:
        """Complete trials on the Pareto front of several objectives, best first; empty with a single objective."""
        several = self.objectives if len(self.objectives) > 1 else ()
        rows = with_front(Table((PARETO,), tuple(self.ranked)), several).rows
        return [row for row in rows if several and row[PARETO]]

    @cached_property
    def knee(self) -> Row | None:
        """The trial at the knee of the front; None without one. See :func:`cnn_sweep.search.pareto.knee`."""
        return knee_of(self.front, self.objectives)

    @property
    def nothing_complete(self) -> str:
        """A sentence for a study without complete trials."""
        counts = self.summary["trials"]
        rest = unfinished(counts)
        if rest and not self.summary["cancelled"]:
            return "No trial is complete yet."
        cancelled = " (the study was cancelled)" if self.summary["cancelled"] else ""
        return f"No trial is complete: {counted(counts) or 'none is planned'}{cancelled}."

    @property
    def direction(self) -> Direction:
        """Whether higher or lower values of the objective are better."""
        direction: Direction = self.summary["direction"]
        return direction

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the leaderboard, with the hyperparameters right after the value."""
        names = self.board.columns
        place = names.index("value") + 1
        leading = tuple(name for name in names[:place] if name not in self.axes)
        return (*leading, *self.axes, *(name for name in names[place:] if name not in self.axes))

    @property
    def best_configuration(self) -> Row | None:
        """The row of the configuration with the best mean; None unless it has several values."""
        rows = self.configurations.rows if self.configurations else ()
        return rows[0] if rows and rows[0]["n"] > 1 else None

    @property
    def best_trial(self) -> int | None:
        """The best trial; with repeats the first one of the best configuration. None if no trial is complete."""
        best = self.best_configuration or self.summary["best"]
        return None if best is None else int(best["trial"])

    @property
    def ranked(self) -> list[Row]:
        """Complete trials with a value, best first."""
        return [row for row in self.board.rows if row["rank"] is not None]

    @property
    def feasible(self) -> list[Row]:
        """Those of the ranked trials that satisfy the constraints on what trials measure."""
        return [row for row in self.ranked if not row.get(VIOLATION)]

    @property
    def has_means(self) -> bool:
        """Whether configurations are compared by means over seeds, and not trials by single values."""
        return self.best_configuration is not None

    @property
    def contenders(self) -> list[Row]:
        """What is ranked, best first: configurations if the best has several values, else trials."""
        if self.configurations is None or not self.has_means:
            return self.ranked
        return [row for row in self.configurations.rows if row["rank"] is not None]

    def score(self, row: Row) -> float:
        """Return the mean or the value by which one of the ``contenders`` is ranked."""
        return float(row["mean" if self.has_means else "value"])

    def setting(self, row: Row, axis: Axis) -> Any:
        """Return the value of a hyperparameter of one of the ``contenders``; None if it is inactive."""
        return row.get(column_beside_statistics(axis.column) if self.has_means else axis.column)

    @property
    def validation_images(self) -> int:
        """Number of validation images by which accuracies are measured; 0 if it is unknown."""
        return sum((self.images or {}).get("validation", {}).values())

    def interval(self, row: Row) -> tuple[float, float] | None:
        """Return the 95% interval of the score of one of the ``contenders``; None if it is unknown.

        It is that of a mean over seeds, or Wilson's for an accuracy on the validation images.
        """
        if self.has_means:
            return None if row["ci_low"] is None else (row["ci_low"], row["ci_high"])
        is_share = _ACCURACY.fullmatch(self.metric) and 0.0 <= row["value"] <= 1.0
        if not is_share or not self.validation_images:
            return None
        return wilson(row["value"] * self.validation_images, self.validation_images)


def gather(store: StoreReader, study: str, board: Table, *, trials: Sequence[int] = (), shown: int = 8) -> ReportData:
    """Read the data of a report.

    Args:
        store: The store with the study.
        study: The study's name.
        board: Its leaderboard.
        trials: Show these trials' learning curves; by default those of the best trials.
        shown: Number of best trials whose curves are shown.
    """
    paths = StudyPaths(store.results, study)
    summary = queries.study_summary(store, study)
    problems = FailedParts()
    revisions = _revisions(paths)
    sweep = _sweep(paths)
    configurations = _configurations(paths, board, summary)
    members = _members(configurations, board)
    best = [row["trial"] for row in board.rows if row["epochs"]]
    chosen = tuple(trials) or _chosen(board, configurations, shown)
    seeds = [seed for trial in chosen for seed in members.get(trial, ())]
    rungs = _rung_epochs(sweep, max((row["epochs"] or 0 for row in board.rows), default=0))
    return ReportData(
        summary=summary,
        board=board,
        configurations=configurations,
        members=members,
        axes=_axes(summary, board, sweep),
        curves=report_queries.curves(
            store, study, _affordable(board, (*chosen, *seeds, *best), len(summary["metrics"]))
        ),
        chosen=chosen,
        images=problems.attempt("the number of images", lambda: _images(sweep, paths), lambda _: None),
        cost=_cost(store, study, problems),
        failures=report_queries.failures(store, study),
        jobs=report_queries.list_jobs(store, study),
        workers=[worker for worker in queries.list_workers(store, study) if worker["threads"]],
        attempts=report_queries.attempts(store, study),
        provenance=read_provenance(paths),
        sweep=sweep,
        revisions=revisions,
        tests=newest_tests(store, study),
        openings=openings_in(store, study),
        by_epoch=report_queries.values_by_epoch(store, study),
        at_rungs={epoch: report_queries.best_until(store, study, epoch, summary["direction"]) for epoch in rungs},
        first_rung=_first_rung(paths, sweep, problems),
        problems=problems,
    )


def _first_rung(paths: StudyPaths, sweep: Sweep | None, problems: FailedParts) -> FirstRung | None:
    if sweep is None:
        return None
    return problems.attempt("the first rung", lambda: first_rung_of(paths, sweep), lambda _: None)


def _cost(store: StoreReader, study: str, problems: FailedParts) -> dict[str, Any]:
    gpus = problems.attempt("the time of GPUs", lambda: gpu_seconds(store, study), lambda _: None)
    return report_queries.cost(store, study) | report_queries.time_of_attempts(store, study) | {"gpu_seconds": gpus}


def _chosen(board: Table, configurations: Table | None, shown: int) -> tuple[int, ...]:
    """Return the trials whose curves are shown: the best, or those that stand for the best configurations."""
    begun = {row["trial"] for row in board.rows if row["epochs"]}
    rows = board.rows if configurations is None else configurations.rows
    found = [row["trial"] for row in rows if row["trial"] in begun]
    return tuple(found[: shown if configurations is None else shown // 2])  # bands need room


def _axes(summary: dict[str, Any], board: Table, sweep: Sweep | None) -> dict[str, Axis]:
    names = dict(zip(queries.parameter_columns(summary["parameters"]), summary["parameters"], strict=True))
    return {
        column: axis_of(column, name, board.rows, sweep.space.by_name.get(name) if sweep else None)
        for column, name in names.items()
    }


def _configurations(paths: StudyPaths, board: Table, summary: dict[str, Any]) -> Table | None:
    """Return the leaderboard with a row per configuration and the columns that its trials share."""
    if not any(row["repeat"] for row in board.rows):
        return None
    found = board_of(paths, board, metric=summary["metric"], direction=summary["direction"])
    hyperparameters = (column_beside_statistics(name) for name in queries.parameter_columns(summary["parameters"]))
    return replace(found, columns=("rank", "trial", *STATISTICS, *hyperparameters))


def _members(configurations: Table | None, board: Table) -> dict[int, list[int]]:
    """Return the trials of each configuration by the trial that stands for it; empty without repeats."""
    if configurations is None:
        return {}
    trials: dict[Any, list[int]] = defaultdict(list)
    for row in board.rows:
        trials[row["configuration"]].append(row["trial"])
    return {row["trial"]: sorted(trials[row["configuration"]]) for row in configurations.rows}


def _affordable(board: Table, wanted: Sequence[int], metrics: int) -> list[int]:
    """Return the first trials in the given order whose epochs fit into the report."""
    epochs = {row["trial"]: row["epochs"] or 0 for row in board.rows}
    taken: list[int] = []
    room = _CURVE_BUDGET
    for trial in dict.fromkeys(wanted):
        room -= epochs.get(trial, 0) * metrics
        if room < 0 and taken:
            break
        taken.append(trial)
    return taken


def _revisions(paths: StudyPaths) -> dict[str, str]:
    try:
        texts = {file.name: read_text(file, "") for file in paths.revisions()}
    except DamagedFileError:
        return {}
    # The commands that reproduce the study use the name of its folder, which may have been renamed.
    return {name: replace_study_name(text, paths.study) for name, text in texts.items()}


def _sweep(paths: StudyPaths) -> Sweep | None:
    """Read the newest sweep file; None if it is damaged, so that the report shows its text only."""
    try:
        return newest_revision(paths)
    except InputError:
        return None


def _images(sweep: Sweep | None, paths: StudyPaths) -> Images | None:
    if sweep is None or sweep.objective.function is not None:
        return None
    report = last_report(sweep.data, sweep.folder, data_root(paths.results))
    return report["images"] if report else None


def _rung_epochs(sweep: Sweep | None, longest: int) -> set[int]:
    """Return the epochs of all rungs up to a number of epochs; none if the sweep has no rungs."""
    ladder = Ladder.of(sweep.pruner) if sweep is not None else None
    if ladder is None:
        return set()
    return {level for bracket in range(ladder.brackets) for level in rung_levels(ladder, bracket, longest)}


def rung_levels(ladder: Ladder, bracket: int, longest: int) -> Iterator[int]:
    """Yield the epochs of a bracket's rungs, up to ``longest``."""
    rung = 0
    while (level := ladder.level(bracket, rung)) <= longest:
        yield level
        rung += 1


def gpu_seconds(store: StoreReader, study: str) -> float | None:
    """Return the total time in which GPUs were in use, in seconds; None if no worker had a GPU.

    Workers with the same list of GPUs on one host share them, so overlapping attempts count once. The first line of a
    worker's journal lists its GPUs.
    """
    users: dict[tuple[str, ...], list[str]] = defaultdict(list)
    paths = StudyPaths(store.results, study)
    for writer, _ in journal_sizes(paths):
        worker = _first(paths.journal(writer))
        if worker is not None and isinstance(gpus := worker.extra.get("gpus"), list) and gpus:
            users[(worker.identity.host, *map(str, gpus))].append(writer)
    if not users:
        return None
    intervals = report_queries.attempt_times(store, study)
    return sum(
        (len(key) - 1) * covered(interval for writer in writers for interval in intervals.get(writer, ()))
        for key, writers in users.items()
    )


def _first(journal: Path) -> Worker | None:
    try:
        with open_file(journal) as file:
            event = decode(file.readline())
    except (OSError, BadLineError):
        return None
    return event if isinstance(event, Worker) else None


def with_efficiency(data: ReportData, store: StoreReader, slurm: SlurmCli) -> ReportData:
    """Add what the study's jobs asked for and used, if it was submitted to Slurm."""
    if not data.jobs:
        return data

    def measured() -> ReportData:
        return replace(data, efficiency=efficiency_table(study_usage(store, data.study, slurm)))

    return data.problems.attempt("efficiency", measured, lambda _: data)


def with_correction(data: ReportData, results: Path) -> ReportData:
    """Add the value of the best without selection bias, where kept predictions tell it."""
    found = data.problems.attempt("the corrected best", lambda: corrected_best(results, data.study), lambda _: None)
    return data if found is None or data.best_trial not in found.trials else replace(data, corrected=found)


def with_importance(data: ReportData) -> ReportData:
    """Add the importance of the hyperparameters, or the reason why it cannot be estimated."""
    if not data.ranked:
        return data

    def estimated() -> ReportData:
        try:
            first, *others = [what_mattered(data, one) for one in data.objectives]
            named = zip(data.objectives[1:], others, strict=True)
            rest = {one.metric: found for one, found in named if found is not None}
            return replace(data, findings=first, other_findings=rest, no_findings="The sweep file cannot be read.")
        except CnnSweepError as error:  # too few trials
            return replace(data, no_findings=str(error))

    return data.problems.attempt("importance", estimated, lambda why: replace(data, no_findings=why))


def what_mattered(data: ReportData, objective: ObjectiveSpec | None = None) -> Findings | None:
    """Estimate the importance of the hyperparameters from the complete trials; None without a sweep file.

    Args:
        data: The study's data.
        objective: For which objective; by default the first one.

    Raises:
        StudyError: There are too few complete trials, or they do not differ.
    """
    from cnn_sweep.search.importance import find  # noqa: PLC0415 - loads Optuna, which takes a second

    if data.sweep is None:
        return None
    names = {column: axis.label for column, axis in data.axes.items()}
    objective = objective or data.objectives[0]
    column = "value" if objective == data.objectives[0] else column_of(data.board, objective.metric)
    results = [(queries.params_of(row, names), row.get(column)) for row in data.ranked]
    return find(data.sweep, results, objective.direction)
