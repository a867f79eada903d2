"""``cnn_sweep.Study``: a study for Python users, with the words of the command line and pandas DataFrames.

It reads the store; :class:`~cnn_sweep.execution.study.study_folder.StudyFolder` creates and changes studies on disk.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.execution.attempts.liveness import Attempt
from cnn_sweep.execution.attempts.study_jobs import StudyJobs, jobs_of_study
from cnn_sweep.execution.attempts.take_over import unseen_in_words
from cnn_sweep.execution.pool.when_finished import end_of
from cnn_sweep.execution.pool.worker_processes import log_file
from cnn_sweep.execution.study.jobs import Queue, faults_of, is_running, outcomes
from cnn_sweep.execution.study.pilots import first_rung_of
from cnn_sweep.execution.study.provenance import DOES_NOT_TRAIN
from cnn_sweep.journal.history import History, check_journals
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.paths import StudyPaths, existing_studies, existing_study, sweep_file_cure
from cnn_sweep.journal.study_files import read_text
from cnn_sweep.journal.sweep_files import check_sweep_files, newest_revision
from cnn_sweep.report.leaderboards.leaderboard import (
    Table,
    constraints_in_words,
    incomplete_in_words,
    value_in_words,
)
from cnn_sweep.report.leaderboards.pareto import column_of, with_front
from cnn_sweep.search.budget import Budget, Limit
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.store import queries, report_queries
from cnn_sweep.store.column_names import MORE, TEXTS
from cnn_sweep.store.files import store_file
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.sweep.states import unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from cnn_sweep.report.figures.plots import Plots
    from cnn_sweep.report.models.predictions import TrainedModels
    from cnn_sweep.search.first_rung import FirstRung
    from cnn_sweep.search.importance import Findings
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec
    from cnn_sweep.sweep.sweep import Sweep

# A reader waits this many seconds for another process that is merging, before it reads the store without its lines.
_PATIENCE_S = 10.0
_DAMAGE = ("bad_lines", "unknown_lines", "incomplete")
_HIDDEN = "jobs of other users are not shown to you on this cluster (PrivateData): they may be running"


def known_studies(results: str | Path = "results") -> list[str]:
    """Return the names of the studies in a results folder, sorted.

    Examples:
        >>> known_studies("results")
        ['digits', 'small']
    """
    return existing_studies(Path(results))


def merge_first(results: Path) -> str | None:
    """Merge new journal lines into the store; return why that was not possible, or None."""
    if existing_studies(results) or store_file(results).is_file():  # it may still have a study that was removed
        return merge(results, wait_s=_PATIENCE_S).skipped
    return None


class Study:
    """An existing study; its methods read the store.

    Attributes:
        store: The store; all calls within one ``with study.store:`` see the same state of it.
        name: The study's name.

    Examples:
        >>> study = Study.open("results", "digits")
        >>> study.best()
        {'trial': 3, 'value': 0.783284491266536}
        >>> study.parameter_names
        ['filters', 'optimizer', 'learning_rate', 'momentum']
    """

    def __init__(self, store: StoreReader, name: str) -> None:
        self.store = store
        self.name = name

    @classmethod
    def open(cls, results: str | Path, name: str, *, merge: bool = True) -> Study:
        """Open a study.

        Args:
            results: Root of all studies.
            name: The study's name.
            merge: Merge new journal lines into the store first.

        Raises:
            StudyError: No such study; the message lists those that exist.
            DamagedFileError: Its sweep file is missing, damaged or another one, or something is no journal.
        """
        (found,) = cls.open_several(results, [name])
        if merge:
            merge_first(found.results)
        return found

    @classmethod
    def open_several(cls, results: str | Path, names: Iterable[str]) -> list[Study]:
        """Open studies on one store, without merging; arguments and errors as for :meth:`open`."""
        root = Path(results)
        for name in names:
            check_sweep_files(paths := existing_study(root, name))
            check_journals(paths)
        store = StoreReader(root)
        return [cls(store, name) for name in names]

    @property
    def results(self) -> Path:
        """Root of all studies."""
        return self.store.results

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return StudyPaths(self.results, self.name)

    @property
    def parameter_names(self) -> list[str]:
        """Hyperparameters in the order of the sweep file."""
        return list(self.summary()["parameters"])

    @property
    def parameter_columns(self) -> list[str]:
        """Names of the leaderboard's columns for hyperparameters."""
        return queries.parameter_columns(self.parameter_names)

    def summary(self) -> dict[str, Any]:
        """Describe the study as a whole; keys as in :func:`cnn_sweep.store.queries.study_summary`."""
        return queries.study_summary(self.store, self.name)

    def status(self, *, slurm: SlurmCli | None = None) -> dict[str, Any]:
        """Count trials per state and live workers.

        Args:
            slurm: Slurm's commands; by default those of this machine, if it has any.

        Returns:
            ``study``, ``metric``, ``planned``, ``trials`` (count by state), ``best`` (as in :meth:`best`),
            ``workers`` (counts: ``alive`` here or in running jobs, ``unknown`` elsewhere), ``users`` (count of
            trials by the user whose worker tried them last), ``jobs`` (in the queue), ``ended_jobs`` (since the newest
            submission, while trials are left: keys of :class:`~cnn_sweep.execution.study.job_ends.JobEnds`, and
            ``text``), ``dead`` (``trial`` and ``why`` of
            trials whose worker is dead; they count as interrupted), ``held`` (which trials silent processes hold that
            cannot be seen from here, and which command continues them, as lines), ``idle`` (None, or that nobody works
            on the unfinished study, and which command continues it), ``causes`` (count of failed trials by cause),
            ``graphs`` (counts of attempts: ``cached`` reused a compiled network, ``compiled`` did not), ``faults`` (why
            pools cannot work, or that Slurm does not answer), ``note`` (a worker's note for the user, or None),
            ``bad_lines`` (number of damaged journal lines), ``incomplete`` (number of trials of which epochs are
            missing), ``unknown_lines`` (number of lines that are not events of this version), ``cancelled`` (when the
            whole study was cancelled last, in seconds since 1970, or None), ``limits`` (of the search, except the
            number of trials: ``name``, ``used``, ``limit``, ``reached``), ``first_rung`` (None, or with ``min_epochs:
            auto`` the keys of :class:`~cnn_sweep.search.first_rung.FirstRung`, and ``text``), ``running`` (the trials
            that are being trained: ``trial``, ``epoch``, the last complete one, ``epochs``, the planned number or None,
            ``value``, the objective in that epoch, ``saved_epoch``, the last one in a checkpoint, and ``unsaved``, why
            the newest checkpoint could not be written, or None), ``lost`` (of trials that are to continue and whose
            newest checkpoint is not there any more: ``trial``, ``epoch``, the last one in it, and ``from_epoch``, the
            last one in the checkpoint from which it continues, 0 for none),
            ``when_finished`` (the commands that followed the end of the study: ``step``, ``state``, ``file``,
            ``message``, ``time``).
        """
        names = ("study", "metric", "planned", "best", "causes", "graphs", "cancelled", *_DAMAGE)
        with self.store:
            users = report_queries.users(self.store, self.name)
            summary, best, running = self.summary(), self.best(), self._running()
            lost = self._lost_checkpoints()
            jobs = self._jobs(slurm or SlurmCli(), is_finished=not unfinished(summary["trials"]))
            workers = self._workers(jobs.queue)
        limits = [asdict(limit) for limit in self.limits()]
        trials = _without_dead(summary["trials"], jobs)
        is_over = not unfinished(trials) or any(limit["reached"] for limit in limits)
        end = end_of(len(self.paths.revisions()), summary["planned"])
        hidden = not is_over and jobs.queue is not None and jobs.queue.hides_jobs_of(self.paths.folder.stat().st_uid)
        is_idle = not (is_over or hidden or workers["alive"] or jobs.unseen)  # `resume` alone would not continue those
        return {name: summary[name] for name in names} | {
            "trials": trials,
            "best": best,
            "workers": workers,
            "users": users,
            "lost": lost,
            "running": [trial for trial in running if trial["trial"] not in jobs.dead],
            "jobs": [asdict(job) for job in jobs.queue.jobs] if jobs.queue else [],
            "ended_jobs": [asdict(ends) | {"text": str(ends)} for ends in jobs.ends],
            "dead": [{"trial": trial, "why": why} for trial, why in sorted(jobs.dead.items())],
            "held": unseen_in_words(self.name, (one for one in jobs.unseen if one.is_silent)),
            "limits": limits,
            "first_rung": None if (first := self._first_rung()) is None else first.as_data(),
            "faults": [*faults_of(self.paths), *filter(None, (jobs.trouble, _HIDDEN if hidden else None))],
            "note": self.paths.read_note(),
            "when_finished": outcomes(self.paths, end),
            "idle": self._idle(jobs, summary["cancelled"], workers) if is_idle else None,
        }

    def _idle(self, jobs: StudyJobs, cancelled: float | None, workers: Mapping[str, int]) -> str | None:
        """Return why nobody works on the unfinished study, as far as this can be seen, and what continues it."""
        resume = f"cnn-sweep resume {self.name}"
        if cancelled is not None and cancelled >= (jobs.submitted or 0.0):
            return f"cancelled; `{resume}` continues"
        if jobs.none_is_left:
            return f"no job is left in the queue: `{resume} --profile {shlex.quote(jobs.profile or '')}` continues"
        if jobs.submitted is None and not workers["unknown"]:
            return f"nobody works on it: `{resume}` continues"
        return None

    def _jobs(self, slurm: SlurmCli, *, is_finished: bool) -> StudyJobs:
        """Ask Slurm and this machine about the study's jobs and the workers of its running trials."""
        running = [Attempt(row["trial"], row["attempt"]) for row in report_queries.running(self.store, self.name)]
        return jobs_of_study(self.paths, running, slurm, is_finished=is_finished)

    def limits(self) -> list[Limit]:
        """Return the limits of the search and the amounts used; reads the journals only if there are limits."""
        sweep = self.sweep
        if not sweep.search.has_budget:
            return []
        history = History.read(self.paths, sweep.objective.metric)
        return list(Budget(sweep, history).limits())

    def _first_rung(self) -> FirstRung | None:
        """Return the first rung that pilots choose; most sweep files need not be parsed to see that there is none."""
        is_possible = "auto" in read_text(self.paths.revisions()[-1], sweep_file_cure(self.paths))
        return first_rung_of(self.paths, self.sweep) if is_possible else None

    @property
    def sweep(self) -> Sweep:
        """The newest revision of the sweep."""
        return newest_revision(self.paths)

    def _several_objectives(self) -> tuple[ObjectiveSpec, ...]:
        """Return the objectives of a sweep with several, else none; most sweep files need not be parsed for this."""
        newest = read_text(self.paths.revisions()[-1], sweep_file_cure(self.paths))
        return self.sweep.objectives if "objectives" in newest else ()

    def what_matters(self, objective: str | None = None) -> Findings:
        """Estimate the importance of each hyperparameter from the complete trials.

        Args:
            objective: The metric of one of the objectives; by default the first one.

        Raises:
            InputError: The study has no such objective.
            StudyError: There are too few complete trials.
        """
        from cnn_sweep.search.importance import find  # noqa: PLC0415 - Optuna and its estimators take a second

        with self.store:
            names = dict(zip(self.parameter_columns, self.parameter_names, strict=True))
            board = self.leaderboard_table()
        known = {one.metric: one for one in self.sweep.objectives}
        first, *_ = known
        wanted = first if objective is None else objective
        if wanted not in known:
            raise InputError(f"{self.name}: no objective {wanted!r}; there are: {', '.join(known)}")
        column = "value" if wanted == first else column_of(board, wanted)
        results = [(queries.params_of(row, names), row.get(column)) for row in board.rows if row["rank"] is not None]
        return find(self.sweep, results, known[wanted].direction)

    def log_files(self) -> list[Path]:
        """Return the log files of workers and jobs that are not empty, newest last; `setup` may write to ``*.out``."""
        paths = self.paths
        files = [*paths.logs.glob("worker-*.log"), *paths.slurm.glob("*.err")]
        files += (file for file in paths.slurm.glob("*.out") if _has_output(file))
        return sorted((file for file in files if file.stat().st_size), key=lambda file: file.stat().st_mtime)

    def jobs_without_log(self) -> list[str]:
        """Return why jobs that ended since the newest submission left no log, as far as Slurm tells."""
        jobs = self._jobs(SlurmCli(), is_finished=not unfinished(queries.counts(self.store, self.name)))
        ends = [f"job {end.element}: {end}: {end.cause}; {end.cure}" for end in jobs.ends if not end.log and end.cause]
        return [*ends, *([jobs.trouble] if jobs.trouble else [])]

    def log_files_of(self, trial: int) -> list[Path]:
        """Return the log files of the workers that ran a trial's attempts, in the order of the attempts."""
        with self.store:
            writers = {worker["writer"]: worker for worker in queries.list_workers(self.store, self.name)}
            ran = [writers[a["writer"]] for a in self.trial(trial)["attempts"] if a["writer"] in writers]
        logs = self.paths.logs
        files = [log_file(logs, worker["host"], worker["pid"]) for worker in ran]
        return [file for file in dict.fromkeys(files) if file.is_file()]

    def _running(self) -> list[dict[str, Any]]:
        """Return the running trials with their last complete epochs, by number."""
        rows = sorted(report_queries.running(self.store, self.name), key=lambda row: int(row["trial"]))
        epochs = self.sweep.epochs if rows else None  # most sweep files need not be parsed for this
        return [
            {"trial": row["trial"], "epoch": row["epoch"] or 0, "epochs": epochs, "value": row["value"]}
            | {"saved_epoch": row["saved_epoch"], "unsaved": row["unsaved"]}
            for row in rows
        ]

    def _lost_checkpoints(self) -> list[dict[str, Any]]:
        """Return which trials that are to continue have lost their newest checkpoint, and from where they continue."""
        found: dict[int, list[dict[str, Any]]] = {}
        for state in report_queries.saved_states(self.store, self.name):
            found.setdefault(state["trial"], []).append(state)
        folder = self.paths.checkpoints  # listed, since there may be thousands of files
        names = {path.name for path in folder.iterdir()} if found and folder.is_dir() else set()
        lost = []
        for trial, states in found.items():
            left = next((state["epoch"] for state in states if PurePath(state["file"]).name in names), 0)
            if left < states[0]["epoch"]:
                lost.append({"trial": trial, "epoch": states[0]["epoch"], "from_epoch": left})
        return lost

    def _workers(self, queue: Queue | None) -> dict[str, int]:
        """Count the workers that are alive, and those whose state is unknown."""
        identities = [
            ProcessIdentity.from_data(worker["identity"])
            for worker in queries.list_workers(self.store, self.name)
            if worker["threads"] != DOES_NOT_TRAIN
        ]
        # Slurm was asked about the jobs of all running trials; what became of workers in other jobs does not matter.
        alive = [is_running(one, queue) for one in identities if queue is None or queue.knows(one)]
        return {"alive": alive.count(True), "unknown": alive.count(None)}

    def leaderboard_table(self, per: str | None = "trial", *, top: int | None = None) -> Table:
        """Rank the trials, or the configurations, as plain rows.

        Args:
            per: ``trial``, ``configuration``, or None for configurations if there are repeats, else trials.
            top: Number of rows; None for all.
        """
        with self.store:
            return self._leaderboard_table(per, top)

    def _leaderboard_table(self, per: str | None, top: int | None) -> Table:
        if per is None:
            per = "configuration" if queries.has_repeats(self.store, self.name) else "trial"
        objectives = self._several_objectives()
        cut = top if per == "trial" and not objectives else None
        columns, rows = queries.leaderboard(self.store, self.name, top=cut)
        table = Table(columns, tuple(rows), tuple(name for name in MORE if name not in columns))
        objective = queries.objective_of(self.store, self.name)
        words = (*value_in_words(objective["metric"], objective["last_epochs"]), *incomplete_in_words(rows))
        words += constraints_in_words(objective["constraints"])
        if per == "trial":
            found = with_front(replace(table, notes=words), objectives)
            return replace(found, rows=found.rows[:top])
        from cnn_sweep.report.leaderboards.configurations import board_of  # noqa: PLC0415 - needs scipy

        found = board_of(self.paths, table, metric=objective["metric"], direction=objective["direction"])
        return replace(found, rows=found.rows[:top], notes=(*found.notes, *words))

    def leaderboard(self, per: str | None = None) -> pd.DataFrame:
        """Return the leaderboard, best first, with the columns of ``leaderboard --format csv``.

        Args:
            per: What a row stands for, as in :meth:`leaderboard_table`.

        Examples:
            >>> board = study.leaderboard()
            >>> board.loc[board["filters"] == 8, ["rank", "trial", "value"]]
               rank  trial     value
            1   2.0      1  0.738982
        """
        table = self.leaderboard_table(per)
        return _frame(table.columns, table.rows)

    def trials(self) -> pd.DataFrame:
        """Return all trials that have begun, by number.

        Examples:
            >>> study.trials()["state"].value_counts().to_dict()
            {'complete': 3, 'failed': 1}
        """
        return _frame(*queries.export_trials(self.store, self.name))

    def epochs(self, trial: int | None = None) -> pd.DataFrame:
        """Return the valid epochs of one trial or of all.

        Examples:
            >>> study.epochs(0)[["epoch", "val_accuracy"]]
               epoch  val_accuracy
            0      1      0.408903
            1      2      0.618355
            2      3      0.723081
        """
        columns, rows = queries.export_epochs(self.store, self.name)
        return _frame(columns, [row for row in rows if trial is None or row["trial"] == trial])

    def trial(self, number: int) -> dict[str, Any]:
        """Return everything about one trial: ``trial``, ``attempts``, ``epochs``, ``artifacts``.

        Raises:
            StudyError: The trial has not begun.
        """
        return queries.trial_detail(self.store, self.name, number)

    def best(self) -> dict[str, Any] | None:
        """Return ``trial`` and ``value`` of the best complete trial, or None if there is none.

        The value is optimistic (selection bias). If there are repeats, ``configuration`` describes the configuration
        with the best mean: its ``trial``, ``mean``, ``sd``, ``n``, ``ci_low``, ``ci_high`` and ``others_tied``, the
        number of other configurations that cannot be distinguished from it.
        """
        with self.store:
            best: dict[str, Any] | None = self.summary()["best"]
            if best is None or not queries.has_repeats(self.store, self.name):
                return best
            rows = self.leaderboard_table("configuration").rows
        if rows[0]["n"] < 2:  # the repeats are not complete yet
            return best
        names = ("trial", "mean", "sd", "n", "ci_low", "ci_high")
        others = sum(bool(row["tied"]) for row in rows[1:])
        return best | {"configuration": {name: rows[0][name] for name in names} | {"others_tied": others}}

    def confusion(
        self, *, trial: int | None = None, split: str = "validation", normalize: str | None = None
    ) -> pd.DataFrame:
        """Count images by true class (rows) and predicted class (columns).

        Args:
            trial: A complete trial; None for the best.
            split: ``train``, ``validation``, or ``test`` once the study is finalized.
            normalize: ``true``, ``predicted`` or ``all`` for shares of a row, a column or all images; None for counts.

        Raises:
            StudyError: No such trial, or the test set is sealed.
        """
        table = self._models().confusion(trial, split, normalize)
        return _frame(table.columns, table.rows).set_index("true").rename(columns=lambda name: name.removeprefix("as "))

    def misclassified(
        self,
        *,
        trial: int | None = None,
        split: str = "validation",
        true: str | None = None,
        predicted: str | None = None,
    ) -> pd.DataFrame:
        """Return misclassified images, the most confident mistakes first; arguments as for :meth:`confusion`."""
        table = self._models().misclassified(trial, split, true, predicted)
        return _frame(table.columns, table.rows)

    def compare(self, one: int | None, other: int | None) -> pd.DataFrame:
        """Compare two trials on each validation image: metrics, their difference, its 95% interval, McNemar's p-value.

        With cross-validation, each trial stands for all folds of its configuration.

        Args:
            one: A complete trial; None for the best.
            other: Another complete trial; None for the best.

        Raises:
            StudyError: No such trial, or it is not complete.
            InputError: They are the same trial, or have no images in common.
        """
        from cnn_sweep.report.models.paired_tests import compare_trials  # noqa: PLC0415 - as in `_models`

        objective = self.summary()["metric"]
        table = compare_trials(self.results, self.name, one, other, objective=objective).table
        return _frame(table.columns, table.rows)

    def predict(
        self, *images: str | Path | Iterable[str | Path] | npt.NDArray[np.generic], trial: int | None = None
    ) -> pd.DataFrame:
        """Predict images; without arguments, the unlabelled images of the study's data.

        Args:
            images: Files, folders of files, or lists of these; or one array of shape (n, height, width, channels) with
                values as in the study's data before rescaling.
            trial: A complete trial; None for the best.

        Raises:
            InputError: There are no images, one cannot be read, or the array has another shape.
        """
        array: Any = images[0] if len(images) == 1 and hasattr(images[0], "shape") else None
        if array is not None:
            table = self._models().predict_array(array, trial)
        else:
            files = [one for given in images for one in ([given] if isinstance(given, str | PurePath) else given)]
            if images and not files:
                raise InputError("no images were given")
            table = self._models().predict([str(file) for file in files], trial)
        return _frame(table.columns, table.rows)

    def load_model(self, trial: int | None = None) -> Any:
        """Load the Keras model of a complete trial, by default of the best; it takes images as stored.

        This starts TensorFlow in this process.
        """
        return self._models().load(trial)

    @property
    def plot(self) -> Plots:
        """Plots of the study as it is now: ``study.plot.history()``, ``.curves(3, 17)``, ``.slice("dropout")``."""
        from cnn_sweep.report.figures.plots import Plots  # noqa: PLC0415 - commands that draw nothing start faster

        return Plots(self.store, self.name, self.leaderboard_table())

    def report(self, output: str | Path) -> Path:
        """Write a report as one HTML page, without predictions of the best model; return the file."""
        from cnn_sweep.report.document.html import page  # noqa: PLC0415 - as in `plot`
        from cnn_sweep.report.document.report_file import write_report  # noqa: PLC0415 - as in `plot`
        from cnn_sweep.report.report_data import gather, with_correction, with_importance  # noqa: PLC0415 - as in `plot`

        with self.store:
            data = gather(self.store, self.name, self.leaderboard_table())
        data = with_importance(with_correction(data, self.results))
        write_report(Path(output), page(replace(data, no_model="`cnn-sweep report` has it.")), study=self.name)
        return Path(output)

    def _repr_html_(self) -> str:
        from cnn_sweep.report.document.html import glance  # noqa: PLC0415 - as in `plot`

        with self.store:
            return glance(self.store, self.name, self.leaderboard_table())

    def __repr__(self) -> str:
        return f"Study.open({str(self.results)!r}, {self.name!r})"

    def _models(self) -> TrainedModels:
        from cnn_sweep.report.models.predictions import TrainedModels  # noqa: PLC0415 - four times as slow as all else here

        return TrainedModels(self.results, self.name)


def _without_dead(counts: Mapping[str, int], jobs: StudyJobs) -> dict[str, int]:
    """Count the trials whose workers are dead as interrupted, which the next pool will journal."""
    dead = len(jobs.dead)
    return {**counts, "running": counts["running"] - dead, "interrupted": counts["interrupted"] + dead}


def _has_output(file: Path) -> bool:
    """Return whether a job's standard output has more than submitit's own lines."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        return any(not line.startswith("submitit ") for line in lines if line.strip())


def _frame(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - imports slower than most commands run, and they need no DataFrame

    frame = pd.DataFrame.from_records(list(rows), columns=list(columns))
    for name in set(frame.columns) - TEXTS:  # numbers that are all missing, such as metrics of trials that failed
        if frame[name].isna().all():
            frame[name] = frame[name].astype(float)
    return frame
