"""A study on disk: created from a sweep, opened by name, extended; its history, its journals and its code.

``sweep.yaml`` is the first revision of the sweep; ``run --extend`` adds ``sweep.2.yaml`` and so on. A revision is
created exclusively and never changed, so all processes that read the folder plan the same trials.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from cnn_sweep.errors import DamagedFileError, InputError, StudyError
from cnn_sweep.execution.study.earlier_studies import with_learned
from cnn_sweep.execution.study.provenance import provenance, start_journal
from cnn_sweep.execution.study.removal import check_case
from cnn_sweep.execution.study.user_code import check_user_code, copy_user_code, uses_user_code
from cnn_sweep.journal.events import Extend, Start
from cnn_sweep.journal.filesystem import aside_folder, write_once
from cnn_sweep.journal.history import History, check_journals, journal_sizes
from cnn_sweep.journal.identity import is_own_writer
from cnn_sweep.journal.paths import StudyPaths, data_root, existing_study, is_study, sweep_file_cure
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.journal.sweep_files import read_revisions, restore_sweep_files
from cnn_sweep.journal.trust import check_code
from cnn_sweep.search.extension import extension
from cnn_sweep.search.plan import Plan, check_sizes, make_plan
from cnn_sweep.sweep.file.edits import with_values
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.repeats import MoreRepeats, without_repeats_line
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.prepare import described
from cnn_sweep.training.data.sources import describe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cnn_sweep.execution.study.provenance import Role
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.sweep.network.shapes import ImageInfo

_CODE = "code"
_NEW = "study"  # one that is being created or removed


@dataclass(frozen=True)
class StudyFolder:
    """A study on disk, with the trials that are planned in it.

    Attributes:
        paths: Paths of its files.
        revisions: The revisions of its sweep, oldest first; the newest is in force.
        info: Shape and classes of its images.
        plan: All trials of all revisions.
        created: Whether the call that returned this created the study.
    """

    paths: StudyPaths
    revisions: tuple[Sweep, ...]
    info: ImageInfo
    plan: Plan
    created: bool = False

    @classmethod
    def open(cls, results: Path, name: str) -> Self:
        """Open a study that exists.

        Raises:
            StudyError: No such study; the message lists those that exist.
        """
        paths = existing_study(results, name)
        revisions = read_revisions(paths)
        newest = revisions[-1]
        with newest.locate_errors("data"):
            info = described(newest.data, newest.folder, data_root(results))
        return cls(paths, revisions, info, make_plan(revisions, info))

    @classmethod
    def open_or_create(
        cls, sweep: Sweep, results: Path, *, extend: bool = False, preview: StudyFolder | None = None
    ) -> Self:
        """Create the study of a sweep; if it exists with the same sweep, open it.

        Args:
            sweep: The sweep to run.
            results: Root of all studies.
            extend: Accept a sweep that only adds choices or trials, as a new revision.
            preview: A fresh :meth:`preview` of the same sweep, which saves checking and planning it again.

        Raises:
            StudyError: The study exists with another sweep.
        """
        paths = StudyPaths(results, sweep.study)
        sweep = with_learned(sweep, results)
        if not is_study(paths):
            check_case(paths)
            if uses_user_code(sweep):
                check_code(sweep.folder, results)
            with shared_modes(results):
                return cls._create(paths, sweep, preview)
        restore_sweep_files(paths, sweep)
        revisions = read_revisions(paths)
        if sweep.digest == revisions[-1].digest:
            return cls.open(results, sweep.study)
        reasons = extension(revisions[-1], sweep)
        if reasons is None and extend:
            return cls._extend(paths, sweep, revisions)
        raise StudyError(_refusal(paths, revisions[-1], sweep, reasons))

    @classmethod
    def preview(cls, sweep: Sweep, results: Path, *, extend: bool = False) -> Self:
        """Return what :meth:`open_or_create` would, with the same errors, but write nothing."""
        paths = StudyPaths(results, sweep.study)
        sweep = with_learned(sweep, results)
        earlier = read_revisions(paths) if is_study(paths) else ()
        if earlier and not (extend and sweep.digest != earlier[-1].digest and extension(earlier[-1], sweep) is None):
            return cls.open_or_create(sweep, results)
        if not earlier:
            check_user_code(sweep)
        plan, info = plan_sweeps(*earlier, sweep)
        return cls(paths, (*earlier, sweep), info, plan)

    @classmethod
    def _create(cls, paths: StudyPaths, sweep: Sweep, preview: StudyFolder | None) -> Self:
        """Create a complete study, whose folder gets its name last. If several processes create it, one wins."""
        if preview is None:
            check_user_code(sweep)
        plan, info = (preview.plan, preview.info) if preview else plan_sweeps(sweep)
        if not plan.trials:
            why = plan.invalid[0].reason if plan.invalid else "the constraints leave no configuration"
            raise InputError(f"{sweep.source}: there is nothing to train: {why} (`cnn-sweep plan` shows all)")
        home = paths.folder.resolve()  # may be a link to another disk
        home.parent.mkdir(parents=True, exist_ok=True)
        with aside_folder(home.parent / _NEW) as temporary:
            new = StudyPaths(temporary, paths.study)
            _fill(new, sweep, plan)
            try:
                new.folder.rename(home)
            except OSError as error:
                if not is_study(paths):
                    raise StudyError(
                        f"{paths.folder} exists and is not a study, since it has no journals: "
                        f"move it away, or give the sweep another `study:` name ({error.strerror})"
                    ) from error
                return cls.open_or_create(sweep, paths.results)  # another process created it at this moment
        return cls(paths, (sweep,), info, plan, created=True)

    @classmethod
    def _extend(cls, paths: StudyPaths, sweep: Sweep, earlier: tuple[Sweep, ...]) -> Self:
        plan, info = plan_sweeps(*earlier, sweep)
        # Before the sweep's file, because a revision exists from the moment that its file does.
        text = without_repeats_line(sweep.text)
        _journal_plan(paths, len(earlier) + 1, plan, sweep, text)
        _write_revision(paths, len(earlier) + 1, text)
        found = read_revisions(paths)[len(earlier)]
        if found.digest != sweep.digest:
            raise StudyError(_refusal(paths, found, sweep, ["another command created it meanwhile"]))
        return cls(paths, (*earlier, sweep), info, plan)

    def extend_search(self, settings: Mapping[str, Any]) -> Self:
        """Return the study with other settings of its search, as a new revision; itself if there are none.

        Args:
            settings: Keys of the sweep's ``search`` to their new values.

        Raises:
            StudyError: The settings do not extend the study.
        """
        if not settings:
            return self
        text = with_values(self.sweep.text, {("search", name): value for name, value in settings.items()})
        asked = ", ".join(f"{name}: {value}" for name, value in settings.items())
        extended = Sweep.parse(text, source=f"{self.sweep.source} with {asked}", folder=self.sweep.folder)
        # Without a diff: the user edited no file.
        if reasons := extension(self.sweep, extended):
            raise StudyError(f"study {self.sweep.study!r} cannot continue with {asked}: {'; '.join(reasons)}")
        return self.open_or_create(extended, self.paths.results, extend=True)

    def extend_repeats(self, more: MoreRepeats) -> tuple[Self, int]:
        """Add repeats of some configurations, as a new revision; return the study and the number of added trials.

        Raises:
            StudyError: Another command extended the study at the same moment.
        """
        new = replace(self.sweep, text=more.before(self.sweep.text), more_repeats=more)
        plan, info = plan_sweeps(*self.revisions, new)
        added = len(plan.trials) - len(self.plan.trials)
        if not added:
            return self, 0
        number = len(self.revisions) + 1
        _journal_plan(self.paths, number, plan, new, new.text)
        _write_revision(self.paths, number, new.text)
        if read_revisions(self.paths)[-1].text != new.text:
            raise StudyError(f"study {self.name!r} was extended by another command at this moment; try again")
        return type(self)(self.paths, (*self.revisions, new), info, plan), added

    def newest(self) -> Self:
        """Return the study with the revisions that were added since; itself if there are none.

        The check is one file operation, so running pools and workers can afford it between trials.
        """
        if self.paths.revision(len(self.revisions) + 1).is_file():
            return self.open(self.paths.results, self.name)
        return self

    @property
    def is_new_revision(self) -> bool:
        """Whether a preview extends a study by a revision that is not on disk yet."""
        return 0 < len(self.paths.revisions()) < len(self.revisions)

    def discard(self) -> None:
        """Remove a study that this process created but could not start, unless another process has used it since."""
        if _is_used(self.paths):
            return
        home = self.paths.folder.resolve()
        with aside_folder(home.parent / _NEW) as temporary:
            moved = StudyPaths(temporary, self.name)
            home.rename(moved.folder)  # from now on, no process can begin to use it
            if _is_used(moved):
                moved.folder.rename(home)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.paths.study

    @property
    def sweep(self) -> Sweep:
        """The newest revision of the sweep."""
        return self.revisions[-1]

    def history(self) -> History:
        """Read all journals as they are now.

        Parameters of a trial whose start is damaged follow from the plan.

        Raises:
            DamagedFileError: Trials belong to a sweep file that is lost, or to another one.
        """
        check_journals(self.paths)
        history = History.read(self.paths, self.sweep.objective.metric, self.sweep.further_metrics)
        if not self.paths.revision(len(self.revisions) + 1).is_file():  # else the study was extended at this moment
            self._check_starts(history)
        for trial in history.trials.values():
            planned = self.plan.trials[trial.number] if trial.number < len(self.plan.trials) else None
            if planned is not None and planned.params is not None and trial.start is None and trial.attempts:
                trial.last.start = Start(
                    time=trial.last.last_event,
                    trial=trial.number,
                    attempt=trial.last.number,
                    configuration=configuration_id(planned.params),
                    repeat=planned.repeat,
                    seed=planned.seed,
                    params=planned.params,
                    epoch=trial.last.start_epoch,
                )
        return history

    def _check_starts(self, history: History) -> None:
        """Check that all trials belong to the sweep files that the study has."""
        count = len(self.revisions)
        known = {sweep.digest for sweep in self.revisions}
        known |= {event.digest for number, event in history.extends.items() if number <= count and event.digest}
        lost = count < max(history.extends, default=0)
        for number, trial in sorted(history.trials.items()):
            digest = trial.start.digest if trial.start is not None else None
            if number >= len(self.plan.trials) or (digest is not None and digest not in known):
                file = self.paths.revision(count + 1 if lost else count)
                what = "the file is missing" if lost else "it is not the sweep file"
                reason = f"{what} with which trial {number} was started"
                raise DamagedFileError(file, reason, sweep_file_cure(self.paths))

    def journal(self, role: Role, *, writer: str | None = None, threads: int | None = None) -> JournalWriter:
        """Begin this process's journal; for arguments and errors, see :func:`.provenance.start_journal`."""
        return start_journal(self.paths, role, writer=writer, threads=threads)

    @property
    def data_root(self) -> Path:
        """Folder of prepared data sets, which all studies share."""
        return data_root(self.paths.results)

    @property
    def code_folder(self) -> Path:
        """Folder of the user's own modules: the copy that was made when the study was created."""
        copy = self.paths.folder / _CODE
        return copy if copy.is_dir() else self.sweep.folder


