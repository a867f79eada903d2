"""The project as it would be with a design that does not hold: each mutant changes modules when they are imported.

The campaign has to fail on each of them; `test_mutants.py` says with which faults it does.
"""

from __future__ import annotations

import fcntl
import os

_KEPT = 8  # lines that a writer keeps in memory


def _trust_locks(merge):
    """Merge into the published file whatever the locks are worth, as where they are reliable."""
    from cnn_sweep.journal.filesystem import Locks

    merge.judge = lambda _results: Locks(honest=True, reason="trusted", fstype="trusted")


def _claim_by_lock(claims):
    """Own an attempt by a lock on a file, not by being the one who made it."""

    def link(self, name):
        fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.pwrite(fd, self._content, 0)  # and the file stays open, because the lock ends with it
        return True

    claims.Claims._link = link


def _forget_offsets(ingest):
    """Apply all lines at each merge, without knowing which the store has."""
    ingest.read_offsets = lambda _connection: {}


def _write_late(log):
    """Keep the newest lines in memory, whatever depends on them."""
    write = log.JournalWriter._write

    def late(self):
        lines = bytes(self._pending).splitlines(keepends=True)
        self._pending[:] = b"".join(lines[:-_KEPT])
        write(self)
        self._pending += b"".join(lines[-_KEPT:])

    def close(self):
        write(self)
        os.close(self._fd)

    log.JournalWriter._write = late
    log.JournalWriter.close = close


def _count_reports(retries):
    """Take a reported epoch for progress, though nothing of it was kept."""

    def deaths(trial, *_):
        causes = []
        for number in sorted(trial.attempts, reverse=True):
            attempt = trial.attempts[number]
            if attempt.state == "running":
                continue
            if attempt.state != "lost" or attempt.last_epoch > attempt.start_epoch:
                break
            causes.append(attempt.cause or "gone")
        return causes

    retries._deaths_in_a_row = deaths


def _trust_types(decoding):
    """Believe each line whose checksum is right."""
    decoding.misfit = lambda data: None if data["type"] in decoding.EVENT_TYPES else "unknown"


MUTANTS = {
    "merges in place where locks are unreliable": {
        "cnn_sweep.store.merge": _trust_locks,
        "cnn_sweep.store.reader": _trust_locks,
    },
    "claims by lock": {"cnn_sweep.journal.claims": _claim_by_lock},
    "journals applied without offsets": {"cnn_sweep.store.ingest": _forget_offsets},
    "nothing flushed": {"cnn_sweep.journal.log": _write_late},
    "progress by what was reported": {"cnn_sweep.execution.attempts.retries": _count_reports},
    "a decoder that trusts types": {"cnn_sweep.journal.decoding": _trust_types},
}
