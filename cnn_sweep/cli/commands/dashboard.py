"""``dashboard``: serves optuna-dashboard with a copy of a study, and updates the copy while the command runs."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import secrets
import select
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
from cnn_sweep.cli.ui.terminal import ssh_tunnel
from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.report.exports.optuna import mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.cli.ui.interrupt import Interrupt

# Only this machine can reach the server; other machines need an SSH tunnel.
_HOST = "127.0.0.1"
_START_TIMEOUT_S = 60.0
_POLL_S = 0.1
_SERVER = "cnn_sweep.report.exports.dashboard_server"


def dashboard(
    study: StudyName,
    port: Annotated[int, typer.Option(metavar="PORT", min=1, max=65535, help="Port on this machine.")] = 8080,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=1.0, help="Seconds between updates.")] = 10.0,
    results: Results = RESULTS,
) -> None:
    """Serve optuna-dashboard on this machine, with a copy of a study that is kept up to date.

    The address has a token, without which nobody else on this machine can open it.

    Examples:
      cnn-sweep dashboard digits --port 8081
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise EnvironmentFault("optuna-dashboard is not installed: pip install 'cnn-sweep[dashboard]'")
    token = secrets.token_urlsafe(32)
    with _listening(port) as door, tempfile.TemporaryDirectory(prefix="cnn-sweep-") as folder:
        store = open_merged(results, study).store
        storage = f"sqlite:///{Path(folder) / 'study.db'}"
        mirror(store, study, storage)
        with interruptible() as interrupt, _serving(storage, token, door) as server:
            if not _is_ready(server, interrupt):
                return
            _print_address(port, token)
            while not interrupt.wait(interval):
                if server.poll() is not None:
                    raise EnvironmentFault(f"optuna-dashboard ended with exit code {server.returncode}")
                mirror(open_merged(results, study).store, study, storage)


def _listening(port: int) -> socket.socket:
    """Return a socket on which the server will answer; from now on nobody else can take the port."""
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        why = "is in use on this machine" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise InputError(f"--port {port} {why}; choose another port") from error


@contextlib.contextmanager
def _serving(storage: str, token: str, door: socket.socket) -> Iterator[subprocess.Popen[str]]:
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(door.fileno(),),
        encoding="utf-8",
    )
    with server:
        try:
            settings = {"storage": storage, "token": token, "socket": door.fileno()}
            with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code says so
                print(json.dumps(settings), file=server.stdin, flush=True)
            yield server
        finally:
            server.terminate()


def _is_ready(server: subprocess.Popen[str], interrupt: Interrupt) -> bool:
    """Wait until the server answers; return whether it does, or False after an interrupt."""
    if server.stdout is None:
        raise ValueError("it has no standard output")
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not interrupt.wait(0):
        if select.select([server.stdout], [], [], _POLL_S)[0]:
            if server.stdout.readline():
                return True
            raise EnvironmentFault(f"optuna-dashboard did not start (exit code {server.wait()}); see above")
        if time.monotonic() > deadline:
            raise EnvironmentFault(f"optuna-dashboard did not start within {_START_TIMEOUT_S:g} s; see above")
    return False


def _print_address(port: int, token: str) -> None:
    """Print the address, and the tunnel to it from another machine."""
    print(f"http://{_HOST}:{port}/?token={token}", flush=True)
    tunnel = ssh_tunnel(port, f"{_HOST}:{port}")
    print(
        f"from your own machine: {tunnel}   (then open the address above; Ctrl-C ends the dashboard)", file=sys.stderr
    )
