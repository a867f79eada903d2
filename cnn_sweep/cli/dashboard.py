"""``dashboard``: optuna-dashboard on a copy of a study that keeps up with it, as long as the command runs."""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.cli.interrupting import interruptible
from cnn_sweep.cli.reading import open_merged
from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.report.exports.optuna import mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.cli.interrupting import Interrupt

# It listens where only this machine can reach it; others come through ssh.
_HOST = "127.0.0.1"
_STARTING_S = 60.0


def dashboard(results: Path, study: str, port: int, interval_s: float) -> None:
    """Serve until the user interrupts.

    Raises:
        InputError: The port is taken.
        EnvironmentFault: optuna-dashboard is not installed, or it ended.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise EnvironmentFault("the dashboard needs its package: pip install 'cnn-sweep[dashboard]'")
    if _answers(port):
        raise InputError(f"--port {port} is in use on this machine; choose another one")
    store = open_merged(results, study).store
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as folder, interruptible() as interrupt:
        storage = f"sqlite:///{Path(folder) / 'study.db'}"
        mirror(store, study, storage)
        with _serving(storage, port) as server:
            _wait_for(server, port, interrupt)
            _say_where(port)
            while not interrupt.wait(interval_s):
                if server.poll() is not None:
                    raise EnvironmentFault(f"optuna-dashboard ended with exit code {server.returncode}")
                store = open_merged(results, study).store
                mirror(store, study, storage)


@contextlib.contextmanager
def _serving(storage: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    code = "from optuna_dashboard._cli import main; main()"
    command = [sys.executable, "-P", "-c", code, storage, "--host", _HOST, "--port", str(port), "--quiet"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        yield server
    finally:
        server.terminate()
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, interrupt: Interrupt) -> None:
    deadline = time.monotonic() + _STARTING_S
    while not _answers(port) and not interrupt.wait(0.1):
        if server.poll() is not None or time.monotonic() > deadline:
            raise EnvironmentFault(f"optuna-dashboard did not start (exit code {server.poll()}); see above")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((_HOST, port)) == 0


def _say_where(port: int) -> None:
    """Print the address, and how to reach it from elsewhere."""
    print(f"http://{_HOST}:{port}", flush=True)
    tunnel = f"ssh -N -L {port}:{_HOST}:{port} {getpass.getuser()}@{platform.node()}"
    print(f"from your own machine: {tunnel}   (then open that address there; Ctrl-C ends it)", file=sys.stderr)
