"""Starts the worker processes of a pool: forked from one that has imported TensorFlow, or each by itself."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.machine import VISIBLE
from cnn_sweep.execution.worker.protocol import FORK_REQUEST_BYTES, STOP_SIGNALS, WHOLE_KERAS
from cnn_sweep.journal.filesystem import aside_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from cnn_sweep.execution.worker.protocol import WorkerSettings

# How workers are started: forked, or each as a process of its own. The words are those of Python's multiprocessing.
START_METHOD: Final = "CNN_SWEEP_START_METHOD"
_FORKED, _SPAWNED = "forkserver", "spawn"
_WORKER: Final = "cnn_sweep.execution.worker.worker"
_FORK_SERVER: Final = "cnn_sweep.execution.worker.fork_server"
# A fork takes milliseconds, or seconds on a machine that swaps.
_FORK_WITHIN_S: Final = 30.0
# Options of prctl(2).
_SET_SUBREAPER: Final = 36
_GET_SUBREAPER: Final = 37


class ForkedWorker:
    """A child of this process that the fork server forked; its attributes and methods are those of ``Popen``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its end; return the exit code."""
        return self._wait(0)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            try:
                ended, status = os.waitpid(self.pid, options)
            except ChildProcessError:  # a signal handler has waited for it meanwhile, or this process ignores children
                self.returncode = 0 if self.returncode is None else self.returncode
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode


class ForkServerError(Exception):
    """No worker can be forked; the message says why."""


class ForkServer:
    """The pool's end of a fork server."""

    def __init__(self, settings: WorkerSettings, environment: dict[str, str], *, whole_keras: bool) -> None:
        """Start it; it begins to import TensorFlow.

        Args:
            settings: Settings of the workers.
            environment: Environment variables of the workers.
            whole_keras: Whether Keras may import its optional packages.

        Raises:
            OSError: The machine allows no further process.
        """
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._is_ready = False
        try:
            with theirs, signals_blocked(), _adopting_orphans():
                self._process = subprocess.Popen(
                    [*_python(_FORK_SERVER), settings.to_argument(), *[WHOLE_KERAS] * whole_keras],
                    stdin=theirs.fileno(),
                    stdout=self._log,
                    stderr=self._log,
                    env=environment,
                    pass_fds=() if settings.word is None else (settings.word,),
                )
        except BaseException:
            self._channel.close()
            self._log.close()
            raise

    @property
    def has_ended(self) -> bool:
        """Whether it was ready once and has ended since."""
        return self._is_ready and self._process.poll() is not None

    def is_ready(self) -> bool:
        """Return whether it has imported TensorFlow.

        Raises:
            ForkServerError: It cannot fork workers.
        """
        if not self._is_ready:
            try:
                problem = self._receive()["problem"]
            except BlockingIOError:
                return False
            if problem is not None:
                raise ForkServerError(problem)
            self._is_ready = True
            self._channel.settimeout(_FORK_WITHIN_S)
        return True

    def fork(self, settings: WorkerSettings, gpu: str | None, log: IO[bytes]) -> ForkedWorker:
        """Fork a worker, which becomes a child of this process.

        Args:
            settings: Its settings.
            gpu: The GPU that it may use; None for those that this process may use.
            log: Its standard output and error.

        Raises:
            OSError: The machine allows no further process.
            ForkServerError: No worker can be forked.
        """
        message = json.dumps({"settings": settings.to_argument(), "gpu": gpu}).encode()
        held, release = socket.socketpair()
        with held, release:
            try:
                with _adopting_orphans():
                    socket.send_fds(self._channel, [message], [log.fileno(), held.fileno()])
                    answer = self._receive()
            except OSError as error:
                raise ForkServerError(f"its process does not answer: {error.strerror or error}") from error
            if "pid" not in answer:
                raise OSError(answer["errno"], os.strerror(answer["errno"]))
            worker = ForkedWorker(answer["pid"])
            try:
                os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                raise ForkServerError("this system does not let a process adopt orphans") from None
            release.send(b"go")
        return worker

    def close(self) -> None:
        """End it; its workers go on."""
        self._channel.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_FORK_WITHIN_S)
        self._log.close()

    def _receive(self) -> dict[str, Any]:
        message = self._channel.recv(FORK_REQUEST_BYTES)
        if not message:
            self._log.seek(0)
            words = self._log.read().decode(errors="replace").strip().splitlines()
            raise ForkServerError(f"its process has ended{': ' + words[-1] if words else ''}")
        answer: dict[str, Any] = json.loads(message)
        return answer


