"""Notifies users by a command or a web request when a study has finished or cannot continue, once per end."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.execution.pool.progress import ProgressMeter
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.masking import masked
from cnn_sweep.streams import printable
from cnn_sweep.sweep.states import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.execution.pool.progress import Progress
    from cnn_sweep.execution.study.study_folder import StudyFolder

log = logging.getLogger(__name__)

# Time limit of a command or a web request, in seconds.
_PATIENCE_S = 60.0
_WEB = ("http://", "https://")


@dataclass(frozen=True)
class Notice:
    """One notification.

    Attributes:
        study: The study's name.
        outcome: ``finished``, or ``failed`` if the study cannot continue.
        text: What happened, in a sentence.
        trials: Trials per state.
        best: (trial, value) of the best complete trial, or None.
    """

    study: str
    outcome: str
    text: str
    trials: dict[str, int]
    best: tuple[int, float] | None = None

    def to_data(self) -> dict[str, Any]:
        """Return the JSON object that targets receive; chat programs show its ``text``."""
        best = None if self.best is None else {"trial": self.best[0], "value": self.best[1]}
        trials = {state: count for state, count in self.trials.items() if count}
        return {"study": self.study, "outcome": self.outcome, "text": self.text, "trials": trials, "best": best}


def notice_of(study: str, progress: Progress) -> Notice | None:
    """Return the notification of a study's end; None if it has not ended."""
    counts = dict(progress.counts)
    words = counted(counts)
    best = f"; best trial {progress.best[0]}: {progress.best[1]:.5g}" if progress.best else ""
    if progress.failing_alike is not None:
        reason = f"cannot continue, its trials failed alike: {printable(progress.failing_alike)}"
        return Notice(study, "failed", f"{study} {reason} ({words})", counts, progress.best)
    is_over = progress.finished >= progress.total or progress.ended_by is not None
    if not is_over or counts.get("running"):
        return None
    return Notice(study, "finished", f"{study} is finished: {words}{best}", counts, progress.best)


def notify_dead_end(study: StudyFolder, reason: str, targets: Sequence[str], *, since: float) -> None:
    """Notify, once for each run or submission, that nobody continues an unfinished study.

    Args:
        study: The study.
        reason: Why, and what to do about it.
        targets: As for :func:`notify`.
        since: When the run or the submission began, in seconds since 1970.
    """
    if not targets:
        return
    counts = dict(ProgressMeter(study, study.history(), since).read(workers=0).counts)
    claims = Claims(study.paths, new_writer_name(), current())
    notify(
        Notice(study.name, "failed", f"{study.name}: {printable(reason)}", counts),
        targets,
        claims,
        key=str(round(since)),
    )


def notify(notice: Notice, targets: Sequence[str], claims: Claims, *, key: str) -> list[str]:
    """Send a notification, unless another process of the study has sent it.

    Args:
        notice: The notification.
        targets: Addresses (``http…``) that get it as a JSON object by POST, and commands for ``/bin/sh``, which get it
            on standard input and as the variables ``CNN_SWEEP_STUDY``, ``CNN_SWEEP_OUTCOME`` and ``CNN_SWEEP_TEXT``.
        claims: Claims of this process, which prevent a second notification.
        key: Distinguishes this end of the study from others, such as those after extensions.

    Returns:
        An error message for each target that failed; they are logged as well.
    """
    if not targets or not claims.claim_notice(f"{notice.outcome}-{key}"):
        return []
    body = json.dumps(notice.to_data()).encode()
    problems = []
    for target in targets:
        try:
            if target.startswith(_WEB):
                _post(target, body)
            else:
                _run(target, notice, body)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            problems.append(f"the notification to {_shown(target)!r} failed: {error}")
    for problem in problems:
        log.warning("%s", problem)
    return problems


def _shown(target: str) -> str:
    """Return a target without what may be secret."""
    return "/".join(target.split("/")[:3]) + "/…" if target.startswith(_WEB) else masked(target)


def _post(address: str, body: bytes) -> None:
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - http… only
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):  # noqa: S310 - as above
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"HTTP {error.code} {error.reason}") from None


def _run(command: str, notice: Notice, body: bytes) -> None:
    own = {"CNN_SWEEP_STUDY": notice.study, "CNN_SWEEP_OUTCOME": notice.outcome, "CNN_SWEEP_TEXT": notice.text}
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        input=body,
        env=os.environ | own,
        capture_output=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError(f"exit code {done.returncode}{': ' + words[-1] if words else ''}")
