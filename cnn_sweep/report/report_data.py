"""Everything that a report shows, read from the store and from the study's frozen files in one go."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from cnn_sweep.errors import CnnSweepError, InputError
from cnn_sweep.execution.study.revisions import newest_revision
from cnn_sweep.journal.events import Worker
from cnn_sweep.journal.lines import BadLineError, decode
from cnn_sweep.journal.paths import JOURNAL_SUFFIX, StudyPaths
from cnn_sweep.report.axes import Axis, axis_of
from cnn_sweep.report.leaderboards.configurations import STATISTICS, board_of, column_beside_statistics
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.pareto import PARETO, with_front
from cnn_sweep.search.budget import covered
from cnn_sweep.search.rungs import Ladder
from cnn_sweep.store import queries, report_queries
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.sweep.states import counted, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.models.best_model import BestModel
    from cnn_sweep.search.importance import Findings
    from cnn_sweep.store.reading import StoreReader
    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.sweep import Sweep

T = TypeVar("T")

# Epochs' metrics in one report, in numbers: about 2 MB of text.
_CURVE_BUDGET = 150_000


@dataclass(frozen=True)
class FailedParts:
    """Parts of a report that could not be made.

    Attributes:
        found: A sentence each, in the order in which they were met.
    """

    found: list[str] = field(default_factory=list)

    def attempt(self, part: str, make: Callable[[], T], instead: Callable[[str], T]) -> T:
        """Make a part; if that fails in any way, note why.

        Args:
            part: Begins the sentence, such as ``the section Summary``.
            make: Makes it.
            instead: Makes what stands in its place, from the sentence.
        """
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader gets the other parts
            sentence = f"{part} could not be made: {type(error).__name__}: {error}"
            if sentence not in self.found:
                self.found.append(sentence)
            return instead(sentence)


@dataclass(frozen=True)
class ReportData:
    """What a report is made of.

    Attributes:
        summary: Of the study, as of :func:`cnn_sweep.store.queries.study_summary`.
        board: Its leaderboard.
        configurations: Its leaderboard with a row per configuration, if there are repeats; else None.
        axes: One for each hyperparameter, by its column of the leaderboard.
        curves: Trial to its epochs, of the trials that were asked for and then the best, as far as there is room.
        chosen: Trials whose learning curves are shown at first.
        cost: As of :func:`cnn_sweep.store.report_queries.cost`, with ``gpu_seconds``, None where there was no GPU.
        failures: By cause and message.
        at_rungs: Epochs of a rung to trial to its result there; empty without rungs.
        jobs: Of Slurm.
        workers: Processes that trained.
        provenance: Where the study comes from; empty if the file cannot be read.
        sweep: What its newest sweep file says; None if that cannot be read.
        revisions: Name to text of each frozen file, the oldest first; one behind a first line is what ``repeat`` added.
        best_model: What the best model does with the validation images; None if nobody looked.
        no_model: Why nobody did.
        findings: How much each hyperparameter mattered; None if that was not estimated.
        no_findings: Why it was not.
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
    at_rungs: dict[int, dict[int, float]] = field(default_factory=dict)
    best_model: BestModel | None = None
    no_model: str = ""
    findings: Findings | None = None
    no_findings: str = ""
    configurations: Table | None = None
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
    def front(self) -> list[Row]:
        """Complete trials that no other one dominates in all objectives together, best first; none of a single one."""
        several = self.objectives if len(self.objectives) > 1 else ()
        rows = with_front(Table((PARETO,), tuple(self.ranked)), several).rows
        return [row for row in rows if several and row[PARETO]]

    @property
    def nothing_complete(self) -> str:
        """Say that no trial is complete, and whether one may still be."""
        counts = self.summary["trials"]
        rest = unfinished(counts)
        if rest and not self.summary["cancelled"]:
            return "No trial is complete yet."
        cancelled = " (the study was cancelled)" if self.summary["cancelled"] else ""
        return f"No trial is complete: {counted(counts) or 'none is planned'}{cancelled}."

    @property
    def direction(self) -> Direction:
        """Which values of the objective are better."""
        direction: Direction = self.summary["direction"]
        return direction

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the leaderboard with the hyperparameters right after the value, where eyes look for them."""
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


def gather(store: StoreReader, study: str, board: Table, *, trials: Sequence[int] = (), shown: int = 8) -> ReportData:
    """Read what a report shows.

    Args:
        store: Where the study is read.
        study: The study's name.
        board: Its leaderboard.
        configurations: Its leaderboard with a row per configuration, if there are repeats; else None.
        trials: Show these trials' learning curves; by default the best ones'.
        shown: How many of the best.
    """
    paths = StudyPaths(store.results, study)
    summary = queries.study_summary(store, study)
    problems = FailedParts()
    revisions = _revisions(paths)
    sweep = _sweep(paths)
    best = [row["trial"] for row in board.rows if row["epochs"]]
    chosen = tuple(trials) or tuple(best[:shown])
    rungs = _rung_epochs(sweep, max((row["epochs"] or 0 for row in board.rows), default=0))
    direction: Direction = summary["direction"]
    return ReportData(
        summary=summary,
        board=board,
        configurations=_configurations(paths, board, summary),
        axes=_axes(summary, board, sweep),
        curves=report_queries.curves(store, study, _affordable(board, (*chosen, *best), len(summary["metrics"]))),
        chosen=chosen,
        cost=report_queries.cost(store, study)
        | {"gpu_seconds": problems.attempt("the time of GPUs", lambda: gpu_seconds(store, study), lambda _: None)},
        failures=report_queries.failures(store, study),
        jobs=report_queries.list_jobs(store, study),
        workers=[worker for worker in queries.list_workers(store, study) if worker["threads"]],
        provenance=_provenance(paths),
        sweep=sweep,
        revisions=revisions,
        at_rungs={epoch: report_queries.best_until(store, study, epoch, direction) for epoch in rungs},
        problems=problems,
    )


def _axes(summary: dict[str, Any], board: Table, sweep: Sweep | None) -> dict[str, Axis]:
    names = dict(zip(queries.parameter_columns(summary["parameters"]), summary["parameters"], strict=True))
    return {
        column: axis_of(column, name, board.rows, sweep.space.by_name.get(name) if sweep else None)
        for column, name in names.items()
    }


def _configurations(paths: StudyPaths, board: Table, summary: dict[str, Any]) -> Table | None:
    """Put the trials of each configuration into one row, with the columns that belong to all of them."""
    if not any(row["repeat"] for row in board.rows):
        return None
    found = board_of(paths, board, metric=summary["metric"], direction=summary["direction"])
    hyperparameters = (column_beside_statistics(name) for name in queries.parameter_columns(summary["parameters"]))
    return replace(found, columns=("rank", "trial", *STATISTICS, *hyperparameters))


def _affordable(board: Table, wanted: Sequence[int], metrics: int) -> list[int]:
    """Take trials as long as there is room for their epochs; the chosen ones come first."""
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
        return {file.name: file.read_text(encoding="utf-8-sig", errors="replace") for file in paths.revisions()}
    except OSError:
        return {}


def _sweep(paths: StudyPaths) -> Sweep | None:
    """Read the newest sweep file; a damaged one is shown as it is."""
    try:
        return newest_revision(paths)
    except (InputError, OSError, LookupError, ValueError):
        return None


def _provenance(paths: StudyPaths) -> dict[str, Any]:
    try:
        found = json.loads(paths.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _rung_epochs(sweep: Sweep | None, longest: int) -> set[int]:
    """Return the epochs of all rungs up to a number of epochs; none if the sweep has no rungs."""
    ladder = Ladder.of(sweep.pruner) if sweep is not None else None
    if ladder is None:
        return set()
    return {level for bracket in range(ladder.brackets) for level in rung_levels(ladder, bracket, longest)}


def rung_levels(ladder: Ladder, bracket: int, longest: int) -> Iterator[int]:
    """Yield the epochs of a bracket's rungs up to a number of epochs."""
    rung = 0
    while (level := ladder.level(bracket, rung)) <= longest:
        yield level
        rung += 1


