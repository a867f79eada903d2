"""Controls ``fault_shim.c``: which calls fail in a round's processes, their wall clock, and whether locks exclude."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("fault_shim.c")
_LAYOUT = struct.Struct("<qqiIIIII256s")
_SIZE = 4096
CALLS = {
    name: 1 << bit
    for bit, name in enumerate(
        ("open", "create", "read", "write", "sync", "link", "rename", "unlink", "mkdir", "stat", "fork")
    )
}


def build(folder):
    """Compile the library into a folder; return its file, or None where there is no C compiler."""
    library = folder / "fault_shim.so"
    if shutil.which("cc") is None:
        return None
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, _SOURCE, "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class Rule:
    """Which calls fail.

    Attributes:
        error: Their errno.
        calls: Their names, as in ``CALLS``.
        path: Part of the path of the files for which they fail.
        every: One call in so many fails.
        left: After so many failures they pass.
        torn: Whether a write writes half before it fails.
    """

    error: int
    calls: tuple[str, ...]
    path: str = ""
    every: int = 1
    left: int = 1 << 30
    torn: bool = False


_PASS = Rule(0, (), left=0)


class Shim:
    """The control file of one round."""

    def __init__(self, library, file):
        self._library, self._file = library, file
        file.write_bytes(bytes(_SIZE))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _SIZE)
        self._clock_ns, self._open_locks = 0, 0
        self.clear()

    @property
    def environment(self):
        """The variables with which a process obeys."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_CONTROL": str(self._file)}

    def fail(self, rule):
        """Let calls fail."""
        self.clear()  # nothing fails while the rule is being written
        self._write(rule)

    def clear(self):
        """Let every call pass."""
        self._write(_PASS)

    def move_clock(self, seconds):
        """Move the wall clock of all processes; 0 puts it right."""
        self._clock_ns = int(seconds * 1e9)
        self.clear()

    def open_locks(self):
        """Grant every lock to everybody from now on."""
        self._open_locks = 1
        self.clear()

    def close(self):
        """Release the memory."""
        self._memory.close()

    def _write(self, rule):
        mask = sum(CALLS[call] for call in rule.calls)
        settings = (self._clock_ns, rule.left, rule.error, mask, rule.every, 0, rule.torn, self._open_locks)
        self._memory[: _LAYOUT.size] = _LAYOUT.pack(*settings, rule.path.encode())
