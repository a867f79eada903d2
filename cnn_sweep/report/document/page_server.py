"""Serves the files of a live page through a UNIX socket, which only its owner can open.

A port of 127.0.0.1 is open to all users of a login node; a socket file has an owner and a mode. ``ssh -L`` forwards a
port of the reader's machine to it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cnn_sweep.errors import InputError
from cnn_sweep.journal.sharing import umask
from cnn_sweep.journal.trust import other_writers
from cnn_sweep.report.document.live_page import DATA, PAGE, PHONE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILES: Final = {
    "/": (PAGE, "text/html; charset=utf-8"),
    f"/{PAGE}": (PAGE, "text/html; charset=utf-8"),
    f"/{DATA}": (DATA, "text/javascript; charset=utf-8"),
    f"/{PHONE}": (PHONE, "text/html; charset=utf-8"),
}
_LONGEST: Final = 107  # bytes of a socket's path: sockaddr_un has 108, the last of which is 0 (unix(7))
_PRIVATE: Final = 0o177  # umask: the socket has the mode 0600 from its first moment on


class _Handler(BaseHTTPRequestHandler):
    """Answers GET of the page's files; a path is only looked up, so that no other file can be named."""

    timeout = 60  # seconds in which a client must say what it wants
    server: _Server

    def do_GET(self) -> None:  # its name in the standard library
        """Send a file of the page."""
        name, kind = _FILES.get(urlsplit(self.path).path, ("", ""))
        try:
            content = (self.server.folder / name).read_bytes() if name else None
        except OSError:
            content = None
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")  # no other site's page can load the data
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
        """Log nothing."""


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, file: Path, folder: Path) -> None:
        self.folder = folder
        super().__init__(str(file), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the reader closed the connection, and other requests are answered."""


@contextmanager
def served(folder: Path, file: Path) -> Iterator[None]:
    """Serve the live page in a folder through a socket; the socket is removed at the end.

    Args:
        folder: Folder of the page.
        file: The socket to make. That of a server which has died is replaced.

    Raises:
        InputError: The path is too long, its folder is not the user's own, or another server or file is there.
    """
    server = _listening(file, folder)
    made = file.lstat().st_ino
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        if file.exists() and file.lstat().st_ino == made:
            file.unlink()


def _listening(file: Path, folder: Path) -> _Server:
    _check_path(file)
    _remove_stale(file)
    try:
        with umask(_PRIVATE):
            return _Server(file, folder)
    except OSError as error:
        raise InputError(f"--socket {file} cannot be used: {error.strerror}") from error


def _check_path(file: Path) -> None:
    length = len(os.fsencode(file))
    if length > _LONGEST:
        raise InputError(f"--socket {file} has {length} bytes, and a socket's path at most {_LONGEST}; choose another")
    folder = file.parent.absolute()
    try:
        others = other_writers(folder)
    except OSError as error:
        raise InputError(f"--socket {file} cannot be used: {file.parent}: {error.strerror}") from error
    if others is not None:
        raise InputError(f"{folder} {others}; put --socket into a folder that only you can write")


def _remove_stale(file: Path) -> None:
    """Remove the socket of a process that has died.

    Raises:
        InputError: Another server answers there, or the file is no socket.
    """
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(f"--socket {file} is there, and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        answer = probe.connect_ex(str(file))
    if answer != errno.ECONNREFUSED:
        raise InputError(f"another server uses --socket {file}; end it, or choose another path")
    file.unlink()
