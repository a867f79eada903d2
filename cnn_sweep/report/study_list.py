"""A list of studies: state, best value, last activity and size of each, and the archives."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import CnnSweepError, EnvironmentFault
from cnn_sweep.execution.study.archive_reader import read_summary
from cnn_sweep.execution.study.jobs import Queue, is_running, jobs_with, queues_of
from cnn_sweep.journal.events import Submit
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.paths import ARCHIVE_SUFFIX, StudyPaths, archive_folder, existing_studies
from cnn_sweep.journal.study_files import read_text
from cnn_sweep.journal.sweep_files import newest_revision
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.search.budget import Budget
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.store.overview import overview
from cnn_sweep.sweep.states import FINISHED, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.store.reader import StoreReader

COLUMNS = ("study", "state", "done", "planned", "metric", "best", "last_event", "bytes")
# Words of a sweep file without which its search has no limit but the number of trials; parsing each file takes longer.
_LIMITS = re.compile(r"\b(hours|gpu_hours|until|function)\b|\bepochs\b(?s:.*)\bepochs\b")


def studies_table(store: StoreReader, *, sizes: bool = True) -> tuple[Table, list[str]]:
    """List the studies of a results folder, the one with the newest activity first.

    Args:
        store: The store, with all journals merged.
        sizes: Whether to measure the sizes on disk, which may take long on network file systems.

    Returns:
        A table with the columns ``COLUMNS``: ``done`` counts finished trials, ``last_event`` is in seconds since 1970.
        And problems: sentences about what is not known.
    """
    names = existing_studies(store.results)
    found = {record["study"]: record for record in overview(store)} if names else {}
    records = [found[name] for name in names if name in found]
    queues, problems = _queues(records)
    rows = [_row(StudyPaths(store.results, one["study"]), one, queues.get(one["study"])) for one in records]
    rows += [{"study": name, "state": "unknown"} for name in names if name not in found]
    for row in rows if sizes else ():
        row["bytes"] = size_of(store.results / row["study"])
    return _newest_first(rows, sizes=sizes), problems


def archives_table(results: Path) -> tuple[Table, list[str]]:
    """List the archives of a results folder as :func:`studies_table` lists studies."""
    rows: list[Row] = []
    problems = []
    for file in sorted(archive_folder(results).glob(f"[!.]*{ARCHIVE_SUFFIX}")):
        name = file.name.removesuffix(ARCHIVE_SUFFIX)  # what `unarchive` takes, even if the file was renamed
        row: Row = {"study": name, "state": "archived", "bytes": file.stat().st_size}
        try:
            row |= _of_summary(read_summary(file))
        except CnnSweepError as error:
            problems.append(str(error))
            row["state"] = "unreadable"
        rows.append(row)
    return _newest_first(rows, sizes=True), problems


def together(one: Table, other: Table) -> Table:
    """Return the rows of two lists as one list, the newest first."""
    return _newest_first([*one.rows, *other.rows], sizes="bytes" in one.columns)


def size_of(folder: Path) -> int:
    """Return the size of a study's files in bytes; claims, which are links to one file per worker, count as nothing."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    total += 0 if entry.name == "claims" else size_of(folder / entry.name)
                else:
                    total += entry.stat().st_size
    except OSError:  # removed meanwhile, or unreadable
        return total
    return total


def _newest_first(rows: Sequence[Row], *, sizes: bool) -> Table:
    columns = COLUMNS if sizes else COLUMNS[:-1]
    ordered = sorted(rows, key=lambda row: (-(row.get("last_event") or 0.0), row["study"]))
    return Table(columns, tuple({name: row.get(name) for name in columns} for row in ordered))


def _of_summary(summary: Mapping[str, Any]) -> Row:
    row = {name: summary.get(name) for name in ("planned", "metric", "best", "last_event")}
    return row | {"done": _done(summary.get("trials") or {})}


def _row(paths: StudyPaths, record: Mapping[str, Any], queue: Queue | None) -> Row:
    row = {name: record[name] for name in ("study", "planned", "metric", "best", "last_event")}
    return row | {"state": _state(paths, record, queue), "done": _done(record["trials"])}


def _done(counts: Mapping[str, int]) -> int:
    return sum(count for state, count in counts.items() if state in FINISHED)


def _queues(records: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Queue], list[str]]:
    """Return the queues of unfinished studies with one call of squeue, and why they are not known."""
    left = [one for one in records if unfinished(one["trials"])]
    submits = {one["study"]: list(_submits(one["jobs"])) for one in left}
    workers = {one["study"]: [ProcessIdentity.from_data(dict(data)) for data in one["running"]] for one in left}
    if shutil.which("squeue") is None or not (any(submits.values()) or any(map(jobs_with, workers.values()))):
        return {}, []
    try:
        return queues_of(submits, SlurmCli(), workers), []
    except EnvironmentFault as fault:
        return {}, [f"jobs are not known: {fault}"]


def _submits(jobs: Sequence[Mapping[str, Any]]) -> Iterator[Submit]:
    for job in jobs:
        one = {"job": job["job"], "tasks": job["tasks"], "time": job["time"]}
        yield Submit(job["time"], [one], job["profile"], job["cluster"])


def _state(paths: StudyPaths, record: Mapping[str, Any], queue: Queue | None) -> str:
    """Return a study's state in one word; `status` has the details."""
    counts: Mapping[str, int] = record["trials"]
    if not unfinished(counts):
        return "failed" if counts["failed"] and counts["failed"] == sum(counts.values()) else "finished"
    if any(_alive(record["workers"], queue)) or (queue is not None and queue.running):
        return "running"
    if queue is not None and queue.jobs:
        return "queued"
    # Workers of other machines cannot be seen from here; `status` counts their trials as running, too.
    if any(alive is not False for alive in _alive(record["running"], queue)):
        return "running"
    return _state_at_rest(paths, counts, is_cancelled=record["cancelled"] is not None)


def _state_at_rest(paths: StudyPaths, counts: Mapping[str, int], *, is_cancelled: bool) -> str:
    """Return the state of an unfinished study on which nobody works."""
    begun = sum(counts.values()) - counts["waiting"]
    if begun and counts["failed"] == begun:
        return "failed"
    if begun and _is_ended_by_budget(paths):
        return "finished"
    if is_cancelled:
        return "cancelled"
    return "interrupted" if begun else "waiting"


def _alive(identities: Sequence[Mapping[str, Any]], queue: Queue | None) -> Iterator[bool | None]:
    """Yield whether each process runs, None if that is not known here."""
    return (is_running(ProcessIdentity.from_data(dict(identity)), queue) for identity in identities)


def _is_ended_by_budget(paths: StudyPaths) -> bool:
    try:
        if not _LIMITS.search(read_text(paths.revisions()[-1], "")):
            return False
        sweep = newest_revision(paths)
        if not sweep.search.has_budget:
            return False
        history = History.read(paths, sweep.objective.metric, sweep.further_metrics)
        return Budget(sweep, history).reached() is not None
    except (CnnSweepError, LookupError):  # damaged; `status` says how
        return False
