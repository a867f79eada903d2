"""Runs the commands of ``when_finished`` after the end of a study, once for each end.

Every pool that sees the end tries to claim it; the one that succeeds runs the commands, each in a process of its own,
and journals how each went. If that pool is stopped or dies, another one, or its own job after a requeue, goes on.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import Interrupted
from cnn_sweep.execution.attempts.liveness import Attempt
from cnn_sweep.execution.study.jobs import followed
from cnn_sweep.execution.worker.protocol import STOP_SIGNALS
from cnn_sweep.journal.events import Followed
from cnn_sweep.journal.filesystem import mode_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnn_sweep.execution.attempts.liveness import FailureDetector
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.claims import Claims
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.sweep.spec.when_finished import Step

log = logging.getLogger(__name__)

_POLL_S: Final = 0.05
_GRACE_S: Final = 5.0  # a command that is asked to stop is killed after this many seconds
_PRINT: Final = ("leaderboard", "finalize")  # commands whose standard output is what they make
_SUFFIXES: Final = {"markdown": "md", "latex": "tex"}
_STOPPED: Final = {Interrupted.exit_code, *(-number for number in (signal.SIGINT, *STOP_SIGNALS))}
_BECAUSE_STOPPED: Final = "its pool was stopped"


@dataclass(frozen=True)
class Follower:
    """Runs the commands for one pool.

    Attributes:
        study: The study, as its newest revision plans it.
        claims: Claims of the pool's process.
        detectors: Tell whether the pool that claimed an end is dead.
        is_stopping: Returns whether this pool is to stop.
    """

    study: StudyFolder
    claims: Claims
    detectors: Sequence[FailureDetector]
    is_stopping: Callable[[], bool]

    @property
    def end(self) -> str:
        """The study's present end."""
        return end_of(len(self.study.revisions), len(self.study.plan.trials))

    def run(self, tell: Callable[[str], None]) -> list[str]:
        """Run the commands that are left, if this pool may; return a message for each that failed.

        Args:
            tell: Called with each command before it runs.
        """
        if not self.left() or not self._claim():
            return []
        problems = []
        with self.study.journal("pool") as journal:
            for step in self.left():
                tell(str(step))
                ended = self._run(step, journal)
                if ended.outcome == "interrupted":
                    break
                if ended.outcome == "failed":
                    problems.append(f"{step} failed: {ended.message}")
        return problems

    def left(self) -> list[Step]:
        """Return the commands that have not ended yet; none between the rounds of a test, which is not over."""
        steps, more = self.study.sweep.when_finished, self.study.sweep.more_repeats
        if not steps or (more is not None and more.round is not None):
            return []
        ended = {one.step for one in followed(self.study.paths, self.end) if one.outcome in ("complete", "failed")}
        return [step for step in steps if str(step) not in ended]

    def _claim(self) -> bool:
        """Claim the end; if the pool that claimed it before is stopped or dead, claim what it left."""
        begun = followed(self.study.paths, self.end)
        number = sum(one.outcome == "interrupted" for one in begun)
        while not self.claims.claim_notice(key := f"when_finished-{self.end}-{number}"):
            owner = self.claims.notice_owner(key)
            if owner is None or not any(detector.deaths({Attempt(0, 0): owner}) for detector in self.detectors):
                return False
            number += 1
        return True

    def _run(self, step: Step, journal: JournalWriter) -> Followed:
        """Run one command, and journal its beginning and its end whatever happens."""
        self._journal(step, journal, "running")
        log.info("when finished: %s", step)
        folder = self.study.paths.finished
        state, message = "interrupted", _BECAUSE_STOPPED
        try:
            folder.mkdir(mode=mode_in(self.study.paths.results), exist_ok=True)
            code = self._call(step)
            if code not in _STOPPED and not self.is_stopping():
                state, message = ("failed", _last_words(_log(folder, step), code)) if code else ("complete", "")
        except OSError as error:
            state, message = "failed", str(error)
        finally:
            ended = self._journal(step, journal, state, message)
        return ended

    def _journal(self, step: Step, journal: JournalWriter, state: str, message: str = "") -> Followed:
        file = f"{self.study.paths.finished.name}/{_product(step)}" if state == "complete" else None
        event = Followed(time.time(), self.end, str(step), state, file, message or None)
        journal.append(event)
        if state in ("complete", "failed"):
            log.log(logging.INFO if state == "complete" else logging.WARNING, "%s: %s %s", step, state, message)
        return event

    def _call(self, step: Step) -> int:
        """Run a command until it ends or this pool is to stop; return its exit code."""
        folder = self.study.paths.finished
        words = [*command_of(step, self.study.name), "--results", str(self.study.paths.results.resolve())]
        printed = folder / _product(step) if step.command in _PRINT else Path(os.devnull)
        with _log(folder, step).open("wb") as errors, printed.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cnn_sweep.cli.main", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=folder,
            )
            try:
                while process.poll() is None and not self.is_stopping():
                    time.sleep(_POLL_S)
            finally:
                _end(process)
        return process.returncode


def end_of(revisions: int, trials: int) -> str:
    """Name an end of a study: an extended study ends again."""
    return f"{revisions}-{trials}"


def command_of(step: Step, study: str) -> list[str]:
    """Return the words of a step's command, which starts in the folder that it writes to; the results are left out."""
    settings = step.all_settings
    match step.command:
        case "report":
            return ["report", study, "--output", _product(step), "--format", settings["format"]]
        case "finalize":
            return ["finalize", study, "--top", str(settings["top"])]
        case "leaderboard":
            return ["leaderboard", study, "--format", settings["format"]]
        case _:
            return ["export", study, _product(step), "--to", settings["to"]]


def _product(step: Step) -> str:
    """Return the name of the file or folder that a step writes."""
    settings = step.all_settings
    if step.command == "finalize":
        return "finalize.txt"
    if step.command == "export":
        return f"export-{settings['to']}"
    return f"{step.command}.{_SUFFIXES.get(settings['format'], settings['format'])}"


def _log(folder: Path, step: Step) -> Path:
    return folder / f"{str(step).replace(' ', '-')}.log"


def _last_words(file: Path, code: int) -> str:
    """Return the last line of a command's error output, or its exit code."""
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip(" │") for line in text.splitlines() if any(map(str.isalnum, line))]  # without drawn boxes
    return lines[-1].removeprefix("cnn-sweep: ") if lines else f"exit code {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to stop if it still runs, and kill it if it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
