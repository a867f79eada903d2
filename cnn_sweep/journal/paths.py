"""The paths of all files of a study; no other module builds them."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cnn_sweep.errors import DamagedFileError, StudyError
from cnn_sweep.journal.filesystem import keeping_mode_in
from cnn_sweep.journal.study_files import read_file
from cnn_sweep.messages import listed, near
from cnn_sweep.sweep.identity import STUDY_NAME, name_problem

JOURNAL_SUFFIX = ".jsonl"
ARCHIVE_SUFFIX = ".tar.gz"
_SUBMISSION = "submission-"
_STUDY_LINE = re.compile(r"""^study: *["']?([^"'\s#]+)""", re.MULTILINE)


@dataclass(frozen=True)
class StudyPaths:
    """The paths of one study's files.

    Attributes:
        results: Root of all studies and of the store.
        study: The study's name, which is also the name of its folder.

    Raises:
        StudyError: The name could leave the results folder or is too long for a file name.
    """

    results: Path
    study: str

    def __post_init__(self) -> None:
        if (problem := name_problem(self.study)) is not None:
            raise StudyError(problem)

    @property
    def folder(self) -> Path:
        """The study's own folder."""
        return self.results / self.study

    @property
    def sweep(self) -> Path:
        """Frozen copy of the first sweep file."""
        return self.revision(1)

    def revision(self, number: int) -> Path:
        """Return the frozen sweep file of a revision: ``sweep.yaml``, then ``sweep.2.yaml`` and so on."""
        return self.folder / ("sweep.yaml" if number == 1 else f"sweep.{number}.yaml")

    def revisions(self) -> tuple[Path, ...]:
        """Return the frozen sweep files that exist, the oldest first."""
        found: list[Path] = []
        while (path := self.revision(len(found) + 1)).is_file():
            found.append(path)
        return tuple(found)

    @property
    def provenance(self) -> Path:
        """Versions, git state, command line and seeds of the study's creation."""
        return self.folder / "provenance.json"

    @property
    def fingerprint(self) -> Path:
        """SHA-256 of the data, recorded by the study's first worker."""
        return self.folder / "data.sha256"

    @property
    def threads(self) -> Path:
        """Number of threads with which every worker of the study computes."""
        return self.folder / "threads"

    @property
    def note(self) -> Path:
        """A worker's note for the user, such as about unused settings of a model."""
        return self.folder / "note.txt"

    def read_note(self) -> str | None:
        """Return the text of the note; None without one."""
        try:
            return read_file(self.note, "").decode("utf-8", errors="replace").strip() or None
        except DamagedFileError:
            return None

    @property
    def journals(self) -> Path:
        """Folder of the journals."""
        return self.folder / "journal"

    @property
    def claims(self) -> Path:
        """Folder of the claims."""
        return self.folder / "claims"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, from which trials can continue."""
        return self.folder / "checkpoints"

    @property
    def models(self) -> Path:
        """Folder of the models of the best trials."""
        return self.folder / "models"

    @property
    def predictions_folder(self) -> Path:
        """Folder of the predictions that complete trials keep."""
        return self.folder / "predictions"

    def predictions(self, writer: str) -> Path:
        """Return the predictions of the trials that a worker finished."""
        return self.predictions_folder / f"{writer}.bin"

    @property
    def slurm(self) -> Path:
        """Folder of submitit's scripts and logs."""
        return self.folder / "slurm"

    def job_log(self, job: str) -> Path:
        """Return the file with the standard error of a job (``17``) or an array's element (``17_3``)."""
        return self.slurm / f"{job}_0_log.err"  # as submitit names the file of a job's first and only task

    @property
    def logs(self) -> Path:
        """Folder of the workers' standard error output."""
        return self.folder / "logs"

    @property
    def live(self) -> Path:
        """Folder of the live page that the pools write."""
        return self.folder / "live"

    @property
    def finished(self) -> Path:
        """Folder of what the commands of ``when_finished`` write."""
        return self.folder / "finished"

    def journal(self, writer: str) -> Path:
        """Return a writer's journal."""
        return self.journals / f"{writer}{JOURNAL_SUFFIX}"

    def claim(self, trial: int, attempt: int) -> Path:
        """Return the claim of an attempt."""
        return self.claims / f"{trial}.{attempt}"

    def configuration_claim(self, configuration: str) -> Path:
        """Return the claim of a configuration that a worker proposed."""
        return self.claims / f"configuration-{configuration}"

    def notice_claim(self, key: str) -> Path:
        """Return the claim of a notification about the study."""
        return self.claims / f"notice-{key}"

    def submission_claim(self, number: int) -> Path:
        """Return the claim of a process that submits jobs; see :meth:`.claims.Claims.submission`."""
        return self.claims / f"{_SUBMISSION}{number}"

    def submission_claims(self) -> list[int]:
        """Return the numbers of the claims of processes that submit jobs, or died while they did."""
        numbers = (path.name.removeprefix(_SUBMISSION) for path in self.claims.glob(f"{_SUBMISSION}*"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def checkpoint(self, trial: int, attempt: int) -> Path:
        """Return the checkpoint that an attempt writes."""
        return self.checkpoints / f"{trial}.{attempt}.ckpt"

    def model(self, trial: int) -> Path:
        """Return a trial's plain Keras model."""
        return self.models / f"{trial}.keras"

    def ensemble(self, trial: int, members: int) -> Path:
        """Return the mean of the networks that were trained with a configuration's folds.

        Args:
            trial: The configuration's first trial.
            members: Number of networks.
        """
        return self.models / f"{trial}.of-{members}-folds.keras"

    def mixture(self, trial: int, name: str) -> Path:
        """Return a model that was made of trials' networks.

        Args:
            trial: Its first trial.
            name: What it is, such as ``calibrated ensemble``.
        """
        return self.models / f"{trial}.{name.replace(' ', '-')}.keras"

    def refit(self, trial: int, epochs: int) -> Path:
        """Return the network that a trial's settings give after some epochs with all images but the sealed ones."""
        return self.models / f"{trial}.refit-{epochs}-epochs.keras"

    def refit_checkpoint(self, trial: int) -> Path:
        """Return the checkpoint of the network that :meth:`refit` names."""
        return self.checkpoints / f"refit-{trial}.ckpt"

    def create(self) -> None:
        """Create missing folders of the study.

        Only their owner may use them, unless the results folder was made for a group: then the umask decides, and in
        most of them nobody may remove or rename what belongs to somebody else. Whoever trains a trial further also
        removes its earlier checkpoints and models.
        """
        self.results.mkdir(parents=True, exist_ok=True)
        keeping = keeping_mode_in(self.results)
        self.folder.mkdir(mode=keeping, exist_ok=True)
        for folder in (self.journals, self.claims, self.slurm, self.logs):
            folder.mkdir(mode=keeping | 0o077, exist_ok=True)
        for folder in (self.checkpoints, self.models):
            folder.mkdir(exist_ok=True)


def data_root(results: Path) -> Path:
    """Return the folder of prepared data sets, which all studies of a results folder share."""
    return results / ".data"


def is_study(paths: StudyPaths) -> bool:
    """Return whether a study exists: its folder has journals or a sweep file, even if others of its files are lost."""
    return _is_readable_folder(paths.journals) or paths.sweep.is_file()


def archive_folder(results: Path) -> Path:
    """Return the folder of the archives of a results folder."""
    return results / "archive"


def archive_of(results: Path, name: str) -> Path:
    """Return the archive that a study gets unless its user names another file."""
    return archive_folder(results) / f"{name}{ARCHIVE_SUFFIX}"


def archived_studies(results: Path) -> list[str]:
    """Return the names of the archives in a results folder, sorted."""
    files = archive_folder(results).glob(f"[!.]*{ARCHIVE_SUFFIX}")
    return sorted(file.name.removesuffix(ARCHIVE_SUFFIX) for file in files)


def existing_studies(results: Path) -> list[str]:
    """Return the names of all studies under ``results``, sorted; a study is a folder with journals.

    Other users' studies in unreadable folders are left out.
    """
    try:
        names = [entry.name for entry in results.iterdir() if STUDY_NAME.fullmatch(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if _is_readable_folder(StudyPaths(results, name).journals))


def existing_study(results: Path, name: str) -> StudyPaths:
    """Return the files of a study that exists.

    Raises:
        StudyError: There is no such study; the message suggests a similar name and lists the existing ones.
        DamagedFileError: The study has journals, but no sweep file.
    """
    paths = StudyPaths(results, name)
    try:
        if paths.sweep.is_file():
            return paths
        if _is_readable_folder(paths.journals):
            raise DamagedFileError(paths.sweep, missing_reason(paths.sweep), sweep_file_cure(paths))
    except PermissionError as error:
        raise StudyError(f"you may not read the study {name!r} in {results}: {_owner(paths.folder)}") from error
    if (archive := archive_of(results, name)).is_file():
        raise StudyError(f"the study {name!r} is archived in {archive}; to restore it: cnn-sweep unarchive {name}")
    names = existing_studies(results)
    elsewhere = "there are no studies there; `--results DIR` (in Python: results) names another folder"
    there = f"studies there: {listed(names)}" if names else elsewhere
    hint = _study_in_file(name) or near(name, names)
    raise StudyError(f"no study {name!r} in {results}{hint}; {there}")


def _study_in_file(name: str) -> str:
    """Return a hint if what should be a study's name is a sweep file; otherwise an empty string."""
    if not name.endswith((".yaml", ".yml")):
        return ""
    with suppress(OSError, UnicodeDecodeError):
        if found := _STUDY_LINE.search(Path(name).read_text(encoding="utf-8")):
            return f" (the study of that file is {found[1]!r})"
    return ""


def sweep_file_cure(paths: StudyPaths) -> str:
    """Return what to do about a sweep file of a study that is missing, damaged or another one."""
    return (
        "`cnn-sweep run` with this study's sweep file restores it; if you no longer have that file, rename the folder "
        f"{paths.folder} or `cnn-sweep delete {paths.study}`"
    )


def missing_reason(path: Path) -> str:
    """Return what is wrong with a path that names no file."""
    return "it is no plain file" if path.exists() or path.is_symlink() else "the file is missing"


def _owner(folder: Path) -> str:
    try:
        return f"it belongs to {folder.owner()}, who can let you in with `chmod -R go+rX {folder}`"
    except (OSError, KeyError):
        return "ask the folder's owner"


def _is_readable_folder(folder: Path) -> bool:
    try:
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    except PermissionError:
        return False
