"""``cnn_sweep.Sweep``: a sweep for Python users, who plan and run it in a notebook or a script."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.execution.attempts.take_over import silent_attempts, unseen_in_words
from cnn_sweep.execution.attempts.take_over import take_over as take_over_trials
from cnn_sweep.execution.pool.local import begin_study, run_local
from cnn_sweep.execution.study.in_use import who_trains
from cnn_sweep.execution.study.study_folder import plan_sweeps
from cnn_sweep.execution.study.user_code import check_user_code
from cnn_sweep.journal.paths import data_root
from cnn_sweep.messages import plural
from cnn_sweep.report.live import progress_in_words
from cnn_sweep.streams import printable
from cnn_sweep.study import Study
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.sweep import Sweep as CheckedSweep
from cnn_sweep.training.data.prepare import prepare
from cnn_sweep.training.network.base_weights import fetch_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from cnn_sweep.execution.pool.progress import Progress
    from cnn_sweep.execution.study.study_folder import StudyFolder

_LINE_EVERY_S = 10.0  # seconds between lines of progress


class Sweep:
    """A sweep that was read and checked; it can be planned and run.

    Examples:
        >>> sweep = Sweep.from_dict({
        ...     "study": "small",
        ...     "data": {"source": "digits"},
        ...     "model": {"layers": [{"conv2d": {"filters": "$filters", "kernel_size": 3}}, "flatten",
        ...                          {"output": "softmax"}]},
        ...     "space": {"filters": [2, 4]},
        ...     "search": {"method": "grid"},
        ...     "training": {"epochs": 1},
        ... })
        >>> sweep
        <Sweep small: filters>
        >>> sweep.plan()
           trial  repeat  seed  filters  parameters
        0      0       0     0        2         750
        1      1       0     0        4        1490
        >>> study = sweep.run(workers=1, progress=False)
        >>> study
        Study.open('results', 'small')
        >>> study.status()["trials"]["complete"]
        2
    """

    def __init__(self, checked: CheckedSweep) -> None:
        self._checked = checked

    @classmethod
    def from_file(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> Sweep:
        """Read a sweep file.

        Args:
            path: The file.
            changes: New values of keys, such as ``{"training.epochs": 5}``, as with ``--set``.

        Raises:
            SweepFileError: The file has problems; the error lists all of them with their lines.
        """
        return cls(CheckedSweep.load(path, changes or {}))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, folder: str | Path | None = None) -> Sweep:
        """Read a sweep from a dictionary with the sections of a sweep file.

        Args:
            content: The sections; ranges, tuples and arrays count as lists.
            folder: Folder that paths in the sweep are relative to; the current folder by default.

        Raises:
            SweepFileError: The dictionary has problems; the error lists all of them with their keys.
        """
        return cls(CheckedSweep.from_mapping(content, folder=None if folder is None else Path(folder)))

    @property
    def name(self) -> str:
        """Name of the sweep's study."""
        return self._checked.study

    @property
    def parameter_names(self) -> list[str]:
        """Hyperparameters in the order of the sweep."""
        return list(self._checked.space.names)

    @property
    def text(self) -> str:
        """The sweep as the text of a sweep file."""
        return self._checked.text

    def plan(self) -> pd.DataFrame:
        """Return the trials, without running them; nothing is written.

        Configurations of earlier studies (``search.learn_from``) are missing, since they depend on the results folder.

        Returns:
            A row for each trial: ``trial`` (its number), ``repeat``, ``seed``, the hyperparameters, and ``parameters``,
            the number of the network's parameters. An adaptive search has not chosen most values yet; they are
            missing. ``attrs["invalid"]`` lists the configurations that are left out because their network cannot be
            built, with the ``reason``.

        Raises:
            SweepFileError: The images or the code that the sweep names are missing or wrong.
        """
        import pandas as pd  # noqa: PLC0415 - imports slower than the commands that need no DataFrame

        check_user_code(self._checked)
        plan, _ = plan_sweeps(self._checked)
        counts = {configuration_id(one.params): one.parameters for one in plan.configurations}
        names = self.parameter_names
        rows = [
            {"trial": trial.number, "repeat": trial.repeat, "seed": trial.seed}
            | {name: (trial.params or trial.part or {}).get(name) for name in names}
            | {"parameters": counts.get(trial.configuration or "")}
            for trial in plan.trials
        ]
        table = pd.DataFrame.from_records(rows, columns=["trial", "repeat", "seed", *names, "parameters"])
        table.attrs["invalid"] = [one.params | {"reason": one.reason} for one in plan.invalid]
        return table

    def run(  # noqa: PLR0913 - settings of one call, all but one by name
        self,
        results: str | Path = "results",
        *,
        workers: int | None = None,
        threads: int | None = None,
        extend: bool = False,
        progress: bool = True,
        take_over: bool = False,
    ) -> Study:
        """Train the trials on this machine, as ``cnn-sweep run`` does; an existing study is continued.

        Workers are processes of their own: they do not import the notebook or the script, which may therefore do
        without ``if __name__ == "__main__"``. Ctrl-C, or "interrupt" in a notebook, stops after a checkpoint.

        Args:
            results: Folder of all studies.
            workers: Number of worker processes; one per core by default.
            threads: Threads of each worker; those of the study by default, else 1.
            extend: Accept a sweep that only adds choices or trials to the study.
            progress: Print the progress.
            take_over: Also continue trials of silent processes that cannot be seen from here, as
                ``cnn-sweep resume --take-over`` does.

        Returns:
            The study, whose methods read the results.

        Raises:
            InputError: The sweep, its images or its code are wrong, or there are no workers.
            StudyError: The study exists with another sweep or another number of threads.
            Interrupted: The user asked to stop; the next call continues.
            EnvironmentFault: Workers cannot start.
        """
        if workers is not None and workers < 1:
            raise InputError(f"workers must be at least 1, not {workers}")
        display = _Progress(self.name) if progress else None
        study = begin_study(self._checked, Path(results), _prepare_images, threads=threads, extend=extend)
        if progress and (others := who_trains(study.paths)) is not None:
            sys.stdout.write(f"{self.name} is being trained already by {others}; this call adds its workers to them\n")
        if take_over:
            take_over_trials(study, (lambda words: sys.stdout.write(f"{self.name}: {words}\n")) if progress else str)
        found = run_local(study, display or (lambda _: None), workers=workers, threads=threads)
        if display is not None:
            display.end(found)
        _warn_of_failures(found)
        _warn_of_silent(study, found)
        return Study.open(results, self.name)

    def __repr__(self) -> str:
        return f"<Sweep {self.name}: {', '.join(self.parameter_names) or 'no hyperparameters'}>"


