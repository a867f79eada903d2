"""``dashboard``: serves optuna-dashboard with a copy of a study, and updates the copy while the command runs."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.interrupt import interruptible
from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.report.exports.optuna import mirror
from cnn_sweep.slurm.environment import user_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.cli.ui.interrupt import Interrupt

# Only this machine can reach the server; other machines need an SSH tunnel.
_HOST = "127.0.0.1"
_START_TIMEOUT_S = 60.0


def dashboard(
    study: StudyName,
    port: Annotated[int, typer.Option(metavar="PORT", min=1, max=65535, help="Port on this machine.")] = 8080,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=1.0, help="Seconds between updates.")] = 10.0,
    results: Results = RESULTS,
) -> None:
    """Serve optuna-dashboard on this machine, with a copy of a study that is kept up to date.

    Examples:
      cnn-sweep dashboard digits --port 8081
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise EnvironmentFault("optuna-dashboard is not installed: pip install 'cnn-sweep[dashboard]'")
    if _answers(port):
        raise InputError(f"--port {port} is in use on this machine; choose another port")
    store = open_merged(results, study).store
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as folder, interruptible() as interrupt:
        storage = f"sqlite:///{Path(folder) / 'study.db'}"
        mirror(store, study, storage)
        with _serving(storage, port) as server:
            _wait_for(server, port, interrupt)
            _print_address(port)
            while not interrupt.wait(interval):
                if server.poll() is not None:
                    raise EnvironmentFault(f"optuna-dashboard ended with exit code {server.returncode}")
                mirror(open_merged(results, study).store, study, storage)


@contextlib.contextmanager
def _serving(storage: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    code = "import sys, optuna_dashboard; optuna_dashboard.run_server(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
    command = [sys.executable, "-P", "-c", code, storage, _HOST, str(port)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        yield server
    finally:
        server.terminate()
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, interrupt: Interrupt) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _answers(port) and not interrupt.wait(0.1):
        if server.poll() is not None or time.monotonic() > deadline:
            raise EnvironmentFault(f"optuna-dashboard did not start (exit code {server.poll()}); see above")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((_HOST, port)) == 0


def _print_address(port: int) -> None:
    """Print the address, and the tunnel to it from another machine."""
    print(f"http://{_HOST}:{port}", flush=True)
    tunnel = f"ssh -N -L {port}:{_HOST}:{port} {user_name()}@{platform.node()}"
    print(
        f"from your own machine: {tunnel}   (then open the address above; Ctrl-C ends the dashboard)", file=sys.stderr
    )
