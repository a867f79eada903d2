"""The fork server of a pool: a process that imports TensorFlow once, and from which workers are forked.

A pool starts it as ``python -m cnn_sweep.execution.worker.fork_server SETTINGS``, with a socket as its standard input.
It says whether workers can be forked, and then forks one for each request until the pool closes the socket. It only
imports modules: TensorFlow's runtime, the study and its data belong to the workers.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import json
import os
import re
import socket
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cnn_sweep import streams
from cnn_sweep.execution.machine import VISIBLE
from cnn_sweep.execution.worker import worker
from cnn_sweep.execution.worker.protocol import FORK_REQUEST_BYTES, WHOLE_KERAS, WorkerSettings
from cnn_sweep.training.session import has_started, import_tensorflow

# In /proc/<pid>/smaps: a mapping of a file that cannot be written to, and that none of its pages is a copy.
_FILE_MAPPED: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +/", re.MULTILINE)
_ANONYMOUS: Final = re.compile(r"^Anonymous: +0 kB", re.MULTILINE)
_DONT_NEED: Final = 4  # MADV_DONTNEED of madvise(2)
_ARGUMENTS: Final = slice(45, 47)  # fields 48 and 49 of /proc/<pid>/stat, counted from field 3, the state


@dataclass(frozen=True)
class Request:
    """The wish for a worker.

    Attributes:
        settings: The worker's settings, as its argument.
        gpu: The GPU that it may use; None for those that the pool may use.
        log: File descriptor of its standard output and error.
        release: Socket on which the pool sends something once it has taken note of the worker.
    """

    settings: str
    gpu: str | None
    log: int
    release: socket.socket

    @classmethod
    def receive(cls, channel: socket.socket) -> Request | None:
        """Wait for the next request; return None if the pool is gone."""
        message, descriptors, _, _ = socket.recv_fds(channel, FORK_REQUEST_BYTES, 2)
        if not message:
            return None
        log, release = descriptors
        return cls(**json.loads(message), log=log, release=socket.socket(fileno=release))

    def close(self) -> None:
        """Close what only the worker needs."""
        os.close(self.log)
        self.release.close()


def _import(threads: int, *, whole_keras: bool) -> str | None:
    """Import what workers need; return why none can be forked then, or None."""
    try:
        import_tensorflow(threads, whole_keras=whole_keras)
        import cnn_sweep.execution.worker.study_trainer  # noqa: F401, PLC0415 - needs the variables that are set above
    except Exception as error:  # noqa: BLE001 - a worker of its own will say it with its traceback
        return f"it cannot be imported: {type(error).__name__}: {error}"
    gc.freeze()  # collections in workers leave the pages of these objects shared
    _unmap_code()
    return "its runtime was started by the import" if has_started() else None


def _unmap_code() -> None:
    """Give back the pages of libraries that only their import needed, some 340 MB: this process runs no TensorFlow.

    They stay in the page cache, from which workers map those that they use.
    """
    libc = ctypes.CDLL(None)
    for mapping in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").split("VmFlags:"):
        head = _FILE_MAPPED.search(mapping)
        if head and _ANONYMOUS.search(mapping):  # a page that was written to could not be read again
            start, end = (int(address, 16) for address in head.groups())
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONT_NEED)


def _serve(channel: socket.socket) -> Request | None:
    """Fork workers until the pool is gone, and return None then; in each worker, return its request."""
    while (request := Request.receive(channel)) is not None:
        if _is_forked(channel):
            return request
        request.close()
    return None


def _is_forked(channel: socket.socket) -> bool:
    """Fork a worker and tell the pool its process ID, or why there is none; return True in the worker."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            between = _fork()
        except OSError as error:
            answer = _failure(error)
        else:
            if between == 0:
                _fork_orphan(theirs)
                return True
            theirs.close()
            answer = ours.recv(FORK_REQUEST_BYTES)
            os.waitpid(between, 0)  # only now is the worker a child of the pool
    channel.send(answer or _failure(ChildProcessError()))
    return False


def _fork_orphan(answers: socket.socket) -> None:
    """Fork a process, say its ID, and end; return in the new process, which the pool adopts."""
    try:
        pid = _fork()
    except OSError as error:
        answers.send(_failure(error))
        os._exit(1)
    if pid != 0:
        answers.send(json.dumps({"pid": pid}).encode())
        os._exit(0)


def _failure(error: OSError) -> bytes:
    return json.dumps({"errno": error.errno or errno.EAGAIN}).encode()


def _fork() -> int:
    with warnings.catch_warnings():
        # The threads are those of idle libraries, which expect to be forked.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _be_worker(request: Request) -> int:
    """Run a worker in this forked process; return its exit code."""
    if not request.release.recv(1):  # the pool is gone, or knows nothing of this process
        return 0
    os.dup2(request.log, 1)
    os.dup2(request.log, 2)
    request.close()
    if request.gpu is not None:
        os.environ[VISIBLE] = request.gpu
    _show(request.settings)
    np.random.seed()  # noqa: NPY002 - the user's code may use it; all workers would draw the same numbers
    sys.argv[1:] = [request.settings]
    return worker.main()


def _show(settings: str) -> None:
    """Show this process under a worker's command line, by which people and scripts find workers."""
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    start, end = map(int, fields[_ARGUMENTS])
    shown = [*words[: words.index(b"-m") + 1], worker.__name__.encode(), settings.encode(), b""]
    if room := end - start:
        ctypes.memmove(start, b"\0".join(shown)[: room - 1].ljust(room, b"\0"), room)


def main() -> int:
    """Fork workers until the pool is gone; return the exit code of this process, which is a worker's in a worker."""
    streams.start_log()
    settings = WorkerSettings.from_argument(sys.argv[1])
    with socket.socket(fileno=os.dup(0)) as channel, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        problem = _import(settings.threads, whole_keras=WHOLE_KERAS in sys.argv)
        request = None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the pool is gone
            channel.send(json.dumps({"problem": problem}).encode())
            request = _serve(channel)
    return 0 if request is None else _be_worker(request)


if __name__ == "__main__":
    sys.exit(main())
