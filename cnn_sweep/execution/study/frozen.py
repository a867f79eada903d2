"""A sweep becomes a study: its text is frozen in the study's folder, together with where it came from.

``sweep.yaml`` is the first revision; ``run --extend`` adds ``sweep.2.yaml`` and so on. A revision is created
exclusively and never changed, so everybody who reads the folder plans the same trials.
"""

from __future__ import annotations

import difflib
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.execution.study.code_snapshot import snapshot_code, uses_own_code
from cnn_sweep.execution.study.provenance import provenance, start_journal
from cnn_sweep.execution.study.revisions import read_revisions
from cnn_sweep.execution.study.user_code import check_own_code
from cnn_sweep.journal.durable import write_once
from cnn_sweep.journal.events import Extend
from cnn_sweep.journal.history import History, journal_sizes
from cnn_sweep.journal.identity import is_own_writer
from cnn_sweep.journal.paths import StudyPaths, existing_studies, no_such_study
from cnn_sweep.search.extension import extension
from cnn_sweep.search.plan import Plan, make_plan
from cnn_sweep.sweep.more_repeats import MoreRepeats, text_of
from cnn_sweep.sweep.rewrite import with_search
from cnn_sweep.sweep.spec import Sweep
from cnn_sweep.training.data.describe import describe
from cnn_sweep.training.data.prepare import described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnn_sweep.sweep.trial import ImageInfo

_CODE = "code"
_ASIDE = ".new-"  # a study on its way into being, or out of it


@dataclass(frozen=True)
class FrozenStudy:
    """A study on disk and what is planned in it.

    Attributes:
        paths: Where its files are.
        revisions: The frozen sweeps, oldest first; the newest says what is done now.
        info: Shape and classes of its images.
        plan: All trials of all revisions.
        created: Whether the call that returned this created the study; no other one did.
    """

    paths: StudyPaths
    revisions: tuple[Sweep, ...]
    info: ImageInfo
    plan: Plan
    created: bool = False

    @property
    def sweep(self) -> Sweep:
        """The newest revision."""
        return self.revisions[-1]

    def history(self) -> History:
        """Read what the journals say by now."""
        return History.read(self.paths, self.sweep.objective.metric)

    @property
    def data_root(self) -> Path:
        """Where prepared data are kept, shared by all studies."""
        return data_root(self.paths.results)

    @property
    def code_folder(self) -> Path:
        """Where the user's own modules are found: the copy that was made when the study was created."""
        copy = self.paths.folder / _CODE
        return copy if copy.is_dir() else self.sweep.folder


def data_root(results: Path) -> Path:
    """Return where prepared data are kept, shared by all studies of a results folder."""
    return results / ".data"


def plan_sweeps(*revisions: Sweep) -> tuple[Plan, ImageInfo]:
    """Plan the trials of a sweep's revisions for the images that the newest of them names."""
    newest = revisions[-1]
    with newest.locating("data"):
        info = describe(newest.data, newest.folder)
        return make_plan(revisions, info), info


def open_study(results: Path, study: str) -> FrozenStudy:
    """Read a study that exists.

    Raises:
        StudyError: No such study; the message lists those that there are.
    """
    paths = StudyPaths(results, study)
    if not paths.sweep.is_file():
        raise no_such_study(results, study)
    revisions = read_revisions(paths)
    newest = revisions[-1]
    with newest.locating("data"):
        info = described(newest.data, newest.folder, data_root(results))
    return FrozenStudy(paths, revisions, info, make_plan(revisions, info))


def freeze(sweep: Sweep, results: Path, *, extend: bool = False, drafted: FrozenStudy | None = None) -> FrozenStudy:
    """Create the study of a sweep, or open it if the sweep is what was frozen.

    Args:
        sweep: What the user wants to run.
        results: Root of all studies.
        extend: Accept a sweep that only adds choices or trials, as a new revision.
        drafted: What :func:`draft` made of it a moment ago, which saves planning a new study once more.

    Raises:
        StudyError: The study exists with another sweep.
    """
    paths = StudyPaths(results, sweep.study)
    if not paths.sweep.is_file():
        _check_name(paths)
        return _create(paths, sweep, drafted)
    revisions = read_revisions(paths)
    if sweep.digest == revisions[-1].digest:
        return open_study(results, sweep.study)
    reasons = extension(revisions[-1], sweep)
    if reasons is None and extend:
        return _create_revision(paths, sweep, revisions)
    raise StudyError(_refusal(paths, revisions[-1], sweep, reasons))


def _check_name(paths: StudyPaths) -> None:
    """See that no study's name differs in case only: file systems and the store's views may not tell them apart."""
    for name in existing_studies(paths.results):
        if name != paths.study and name.lower() == paths.study.lower():
            raise StudyError(f"{paths.study!r} differs from the study {name!r} in case only; take another name")


def enlarge(results: Path, study: str, settings: Mapping[str, Any]) -> FrozenStudy:
    """Open a study, with more to do if there is any setting.

    Args:
        results: Root of all studies.
        study: The study's name.
        settings: Keys of the sweep's ``search`` to their new values.

    Raises:
        StudyError: No such study, or the settings are no extension.
    """
    found = open_study(results, study)
    if not settings:
        return found
    text = with_search(found.sweep.text, settings)
    source = f"{found.sweep.source} with {', '.join(f'{name}: {value}' for name, value in settings.items())}"
    return freeze(Sweep.parse(text, source=source, folder=found.sweep.folder), results, extend=True)