class WorkerStarter:
    """Starts the workers of a pool by the way that this machine allows."""

    def __init__(self, settings: WorkerSettings, logs: Path, *, whole_keras: bool = False) -> None:
        """Start nothing yet.

        Args:
            settings: Settings of each worker.
            logs: Folder for the workers' log files.
            whole_keras: Whether Keras may import its optional packages, which the user's code may expect.

        Raises:
            EnvironmentFault: ``CNN_SWEEP_START_METHOD`` has a value that is not known.
        """
        method = os.environ.get(START_METHOD) or _FORKED
        if method not in (_FORKED, _SPAWNED):
            raise EnvironmentFault(f"{START_METHOD}={method}: choose {_FORKED} or {_SPAWNED}")
        self._settings = settings
        self._logs = logs
        self._whole_keras = whole_keras
        self._forks = method == _FORKED
        self._server: ForkServer | None = None
        self._notes: list[str] = []

    def is_ready(self) -> bool:
        """Return whether workers can be started at once; if not, TensorFlow is being imported for them."""
        if not self._forks:
            return True
        try:
            if self._server is not None and self._server.has_ended:
                self.close()
            if self._server is None:
                self._server = ForkServer(self._settings, self._environment(), whole_keras=self._whole_keras)
            return self._server.is_ready()
        except (OSError, ForkServerError) as error:
            self.fork_no_more(str(error))
        return True

    def start(self, place: int, gpu: str | None, *, alone: bool) -> subprocess.Popen[bytes] | ForkedWorker:
        """Start a worker.

        Args:
            place: Number of its place in the pool.
            gpu: The GPU that it may use; None for those that this process may use.
            alone: Whether it has its device to itself.

        Raises:
            OSError: The machine allows no further process, or its log cannot be written.
        """
        self._logs.mkdir(exist_ok=True)
        settings = replace(self._settings, alone=alone)
        beginning = aside_of(self._logs / f"worker-{place}")  # its process ID is not known yet
        with beginning.open("ab") as log:
            process = self._forked(settings, gpu, log) or self._spawned(settings, gpu, log)
        try:
            beginning.rename(log_file(self._logs, os.uname().nodename, process.pid))
        except OSError:
            process.kill()
            process.wait()
            raise
        return process

    def fork_no_more(self, reason: str) -> None:
        """Start each further worker as a process of its own, and say why."""
        if self._forks:
            self._forks = False
            self._notes.append(f"each worker imports TensorFlow by itself, which takes more time and memory: {reason}")
            self.close()

    def news(self) -> list[str]:
        """Return what the user should know since the last call."""
        found, self._notes = self._notes, []
        return found

    def close(self) -> None:
        """End the fork server; workers go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _forked(self, settings: WorkerSettings, gpu: str | None, log: IO[bytes]) -> ForkedWorker | None:
        if self._server is None:
            return None
        try:
            return self._server.fork(settings, gpu, log)
        except ForkServerError as error:
            self.fork_no_more(str(error))
            return None

    def _spawned(self, settings: WorkerSettings, gpu: str | None, log: IO[bytes]) -> subprocess.Popen[bytes]:
        with signals_blocked():
            return subprocess.Popen(
                [*_python(_WORKER), settings.to_argument()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment() | ({} if gpu is None else {VISIBLE: gpu}),
                pass_fds=() if settings.word is None else (settings.word,),
            )

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "OMP_NUM_THREADS": str(self._settings.threads),
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
            "PYTHONUNBUFFERED": "1",
        }


def log_file(logs: Path, host: str, pid: int) -> Path:
    """Return the file with a worker's standard error."""
    return logs / f"worker-{host}-{pid}.log"


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block stop signals in this thread until the end of the block, and in processes that are started in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *STOP_SIGNALS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Become the parent of this process's descendants whose parent ends in the block.

    Raises:
        OSError: The system does not allow it.
    """
    before = ctypes.c_int()
    _prctl(_GET_SUBREAPER, ctypes.addressof(before))
    _prctl(_SET_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_SET_SUBREAPER, before.value)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl: {os.strerror(ctypes.get_errno())}")


def _python(module: str) -> list[str]:
    return [sys.executable, "-P", "-m", module]
