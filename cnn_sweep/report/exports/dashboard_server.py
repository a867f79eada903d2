"""The process that serves optuna-dashboard, to those who know its token.

A login node has many users, and each of them can connect to a port of 127.0.0.1. So the first request must bring the
token that the command prints with the address; the answer is a cookie, and all other requests must bring that. A page
of another site, which a browser may have open at the same time, is kept out by the names of hosts.

``cnn-sweep dashboard`` starts it with a socket that listens already, so nobody else can take the port. It writes the
settings to its standard input, because every user sees the command line of a process.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from cnn_sweep.report.exports import library

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

Application = Callable[[dict[str, Any], "StartResponse"], Iterable[bytes]]

READY: Final = "ready"
PARAMETER: Final = "token"  # of the query, and of the settings
_HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
_FORBIDDEN: Final = "403 Forbidden"
_UNKNOWN: Final = "Open the whole address that `cnn-sweep dashboard` printed: it ends with a token.\n"
_OTHER_HOST: Final = "This server answers only to 127.0.0.1 and localhost.\n"
_OTHER_SITE: Final = "This request comes from a page of another server.\n"


@dataclass(frozen=True)
class Gate:
    """A WSGI application that passes requests on to another one if they may come in.

    Attributes:
        app: The other application.
        token: What a request must know.
        port: The server's port, by which cookies of several dashboards differ.
    """

    app: Application
    token: str
    port: int

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        if host.rpartition(":")[0] not in _HOSTS and host not in _HOSTS:
            return _refuse(start, "421 Misdirected Request", _OTHER_HOST)
        if origin not in {None, f"http://{host}"}:
            return _refuse(start, _FORBIDDEN, _OTHER_SITE)
        if self._is_right(self._cookie(environ)):
            return self.app(environ, start)
        query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        if not self._is_right(dict(query).get(PARAMETER, "")):
            return _refuse(start, _FORBIDDEN, _UNKNOWN)
        rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
        path = "/" + quote(environ.get("PATH_INFO", "").encode("latin-1", "replace").lstrip(b"/"))
        start(
            "303 See Other",  # so that the token is in no link and in no page's history
            [
                ("Location", f"{path}?{rest}" if rest else path),
                ("Set-Cookie", f"{self._name}={self.token}; Path=/; HttpOnly; SameSite=Lax"),
                ("Referrer-Policy", "no-referrer"),
                ("Cache-Control", "no-store"),
                ("Content-Length", "0"),
            ],
        )
        return []

    @property
    def _name(self) -> str:
        return f"cnn-sweep-{self.port}"

    def _cookie(self, environ: dict[str, Any]) -> str:
        try:
            found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self._name)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _is_right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())  # in constant time


def _refuse(start: StartResponse, status: str, words: str) -> list[bytes]:
    body = words.encode()
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    """Logs no requests, since their first line has the token."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
        """Log nothing."""


def server_on(listening: socket.socket, app: Application) -> WSGIServer:
    """Return a server for an application on a socket that listens."""
    address = listening.getsockname()
    server = _Server(address, _Silent, bind_and_activate=False)
    server.socket.close()
    server.socket, server.server_address = listening, address
    server.server_name, server.server_port = address
    server.setup_environ()
    server.set_app(app)
    return server


def _end_with_parent() -> None:
    sys.stdin.read()  # until the command ends, however it ends
    os._exit(0)


def main() -> None:
    """Serve a storage as the first line of standard input says, until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends this process
    settings = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = library("optuna_dashboard", "optuna-dashboard").wsgi(settings["storage"])
    listening = socket.socket(fileno=settings["socket"])
    server = server_on(listening, Gate(app, settings[PARAMETER], listening.getsockname()[1]))
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