def _prepare_images(sweep: CheckedSweep, results: Path) -> None:
    with sweep.locate_errors("model"):
        fetch_weights(sweep)
    with sweep.locate_errors("data"):
        prepare(sweep.data, sweep.folder, data_root(results), fetch=True)


def _warn_of_failures(progress: Progress) -> None:
    """Warn, because a study comes back from `run` also if its trials failed."""
    if failed := progress.counts.get("failed"):
        reason = f" for the same reason: {progress.failing_alike}" if progress.failing_alike else ""
        more = "" if reason else "; study.trials() has their messages"
        warnings.warn(f"{plural(failed, 'trial')} failed{reason}{more}", stacklevel=3)


def _warn_of_silent(study: StudyFolder, progress: Progress) -> None:
    """Warn of trials that silent processes hold which cannot be seen from here."""
    silent = silent_attempts(study) if progress.finished < progress.total else []
    if words := unseen_in_words(study.name, silent):
        warnings.warn("\n".join([*words, "in Python: run(take_over=True)"]), stacklevel=3)


class _Progress:
    """Prints the progress: in a terminal and a notebook as one line that changes, elsewhere as occasional lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        # A notebook's output understands a carriage return, although it is no terminal.
        self._redraws = sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")
        self._printed = time.monotonic()
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        """Print the newest state if it is time to."""
        for note in progress.notes:
            self._print(note, end="\n")
        if time.monotonic() - self._printed >= (1.0 if self._redraws else _LINE_EVERY_S):
            self._print(progress_in_words(progress), end="" if self._redraws else "\n")

    def end(self, progress: Progress) -> None:
        """Print the last state."""
        self._print(progress_in_words(progress), end="\n")

    def _print(self, words: str, *, end: str) -> None:
        self._printed = time.monotonic()
        line = printable(f"{self._name}: {words}")
        begin = "\r" if self._redraws else ""
        sys.stdout.write(f"{begin}{line:<{self._width}}{end}")
        sys.stdout.flush()
        self._width = len(line) if self._redraws and not end else 0