def gpu_seconds(store: StoreReader, study: str) -> float | None:
    """Add up the time in which GPUs were in use; None if no worker had any.

    Workers that share GPUs are told by their equal lists of GPUs on one host; what they do at the same time counts
    once. Which GPUs a worker sees stands in the first line of its journal.
    """
    users: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for journal in StudyPaths(store.results, study).journals.glob(f"*{JOURNAL_SUFFIX}"):
        worker = _first(journal)
        if worker is not None and worker.extra.get("gpus"):
            users[(worker.identity.host, *map(str, worker.extra["gpus"]))].append(
                journal.name.removesuffix(JOURNAL_SUFFIX)
            )
    if not users:
        return None
    intervals = report_queries.attempt_times(store, study)
    return sum(
        (len(key) - 1) * covered(interval for writer in writers for interval in intervals.get(writer, ()))
        for key, writers in users.items()
    )


def _first(journal: Path) -> Worker | None:
    try:
        with journal.open("rb") as file:
            event = decode(file.readline())
    except (OSError, BadLineError):
        return None
    return event if isinstance(event, Worker) else None


def with_importance(data: ReportData) -> ReportData:
    """Add what mattered, or why that cannot be told."""
    if not data.ranked:
        return data

    def estimated() -> ReportData:
        try:
            return replace(data, findings=what_mattered(data), no_findings="The sweep file cannot be read.")
        except CnnSweepError as error:  # too few trials
            return replace(data, no_findings=str(error))

    return data.problems.attempt("importance", estimated, lambda why: replace(data, no_findings=why))


def what_mattered(data: ReportData) -> Findings | None:
    """Estimate importances from the complete trials; None without a sweep file.

    Raises:
        StudyError: There are too few trials, or nothing differs.
    """
    from cnn_sweep.search.importance import find  # noqa: PLC0415 - loads Optuna, which takes a second

    if data.sweep is None:
        return None
    names = {column: axis.label for column, axis in data.axes.items()}
    return find(data.sweep, [(queries.params_of(row, names), row["value"]) for row in data.ranked])