def extend_repeats(results: Path, study: str, more: MoreRepeats) -> tuple[FrozenStudy, int]:
    """Add repeats of some configurations to a study, as a new revision; return it, and how many trials that adds.

    Raises:
        StudyError: No such study, or another command extended it at the same moment.
    """
    old = open_study(results, study)
    new = replace(old.sweep, text=more.before(old.sweep.text), more_repeats=more)
    plan, info = plan_sweeps(*old.revisions, new)
    added = len(plan.trials) - len(old.plan.trials)
    if not added:
        return old, 0
    number = len(old.revisions) + 1
    _journal_plan(old.paths, number, plan)
    write_once(old.paths.revision(number), new.text.encode())
    if old.paths.revision(number).read_text(encoding="utf-8") != new.text:
        raise StudyError(f"study {study!r} was extended by another command at this moment; try again")
    return FrozenStudy(old.paths, (*old.revisions, new), info, plan), added


def draft(sweep: Sweep, results: Path, *, extend: bool = False) -> FrozenStudy:
    """Plan a sweep as :func:`freeze` would, and refuse what it would refuse, without writing anything."""
    paths = StudyPaths(results, sweep.study)
    earlier = read_revisions(paths) if paths.sweep.is_file() else ()
    if earlier and not (extend and sweep.digest != earlier[-1].digest and extension(earlier[-1], sweep) is None):
        return freeze(sweep, results)
    if not earlier:
        check_own_code(sweep)
    plan, info = plan_sweeps(*earlier, sweep)
    return FrozenStudy(paths, (*earlier, sweep), info, plan)


def _create(paths: StudyPaths, sweep: Sweep, drafted: FrozenStudy | None) -> FrozenStudy:
    """Create a study as a whole: its folder gets its name when all is in it, and of several creators one is first."""
    check_own_code(sweep)
    plan, info = (drafted.plan, drafted.info) if drafted else plan_sweeps(sweep)
    if not plan.trials:
        why = plan.invalid[0].reason if plan.invalid else "the constraints leave no configuration"
        raise InputError(f"{sweep.source}: there is nothing to train: {why} (`cnn-sweep plan` shows all)")
    home = paths.folder.resolve()  # a link to another disk, perhaps
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=home.parent) as aside:
        made = StudyPaths(Path(aside), paths.study)
        made.create()
        write_once(made.provenance, f"{json.dumps(provenance(sweep), indent=2)}\n".encode())
        if uses_own_code(sweep):
            snapshot_code(sweep, made.folder / _CODE)
        _journal_plan(made, 1, plan)
        write_once(made.sweep, text_of(sweep.text).encode())
        try:
            made.folder.rename(home)
        except OSError as error:
            if not paths.sweep.is_file():
                raise StudyError(
                    f"{paths.folder} is there and is no study, since it has no {paths.sweep.name}: "
                    f"move it away, or give the sweep another `study:` name ({error.strerror})"
                ) from error
            return freeze(sweep, paths.results)  # somebody else's by now
    return FrozenStudy(paths, (sweep,), info, plan, created=True)


def discard(study: FrozenStudy) -> None:
    """Remove a study that this process created and that came to nothing, unless another process used it meanwhile."""
    home = study.paths.folder.resolve()
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=home.parent))
    taken = StudyPaths(aside, study.paths.study)
    home.rename(taken.folder)  # from here on nobody can begin to use it
    if any(not is_own_writer(name) for name, _ in journal_sizes(taken)) or any(taken.slurm.iterdir()):
        taken.folder.rename(home)
    shutil.rmtree(aside)


def _create_revision(paths: StudyPaths, sweep: Sweep, earlier: tuple[Sweep, ...]) -> FrozenStudy:
    plan, info = plan_sweeps(*earlier, sweep)
    # Before the sweep's file, because a revision exists from the moment that its file does.
    _journal_plan(paths, len(earlier) + 1, plan)
    write_once(paths.revision(len(earlier) + 1), text_of(sweep.text).encode())
    frozen = read_revisions(paths)
    if frozen[len(earlier)].digest != sweep.digest:
        raise StudyError(_refusal(paths, frozen[len(earlier)], sweep, ["another command created it meanwhile"]))
    return FrozenStudy(paths, (*earlier, sweep), info, plan)


def _journal_plan(paths: StudyPaths, revision: int, plan: Plan) -> None:
    extended = Extend(
        time=time.time(),
        revision=revision,
        trials=len(plan.trials),
        configurations=len(plan.configurations),
        invalid=len(plan.invalid),
        duplicates=plan.duplicates,
    )
    with start_journal(paths) as journal:
        journal.append(extended)


def _refusal(paths: StudyPaths, old: Sweep, new: Sweep, reasons: list[str] | None) -> str:
    diff = difflib.unified_diff(
        old.text.splitlines(), new.text.splitlines(), str(paths.sweep), new.source, n=1, lineterm=""
    )
    ways = ["give the sweep another `study:` name"]
    if reasons is None:
        ways.append("`cnn-sweep run --extend` to add what is new to this study")
    else:
        ways.append("undo the change; `--extend` would not do: " + "; ".join(reasons))
    return "\n".join(
        [
            f"study {new.study!r} in {paths.folder} was started with another sweep file:",
            *(f"    {line}" for line in diff),
            "ways on:",
            *(f"  - {way}" for way in ways),
        ]
    )