def _is_used(paths: StudyPaths) -> bool:
    """Return whether another process wrote a journal, or jobs were submitted."""
    return any(not is_own_writer(name) for name, _ in journal_sizes(paths)) or any(paths.slurm.iterdir())


def plan_sweeps(*revisions: Sweep) -> tuple[Plan, ImageInfo]:
    """Plan the trials of a sweep's revisions for the images that the newest of them names."""
    newest = revisions[-1]
    with newest.locate_errors("data"):
        info = describe(newest.data, newest.folder)
        plan = make_plan(revisions, info)
        if len(revisions) == 1:
            check_sizes(plan)
        return plan, info


def _fill(paths: StudyPaths, sweep: Sweep, plan: Plan) -> None:
    """Write all files of a new study."""
    paths.create()
    write_once(paths.provenance, f"{json.dumps(provenance(sweep), indent=2)}\n".encode())
    if uses_user_code(sweep):
        copy_user_code(sweep, paths.folder / _CODE)
    text = without_repeats_line(sweep.text)
    _journal_plan(paths, 1, plan, sweep, text)
    write_once(paths.sweep, text.encode())


def _write_revision(paths: StudyPaths, number: int, text: str) -> None:
    with shared_modes(paths.results):
        write_once(paths.revision(number), text.encode())


def _journal_plan(paths: StudyPaths, revision: int, plan: Plan, sweep: Sweep, text: str) -> None:
    extended = Extend(
        time=time.time(),
        revision=revision,
        trials=len(plan.trials),
        configurations=len(plan.configurations),
        invalid=len(plan.invalid),
        duplicates=plan.duplicates,
        digest=sweep.digest,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    with start_journal(paths, "login") as journal:
        journal.append(extended)


def _refusal(paths: StudyPaths, old: Sweep, new: Sweep, reasons: list[str] | None) -> str:
    diff = difflib.unified_diff(
        old.text.splitlines(), new.text.splitlines(), str(paths.sweep), new.source, n=1, lineterm=""
    )
    ways = ["give the sweep another `study:` name"]
    if reasons is None:
        ways.append("add what is new to this study: `--extend` with `run` or `submit`, in Python `run(extend=True)`")
    else:
        ways.append("undo the change; extending the study would not do: " + "; ".join(reasons))
    return "\n".join(
        [
            f"study {new.study!r} in {paths.folder} was started with another sweep file:",
            *(f"    {line}" for line in diff),
            "what you can do:",
            *(f"  - {way}" for way in ways),
        ]
    )
