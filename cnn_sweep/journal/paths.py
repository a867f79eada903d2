"""The names of all files of a study; no other module composes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.errors import StudyError
from cnn_sweep.messages import listed, near
from cnn_sweep.sweep.identity import STUDY_NAME, STUDY_NAME_RULE

if TYPE_CHECKING:
    from pathlib import Path

JOURNAL_SUFFIX = ".jsonl"
_PRIVATE = 0o700


@dataclass(frozen=True)
class StudyPaths:
    """Where the files of one study are.

    Attributes:
        results: Root of all studies and of the store.
        study: The study's name; it is the name of its folder.

    Raises:
        StudyError: If the name could leave the results folder or is too long for a file name.
    """

    results: Path
    study: str

    def __post_init__(self) -> None:
        if not STUDY_NAME.fullmatch(self.study):
            raise StudyError(f"{self.study!r} cannot be the name of a study; it must be {STUDY_NAME_RULE}")

    @property
    def folder(self) -> Path:
        """The study's own folder."""
        return self.results / self.study

    @property
    def sweep(self) -> Path:
        """Frozen copy of the sweep file as it was first submitted."""
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
        """SHA-256 of the data that the study's first worker found."""
        return self.folder / "data.sha256"

    @property
    def threads(self) -> Path:
        """Number of threads with which every worker of the study computes."""
        return self.folder / "threads"

    @property
    def note(self) -> Path:
        """What a worker found that the user should know, such as settings of a model that are not used."""
        return self.folder / "note.txt"

    def read_note(self) -> str | None:
        """Return what the note says; None where there is none."""
        try:
            return self.note.read_text(encoding="utf-8", errors="replace").strip() or None
        except OSError:
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
        """Folder of the checkpoints of trials that may continue."""
        return self.folder / "checkpoints"

    @property
    def models(self) -> Path:
        """Folder of the models of the best trials."""
        return self.folder / "models"

    @property
    def slurm(self) -> Path:
        """Folder of submitit's scripts and logs."""
        return self.folder / "slurm"

    @property
    def logs(self) -> Path:
        """Folder of what workers wrote to standard error."""
        return self.folder / "logs"

    def journal(self, writer: str) -> Path:
        """Return a writer's journal."""
        return self.journals / f"{writer}{JOURNAL_SUFFIX}"

    def claim(self, trial: int, attempt: int) -> Path:
        """Return the claim of an attempt."""
        return self.claims / f"{trial}.{attempt}"

    def configuration_claim(self, configuration: str) -> Path:
        """Return the claim of a configuration that a worker proposed to itself."""
        return self.claims / f"configuration-{configuration}"

    def notice_claim(self, key: str) -> Path:
        """Return the claim of telling people that the study ended."""
        return self.claims / f"notice-{key}"

    def checkpoint(self, trial: int, attempt: int) -> Path:
        """Return the checkpoint that an attempt writes."""
        return self.checkpoints / f"{trial}.{attempt}.ckpt"

    def model(self, trial: int) -> Path:
        """Return a trial's plain Keras model."""
        return self.models / f"{trial}.keras"

    def create(self) -> None:
        """Make the study's folders, readable by their owner alone; those that exist are left as they are."""
        self.results.mkdir(parents=True, exist_ok=True)
        inner = (self.journals, self.claims, self.checkpoints, self.models, self.slurm)
        for folder in (self.folder, *inner):
            folder.mkdir(mode=_PRIVATE, exist_ok=True)


def existing_studies(results: Path) -> list[str]:
    """Return the names of all studies under ``results``, sorted; a study is a folder with journals.

    Other people's studies, whose folders nobody else may read, are left out.
    """
    try:
        names = [entry.name for entry in results.iterdir() if STUDY_NAME.fullmatch(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if _is_readable_folder(StudyPaths(results, name).journals))


def existing_study(results: Path, name: str) -> StudyPaths:
    """Return the files of a study that exists.

    Raises:
        StudyError: No such study; the message suggests a similar name and lists those that exist.
    """
    paths = StudyPaths(results, name)
    if paths.sweep.is_file():
        return paths
    names = existing_studies(results)
    there = f"studies there: {listed(names)}" if names else "there are no studies there; --results DIR looks elsewhere"
    raise StudyError(f"no study {name!r} in {results}{near(name, names)}; {there}")


def _is_readable_folder(folder: Path) -> bool:
    try:
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    except PermissionError:
        return False
