"""Checks that a study's data are still those with which its first trials were trained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cnn_sweep.errors import DamagedFileError, StudyError
from cnn_sweep.journal.filesystem import write_once
from cnn_sweep.journal.study_files import read_text
from cnn_sweep.messages import show

if TYPE_CHECKING:
    from cnn_sweep.execution.study.study_folder import StudyFolder

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_same_data(study: StudyFolder, fingerprint: str) -> None:
    """Compare the data with those of the study's first worker; results on different data cannot be ranked together.

    Raises:
        StudyError: The files have changed since then.
    """
    write_once(study.paths.fingerprint, f"{fingerprint}\n".encode())
    cure = "if you are sure that the data have not changed, remove it; the next worker writes it again"
    first = read_text(study.paths.fingerprint, cure).strip()
    if not _SHA256.fullmatch(first):
        raise DamagedFileError(study.paths.fingerprint, f"{show(first)} is not a SHA-256", cure)
    if first != fingerprint:
        raise StudyError(
            f"the data of study {study.name!r} are not those of its first trials: their fingerprint "
            f"is {fingerprint[:12]}, it was {first[:12]}. Put the files back, or give the sweep another name"
        )
