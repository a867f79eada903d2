"""A live page that the pools of a study write themselves: one of them, and another one when that one is gone.

The pools take turns. A turn is a claim with a number, and the pool with the newest one writes. A turn ends when its
owner says so, or when the page has not been renewed for a while by this process's own clock, so that it matters neither
why the owner is gone nor what other clocks say. If a silent owner wakes up, it sees the newer claim and stops.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from cnn_sweep.journal.claims import Claims
    from cnn_sweep.journal.paths import StudyPaths

log = logging.getLogger(__name__)

_SILENT: Final = 3  # intervals without a renewal after which another pool takes over
_LAST_S: Final = 120.0  # most seconds for the last renewal
_STOP_S: Final = 2.0  # seconds for a renewal to end, before its process is killed


class LiveWriter:
    """Starts ``report --watch`` for a study if it is this pool's turn, and stops it if it is another's."""

    def __init__(self, paths: StudyPaths, claims: Claims, every_s: float) -> None:
        """Take part in the turns.

        Args:
            paths: Files of the study.
            claims: Claims of the pool's process.
            every_s: Seconds between renewals.
        """
        self._paths = paths
        self._claims = claims
        self._every_s = every_s
        self._turn = -1
        self._is_writer = False
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: int | None = None
        self._seen_at = 0.0
        self._look_at = 0.0

    def look(self) -> None:
        """Start or stop writing, if it is time to look; errors are logged, because training needs no page."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._every_s
        try:
            self._is_writer = self._has_turn()
            if not self._is_writer:
                self.stop()
            elif self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except (OSError, EnvironmentFault) as error:
            log.warning("the live page is not written: %s", error)

    def stop(self) -> None:
        """Stop writing; what was written stays."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # it completes what it writes
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def end(self, finished: str | None) -> None:
        """Write for the last time if the study is finished, and leave the turn to others.

        The writer does so in any case, because it may have written while others finished the study; if it has none, one
        of the pools that see the end.

        Args:
            finished: The key of this end of the study; None if it is not finished.
        """
        self.stop()
        try:
            if finished is not None and (self._is_writer or self._claims.claim_notice(f"live-{finished}")):
                subprocess.run(
                    self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=_LAST_S, check=False
                )
            if self._is_writer:
                self._claims.claim_notice(_ended(self._turn))
        except (OSError, EnvironmentFault, subprocess.TimeoutExpired) as error:
            log.warning("the live page was not written for the last time: %s", error)

    @property
    def _command(self) -> list[str]:
        words = ("report", self._paths.study, "--watch", f"{self._every_s:g}")
        places = ("--results", str(self._paths.results), "--output", str(self._paths.live))
        return [sys.executable, "-P", "-m", "cnn_sweep.cli.main", *words, *places]

    def _has_turn(self) -> bool:
        while self._claims.notice_owner(_key(self._turn + 1)) is not None:
            self._turn += 1
            self._seen = None
        if self._turn >= 0 and self._claims.claim_notice(_key(self._turn)):
            return True
        if not self._is_free() or not self._claims.claim_notice(_key(self._turn + 1)):
            return False
        self._turn += 1
        return True

    def _is_free(self) -> bool:
        """Return whether nobody has a turn, its owner ended it, or the page has not been renewed for a while."""
        if self._turn < 0 or self._claims.notice_owner(_ended(self._turn)) is not None:
            return True
        if (found := self._renewed()) != self._seen:
            self._seen, self._seen_at = found, time.monotonic()
        return time.monotonic() - self._seen_at >= _SILENT * self._every_s

    def _renewed(self) -> int:
        """Return when a file of the page was last put in place, by the file server's clock; 0 if there is none."""
        try:
            return self._paths.live.stat().st_mtime_ns
        except OSError:
            return 0


def _key(turn: int) -> str:
    return f"live-{turn}"


def _ended(turn: int) -> str:
    return f"live-{turn}-ended"
